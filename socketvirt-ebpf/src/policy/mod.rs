//! Policy: which rule decides about an end, and what that means for its pair.
//!
//! [`facts`] reads what rules ask, [`sets`] finds the rules that match, [`judge`]
//! keeps what a pair was told ([`ask`]), and [`count`] counts for the rules. Without a policy
//! nothing here runs.

pub mod ask;
pub mod count;
pub mod facts;
pub mod judge;
mod sets;

use socketvirt_common::record::policy::Active;

use crate::maps::sv_policy;

/// Returns the policy in force.
#[inline(always)]
pub fn active() -> Active {
    // SAFETY: one word, which the agent stores at once.
    let word = sv_policy
        .get_ptr(0)
        .map(|word| unsafe { core::ptr::read_volatile(word) });
    Active(word.unwrap_or(0))
}
