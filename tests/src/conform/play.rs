//! Plays a scenario and writes down what each of its calls answered.

use std::{
    io::Read as _,
    net::{Ipv4Addr, SocketAddr},
    os::fd::{AsFd as _, AsRawFd as _, OwnedFd},
    os::unix::net::UnixStream,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use nix::{
    errno::Errno,
    fcntl::{FcntlArg, OFlag, fcntl},
    sys::{
        socket::{
            AddressFamily, Backlog, SockFlag, SockProtocol, SockType, SockaddrStorage, accept4,
            bind, connect, listen, socket,
        },
        wait::waitpid,
    },
    unistd::{ForkResult, alarm, fork},
};

use super::{
    pass,
    perform::{Done, Task, perform},
    reach::{self, State},
    step::{By, Call, End, Flag, Opt, Place, Scenario, Step, Way},
    sys::{self, word},
    wire::{RECONNECTED, Wire, own},
    worker::Worker,
};
use crate::workload::net;

/// Seconds for the steps of a scenario: all of their waits have shorter bounds.
const STEPS: u32 = 12;

/// A socket into which nothing goes for so long is full: longer than an
/// acknowledgement is usually delayed, which can make the send buffer grow.
const FULL: Duration = Duration::from_millis(100);

/// What a scenario did.
#[derive(Debug, Default)]
pub struct Played {
    /// A line a step, and one for each call that returned later.
    pub transcript: Vec<String>,
    /// Why the connection was kept on the stack.
    pub kept_off: Option<String>,
    /// Bytes that were redirected, after the state was reached.
    pub fast: u64,
}

/// A scenario at work.
struct Player<'a> {
    wire: Wire,
    state: State,
    table: Option<&'a str>,
    asleep: Vec<Worker>,
    played: Played,
    /// Told of every line at once.
    tell: &'a mut dyn FnMut(&str),
}

/// Plays it. Each line is told as soon as it is known, because a call may not
/// come back.
pub(super) fn play(
    scenario: &Scenario,
    state: State,
    table: Option<&str>,
    tell: &mut dyn FnMut(&str),
) -> Result<Played> {
    let options: Vec<_> = scenario
        .steps
        .iter()
        .filter_map(|step| match step {
            Step::Listen(opt, value) => Some((*opt, *value)),
            _ => None,
        })
        .collect();
    let (listening, addr) = listener(&options)?;
    let mut player = Player {
        wire: Wire::new(Some(listening), addr)?,
        state,
        table,
        asleep: Vec::new(),
        played: Played::default(),
        tell,
    };
    if !scenario.opens() {
        open(&mut player.wire)?;
        if !scenario.reaches() {
            player.reach()?;
        }
    }
    for (index, step) in scenario.steps.iter().enumerate() {
        match step {
            Step::Listen(..) => {}
            Step::Reach => player.reach()?,
            Step::On(end, place, call) => player.step(index, step, *end, *place, call)?,
        }
    }
    let left: Vec<_> = player.asleep.iter().map(|one| one.step).collect();
    if !left.is_empty() {
        player.line(format!("still asleep: {left:?}"));
    }
    let fast = [End::A, End::B].map(|end| player.wire.side(end).fast);
    player.played.fast = fast.iter().sum();
    Ok(player.played)
}

/// Listens on a port of its own.
pub(super) fn listener(options: &[(Opt, i32)]) -> Result<(OwnedFd, SocketAddr)> {
    let fd = new_socket()?;
    for (opt, value) in options {
        sys::set(fd.as_raw_fd(), *opt, *value).with_context(|| format!("listener {opt}"))?;
    }
    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    bind(fd.as_raw_fd(), &SockaddrStorage::from(any)).context("bind")?;
    listen(&fd, Backlog::new(16).context("backlog")?).context("listen")?;
    let addr = net::local_address(fd.as_fd())?;
    Ok((fd, addr))
}

fn new_socket() -> Result<OwnedFd> {
    let fd = socket(
        AddressFamily::Inet,
        SockType::Stream,
        SockFlag::SOCK_CLOEXEC,
        SockProtocol::Tcp,
    );
    let fd = fd.context("socket")?;
    sys::set(fd.as_raw_fd(), Opt::Nodelay, 1).context("TCP_NODELAY")?;
    Ok(fd)
}

/// `a` connects, `b` accepts.
pub(super) fn open(wire: &mut Wire) -> Result<()> {
    let fd = new_socket()?;
    connect(fd.as_raw_fd(), &SockaddrStorage::from(wire.addr)).context("connect")?;
    net::set_nonblocking(&fd)?;
    wire.side_mut(End::A).fd = Some(fd);
    accept(wire, End::B).context("accept")
}

fn accept(wire: &mut Wire, end: End) -> Result<()> {
    let listener = wire.listener.as_ref().context("no listener")?;
    let fd = accept4(
        listener.as_raw_fd(),
        SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK,
    )?;
    let fd = own(usize::try_from(fd).context("a descriptor")?)?;
    sys::set(fd.as_raw_fd(), Opt::Nodelay, 1)?;
    wire.side_mut(end).fd = Some(fd);
    Ok(())
}

impl Player<'_> {
    fn line(&mut self, text: String) {
        (self.tell)(&text);
        self.played.transcript.push(text);
    }

    fn reach(&mut self) -> Result<()> {
        self.settle()?;
        self.played.kept_off = reach::reach(&mut self.wire, self.state, self.table)?;
        self.wire.settle();
        self.wire.count_from_here();
        // From here on nothing takes long.
        alarm::set(STEPS);
        Ok(())
    }

    fn step(
        &mut self,
        index: usize,
        step: &Step,
        end: End,
        place: Place,
        call: &Call,
    ) -> Result<()> {
        let left = self.left(end);
        let result = match self.answer(index, end, place, call)? {
            Some(result) => result,
            None => "sleeps".to_owned(),
        };
        // What it leaves unread decides how a close ends.
        let closes = matches!(call, Call::Close | Call::Reset | Call::Disconnect);
        let unread = if closes && left > 0 {
            " (unread bytes)"
        } else {
            ""
        };
        self.line(format!("{index}: {step} -> {result}{unread}"));
        self.settle()
    }

    /// Makes a call; `None` when it sleeps.
    fn answer(
        &mut self,
        index: usize,
        end: End,
        place: Place,
        call: &Call,
    ) -> Result<Option<String>> {
        if let Call::Connect(size) = call {
            return self.connect(end, *size).map(Some);
        }
        if let Call::Accept = call {
            let answer = accept(&mut self.wire, end);
            return Ok(Some(
                answer.map_or_else(|e| format!("{e:#}"), |()| "0".to_owned()),
            ));
        }
        let Some(fd) = self.wire.raw(end) else {
            return Ok(Some("no socket".to_owned()));
        };
        let task = Task {
            fd,
            epoll: self.wire.side(end).epoll.as_raw_fd(),
            call: call.clone(),
            bytes: self.bytes(end, call),
        };
        match call {
            Call::Close | Call::Reset => {
                if *call == Call::Reset {
                    sys::set(fd, Opt::Linger, 0)?;
                }
                self.wire.side_mut(end).fd = None;
                self.wire.side_mut(end.other()).end_due = true;
                return Ok(Some("done".to_owned()));
            }
            Call::Block | Call::Nonblock => {
                let on = *call == Call::Nonblock;
                let flags = if on {
                    OFlag::O_NONBLOCK
                } else {
                    OFlag::empty()
                };
                let fd = self.wire.fd(end).context("an end")?;
                fcntl(fd, FcntlArg::F_SETFL(OFlag::O_RDWR | flags)).context("F_SETFL")?;
                self.wire.side_mut(end).nonblocking = on;
                return Ok(Some("done".to_owned()));
            }
            Call::Dup => {
                let copy = self.wire.fd(end).context("an end")?.try_clone_to_owned()?;
                self.wire.side_mut(end).fd = Some(copy);
                return Ok(Some("done".to_owned()));
            }
            Call::Pass => {
                let fd = self.wire.side_mut(end).fd.take().context("an end")?;
                self.wire.side_mut(end).fd = Some(pass::through(fd)?);
                return Ok(Some("done".to_owned()));
            }
            Call::Fill => return Ok(Some(self.fill(end, fd))),
            Call::Drain => return self.drain(end, fd).map(Some),
            Call::Signal(restart) => return self.signal(end, *restart).map(Some),
            Call::Disconnect => return Ok(Some(self.disconnect(end, fd))),
            Call::Outq => return Ok(Some(outq(fd))),
            Call::Info | Call::Counters => {
                let info = self.wire.info(end).context("TCP_INFO")?;
                let text = if *call == Call::Info {
                    sys::state(info.state).to_owned()
                } else {
                    let since = self.wire.side(end).since;
                    let sent = info.sent - since.0;
                    format!("sent {sent} received {}", info.received - since.1)
                };
                return Ok(Some(text));
            }
            Call::Watch(_) | Call::Rearm => {
                return Ok(Some(pass::watch(self.wire.side_mut(end), call)));
            }
            _ => {}
        }
        let done = match place {
            Place::Here => {
                let worker = Worker::start(index, task)?;
                worker.rest()?;
                let done = if worker.asleep() { None } else { worker.wait() };
                match done {
                    Some(done) => done,
                    None => {
                        self.asleep.push(worker);
                        return Ok(None);
                    }
                }
            }
            Place::Await => match Worker::start(index, task)?.wait() {
                Some(done) => done,
                None => return Ok(Some("never returns".to_owned())),
            },
            Place::Fork => forked(&task)?,
            Place::Handover => {
                let fd = self.wire.side_mut(end).fd.take().context("an end")?;
                let (done, fd) = pass::handover(fd, &task)?;
                self.wire.side_mut(end).fd = Some(fd);
                done
            }
        };
        Ok(Some(self.account(end, call, &done)))
    }

    /// The bytes that a send sends.
    fn bytes(&self, end: End, call: &Call) -> Vec<u8> {
        let Call::Send(size, ..) = call else {
            return Vec::new();
        };
        let side = self.wire.side(end);
        let mut bytes = vec![0; *size];
        side.content.fill(side.sent, &mut bytes);
        bytes
    }

    /// Counts what a call has moved and puts its answer into words.
    fn account(&mut self, end: End, call: &Call, done: &Done) -> String {
        let count = done.answer.unwrap_or(0);
        let mut text = word(done.answer);
        match call {
            Call::Send(_, _, flags) => {
                let closed = self.wire.side(end.other()).fd.is_none();
                let side = self.wire.side_mut(end);
                side.sent += count as u64;
                side.holds = flags.contains(&Flag::More) || side.holds && count == 0;
                side.reset_due |= closed && count > 0;
            }
            Call::Recv(_, _, flags) if count > 0 => {
                let peek = flags.contains(&Flag::Peek);
                if done.data.is_empty() {
                    self.wire.side_mut(end).read += count as u64;
                } else {
                    text = self.wire.judge(end, &done.data, !peek);
                }
            }
            Call::Shut(_) if done.answer.is_ok() => {
                if !matches!(call, Call::Shut(Way::Read)) {
                    self.wire.side_mut(end.other()).end_due = true;
                }
            }
            Call::Set(Opt::Cork, value) => self.wire.side_mut(end).holds = *value != 0,
            _ => {}
        }
        if !done.note.is_empty() {
            text = format!("{text} {}", done.note);
        }
        text
    }

    /// Waits until nothing is under way and every sleeping call sleeps, and
    /// notes those that have returned, in the order of their steps.
    fn settle(&mut self) -> Result<()> {
        let mut returned = Vec::new();
        loop {
            self.wire.settle();
            let before = returned.len();
            let mut asleep = Vec::new();
            for worker in std::mem::take(&mut self.asleep) {
                worker.rest()?;
                let done = if worker.asleep() { None } else { worker.wait() };
                match done {
                    Some(done) => returned.push((worker, done)),
                    None => asleep.push(worker),
                }
            }
            self.asleep = asleep;
            if returned.len() == before {
                break;
            }
        }
        returned.sort_by_key(|(worker, _)| worker.step);
        for (worker, done) in returned {
            let end = self.end_of(&worker);
            let text = self.account(end, &worker.task.call, &done);
            self.line(format!("    {} wakes -> {text}", worker.step));
        }
        Ok(())
    }

    /// Whose call it is. Descriptors may have been replaced since, the epoll
    /// ones never are.
    fn end_of(&self, worker: &Worker) -> End {
        let of_a = self.wire.side(End::A).epoll.as_raw_fd() == worker.task.epoll;
        if of_a { End::A } else { End::B }
    }

    fn signal(&mut self, end: End, restart: bool) -> Result<String> {
        let last = self.asleep.iter().rev().find(|one| self.end_of(one) == end);
        match last {
            Some(worker) => {
                worker.signal(restart)?;
                Ok(format!("to {}", worker.step))
            }
            None => Ok("to nobody".to_owned()),
        }
    }

    /// How much goes in is no promise of TCP's, so it is not written down.
    fn fill(&mut self, end: End, fd: i32) -> String {
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

    fn drain(&mut self, end: End, fd: i32) -> Result<String> {
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
    fn left(&self, end: End) -> u64 {
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

    fn disconnect(&mut self, end: End, fd: i32) -> String {
        let unspec = libc::sockaddr {
            sa_family: 0,
            sa_data: [0; 14],
        };
        let length = libc::socklen_t::try_from(size_of_val(&unspec)).unwrap_or(0);
        // SAFETY: pointer and length describe the local address.
        let answer = sys::of(unsafe { libc::connect(fd, &raw const unspec, length) });
        self.wire.side_mut(end.other()).end_due = true;
        word(answer)
    }

    /// connect(2) on the end's socket, or on a new one; a new connection's
    /// bytes begin anew.
    fn connect(&mut self, end: End, size: usize) -> Result<String> {
        if self.wire.side(end).fd.is_none() {
            let fd = new_socket()?;
            self.wire.side_mut(end).fd = Some(fd);
        } else {
            // The old connection's other end is nobody's any more.
            self.wire.side_mut(end.other()).fd = None;
            self.wire.renew(RECONNECTED);
        }
        let fd = self.wire.raw(end).context("an end")?;
        let addr = SockaddrStorage::from(self.wire.addr);
        let result = if size > 0 {
            let mut bytes = vec![0; size];
            self.wire.side(end).content.fill(0, &mut bytes);
            let flags = nix::sys::socket::MsgFlags::from_bits_retain(libc::MSG_FASTOPEN);
            let sent = nix::sys::socket::sendto(fd, &bytes, &addr, flags);
            self.wire.side_mut(end).sent += sent.unwrap_or(0) as u64;
            word(sent)
        } else {
            let answer = connect(fd, &addr);
            // It is complete when the socket is writable.
            let fd = self.wire.fd(end).context("an end")?;
            let ready = net::wait(fd, libc::POLLOUT, 5000).unwrap_or(0);
            format!("{} {}", word(answer.map(|()| 0)), sys::events(ready))
        };
        let fd = self.wire.side(end).fd.as_ref().context("an end")?;
        net::set_nonblocking(fd)?;
        Ok(result)
    }
}

/// Bytes that are not acknowledged, once there are none or after a second,
/// which is longer than an acknowledgement is delayed.
fn outq(fd: i32) -> String {
    for _ in 0..1000 {
        match sys::ioctl(fd, libc::TIOCOUTQ) {
            Ok(0) => return "0".to_owned(),
            Ok(_) => thread::sleep(Duration::from_millis(1)),
            Err(errno) => return format!("{errno:?}"),
        }
    }
    "not acknowledged".to_owned()
}

/// Makes a call in a child, which has the socket by inheritance.
fn forked(task: &Task) -> Result<Done> {
    let (mut parent, mut child) = UnixStream::pair().context("socketpair")?;
    // SAFETY: the child makes its call, writes its answer and ends; glibc
    // keeps its allocator usable after a fork.
    match unsafe { fork() }.context("fork")? {
        ForkResult::Child => {
            perform(task).write(&mut child);
            // SAFETY: ends the child without running what the parent will.
            unsafe { libc::_exit(0) }
        }
        ForkResult::Parent { child: pid } => {
            drop(child);
            let mut bytes = Vec::new();
            parent
                .read_to_end(&mut bytes)
                .context("the child's answer")?;
            waitpid(pid, None).context("waitpid")?;
            let Some(done) = Done::read(&mut bytes.as_slice()) else {
                bail!("a child gave no answer");
            };
            Ok(done)
        }
    }
}
