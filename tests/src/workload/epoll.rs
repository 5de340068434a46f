//! All non-blocking ends of one side, in one thread, on one epoll instance.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, VecDeque},
    os::fd::{AsFd as _, OwnedFd},
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use nix::{
    errno::Errno,
    sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout},
};

use super::{
    endpoint::{Endpoint, Scratch, Trigger, Wish},
    flow::{Flow, Plan},
    report::{Report, Side},
    watchdog::or_exit,
};
use crate::{net, place::Place};

const LISTENER: u64 = u64::MAX;

struct Slot {
    end: Endpoint,
    /// The events that epoll is asked for, in level mode.
    asked: EpollFlags,
    queued: bool,
}

struct Engine<'a> {
    side: &'a Side,
    place: &'a Place,
    plan: Arc<Plan>,
    trigger: Trigger,
    epoll: Epoll,
    slots: Vec<Option<Slot>>,
    free: Vec<usize>,
    ready: VecDeque<usize>,
    timers: BinaryHeap<Reverse<(Instant, usize)>>,
    started: u32,
    report: Report,
    scratch: Scratch,
}

/// Runs one side until all its connections have ended.
pub(crate) fn run(
    side: &Side,
    place: &Place,
    plan: &Arc<Plan>,
    trigger: Trigger,
) -> Result<Report> {
    let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).context("epoll_create")?;
    if let Side::Server { listener, .. } = side {
        net::set_nonblocking(listener)?;
        epoll
            .add(listener, EpollEvent::new(EpollFlags::EPOLLIN, LISTENER))
            .context("epoll_ctl")?;
    }
    let mut engine = Engine {
        side,
        place,
        plan: Arc::clone(plan),
        trigger,
        epoll,
        slots: Vec::new(),
        free: Vec::new(),
        ready: VecDeque::new(),
        timers: BinaryHeap::new(),
        started: 0,
        report: Report::default(),
        scratch: Scratch::new(),
    };
    // Said before the sockets are closed: the other side would fail for that, and be
    // the first to say so.
    or_exit(engine.work());
    Ok(engine.report)
}

impl Engine<'_> {
    fn work(&mut self) -> Result<()> {
        let mut events = vec![EpollEvent::empty(); 256];
        while self.report.connections < self.side.total() {
            self.open()?;
            let timeout = self.timeout();
            let count = match self.epoll.wait(&mut events, timeout) {
                Err(Errno::EINTR) => 0,
                other => other.context("epoll_wait")?,
            };
            for event in &events[..count] {
                self.event(*event)?;
            }
            self.expire();
            for _ in 0..self.ready.len() {
                if let Some(slot) = self.ready.pop_front() {
                    self.turn(slot)?;
                }
            }
        }
        Ok(())
    }

    /// Opens client connections up to the number at a time.
    fn open(&mut self) -> Result<()> {
        let Side::Client {
            server,
            connections,
            total,
        } = self.side
        else {
            return Ok(());
        };
        while self.started < *total && self.started - self.report.connections < *connections {
            let mut flow = Flow::new(&self.plan, true, self.started);
            let mut first = [0; 8];
            flow.peek_piece(0, &mut first);
            let (fd, sent) = net::connect_to(self.place, *server, self.started, true, &first)?;
            if sent > 0 {
                flow.took(sent);
            }
            self.add(fd, flow)?;
        }
        Ok(())
    }

    fn accept(&mut self) -> Result<()> {
        let Side::Server { listener, total } = self.side else {
            return Ok(());
        };
        while self.started < *total {
            match net::accept(listener.as_fd(), self.place, true) {
                Ok(fd) => {
                    let flow = Flow::new(&self.plan, false, self.started);
                    self.add(fd, flow)?;
                }
                Err(Errno::EAGAIN) => break,
                Err(errno) => return Err(errno).context("accept"),
            }
        }
        Ok(())
    }

    fn add(&mut self, fd: OwnedFd, flow: Flow) -> Result<()> {
        self.started += 1;
        let end = Endpoint::new(fd, flow, self.trigger);
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            self.slots.len() - 1
        });
        let asked = self.interest(&end);
        self.epoll
            .add(&end.fd, EpollEvent::new(asked, slot as u64))
            .context("epoll_ctl")?;
        self.slots[slot] = Some(Slot {
            end,
            asked,
            queued: true,
        });
        self.ready.push_back(slot);
        Ok(())
    }

    fn interest(&self, end: &Endpoint) -> EpollFlags {
        if self.trigger != Trigger::Level {
            return EpollFlags::EPOLLIN
                | EpollFlags::EPOLLOUT
                | EpollFlags::EPOLLRDHUP
                | EpollFlags::EPOLLET;
        }
        let mut flags = EpollFlags::empty();
        flags.set(EpollFlags::EPOLLIN, end.wants_read());
        flags.set(EpollFlags::EPOLLOUT, end.wants_write());
        flags
    }

    fn timeout(&self) -> EpollTimeout {
        if !self.ready.is_empty() {
            return EpollTimeout::ZERO;
        }
        let Some(Reverse((at, _))) = self.timers.peek() else {
            return EpollTimeout::NONE;
        };
        let left = at.saturating_duration_since(Instant::now());
        // Rounded up: an early wake-up would only spin.
        let ms = left.as_micros().div_ceil(1000);
        EpollTimeout::try_from(Duration::from_millis(u64::try_from(ms).unwrap_or(1000)))
            .unwrap_or(EpollTimeout::ZERO)
    }

    fn event(&mut self, event: EpollEvent) -> Result<()> {
        if event.data() == LISTENER {
            return self.accept();
        }
        let slot = usize::try_from(event.data()).context("token")?;
        let flags = event.events();
        let gone = EpollFlags::EPOLLHUP | EpollFlags::EPOLLERR | EpollFlags::EPOLLRDHUP;
        if let Some(Some(entry)) = self.slots.get_mut(slot) {
            if flags.intersects(EpollFlags::EPOLLIN | gone) {
                entry.end.readable = true;
                entry.end.fresh = flags.contains(EpollFlags::EPOLLIN);
                entry.end.hangup |= flags.intersects(gone);
            }
            if flags.intersects(EpollFlags::EPOLLOUT | EpollFlags::EPOLLERR) {
                entry.end.writable = true;
            }
        }
        self.queue(slot);
        Ok(())
    }

    fn queue(&mut self, slot: usize) {
        if let Some(Some(entry)) = self.slots.get_mut(slot)
            && !entry.queued
        {
            entry.queued = true;
            self.ready.push_back(slot);
        }
    }

    fn expire(&mut self) {
        let now = Instant::now();
        while let Some(Reverse((at, slot))) = self.timers.peek().copied() {
            if at > now {
                break;
            }
            self.timers.pop();
            self.queue(slot);
        }
    }

    fn turn(&mut self, slot: usize) -> Result<()> {
        let Some(Some(entry)) = self.slots.get_mut(slot) else {
            return Ok(());
        };
        entry.queued = false;
        let now = Instant::now();
        match entry.end.turn(now, &mut self.scratch)? {
            Wish::Again => self.queue(slot),
            Wish::Events => {}
            Wish::Timer(left) => self.timers.push(Reverse((now + left, slot))),
            Wish::Done => return self.remove(slot),
        }
        self.update(slot)
    }

    fn update(&mut self, slot: usize) -> Result<()> {
        let Some(Some(entry)) = self.slots.get(slot) else {
            return Ok(());
        };
        let want = self.interest(&entry.end);
        if want == entry.asked {
            return Ok(());
        }
        let mut event = EpollEvent::new(want, slot as u64);
        self.epoll
            .modify(&entry.end.fd, &mut event)
            .context("epoll_ctl")?;
        if let Some(Some(entry)) = self.slots.get_mut(slot) {
            entry.asked = want;
        }
        Ok(())
    }

    fn remove(&mut self, slot: usize) -> Result<()> {
        if let Some(entry) = self.slots[slot].take() {
            self.epoll.delete(&entry.end.fd).context("epoll_ctl")?;
            self.report.count(&entry.end.flow);
            self.free.push(slot);
        }
        Ok(())
    }
}
