//! Steps of many calls: until nothing goes in, until nothing is left.

use std::{
    thread,
    time::{Duration, Instant},
};

use anyhow::Result;
use nix::errno::Errno;

use super::{
    perform::{Task, perform},
    play::Player,
    step::{By, Call, End, Flag},
};
use crate::net;

/// A socket into which nothing goes for so long is full: longer than an
/// acknowledgement is delayed and than the first probe of a closed window
/// waits, which both can make room.
const FULL: Duration = Duration::from_millis(250);

impl Player<'_> {
    /// TCP promises no number of bytes that go in, so it is not written down.
    pub(super) fn fill(&mut self, end: End, fd: i32) -> String {
        const LIMIT: u64 = 64 << 20;
        let begun = self.wire.side(end).sent;
        let mut moved = Instant::now();
        while self.wire.side(end).sent - begun < LIMIT {
            let call = Call::Send(4096, By::Plain, vec![Flag::Dontwait]);
            let bytes = self.bytes(end, &call);
            let task = Task {
                fd,
                epoll: -1,
                call,
                bytes,
            };
            match perform(&task).answer {
                Ok(count) => {
                    self.wire.side_mut(end).sent += count as u64;
                    moved = Instant::now();
                }
                Err(Errno::EAGAIN) if moved.elapsed() > FULL => return "full".to_owned(),
                Err(Errno::EAGAIN) => thread::sleep(Duration::from_millis(2)),
                Err(errno) => return format!("{errno:?}"),
            }
        }
        "never full".to_owned()
    }

    pub(super) fn drain(&mut self, end: End, fd: i32) -> Result<String> {
        let flags = vec![Flag::Dontwait];
        let call = Call::Recv(64 << 10, By::Plain, flags);
        let task = Task {
            fd,
            epoll: -1,
            call: call.clone(),
            bytes: Vec::new(),
        };
        let mut exact = "exact";
        let mut quiet = false;
        let ended = loop {
            let done = perform(&task);
            match done.answer {
                Ok(0) => break "the end".to_owned(),
                Ok(_) => {
                    if !self.account(end, &call, &done).ends_with("exact") {
                        exact = "WRONG";
                    }
                    quiet = false;
                }
                Err(Errno::EAGAIN) if !quiet => {
                    self.settle()?;
                    quiet = true;
                }
                Err(Errno::EAGAIN) if self.more_to_come(end) => quiet = false,
                Err(errno) => break format!("{errno:?}"),
            }
        };
        let all = self.left(end) == 0;
        let all = if all { "all" } else { "not all" };
        Ok(format!("{all} {exact}, then {ended}"))
    }

    /// Bytes that were sent to `end` and not received.
    pub(super) fn left(&self, end: End) -> u64 {
        let sent = self.wire.side(end.other()).sent;
        sent.saturating_sub(self.wire.side(end).read)
    }

    /// A window that opens again lets more bytes in, after a time.
    fn more_to_come(&self, end: End) -> bool {
        let Some(fd) = self.wire.fd(end) else {
            return false;
        };
        self.left(end) > 0 && net::wait(fd, libc::POLLIN, 400).is_ok_and(|ready| ready != 0)
    }
}
