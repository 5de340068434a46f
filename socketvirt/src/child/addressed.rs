//! Variables that name the process that they are meant for.
//!
//! A service manager executes us and puts our process id into them; who reads
//! them compares it with its own (`sd_listen_fds(3)`, `sd_watchdog_enabled(3)`).
//! They are meant for the command, whose id is not known before the fork.

use std::{
    ffi::{CStr, c_char},
    iter, process,
};

/// The variables whose value is a process id.
const NAMES: [&[u8]; 3] = [b"LISTEN_PID", b"WATCHDOG_PID", b"SYSTEMD_EXEC_PID"];

/// Names the same process as `LISTEN_PID` once more, by the inode of its
/// pidfd. Optional, so it is left out.
const BY_INODE: &[u8] = b"LISTEN_PIDFDID";

/// Digits of a process id, at most, and an end.
const DIGITS: usize = 11;

unsafe extern "C" {
    /// environ(7).
    static mut environ: *const *const c_char;
}

/// The environment of the command where it differs from ours.
pub(super) struct Environment {
    /// `environ` of the command.
    variables: Vec<*const c_char>,
    /// Texts that end in room for a process id, and where that begins.
    texts: Vec<(Vec<u8>, usize)>,
}

// SAFETY: the pointers are to `texts`, which nobody else has, and to our own
// environment, which nobody changes.
unsafe impl Send for Environment {}
// SAFETY: as above.
unsafe impl Sync for Environment {}

impl Environment {
    /// `None` when no variable is addressed to this process.
    pub(super) fn addressed() -> Option<Self> {
        Self::of(&own(), process::id())
    }

    fn of(ours: &[&'static CStr], pid: u32) -> Option<Self> {
        let mut texts = Vec::new();
        let mut variables = Vec::new();
        for variable in ours {
            let (name, value) = split(variable.to_bytes());
            if name == BY_INODE {
                continue;
            }
            if !NAMES.contains(&name) || value != pid.to_string().as_bytes() {
                variables.push(variable.as_ptr());
                continue;
            }
            let digits = name.len() + 1;
            let mut text = [name, b"="].concat();
            text.resize(digits + DIGITS, 0);
            // A moved vector keeps its bytes where they are.
            variables.push(text.as_ptr().cast());
            texts.push((text, digits));
        }
        variables.push(std::ptr::null());
        (!texts.is_empty()).then_some(Self { variables, texts })
    }

    /// Makes it that of the calling process, which is the command before its
    /// program is executed: nothing is allocated.
    pub(super) fn take_effect(&mut self) {
        let pid = process::id();
        for (text, digits) in &mut self.texts {
            write_decimal(pid, &mut text[*digits..]);
        }
        // SAFETY: the new process has one thread. The vector is never dropped
        // before exec, which copies everything.
        unsafe { environ = self.variables.as_ptr() };
    }
}

/// This process's variables.
fn own() -> Vec<&'static CStr> {
    // SAFETY: `environ` is null or a list of texts that a null ends, and
    // nothing in this program changes its environment.
    unsafe {
        let mut at = environ;
        iter::from_fn(|| {
            if at.is_null() || (*at).is_null() {
                return None;
            }
            let text = CStr::from_ptr(*at);
            at = at.add(1);
            Some(text)
        })
        .collect()
    }
}

fn split(variable: &[u8]) -> (&[u8], &[u8]) {
    let end = variable.iter().position(|byte| *byte == b'=');
    let end = end.unwrap_or(variable.len());
    (
        &variable[..end],
        variable.get(end + 1..).unwrap_or_default(),
    )
}

/// Writes a number and a zero byte.
fn write_decimal(number: u32, to: &mut [u8]) {
    let digits = number.checked_ilog10().unwrap_or(0) as usize + 1;
    let mut rest = number;
    for place in to[..digits].iter_mut().rev() {
        *place = b'0' + u8::try_from(rest % 10).unwrap_or(0);
        rest /= 10;
    }
    to[digits] = 0;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(environment: &Environment) -> Vec<String> {
        let end = environment.variables.len() - 1;
        environment.variables[..end]
            .iter()
            // SAFETY: texts of this test, and those that the value owns.
            .map(|text| unsafe { CStr::from_ptr(*text) })
            .map(|text| text.to_str().unwrap().to_owned())
            .collect()
    }

    #[test]
    fn what_names_this_process_names_the_command() {
        let ours = [
            c"PATH=/bin",
            c"LISTEN_PID=77",
            c"LISTEN_FDS=2",
            c"LISTEN_PIDFDID=4711",
            c"WATCHDOG_PID=76",
            c"SYSTEMD_EXEC_PID=77",
            c"odd",
        ];
        let mut environment = Environment::of(&ours, 77).unwrap();
        for (text, digits) in &mut environment.texts {
            write_decimal(4_194_304, &mut text[*digits..]);
        }
        assert_eq!(
            texts(&environment),
            [
                "PATH=/bin",
                "LISTEN_PID=4194304",
                "LISTEN_FDS=2",
                // Meant for another one.
                "WATCHDOG_PID=76",
                "SYSTEMD_EXEC_PID=4194304",
                "odd"
            ]
        );
    }

    #[test]
    fn an_environment_that_names_nobody_stays() {
        assert!(Environment::of(&[c"LISTEN_PID=78", c"A=77"], 77).is_none());
        assert!(!own().is_empty());
    }
}
