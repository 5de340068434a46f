//! A program on a terminal of its own, as a person would use it.

use std::{
    fs::{File, OpenOptions},
    io::{Read as _, Write as _},
    os::{
        fd::{AsRawFd as _, OwnedFd},
        unix::fs::OpenOptionsExt as _,
    },
    process::{Command, ExitStatus},
    sync::{Arc, Mutex, PoisonError},
    thread,
};

use nix::{
    fcntl::OFlag,
    pty::{grantpt, posix_openpt, ptsname_r, unlockpt},
    sys::{
        signal::Signal,
        termios::{Termios, tcgetattr},
    },
};

use crate::process::{PATIENCE, Process, until};

/// Rows and columns of the terminal.
const SIZE: (u16, u16) = (30, 160);

fn size(terminal: &File) {
    let size = libc::winsize {
        ws_row: SIZE.0,
        ws_col: SIZE.1,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    // SAFETY: the structure lives during the call.
    let sized = unsafe { libc::ioctl(terminal.as_raw_fd(), libc::TIOCSWINSZ, &raw const size) };
    assert_eq!(sized, 0, "a size");
}

/// A terminal with a program on it.
#[derive(Debug)]
pub struct Terminal {
    master: File,
    slave: File,
    before: Termios,
    printed: Arc<Mutex<Printed>>,
    process: Process,
}

/// What a program has printed.
struct Printed {
    bytes: Vec<u8>,
    /// Reads the codes of the terminal.
    screen: vt100::Parser,
}

impl std::fmt::Debug for Printed {
    fn fmt(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        to.write_str(&self.screen.screen().contents())
    }
}

impl Terminal {
    /// Starts a command on a new terminal.
    pub fn start(command: &mut Command) -> Self {
        let master = posix_openpt(OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC);
        let master = master.expect("a terminal");
        grantpt(&master).expect("grant");
        unlockpt(&master).expect("unlock");
        let slave = OpenOptions::new()
            .read(true)
            .write(true)
            .custom_flags(libc::O_NOCTTY)
            .open(ptsname_r(&master).expect("its name"))
            .expect("its other end");
        let master = File::from(OwnedFd::from(master));
        size(&master);
        let before = tcgetattr(&slave).expect("its settings");
        let end = || slave.try_clone().expect("a descriptor");
        command.stdin(end()).stdout(end()).stderr(end());
        let printed = Arc::new(Mutex::new(Printed {
            bytes: Vec::new(),
            screen: vt100::Parser::new(SIZE.0, SIZE.1, 0),
        }));
        let (mut from, to) = (
            master.try_clone().expect("a descriptor"),
            Arc::clone(&printed),
        );
        thread::spawn(move || {
            let mut piece = [0; 4096];
            // The end of the terminal is an error.
            while let Ok(count @ 1..) = from.read(&mut piece) {
                let mut printed = to.lock().unwrap_or_else(PoisonError::into_inner);
                printed.bytes.extend_from_slice(&piece[..count]);
                printed.screen.process(&piece[..count]);
            }
        });
        Self {
            master,
            slave,
            before,
            printed,
            process: Process::printing_elsewhere(command),
        }
    }

    /// The text on its screen.
    pub fn seen(&self) -> String {
        let printed = self.printed.lock().unwrap_or_else(PoisonError::into_inner);
        printed.screen.screen().contents()
    }

    /// All that was printed so far, with the codes of the terminal.
    fn printed(&self) -> String {
        let printed = self.printed.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&printed.bytes).into_owned()
    }

    /// Types.
    pub fn type_keys(&mut self, keys: &str) {
        self.master.write_all(keys.as_bytes()).expect("type");
    }

    /// Sends the program a signal.
    pub fn signal(&self, signal: Signal) {
        self.process.signal(signal);
    }

    /// Waits for the program's end. The screen and the settings are those of before.
    #[track_caller]
    pub fn finish(mut self) -> ExitStatus {
        let status = self.process.wait(PATIENCE).expect("it does not end");
        until("the screen is given back", || {
            let printed = self.printed();
            let last = |code: &str| printed.rfind(code);
            last("\x1b[?1049l") > last("\x1b[?1049h") && last("\x1b[?25h") > last("\x1b[?25l")
        });
        let after = tcgetattr(&self.slave).expect("its settings");
        assert!(after == self.before, "{after:?}");
        status
    }
}
