//! The terminal while `top` has it.

use std::{
    io::{self, PipeWriter, Read as _, Write as _},
    os::fd::{AsFd as _, BorrowedFd},
    sync::mpsc::{self, Sender},
    time::Duration,
};

use libc::SIGWINCH;
use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::signalfd::{SignalFd, siginfo},
};
use ratatui::{
    DefaultTerminal,
    crossterm::event::{self, Event, KeyEvent, KeyEventKind},
};

use super::{
    Update,
    draw::draw,
    state::{Asked, State},
};
use crate::{
    table::TableError,
    thread::{Panicked, Thread},
    traffic::{header::Header, look::Looker, rates::between},
};

/// The first rates come soon, whatever the interval is.
const SOON: Duration = Duration::from_millis(300);

/// The screen cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum LiveError {
    /// The terminal.
    #[error("the terminal failed: {0}; `--json` needs none")]
    Terminal(#[from] io::Error),
    /// The table.
    #[error(transparent)]
    Table(#[from] TableError),
    /// The thread that looks.
    #[error(transparent)]
    Panicked(#[from] Panicked),
}

/// The screen, which is as it was before once this value is dropped.
struct Screen(DefaultTerminal);

impl Screen {
    /// Takes the whole screen. A panic gives it back before it prints.
    fn open() -> io::Result<Self> {
        ratatui::try_init()
            .map(Self)
            .inspect_err(|_| ratatui::restore())
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // A terminal that is gone has nothing to be restored.
        let _gone = ratatui::try_restore();
    }
}

/// Shows traffic until a key, or a signal, ends it. SIGWINCH, if it is among the signals,
/// draws again.
///
/// # Errors
/// When the terminal fails, or the table cannot be read.
pub fn show(
    mut state: State,
    looker: Looker,
    header: impl FnMut() -> Header + Send + 'static,
    signals: &SignalFd,
    colour: bool,
) -> Result<(), LiveError> {
    let (send, news) = mpsc::channel();
    let (woken, wake) = io::pipe()?;
    let teller = Teller { send, wake };
    let mut screen = Screen::open()?;
    let looks = looks(looker, header, state.interval, teller.another()?)?;
    keys(teller)?;
    loop {
        screen.0.draw(|frame| draw(frame, &mut state, colour))?;
        // All of it each time: what comes again and again shall not keep the rest waiting.
        let [signal, terminal_gone, told, looks_ended] =
            wait(signals.as_fd(), woken.as_fd(), looks.end())?;
        if signal {
            let read = signals.read_signal().map_err(io::Error::from)?;
            let is_size = |info: siginfo| info.ssi_signo == SIGWINCH.cast_unsigned();
            if !read.is_some_and(is_size) {
                return Ok(());
            }
        }
        if told {
            let _read = (&woken).read(&mut [0; 64])?;
            for one in news.try_iter() {
                match one {
                    News::Look(update) => state.take(*update),
                    News::Key(key) if state.key(key) == Asked::End => return Ok(()),
                    News::Key(_) => {}
                }
            }
        }
        if terminal_gone {
            return Ok(());
        }
        // Only an error, or a panic, ends the looks.
        if looks_ended {
            break;
        }
    }
    drop(screen);
    Ok(looks.join()??)
}

/// What the threads tell.
enum News {
    Look(Box<Update>),
    Key(KeyEvent),
}

/// Tells the screen something, and wakes it.
struct Teller {
    send: Sender<News>,
    wake: PipeWriter,
}

impl Teller {
    fn another(&self) -> io::Result<Self> {
        Ok(Self {
            send: self.send.clone(),
            wake: self.wake.try_clone()?,
        })
    }

    /// False when the screen has gone.
    fn tell(&mut self, news: News) -> bool {
        self.send.send(news).is_ok() && self.wake.write_all(b"!").is_ok()
    }
}

/// Looks in a thread of its own, so that keys never wait for a look.
fn looks(
    mut looker: Looker,
    mut header: impl FnMut() -> Header + Send + 'static,
    interval: Duration,
    mut teller: Teller,
) -> io::Result<Thread<Result<(), TableError>>> {
    let work = move || -> Result<(), TableError> {
        let mut before = looker.look()?;
        let mut pause = interval.min(SOON);
        loop {
            std::thread::sleep(looker.pause(pause));
            pause = interval;
            let after = looker.look()?;
            let update = Box::new(Update {
                header: header(),
                rates: between(&before, &after),
            });
            before = after;
            if !teller.tell(News::Look(update)) {
                return Ok(());
            }
        }
    };
    Thread::start("looks", work)
}

/// Reads keys in a thread of its own: half a key waits there for its other half, and
/// signals do not wait for it.
fn keys(mut teller: Teller) -> io::Result<()> {
    let work = move || {
        while let Ok(read) = event::read() {
            if let Event::Key(key) = read
                && key.kind != KeyEventKind::Release
                && !teller.tell(News::Key(key))
            {
                return;
            }
        }
    };
    // It ends with the program.
    Thread::start("keys", work).map(drop)
}

/// Waits, and says what has ended that: a signal, the loss of the terminal, news, the end
/// of the looks.
fn wait(
    signals: BorrowedFd<'_>,
    news: BorrowedFd<'_>,
    looks: BorrowedFd<'_>,
) -> io::Result<[bool; 4]> {
    let input = io::stdin();
    let mut ready = [
        PollFd::new(signals, PollFlags::POLLIN),
        // Keys are read elsewhere; that there is no terminal any more is told all the same.
        PollFd::new(input.as_fd(), PollFlags::empty()),
        PollFd::new(news, PollFlags::POLLIN),
        PollFd::new(looks, PollFlags::POLLIN),
    ];
    match poll(&mut ready, PollTimeout::NONE) {
        Err(Errno::EINTR) => return Ok([false; 4]),
        Err(errno) => return Err(errno.into()),
        Ok(_) => {}
    }
    Ok(ready.map(|fd| fd.any().unwrap_or(true)))
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    #[ignore = "panics on a terminal, for the test below"]
    fn panic_on_the_screen() {
        let _screen = Screen::open().unwrap();
        panic!("on purpose");
    }

    #[test]
    fn a_panic_gives_the_screen_back_before_it_prints() {
        let own = std::env::current_exe().unwrap();
        let test = "top::live::tests::panic_on_the_screen";
        let command = format!("{} --exact {test} --ignored --nocapture", own.display());
        // script(1) gives it a terminal.
        let output = Command::new("script")
            .args(["-qec", &command, "/dev/null"])
            .env("TERM", "xterm")
            .output()
            .unwrap();
        let seen = String::from_utf8_lossy(&output.stdout).into_owned();
        let at = |text: &str| seen.find(text).unwrap_or_else(|| panic!("{text}: {seen}"));
        assert!(at("\x1b[?1049h") < at("\x1b[?1049l"), "{seen}");
        assert!(at("\x1b[?1049l") < at("on purpose"), "{seen}");
    }
}
