//! The answers of a watched end to the rules that decide about it: [`adoption`]
//! before it is enrolled, [`stay`] while it is. A look asks without the end's
//! lock; the visit that enrols asks again under it.
//!
//! Each answer is a function of its own, which the verifier looks at by itself,
//! and once. Their frames come one after another on the stack, not on top of each
//! other (K-BPF-11 in `docs/kernel`).

use socketvirt_common::{
    reason::Reason,
    record::pair::Enrolment,
    rule::{adoption, stay, suitable},
};

use super::{ends::ends, enrol, habits, users::sv_users, vouch};
use crate::{kernel::sock::Sock, maps::sv_config};

/// Returns why an end may not be enrolled now; [`Reason::None`] when it may.
#[inline(always)]
pub fn unready(known: u32) -> Reason {
    Reason::of(sv_unready(known))
}

/// Returns why an enrolled end shall leave, if it shall. Its program is remembered
/// for a habit.
#[inline(always)]
pub fn leave_for(known: u32, how: Enrolment) -> Reason {
    Reason::of(sv_leave_for(
        known,
        u32::from(matches!(how, Enrolment::Eager)),
    ))
}

/// An end that is not enrolled, by the number that names it.
struct Plain(u32);

impl adoption::End for Plain {
    #[inline(always)]
    fn habit(&mut self) -> Reason {
        Reason::of(sv_habit(self.0, 0))
    }

    #[inline(always)]
    fn unsuitable(&mut self) -> Reason {
        let reason = sv_unsuitable(self.0, 0);
        sv_remember(self.0, reason);
        Reason::of(reason)
    }

    #[inline(always)]
    fn is_done(&mut self) -> bool {
        ends(self.0).is_some_and(|(end, ..)| enrol::has_done(end.flow, Sock(end.sock)))
    }

    #[inline(always)]
    fn unadoptable(&mut self) -> Reason {
        Reason::of(sv_unadoptable(self.0))
    }

    #[inline(always)]
    fn users(&mut self) -> Reason {
        Reason::of(sv_users(self.0, 0))
    }

    #[inline(always)]
    fn is_proved(&mut self) -> bool {
        ends(self.0).is_some_and(|(end, peer, _)| {
            Sock(end.sock)
                .packet_hash()
                .agrees(Sock(peer.sock).packet_hash())
        })
    }
}

/// An enrolled end likewise.
struct Enrolled {
    known: u32,
    eager: bool,
}

impl stay::End for Enrolled {
    #[inline(always)]
    fn habit(&mut self) -> Reason {
        Reason::of(sv_habit(self.known, u32::from(self.eager)))
    }

    #[inline(always)]
    fn is_blocking(&mut self) -> bool {
        ends(self.known).is_some_and(|(end, ..)| Sock(end.sock).is_blocking())
    }

    #[inline(always)]
    fn unsuitable(&mut self) -> Reason {
        Reason::of(sv_unsuitable(self.known, 1))
    }

    #[inline(always)]
    fn users(&mut self) -> Reason {
        Reason::of(sv_users(self.known, 1))
    }

    #[inline(always)]
    fn is_starved(&mut self) -> bool {
        ends(self.known).is_some_and(|(end, ..)| Sock(end.sock).waits_for_nothing())
    }
}

/// Does [`unready`].
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn sv_unready(known: u32) -> u32 {
    adoption::against(&mut Plain(known)) as u32
}

/// Does [`leave_for`].
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn sv_leave_for(known: u32, eager: u32) -> u32 {
    let eager = eager != 0;
    let reason = stay::against(&mut Enrolled { known, eager }, eager) as u32;
    sv_remember(known, reason);
    reason
}

/// Returns what the program of an end has shown, or (`all`) any of its cgroup.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn sv_habit(known: u32, all: u32) -> u32 {
    let Some((end, _, side)) = ends(known) else {
        return Reason::MapFull as u32;
    };
    let sock = Sock(end.sock);
    let habit = if all != 0 {
        habits::of(sock, side, vouch::of(known))
    } else {
        habits::shown(sock, side)
    };
    vouch::after_habit(known, end.cookie, sock, habit) as u32
}

/// Remembers the program of an end for a habit. Urgent data is one of both ends:
/// one program sends it, the other gets it.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn sv_remember(known: u32, reason: u32) -> u32 {
    let reason = Reason::of(reason);
    if let Some((end, peer, side)) = ends(known) {
        habits::remember(Sock(end.sock), side, reason);
        if matches!(reason, Reason::Urgent) {
            habits::remember(Sock(peer.sock), side.other(), reason);
        }
    }
    0
}

/// Returns why the options and the state of an end keep it on the stack.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn sv_unsuitable(known: u32, enrolled: u32) -> u32 {
    let Some((end, ..)) = ends(known) else {
        return Reason::None as u32;
    };
    suitable::unsuitable(&Sock(end.sock).candidate(enrolled != 0)) as u32
}

/// Returns why what an end has to read, or who waits for it, keeps it on the stack
/// for the moment.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn sv_unadoptable(known: u32) -> u32 {
    let (Some((end, ..)), Some(config)) = (ends(known), sv_config.get(0)) else {
        return Reason::MapFull as u32;
    };
    suitable::unadoptable(&Sock(end.sock).reading(), config.receive_mode) as u32
}
