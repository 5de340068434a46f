//! The machine: QEMU without KVM, with limits, and what it says.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
    sync::mpsc::{self, Receiver, RecvTimeoutError},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use xtask::progress;

use super::{
    Folder,
    kernels::Kernel,
    report::{Event, Outcome, Report},
};

/// Until the first word; emulated machines boot in 6 to 20 seconds.
const BOOT: Duration = Duration::from_mins(3);
/// On top of what a check may take, and between checks.
const GRACE: Duration = Duration::from_mins(1);

/// Two processors on one thread of this machine, so that it stays usable.
const QEMU: &str = "qemu-system-x86_64 -accel tcg,thread=single -smp 2 -m 1536 -display none \
                    -monitor none -nic none -no-reboot";

/// The first kernel that needs it, see [`cpu`].
const NEEDS_CMPXCHG16B: (u32, u32) = (7, 0);

/// A kernel that stops ends the machine. On a busy host the emulated timer is late, which a kernel
/// takes for a broken one and panics, unless it is told not to check.
const COMMAND_LINE: &str = "console=ttyS0 loglevel=4 panic=-1 oops=panic no_timer_check";

/// The processor. QEMU 7.2 computes the flags of `cmpxchg16b` from what an older instruction left,
/// and an interrupt at that moment brings the kernel down with a double fault. Older kernels do
/// without this instruction, which is in the fast path of their allocator; newer ones allocate
/// nothing for socket storage without it (`kmalloc_nolock`, mm/slub.c).
fn cpu(kernel: &Kernel) -> &'static str {
    if kernel.upstream < NEEDS_CMPXCHG16B {
        "max,-cx16"
    } else {
        "max"
    }
}

/// QEMU, ended with this value.
struct Machine(Child);

impl Drop for Machine {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Boots a kernel, lets it check everything, and says what it found.
pub fn boot(folder: &Folder, kernel: &Kernel, initramfs: &Path) -> Result<Report> {
    let console = folder
        .below("logs")?
        .join(format!("{}.log", kernel.version));
    // It ends with this program, however that ends.
    let mut command = Command::new("setpriv");
    command
        .args(["--pdeathsig", "KILL", "nice", "-n", "10"])
        .args(QEMU.split_whitespace())
        .args(["-cpu", cpu(kernel)])
        .arg("-serial")
        .arg(format!("file:{}", console.display()))
        .args(["-serial", "stdio"])
        .arg("-kernel")
        .arg(&kernel.image)
        .arg("-initrd")
        .arg(initramfs)
        .args(["-append", COMMAND_LINE])
        .stdin(Stdio::null())
        .stdout(Stdio::piped());
    let mut machine = Machine(command.spawn().context("starting QEMU")?);
    let out = machine.0.stdout.take().context("reading from QEMU")?;
    let (sender, events) = mpsc::channel();
    let reader = thread::spawn(move || {
        for line in BufReader::new(out).lines().map_while(Result::ok) {
            // The firmware and a kernel that stops may write between.
            if let Ok(event) = serde_json::from_str(line.trim())
                && sender.send(event).is_err()
            {
                return;
            }
        }
    });

    let mut report = Report::new(&kernel.version);
    if let Err(stopped) = follow(&events, &mut report) {
        let reason = stopped.reason(&console);
        report.add_failure(&stopped.at, reason);
    }
    drop(machine);
    // Ends with the machine's output.
    let _ = reader.join();
    Ok(report)
}

/// The machine fell silent.
struct Stopped {
    at: String,
    late: bool,
}

impl Stopped {
    fn reason(&self, console: &Path) -> String {
        let text = fs::read(console).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let said = text
            .lines()
            .map(str::trim)
            .find(|line| is_grave(line))
            .or_else(|| text.lines().map(str::trim).rfind(|line| !line.is_empty()))
            .unwrap_or("nothing was printed");
        let what = if self.late {
            "it took too long and was ended"
        } else {
            "the machine stopped"
        };
        format!("{what}: {said} (all of it: {})", console.display())
    }
}

/// The kernel's words for the worst.
fn is_grave(line: &str) -> bool {
    ["Oops", "BUG:", "PANIC", "Kernel panic"]
        .iter()
        .any(|word| line.contains(word))
}

fn follow(events: &Receiver<Event>, report: &mut Report) -> Result<(), Stopped> {
    let mut at = String::from("boot");
    let mut deadline = Instant::now() + BOOT;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let event = events.recv_timeout(left).map_err(|error| Stopped {
            at: at.clone(),
            late: error == RecvTimeoutError::Timeout,
        })?;
        match event {
            Event::Features(features) => {
                for (name, value) in &features {
                    progress::note(&format!("{name}: {value}"));
                }
                report.features = features;
                deadline = Instant::now() + GRACE;
            }
            Event::Begin { name, limit } => {
                progress::note(&format!("{name} ..."));
                deadline = Instant::now() + Duration::from_secs(limit) + GRACE;
                at = name;
            }
            Event::Line(line) => progress::note(&format!("    {line}")),
            Event::End(check) => {
                let word = if check.outcome == Outcome::Failed {
                    progress::Style::stderr().red("FAILED: ")
                } else {
                    String::new()
                };
                progress::note(&format!("{}: {word}{}", check.name, check.detail));
                report.checks.push(check);
                deadline = Instant::now() + GRACE;
            }
            Event::Done => return Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_silent_machine_is_named_by_what_it_was_at() {
        let (sender, events) = mpsc::channel();
        sender
            .send(Event::Begin {
                name: "table".into(),
                limit: 1,
            })
            .unwrap();
        drop(sender);
        let mut report = Report::new("6.12");
        let stopped = follow(&events, &mut report).unwrap_err();
        assert_eq!((stopped.at.as_str(), stopped.late), ("table", false));
    }

    #[test]
    fn the_kernels_last_words_are_the_reason() {
        let console = tempfile::NamedTempFile::new().unwrap();
        fs::write(
            console.path(),
            "@@ test\r\n[ 20.1] traps: PANIC: double fault, error_code: 0x0\r\n[ 20.2] CPU: 1\r\n",
        )
        .unwrap();
        let stopped = Stopped {
            at: "table".into(),
            late: false,
        };
        let reason = stopped.reason(console.path());
        assert!(
            reason.starts_with("the machine stopped: [ 20.1] traps: PANIC: double fault"),
            "{reason}"
        );
    }
}
