//! Printing that decides nothing: whatever happens to the reader, a command
//! does its work and ends with its own status.
//!
//! `println!` and `eprintln!` panic when they cannot write, and wait for ever
//! on a pipe that nobody empties. Nothing in this program uses them.

use std::{
    fmt, io,
    os::fd::{AsFd as _, BorrowedFd},
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, PollTimeout, poll},
    unistd,
};

/// The longest wait of a message for room, once in the life of a process.
const PATIENCE: Duration = Duration::from_secs(1);

/// Bytes that a pipe with any room takes at once (`PIPE_BUF`): writing no more than
/// this after poll(2) does not wait.
const PIECE: usize = 4096;

/// Standard error had no room for [`PATIENCE`].
static STUCK: AtomicBool = AtomicBool::new(false);

/// The fate of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Printed {
    /// All of it was written.
    All,
    /// Nobody reads any more.
    ReaderGone,
    /// Something else came first.
    Stopped,
}

/// Tells the operator something, on standard error. A message that cannot be
/// written is lost.
pub fn tell(message: fmt::Arguments<'_>) {
    let text = message.to_string();
    // Nobody is left to be told.
    let _lost = write_in_time(io::stderr().as_fd(), text.as_bytes());
}

/// Tells the operator one line, with the words of `format!`: an event of the level
/// `info`, which [`mod@crate::log`] prints.
#[macro_export]
macro_rules! tell {
    ($($words:tt)*) => {
        ::tracing::info!($($words)*)
    };
}

/// Writes to standard output, as long as it takes.
///
/// # Errors
/// When it cannot be written. A reader that has gone is no error.
pub fn print(text: &str) -> io::Result<Printed> {
    write_all(io::stdout().as_fd(), text.as_bytes(), None)
}

/// [`print()`], until `stop` can be read.
///
/// # Errors
/// As [`print()`].
pub fn print_unless(text: &str, stop: BorrowedFd<'_>) -> io::Result<Printed> {
    write_all(io::stdout().as_fd(), text.as_bytes(), Some(stop))
}

/// Waits for `pause`, or until nobody reads standard output any more, which is
/// true then, or until `stop` can be read, which is true too.
#[must_use]
pub fn ends_within(pause: Duration, stop: Option<BorrowedFd<'_>>) -> bool {
    let deadline = Instant::now() + pause;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let out = io::stdout();
        // Without a flag poll(2) still tells that there is no reader.
        let mut ready = vec![PollFd::new(out.as_fd(), PollFlags::empty())];
        ready.extend(stop.map(|stop| PollFd::new(stop, PollFlags::POLLIN)));
        match poll(&mut ready, timeout(left)) {
            Ok(0) if left.is_zero() => return false,
            Ok(0) | Err(Errno::EINTR) => {}
            // Neither is a descriptor that poll refuses a reason to go on.
            Ok(_) | Err(_) => return true,
        }
    }
}

/// Rounded up, so that nobody spins through the last millisecond.
fn timeout(left: Duration) -> PollTimeout {
    let milliseconds = left.as_nanos().div_ceil(1_000_000);
    let milliseconds = i32::try_from(milliseconds).unwrap_or(i32::MAX);
    PollTimeout::try_from(milliseconds).unwrap_or(PollTimeout::MAX)
}

fn write_all(
    to: BorrowedFd<'_>,
    mut text: &[u8],
    stop: Option<BorrowedFd<'_>>,
) -> io::Result<Printed> {
    while !text.is_empty() {
        let mut ready = vec![PollFd::new(to, PollFlags::POLLOUT)];
        ready.extend(stop.map(|stop| PollFd::new(stop, PollFlags::POLLIN)));
        match poll(&mut ready, PollTimeout::NONE) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno.into()),
        }
        if ready.get(1).and_then(PollFd::any) == Some(true) {
            return Ok(Printed::Stopped);
        }
        if ready[0].any() != Some(true) {
            continue;
        }
        match unistd::write(to, piece(text)) {
            Ok(written) => text = &text[written..],
            Err(Errno::EINTR | Errno::EAGAIN) => {}
            Err(Errno::EPIPE) => return Ok(Printed::ReaderGone),
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(Printed::All)
}

/// Writes what can be written within [`PATIENCE`].
fn write_in_time(to: BorrowedFd<'_>, mut text: &[u8]) -> Result<(), Errno> {
    let patience = if STUCK.load(Ordering::Relaxed) {
        Duration::ZERO
    } else {
        PATIENCE
    };
    let deadline = Instant::now() + patience;
    while !text.is_empty() {
        let left = deadline.saturating_duration_since(Instant::now());
        let mut ready = [PollFd::new(to, PollFlags::POLLOUT)];
        match poll(&mut ready, timeout(left)) {
            Ok(0) if left.is_zero() => {
                STUCK.store(true, Ordering::Relaxed);
                return Err(Errno::EAGAIN);
            }
            Ok(0) | Err(Errno::EINTR) => continue,
            Ok(_) => {}
            Err(errno) => return Err(errno),
        }
        match unistd::write(to, piece(text)) {
            Ok(written) => text = &text[written..],
            // Somebody else was quicker to use the room.
            Err(Errno::EINTR | Errno::EAGAIN) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

fn piece(text: &[u8]) -> &[u8] {
    &text[..text.len().min(PIECE)]
}

#[cfg(test)]
mod tests {
    use std::{fs::File, io::Write as _};

    use super::*;

    #[test]
    fn a_reader_that_has_gone_is_no_error() {
        let (reader, writer) = io::pipe().unwrap();
        drop(reader);
        let printed = write_all(writer.as_fd(), b"text", None).unwrap();
        assert_eq!(printed, Printed::ReaderGone);
        assert_eq!(write_in_time(writer.as_fd(), b"text"), Err(Errno::EPIPE));
    }

    #[test]
    fn a_full_disk_is_an_error_of_what_is_asked_for_alone() {
        let full = File::options().write(true).open("/dev/full").unwrap();
        assert!(write_all(full.as_fd(), b"text", None).is_err());
        assert_eq!(write_in_time(full.as_fd(), b"text"), Err(Errno::ENOSPC));
    }

    #[test]
    fn a_full_pipe_holds_nobody_up() {
        let (_reader, writer) = io::pipe().unwrap();
        let text = vec![b'.'; 1 << 20];
        assert_eq!(write_in_time(writer.as_fd(), &text), Err(Errno::EAGAIN));
        let (stop, mut stopper) = io::pipe().unwrap();
        stopper.write_all(b"!").unwrap();
        let printed = write_all(writer.as_fd(), &text, Some(stop.as_fd())).unwrap();
        assert_eq!(printed, Printed::Stopped);
    }

    #[test]
    fn what_is_read_arrives_whole() {
        let (mut reader, writer) = io::pipe().unwrap();
        let text: Vec<u8> = (0..200_000_u32)
            .map(|number| number.to_le_bytes()[0])
            .collect();
        let sent = text.clone();
        let writing = std::thread::spawn(move || write_all(writer.as_fd(), &sent, None).unwrap());
        let mut read = Vec::new();
        io::Read::read_to_end(&mut reader, &mut read).unwrap();
        assert_eq!(writing.join().unwrap(), Printed::All);
        assert!(read == text);
    }
}
