//! Examples, which stand at the end of each command's help and in its man page.

use clap::Command;

/// The examples of each command that a user types; those of a command below another one
/// are named by both.
const EXAMPLES: [(&str, &str); 18] = [
    (
        "exec",
        "  socketvirt exec -- ./test.sh\n  socketvirt exec --summary out.json -- redis-server --port 7777",
    ),
    (
        "run",
        "  socketvirt run --config /etc/socketvirt/socketvirt.toml\n  \
           socketvirt run --mode adopt --cgroup /sys/fs/cgroup/system.slice\n  \
           socketvirt run    # keeps the table, accelerates nothing",
    ),
    (
        "status",
        "  socketvirt status\n  socketvirt status --json | jq .accelerating.enrolled\n  \
           socketvirt status --check    # for a probe",
    ),
    ("pause", "  socketvirt pause"),
    ("resume", "  socketvirt resume"),
    (
        "doctor",
        "  socketvirt doctor\n  socketvirt doctor --json | jq .advisable",
    ),
    (
        "table",
        "  socketvirt table --listening\n  socketvirt table --port 5432 --sort bytes --watch\n  \
           socketvirt table --json --path fast\n  \
           socketvirt table --why --port 5432",
    ),
    ("show", "  socketvirt show 5432"),
    (
        "events",
        "  socketvirt events --follow\n  socketvirt events --follow --json",
    ),
    ("drain", "  socketvirt drain --timeout 60"),
    (
        "top",
        "  socketvirt top\n  socketvirt top --sort stack --filter nginx\n  \
           socketvirt top --json --interval 5s --count 3 | jq .totals",
    ),
    (
        "map",
        "  socketvirt map --for 10s\n  socketvirt map --svg map.svg",
    ),
    (
        "apply",
        "  socketvirt apply /etc/socketvirt/socketvirt.toml",
    ),
    ("policy", "  socketvirt policy show"),
    (
        "policy check",
        "  socketvirt policy check /etc/socketvirt/socketvirt.toml",
    ),
    (
        "policy show",
        "  socketvirt policy show\n  socketvirt policy show --text > now.toml",
    ),
    ("policy explain", "  socketvirt policy explain 5432"),
    (
        "bench",
        "  socketvirt bench --quick\n  socketvirt bench --only floor --json > bench.json",
    ),
];

/// The examples of a command, named as it is typed behind `socketvirt`.
#[must_use]
pub fn of(path: &str) -> Option<&'static str> {
    let found = EXAMPLES.iter().find(|(name, _)| *name == path);
    found.map(|(_, text)| *text)
}

/// Puts them at the end of the help of each command below this one, whose own name, behind
/// `socketvirt`, is `path`.
pub(super) fn add(command: Command, path: &str) -> Command {
    command.mut_subcommands(|below| {
        let path = format!("{path} {}", below.get_name());
        let path = path.trim_start();
        let below = add(below, path);
        match of(path) {
            Some(text) => below.after_help(format!("Examples:\n{text}")),
            None => below,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(command: &Command, above: &str, all: &mut Vec<String>) {
        for below in command.get_subcommands().filter(|one| !one.is_hide_set()) {
            let path = format!("{above} {}", below.get_name());
            paths(below, &path, all);
            all.push(path.trim_start().to_owned());
        }
    }

    #[test]
    fn each_command_has_an_example_that_is_one() {
        let mut all = Vec::new();
        let command = super::super::command();
        paths(&command, "", &mut all);
        for path in &all {
            let text = of(path).unwrap_or_else(|| panic!("`{path}` has no example: add one here"));
            for line in text.lines() {
                let words = line.split(['#', '|', '>']).next().unwrap_or(line);
                assert!(
                    words
                        .trim_start()
                        .starts_with(&format!("socketvirt {path}")),
                    "{line}"
                );
                let parsed = command
                    .clone()
                    .try_get_matches_from(words.split_whitespace());
                assert!(parsed.is_ok(), "{line}: {}", parsed.unwrap_err());
            }
        }
        for (path, _) in EXAMPLES {
            assert!(all.iter().any(|one| one == path), "`{path}` is no command");
        }
    }
}
