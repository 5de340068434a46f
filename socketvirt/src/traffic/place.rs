//! The place of a process in short: its container, its unit, or the last folder of its
//! cgroup.

use crate::table::names::escape;

/// Digits of a container's id that `docker ps` shows.
const DIGITS: usize = 12;

/// Returns the place for a terminal; `-` for a cgroup that is gone or not known.
#[must_use]
pub fn short(cgroup: Option<&str>) -> String {
    let Some(cgroup) = cgroup else {
        return "-".to_owned();
    };
    let parts = || cgroup.split('/').rev().filter(|part| !part.is_empty());
    if let Some(container) = parts().find_map(container) {
        return container;
    }
    let unit = parts().find(|part| part.ends_with(".service"));
    unit.or_else(|| parts().next())
        .map_or_else(|| "/".to_owned(), |part| escape(part.as_bytes()))
}

/// `docker-<id>.scope`, `cri-containerd-<id>.scope`, or the id alone, as `docker <id>`.
fn container(part: &str) -> Option<String> {
    let part = part.strip_suffix(".scope").unwrap_or(part);
    let (engine, id) = part.rsplit_once('-').unwrap_or(("container", part));
    let is_id = id.len() == 64 && id.chars().all(|letter| letter.is_ascii_hexdigit());
    is_id.then(|| {
        let engine = engine.strip_prefix("cri-").unwrap_or(engine);
        format!("{} {}", escape(engine.as_bytes()), &id[..DIGITS])
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_named_by_container_then_unit_then_folder() {
        let id = "0123456789ab".repeat(6)[..64].to_owned();
        for (cgroup, shown) in [
            (
                format!("/system.slice/docker-{id}.scope"),
                "docker 0123456789ab",
            ),
            (
                format!("/kubepods.slice/kubepods-pod1_2.slice/cri-containerd-{id}.scope/init"),
                "containerd 0123456789ab",
            ),
            (format!("/docker/{id}"), "container 0123456789ab"),
            (
                "/system.slice/redis-server.service".to_owned(),
                "redis-server.service",
            ),
            ("/system.slice/a.service/payload".to_owned(), "a.service"),
            ("/user.slice/session-3.scope".to_owned(), "session-3.scope"),
            ("/".to_owned(), "/"),
            ("/a\u{1b}[31mb".to_owned(), "a\\x1b[31mb"),
        ] {
            assert_eq!(short(Some(&cgroup)), shown);
        }
        assert_eq!(short(None), "-");
    }
}
