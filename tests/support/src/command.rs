//! Running other programs, with errors that show the command line to try by hand.

use std::{
    env,
    io::{self, ErrorKind},
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    sync::OnceLock,
};

use anyhow::{Context as _, Result, ensure};

/// Runs a program to its end; its output goes to standard error, where progress goes.
pub fn run(command: &mut Command) -> Result<()> {
    let status = command
        .stdin(Stdio::null())
        .stdout(io::stderr())
        .status()
        .with_context(|| format!("starting `{}`", line(command)))?;
    ensure!(status.success(), "`{}` failed: {status}", line(command));
    Ok(())
}

/// Runs a program to its end and returns what it printed.
pub fn output(command: &mut Command) -> Result<String> {
    let output = capture(command)?;
    String::from_utf8(output.stdout)
        .with_context(|| format!("the output of `{}` is not UTF-8", line(command)))
}

/// Runs a program to its end and returns what it printed; its standard error is shown as it comes.
pub fn told(command: &mut Command) -> Result<String> {
    let output = command
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("starting `{}`", line(command)))?;
    let status = output.status;
    ensure!(status.success(), "`{}` failed: {status}", line(command));
    String::from_utf8(output.stdout)
        .with_context(|| format!("the output of `{}` is not UTF-8", line(command)))
}

/// Runs a program to its end and returns both of its streams.
pub fn capture(command: &mut Command) -> Result<Output> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("starting `{}`", line(command)))?;
    ensure!(
        output.status.success(),
        "`{}` failed: {}\n{}",
        line(command),
        output.status,
        String::from_utf8_lossy(&output.stderr).trim_end()
    );
    Ok(output)
}

/// Returns a program's output; `None` where the program does not exist or answers with an error.
pub fn answer(command: &mut Command) -> Option<String> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .ok()
        .filter(|output| output.status.success())?;
    String::from_utf8(output.stdout).ok()
}

/// The path of this program. It is asked first thing: a build may replace the file, whose path is the same then.
pub fn this() -> Result<&'static Path> {
    static PATH: OnceLock<PathBuf> = OnceLock::new();
    if PATH.get().is_none() {
        let path = env::current_exe().context("finding this program")?;
        let _ = PATH.set(path);
    }
    PATH.get()
        .map(PathBuf::as_path)
        .context("finding this program")
}

/// True when a program can be started at all.
pub fn exists(program: &str) -> bool {
    let started = Command::new(program)
        .arg("--version")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    !matches!(started, Err(error) if error.kind() == ErrorKind::NotFound)
}

/// The path of a program, also of one in a folder that a user's `PATH` may lack.
pub fn find(program: &str) -> Result<PathBuf> {
    let path = env::var("PATH").unwrap_or_default();
    path.split(':')
        .chain(["/usr/sbin", "/usr/bin", "/sbin", "/bin"])
        .map(|folder| Path::new(folder).join(program))
        .find(|file| file.is_file())
        .with_context(|| format!("{program} is not installed: run `cargo xtask setup`"))
}

/// The command as a shell would take it; words with blanks are quoted.
pub fn line(command: &Command) -> String {
    let quoted = |word: &std::ffi::OsStr| {
        let word = word.to_string_lossy();
        if word.is_empty() || word.contains(char::is_whitespace) {
            format!("'{word}'")
        } else {
            word.into_owned()
        }
    };
    std::iter::once(command.get_program())
        .chain(command.get_args())
        .map(quoted)
        .collect::<Vec<_>>()
        .join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_shows_the_command_and_its_words() {
        let error = output(Command::new("sh").args(["-c", "echo broken >&2; exit 3"]))
            .expect_err("exit status 3");
        let text = format!("{error:#}");
        assert!(text.contains("sh -c 'echo broken >&2; exit 3'"), "{text}");
        assert!(text.contains("exit status: 3"), "{text}");
        assert!(text.ends_with("broken"), "{text}");
    }

    #[test]
    fn a_program_that_is_missing_is_told_from_one_that_fails() {
        assert!(!exists("/nonexistent/program"));
        assert!(exists("false"));
        assert_eq!(answer(&mut Command::new("/nonexistent/program")), None);
        assert_eq!(answer(&mut Command::new("false")), None);
        assert_eq!(
            answer(Command::new("echo").arg("yes")).as_deref(),
            Some("yes\n")
        );
    }
}
