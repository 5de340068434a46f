//! How far the charging of sockets' memory can be read on the running kernel.
//!
//! No kernel is refused for these: what cannot be read is decided the safe way.

use std::fs;

use socketvirt_common::record::layout::{Charging, KernelLayout};

/// Fills in how far it can be read, from the offsets.
pub fn resolve(layout: &mut KernelLayout) {
    layout.cpus = possible_cpus();
    layout.charging = charging(layout, memory_is_version_1());
}

/// Judges what can be known. Version 2 refuses nothing that it can reclaim, so only
/// where version 1 has the memory does a missing field matter.
fn charging(layout: &KernelLayout, version_1: bool) -> Charging {
    let has = |offset: u32| offset != KernelLayout::MISSING;
    let counters = [
        layout.memcg_tcp_active,
        layout.memcg_tcp,
        layout.counter_usage,
        layout.counter_max,
        layout.counter_parent,
    ];
    if has(layout.sk_memcg) && counters.into_iter().all(has) {
        // Version 1 may be mounted later.
        return Charging::Counted;
    }
    match (version_1, has(layout.sk_memcg)) {
        (false, _) => Charging::Free,
        (true, true) => Charging::Hidden,
        (true, false) => Charging::Unknown,
    }
}

/// True when the controller of memory belongs to a hierarchy of version 1.
fn memory_is_version_1() -> bool {
    // Hierarchy 0 is that of version 2.
    procfs::cgroups().is_ok_and(|all| {
        let mut all = all.0.iter();
        all.any(|one| one.name == "memory" && one.hierarchy != 0)
    })
}

/// Processors that there may be; many when that is not known.
fn possible_cpus() -> u32 {
    fs::read_to_string("/sys/devices/system/cpu/possible")
        .ok()
        .and_then(|text| last_cpu(&text))
        .map_or(1024, |last| last.saturating_add(1))
}

/// The end of the last range of `0-3` or `0,2-5`.
fn last_cpu(list: &str) -> Option<u32> {
    list.trim().rsplit([',', '-']).next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOME: KernelLayout = KernelLayout::UNKNOWN;

    #[test]
    fn what_is_missing_is_decided_the_safe_way() {
        assert_eq!(charging(&SOME, false), Charging::Counted);
        assert_eq!(charging(&SOME, true), Charging::Counted);
        let no_counter = KernelLayout {
            counter_max: KernelLayout::MISSING,
            ..SOME
        };
        assert_eq!(charging(&no_counter, true), Charging::Hidden);
        // As without CONFIG_MEMCG_V1.
        assert_eq!(charging(&no_counter, false), Charging::Free);
        let nothing = KernelLayout {
            sk_memcg: KernelLayout::MISSING,
            ..SOME
        };
        assert_eq!(charging(&nothing, true), Charging::Unknown);
        assert_eq!(charging(&nothing, false), Charging::Free);
    }

    #[test]
    fn reads_what_the_kernel_prints() {
        assert_eq!(last_cpu("0-3\n"), Some(3));
        assert_eq!(last_cpu("0\n"), Some(0));
        assert_eq!(last_cpu("0,2-17\n"), Some(17));
    }
}
