//! Readiness as epoll tells it.

use anyhow::{Context as _, Result};
use nix::sys::{
    epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout},
    socket::Shutdown,
};

use super::{
    Case, case,
    wire::{A, B, Wire},
};

pub(super) fn cases() -> Vec<Case> {
    vec![
        case("level: readable until read", level),
        case("edge: one event an arrival", edge),
        case("edge: added with data waiting", edge_added_late),
        case("one shot", one_shot),
        case("edge: data, then end", edge_end),
    ]
}

/// The events of one wait; an absent one is believed after 50 ms.
fn events(w: &mut Wire, epoll: &Epoll, expected: bool) -> Result<()> {
    let mut list = [EpollEvent::empty(); 4];
    let ms: u16 = if expected { 3000 } else { 50 };
    let count = epoll
        .wait(&mut list, EpollTimeout::from(ms))
        .context("epoll_wait")?;
    let names: Vec<_> = list[..count]
        .iter()
        .map(|e| {
            e.events()
                .iter_names()
                .map(|(n, _)| n)
                .collect::<Vec<_>>()
                .join("+")
        })
        .collect();
    w.note(if names.is_empty() {
        "no event".to_owned()
    } else {
        names.join(",")
    });
    Ok(())
}

fn watch(w: &Wire, flags: EpollFlags) -> Result<Epoll> {
    let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).context("epoll_create")?;
    epoll
        .add(w.fd(B), EpollEvent::new(flags | EpollFlags::EPOLLRDHUP, 1))
        .context("epoll_ctl")?;
    Ok(epoll)
}

fn level(w: &mut Wire) -> Result<()> {
    let epoll = watch(w, EpollFlags::EPOLLIN)?;
    events(w, &epoll, false)?;
    w.send(A, 100);
    events(w, &epoll, true)?;
    w.recv(B, 60);
    events(w, &epoll, true)?;
    w.recv(B, 60);
    events(w, &epoll, false)?;
    w.recv(B, 60);
    events(w, &epoll, false)
}

fn edge(w: &mut Wire) -> Result<()> {
    let epoll = watch(w, EpollFlags::EPOLLIN | EpollFlags::EPOLLET)?;
    events(w, &epoll, false)?;
    for _ in 0..3 {
        w.send(A, 100);
        events(w, &epoll, true)?;
        events(w, &epoll, false)?;
    }
    w.recv(B, 50);
    w.recv(B, 1000);
    w.recv(B, 50);
    events(w, &epoll, false)?;
    w.send(A, 1);
    events(w, &epoll, true)?;
    w.recv(B, 1000);
    events(w, &epoll, false)
}

fn edge_added_late(w: &mut Wire) -> Result<()> {
    w.send(A, 100);
    w.fionread(B, 100);
    let epoll = watch(w, EpollFlags::EPOLLIN | EpollFlags::EPOLLET)?;
    events(w, &epoll, true)?;
    events(w, &epoll, false)?;
    // Changing the interest asks for the state anew.
    let mut again = EpollEvent::new(EpollFlags::EPOLLIN | EpollFlags::EPOLLET, 1);
    epoll.modify(w.fd(B), &mut again).context("epoll_ctl")?;
    events(w, &epoll, true)?;
    w.recv(B, 1000);
    epoll.modify(w.fd(B), &mut again).context("epoll_ctl")?;
    events(w, &epoll, false)
}

fn one_shot(w: &mut Wire) -> Result<()> {
    let epoll = watch(w, EpollFlags::EPOLLIN | EpollFlags::EPOLLONESHOT)?;
    w.send(A, 100);
    events(w, &epoll, true)?;
    w.send(A, 100);
    events(w, &epoll, false)?;
    let mut again = EpollEvent::new(EpollFlags::EPOLLIN | EpollFlags::EPOLLONESHOT, 1);
    epoll.modify(w.fd(B), &mut again).context("epoll_ctl")?;
    events(w, &epoll, true)?;
    w.recv(B, 1000);
    Ok(())
}

fn edge_end(w: &mut Wire) -> Result<()> {
    let epoll = watch(w, EpollFlags::EPOLLIN | EpollFlags::EPOLLET)?;
    w.send(A, 100);
    events(w, &epoll, true)?;
    w.recv(B, 1000);
    w.shutdown(A, Shutdown::Write);
    events(w, &epoll, true)?;
    w.recv(B, 1000);
    events(w, &epoll, false)
}
