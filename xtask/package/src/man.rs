//! Man pages: one a command, made of what clap knows, of the examples, and of the page that
//! has the exit statuses.

use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, ensure};
use clap::Command;
use clap_mangen::{
    Man,
    roff::{Roff, roman},
};
use flate2::{Compression, GzBuilder};
use socketvirt::cli;
use xtask::workspace;

/// The page with the exit statuses, and the heading above their table.
const STATUSES: (&str, &str) = ("docs/operations.md", "## Exit status");

/// The files that a reader of the pages looks for.
const FILES: [(&str, &str); 4] = [
    (
        "/etc/socketvirt/socketvirt.toml",
        "The policy of the unit socketvirt.service.",
    ),
    (
        "/run/socketvirt/admin.sock",
        "The control socket of the agent.",
    ),
    (
        "/sys/fs/bpf/socketvirt",
        "The pinned maps, programs and links; for root alone.",
    ),
    (
        "/usr/share/doc/socketvirt",
        "How it works, what is different, policy, metrics, operation.",
    ),
];

/// A command that has a page.
pub struct Page {
    /// As it is typed: `socketvirt`, `socketvirt policy`.
    pub command: String,
    /// The page, in roff.
    pub text: Vec<u8>,
}

impl Page {
    /// The name of its file: `socketvirt-policy.1.gz`.
    pub fn file(&self) -> String {
        format!("{}.1.gz", self.command.replace(' ', "-"))
    }
}

/// Returns the page of each command that is shown.
pub fn pages() -> Result<Vec<Page>> {
    // Builds what clap adds itself: global arguments, the usage of commands below others.
    let mut root = cli::command().disable_help_subcommand(true);
    root.build();
    let statuses = statuses()?;
    let mut all = Vec::new();
    add(&root, "", &statuses, &mut all)?;
    Ok(all)
}

fn add(
    command: &Command,
    above: &str,
    statuses: &[[String; 2]],
    all: &mut Vec<Page>,
) -> Result<()> {
    let full = format!("{above} {}", command.get_name())
        .trim_start()
        .to_owned();
    for below in command.get_subcommands().filter(|one| !one.is_hide_set()) {
        add(below, &full, statuses, all)?;
    }
    let text =
        render(command, &full, statuses).with_context(|| format!("making the page of {full}"))?;
    all.push(Page {
        command: full,
        text,
    });
    Ok(())
}

fn render(command: &Command, full: &str, statuses: &[[String; 2]]) -> Result<Vec<u8>> {
    // Examples have a section of their own, and lose their line breaks elsewhere.
    let shown = command
        .clone()
        .after_help("")
        .display_name(full.replace(' ', "-"));
    let man = Man::new(shown)
        .title(full.replace(' ', "-"))
        .section("1")
        .date("")
        .source(format!("socketvirt {}", env!("CARGO_PKG_VERSION")))
        .manual("socketvirt");
    let mut text = Vec::new();
    man.render_title(&mut text)?;
    man.render_name_section(&mut text)?;
    man.render_synopsis_section(&mut text)?;
    man.render_description_section(&mut text)?;
    man.render_options_section(&mut text)?;
    if command.has_subcommands() {
        man.render_subcommands_section(&mut text)?;
    }
    let path = full.split_once(' ').map_or("", |(_, path)| path);
    if let Some(examples) = cli::examples::of(path) {
        lines("EXAMPLES", examples).to_writer(&mut text)?;
    }
    list(
        "EXIT STATUS",
        statuses
            .iter()
            .map(|[code, means]| (code.as_str(), means.as_str())),
    )
    .to_writer(&mut text)?;
    if path.is_empty() {
        list("FILES", FILES.into_iter()).to_writer(&mut text)?;
    }
    Ok(text)
}

/// A section of lines that stay as they are.
fn lines(title: &str, text: &str) -> Roff {
    let mut roff = Roff::new();
    roff.control("SH", [title]).control("nf", []);
    for line in text.lines() {
        roff.text([roman(line.trim_start())]);
    }
    roff.control("fi", []);
    roff
}

/// A section of words and what they mean.
fn list<'a>(title: &str, entries: impl Iterator<Item = (&'a str, &'a str)>) -> Roff {
    let mut roff = Roff::new();
    roff.control("SH", [title]);
    for (word, means) in entries {
        roff.control("TP", [])
            .text([roman(word)])
            .text([roman(means)]);
    }
    roff
}

/// Reads the exit statuses: a code, or several, and their meaning.
fn statuses() -> Result<Vec<[String; 2]>> {
    let (page, heading) = STATUSES;
    let path = workspace::root().join(page);
    let text = fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
    let rows: Vec<_> = text
        .lines()
        .skip_while(|line| *line != heading)
        .skip_while(|line| !line.starts_with("|---"))
        .skip(1)
        .map_while(|line| {
            let (code, means) = line
                .strip_prefix("| ")?
                .strip_suffix(" |")?
                .split_once(" | ")?;
            Some([code.replace('`', ""), means.replace('`', "")])
        })
        .collect();
    ensure!(!rows.is_empty(), "{page} has no table below `{heading}`");
    Ok(rows)
}

/// Writes them, compressed, and returns their paths.
pub fn write(folder: &Path) -> Result<Vec<PathBuf>> {
    fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))?;
    let mut written = Vec::new();
    for page in pages()? {
        let path = folder.join(page.file());
        // No name and no time: the same text gives the same file.
        let mut file = GzBuilder::new().write(Vec::new(), Compression::best());
        file.write_all(&page.text)?;
        fs::write(&path, file.finish()?).with_context(|| format!("writing {}", path.display()))?;
        written.push(path);
    }
    Ok(written)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_command_has_a_page_with_an_example_and_the_statuses() {
        let pages = pages().unwrap();
        let commands: Vec<_> = pages.iter().map(|page| page.command.as_str()).collect();
        for command in cli::command()
            .get_subcommands()
            .filter(|one| !one.is_hide_set())
        {
            let full = format!("socketvirt {}", command.get_name());
            assert!(commands.contains(&full.as_str()), "{full}: {commands:?}");
        }
        assert!(
            commands.contains(&"socketvirt") && commands.contains(&"socketvirt policy explain")
        );
        assert!(!commands.iter().any(|command| command.contains("worker")));
        for page in &pages {
            let text = std::str::from_utf8(&page.text).unwrap();
            assert!(
                text.contains(".SH \"EXIT STATUS\""),
                "{}: {text}",
                page.command
            );
            let is_command = page.command.contains(' ');
            assert_eq!(
                text.contains(".SH EXAMPLES"),
                is_command,
                "{}",
                page.command
            );
            assert!(!text.contains("Examples:"), "{}", page.command);
        }
    }
}
