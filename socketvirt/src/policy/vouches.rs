//! Vouches: whether they can be relied on here.

use std::sync::LazyLock;

use crate::kernel::{btf::KernelTypes, cast};

/// A connection that is stuck can be reset here.
static CAN_RESET: LazyLock<bool> =
    LazyLock::new(|| KernelTypes::running().is_ok_and(|types| cast::can_reset(&types)));

/// Returns why what is vouched for (bits, see
/// [`NO_SPLICE`](socketvirt_common::record::policy::NO_SPLICE)) is not relied on here, in
/// words for the operator.
#[must_use]
pub fn shortcoming(assume: u32) -> Option<&'static str> {
    (assume != 0 && !*CAN_RESET).then_some(
        "`no-splice` is not relied on: this kernel cannot reset a connection that is stuck \
         (`bpf_sock_destroy`), use Linux 6.5 or newer; programs that may splice stay on plain TCP",
    )
}

#[cfg(test)]
mod tests {
    use socketvirt_common::record::policy::NO_SPLICE;

    use super::*;

    /// Who vouches for nothing is told nothing.
    #[test]
    fn it_is_told_where_it_cannot_be_relied_on() {
        assert_eq!(shortcoming(0), None);
        assert_eq!(shortcoming(NO_SPLICE).is_none(), *CAN_RESET);
    }
}
