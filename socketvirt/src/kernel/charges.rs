//! Where the running kernel keeps what the memory of sockets is charged to.
//!
//! No kernel is refused for these: what cannot be read is decided the safe way.

use std::fs;

use socketvirt_common::record::layout::{Charging, KernelLayout};

use crate::kernel::btf::{KernelTypes, LayoutError};

const POINTER: usize = 8;
const LONG: usize = 8;

/// Fills in the fields.
///
/// # Errors
/// When a socket does not tell its protocol.
pub fn resolve(types: &KernelTypes, layout: &mut KernelLayout) -> Result<(), LayoutError> {
    let purpose = "whether memory for TCP is short";
    let common = types.structure("sock_common", purpose, "this kernel is not known")?;
    layout.sk_prot = common.offset("skc_prot", POINTER, purpose)?;
    layout.proto_memory_pressure = optional(types, "proto", "memory_pressure", POINTER);
    layout.sk_memcg = optional(types, "sock", "sk_memcg", POINTER);
    layout.memcg_tcp_active = optional(types, "mem_cgroup", "tcpmem_active", 1);
    layout.memcg_tcp = optional(types, "mem_cgroup", "tcpmem", 0);
    layout.counter_usage = optional(types, "page_counter", "usage", LONG);
    layout.counter_max = optional(types, "page_counter", "max", LONG);
    layout.counter_parent = optional(types, "page_counter", "parent", POINTER);
    layout.cpus = possible_cpus();
    layout.charging = charging(layout, memory_is_version_1());
    Ok(())
}

/// The offset of a field, or [`KernelLayout::MISSING`] when this kernel does
/// not have it in this size.
fn optional(types: &KernelTypes, structure: &'static str, field: &'static str, size: usize) -> u32 {
    types
        .structure(structure, "", "")
        .and_then(|structure| structure.place_of(field, size))
        .map_or(KernelLayout::MISSING, |place| place.offset)
}

/// What can be known. Version 2 refuses nothing that it can reclaim, so only
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

/// Whether the controller of memory belongs to a hierarchy of version 1.
fn memory_is_version_1() -> bool {
    fs::read_to_string("/proc/cgroups").is_ok_and(|text| in_hierarchy(&text))
}

/// The number behind the name is that of the hierarchy; version 2 is 0.
fn in_hierarchy(cgroups: &str) -> bool {
    let line = cgroups
        .lines()
        .find_map(|line| line.strip_prefix("memory\t"));
    line.and_then(|rest| rest.split_ascii_whitespace().next())
        .is_some_and(|hierarchy| hierarchy != "0")
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
        let head = "#subsys_name\thierarchy\tnum_cgroups\tenabled\ncpu\t1\t1\t1\n";
        assert!(in_hierarchy(&format!("{head}memory\t4\t17\t1\n")));
        assert!(!in_hierarchy(&format!("{head}memory\t0\t17\t1\n")));
        assert!(!in_hierarchy(head));
        assert_eq!(last_cpu("0-3\n"), Some(3));
        assert_eq!(last_cpu("0\n"), Some(0));
        assert_eq!(last_cpu("0,2-17\n"), Some(17));
    }

    #[test]
    fn this_kernel_tells_whether_memory_is_short() {
        let mut layout = KernelLayout::UNKNOWN;
        resolve(&KernelTypes::running().unwrap(), &mut layout).unwrap();
        assert!(layout.proto_memory_pressure < 1024, "{layout:?}");
        assert!(layout.sk_prot < 136 && layout.cpus > 0, "{layout:?}");
        // Every supported kernel that has memory cgroups tells all of it.
        let hidden = [Charging::Hidden, Charging::Unknown];
        assert!(!hidden.contains(&layout.charging), "{layout:?}");
    }
}
