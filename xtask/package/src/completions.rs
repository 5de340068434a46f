//! Completions of the command line, for the shells whose places Debian and Fedora agree on.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use clap_complete::{Shell, generate};
use socketvirt::cli;

/// A shell, and the name that its file must have.
const SHELLS: [(Shell, &str); 3] = [
    (Shell::Bash, "socketvirt"),
    (Shell::Zsh, "_socketvirt"),
    (Shell::Fish, "socketvirt.fish"),
];

/// Writes them, each in a folder named after its shell, and returns their paths.
pub fn write(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut written = Vec::new();
    for (shell, name) in SHELLS {
        let of_shell = folder.join(shell.to_string());
        fs::create_dir_all(&of_shell).with_context(|| format!("making {}", of_shell.display()))?;
        let path = of_shell.join(name);
        let mut text = Vec::new();
        generate(shell, &mut cli::command(), "socketvirt", &mut text);
        fs::write(&path, text).with_context(|| format!("writing {}", path.display()))?;
        written.push(path);
    }
    Ok(written)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_shell_completes_commands() {
        let folder = tempfile::tempdir().unwrap();
        for path in write(folder.path()).unwrap() {
            let text = fs::read_to_string(&path).unwrap();
            for command in cli::command()
                .get_subcommands()
                .filter(|one| !one.is_hide_set())
            {
                assert!(text.contains(command.get_name()), "{}", path.display());
            }
        }
    }
}
