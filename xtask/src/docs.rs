//! `cargo xtask docs`: writes the lists that the code holds into the pages of `docs/`.
//!
//! A test fails when a page does not hold what would be written.

use std::{fmt::Write as _, fs};

use anyhow::{Context as _, Result, bail};
use socketvirt_common::{
    difference::{self, Difference},
    reason::Reason,
};
use xtask::{pages, progress, workspace};

/// A list in a page.
struct List {
    /// The page, from the workspace's root.
    page: &'static str,
    name: &'static str,
    text: fn() -> Result<String>,
}

const LISTS: [List; 2] = [
    List {
        page: "docs/socket-table.md",
        name: "reasons",
        text: || Ok(reasons()),
    },
    List {
        page: "docs/compatibility.md",
        name: "differences",
        text: differences,
    },
];

pub fn run() -> Result<()> {
    progress::step("docs: lists of the code into the pages");
    for list in &LISTS {
        let path = workspace::root().join(list.page);
        let (old, new) = list.pages()?;
        if old == new {
            progress::note(&format!("{}: {} is as it was", list.page, list.name));
        } else {
            fs::write(&path, new).with_context(|| format!("writing {}", path.display()))?;
            progress::note(&format!("{}: {} written", list.page, list.name));
        }
    }
    Ok(())
}

impl List {
    /// Returns the page as it is, and as it has to be.
    fn pages(&self) -> Result<(String, String)> {
        let path = workspace::root().join(self.page);
        let old =
            fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
        let new = pages::replaced(&old, self.name, &(self.text)()?)
            .with_context(|| format!("in {}", path.display()))?;
        Ok((old, new))
    }
}

fn reasons() -> String {
    let mut text = String::from("| reason | means | what would change it |\n|---|---|---|\n");
    for reason in Reason::ALL {
        let (word, about, change) = (reason.word(), reason.about(), reason.change());
        let _ = writeln!(text, "| `{word}` | {about} | {change} |");
    }
    text
}

fn differences() -> Result<String> {
    let mut text = String::new();
    for kind in &difference::ALL {
        let _ = write!(
            text,
            "{}:\n\n| name | difference | plain TCP | programs | adopt | eager | kept away by, and advice |\n\
             |---|---|---|---|---|---|---|\n",
            kind.title
        );
        for one in kind.list {
            let _ = writeln!(
                text,
                "| `{}` | [{}](#{}): {}{} | `{}` | {} | {} | {} | {} |",
                one.name,
                one.title,
                anchor(one.section),
                one.fact,
                facts(one)?,
                one.plain,
                one.likely.word(),
                one.adopt.words(),
                one.eager.words(),
                keeper(one),
            );
        }
        text.push('\n');
    }
    // One empty line stands before the end mark.
    Ok(text.trim_end().to_owned() + "\n\n")
}

/// Returns links to the facts of the kernel that a difference rests on.
fn facts(one: &Difference) -> Result<String> {
    let mut text = String::new();
    for id in one.kernel {
        let page = page_of(id)?;
        let _ = write!(text, " [{id}](kernel/{page}#{})", id.to_lowercase());
    }
    Ok(text)
}

/// Returns the page of `docs/kernel` that has a fact.
fn page_of(id: &str) -> Result<String> {
    let folder = workspace::root().join("docs/kernel");
    for entry in fs::read_dir(&folder).with_context(|| format!("reading {}", folder.display()))? {
        let path = entry?.path();
        let text =
            fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
        if text.lines().any(|line| line == format!("## {id}")) {
            let name = path.file_name().unwrap_or_default();
            return Ok(name.to_string_lossy().into_owned());
        }
    }
    bail!("no page of {} has the fact {id}", folder.display())
}

fn keeper(one: &Difference) -> String {
    let word = one.keeper.word().map(|word| format!("`{word}`"));
    let parts = word
        .into_iter()
        .chain(one.keeper.advice().map(str::to_owned));
    parts.collect::<Vec<_>>().join("; ")
}

/// Returns the anchor that a heading gets.
fn anchor(heading: &str) -> String {
    let kept = heading
        .chars()
        .filter(|c| c.is_alphanumeric() || " -_".contains(*c));
    kept.collect::<String>().to_lowercase().replace(' ', "-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_page_is_stale() {
        for list in &LISTS {
            let (old, new) = list.pages().unwrap();
            assert!(
                old == new,
                "{} does not hold the list `{}` as it is in the code: run `cargo xtask docs`",
                list.page,
                list.name
            );
        }
    }

    #[test]
    fn every_difference_has_its_section() {
        let path = workspace::root().join("docs/compatibility.md");
        let page = fs::read_to_string(path).unwrap();
        for one in difference::ALL.iter().flat_map(|kind| kind.list) {
            let heading = format!("### {}", one.section);
            assert!(page.lines().any(|line| line == heading), "{heading}");
        }
    }

    #[test]
    fn headings_become_anchors() {
        assert_eq!(
            anchor("`connect(AF_UNSPEC)` with bytes unread"),
            "connectaf_unspec-with-bytes-unread"
        );
        assert_eq!(
            anchor("Order, back-pressure, state"),
            "order-back-pressure-state"
        );
    }
}
