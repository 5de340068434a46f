//! `socketvirt run`: an agent for a cgroup, started and ended, and what it says of its work.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use nix::sys::signal::Signal;

use crate::{
    job::{FOR_EVER, Job},
    summary::{ByPath, Deeds, counts_of},
    wait,
};

/// Without a CPU and memory everything takes its time.
pub const PATIENCE: Duration = Duration::from_mins(5);

/// The words of the line that says what is on, whether it is something or nothing.
pub const STATE: &str = "accelerating";

/// An agent that accelerates nothing says this.
const NOTHING: &str = "socketvirt: not accelerating";

/// Starts an agent whose output goes to `log`. A mode makes it accelerate the cgroup; without one it keeps the table.
pub fn spawn(binary: &Path, mode: Option<(&str, &Path)>, log: PathBuf) -> Result<Job> {
    let mut words = vec![binary.display().to_string(), String::from("run")];
    if let Some((mode, cgroup)) = mode {
        words.extend(["--mode", mode, "--cgroup"].map(String::from));
        words.push(cgroup.display().to_string());
    }
    Job::start("the agent", &words, &[], log, FOR_EVER)
}

/// Starts an agent that accelerates a cgroup by a policy. Its output goes to `log`.
pub fn spawn_by(binary: &Path, policy: &Path, cgroup: &Path, log: PathBuf) -> Result<Job> {
    let mut words = vec![binary.display().to_string(), String::from("run")];
    for (option, path) in [("--config", policy), ("--cgroup", cgroup)] {
        words.extend([option.into(), path.display().to_string()]);
    }
    Job::start("the agent", &words, &[], log, FOR_EVER)
}

/// Waits until an agent says that it is at work. Returns whether it accelerates what it shall.
pub fn ready(agent: &mut Job, says: &str) -> Result<bool> {
    let at_work = wait::until(PATIENCE, || {
        if agent.text().contains(says) {
            return Ok(true);
        }
        match agent.status()? {
            Some(status) => bail!("the agent did not start: {status}\n{}", agent.text()),
            None => Ok(false),
        }
    })?;
    ensure!(
        at_work,
        "the agent is not ready after {} s\n{}",
        PATIENCE.as_secs(),
        agent.text()
    );
    Ok(!agent.text().contains(NOTHING))
}

/// Ends an agent in order. Returns what it said.
pub fn end(mut agent: Job) -> Result<String> {
    agent.signal(Signal::SIGINT)?;
    let status = agent
        .wait(PATIENCE)?
        .with_context(|| format!("the agent does not end\n{}", agent.text()))?;
    let text = agent.text();
    ensure!(status.success(), "the agent ended with {status}\n{text}");
    agent.discard();
    Ok(text)
}

/// Reads an agent's deeds from the summary that it prints at its end; none for one that kept the table alone.
pub fn deeds(text: &str) -> Option<Deeds> {
    let numbers = |name: &str| -> Option<Vec<u64>> {
        let mut lines = text.lines();
        let line = lines.find_map(|line| line.trim_start().strip_prefix(name))?;
        Some(
            line.split_whitespace()
                .filter_map(|word| word.parse().ok())
                .collect(),
        )
    };
    let by_path = |name: &str| -> Option<ByPath> {
        let numbers = numbers(name)?;
        Some(ByPath {
            fast: *numbers.first()?,
            stack: *numbers.get(1)?,
        })
    };
    let pairs = numbers("pairs ")?;
    Some(Deeds {
        pairs: *pairs.first()?,
        adopted: *pairs.get(1)?,
        released: *pairs.get(2)?,
        bytes: by_path("bytes ")?,
        messages: by_path("messages ")?,
    })
}

/// Reads refusals and errors by kind, as the same summary tells it.
pub fn errors(text: &str) -> BTreeMap<String, u64> {
    counts_of(text, "errors: ")
}

/// Reads the sockets that were left on the stack by reason, as the same summary tells it.
pub fn left_on_stack(text: &str) -> BTreeMap<String, u64> {
    counts_of(text, "left on the stack: ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_of_an_agent_are_understood() {
        let text = "socketvirt: accelerating in mode adopt, receive mode unified\nsocketvirt: mode adopt, receive mode unified\n  \
                    pairs      4 seen, 2 accelerated, 1 released\n  \
                    bytes      128 fast, 61 stack (67.9% fast)\n  messages   5 fast, 2 stack (68.3% fast)\n  \
                    left on the stack: bulk 3\n  errors: pairs_full 12, storage_full 1\n";
        let found = deeds(text).expect("a summary");
        assert_eq!((found.pairs, found.adopted, found.released), (4, 2, 1));
        assert_eq!((found.bytes.fast, found.bytes.stack), (128, 61));
        assert_eq!(deeds("socketvirt: keeping the table\n"), None);
        let pairs = |counts: BTreeMap<String, u64>| counts.into_iter().collect::<Vec<_>>();
        let pair = |word: &str, count| (word.to_owned(), count);
        assert_eq!(
            pairs(errors(text)),
            [pair("pairs_full", 12), pair("storage_full", 1)]
        );
        assert_eq!(pairs(left_on_stack(text)), [pair("bulk", 3)]);
        assert!(errors("  pairs 4 seen\n").is_empty());
    }
}
