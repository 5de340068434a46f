//! Why connections are on the stack: their ends by reason, whose they are, and what
//! would change it.

use std::{
    collections::{BTreeMap, HashMap},
    fmt::Write as _,
};

use serde::Serialize;
use socketvirt_common::{reason::Reason, record::status::Status};

use super::{
    SCHEMA,
    names::escape,
    view::{Path, Socket, Table},
    words::Word as _,
};

/// Programs of a reason that are named in text.
const NAMED: usize = 6;

/// The ends of TCP connections by the reason that keeps them on the stack.
#[derive(Debug, Serialize)]
pub struct Why {
    /// Version of these structures, which is that of the table.
    pub schema: u32,
    /// The agents whose knowledge is in it.
    pub agents: Vec<String>,
    /// Ends on the fast path.
    pub fast: u64,
    /// The others, by reason: who has sent most by the stack comes first.
    pub reasons: Vec<Group>,
}

/// The ends that one reason keeps on the stack.
#[derive(Debug, Serialize)]
pub struct Group {
    /// The word of the reason.
    pub reason: &'static str,
    /// What it means.
    pub about: &'static str,
    /// What would change it; empty for `none`.
    pub change: &'static str,
    /// Ends that it keeps on the stack.
    pub sockets: u64,
    /// Bytes that they have sent by the stack.
    pub stack_bytes: u64,
    /// Messages that they have sent by the stack.
    pub stack_messages: u64,
    /// The programs whose sockets have the reason: those with most come first.
    pub programs: Vec<Program>,
}

/// A program whose sockets have a reason.
#[derive(Debug, Serialize)]
pub struct Program {
    /// Its command; null where nobody has the socket open.
    pub command: Option<String>,
    /// The ends that its sockets keep on the stack.
    pub sockets: u64,
    /// The id of one of its sockets, for `socketvirt show`.
    pub id: u64,
}

#[derive(Default)]
struct Counts<'a> {
    sockets: u64,
    bytes: u64,
    messages: u64,
    programs: BTreeMap<Option<&'a str>, (u64, u64)>,
}

impl Why {
    /// Counts the wanted rows of a table, which has their peers too.
    #[must_use]
    pub fn of(table: &Table, wanted: impl Fn(&Socket) -> bool) -> Self {
        let by_id: HashMap<u64, &Socket> = table
            .sockets
            .iter()
            .map(|socket| (socket.id, socket))
            .collect();
        let mut fast = 0;
        let mut groups: BTreeMap<Reason, Counts<'_>> = BTreeMap::new();
        let lives = |socket: &&Socket| socket.status != Status::TERMINATED.word();
        for socket in table.sockets.iter().filter(lives).filter(|one| wanted(one)) {
            let peer = socket.remote.id.and_then(|id| by_id.get(&id)).copied();
            let (Some(path), Some((decides, reason))) = (&socket.path, decider(socket, peer))
            else {
                continue;
            };
            if path.path == "fast" {
                fast += 1;
                continue;
            }
            let counts = groups.entry(reason).or_default();
            counts.sockets += 1;
            counts.bytes += path.stack_bytes;
            counts.messages += path.stack_messages;
            let command = decides.owner.command.as_deref();
            counts.programs.entry(command).or_insert((0, decides.id)).0 += 1;
        }
        let mut reasons: Vec<Group> = groups
            .into_iter()
            .map(|(reason, counts)| Group::of(reason, counts))
            .collect();
        reasons.sort_by_key(|group| std::cmp::Reverse((group.stack_bytes, group.sockets)));
        Self {
            schema: SCHEMA,
            agents: table.agents.clone(),
            fast,
            reasons,
        }
    }

    /// For people.
    #[must_use]
    pub fn render(&self) -> String {
        let by_stack: u64 = self.reasons.iter().map(|group| group.sockets).sum();
        let mut text = format!(
            "{} ends of TCP connections: {} on the fast path, {by_stack} on the stack\n",
            self.fast + by_stack,
            self.fast
        );
        if self.agents.is_empty() {
            text.push_str(
                "no agent is running, which alone knows why: `socketvirt run --mode adopt`\n",
            );
            return text;
        }
        for group in &self.reasons {
            group.render(&mut text);
        }
        text
    }
}

/// The socket that decides for an end, with its reason: the other end, where the own
/// reason says no more than that the pair is not enrolled.
///
/// Who reads an end is not looked at while something keeps the other one, so
/// `not_inspected` does not pass then. An end on the fast path decides for itself.
#[must_use]
pub fn decider<'a>(socket: &'a Socket, peer: Option<&'a Socket>) -> Option<(&'a Socket, Reason)> {
    let reason = |path: &Path| Reason::named(path.reason).unwrap_or_default();
    let yields = |reason| {
        matches!(
            reason,
            Reason::None | Reason::PeerNotEnrolled | Reason::NotInspected
        )
    };
    let path = socket.path.as_ref()?;
    let own = reason(path);
    let other = peer
        .filter(|_| path.path != "fast" && yields(own))
        .and_then(|peer| Some((peer, reason(peer.path.as_ref()?))))
        .filter(|(_, reason)| !yields(*reason));
    Some(other.unwrap_or((socket, own)))
}

impl Group {
    fn of(reason: Reason, counts: Counts<'_>) -> Self {
        let mut programs: Vec<Program> = counts
            .programs
            .into_iter()
            .map(|(command, (sockets, id))| Program {
                command: command.map(str::to_owned),
                sockets,
                id,
            })
            .collect();
        // Equal ones stay in the order of their names.
        programs.sort_by_key(|program| std::cmp::Reverse(program.sockets));
        Self {
            reason: reason.word(),
            about: reason.about(),
            change: reason.change(),
            sockets: counts.sockets,
            stack_bytes: counts.bytes,
            stack_messages: counts.messages,
            programs,
        }
    }

    fn render(&self, text: &mut String) {
        let Self {
            reason,
            about,
            change,
            sockets,
            stack_bytes,
            stack_messages,
            programs,
        } = self;
        let ends = if *sockets == 1 { "end" } else { "ends" };
        let _ = writeln!(
            text,
            "\n{reason}: {sockets} {ends}, {stack_bytes} B in {stack_messages} messages sent by \
             the stack\n  {about}"
        );
        if !change.is_empty() {
            let _ = writeln!(text, "  What would change it: {change}");
        }
        let mut names: Vec<String> = programs.iter().take(NAMED).map(Program::name).collect();
        if programs.len() > NAMED {
            names.push(format!("and {} more programs", programs.len() - NAMED));
        }
        let _ = writeln!(text, "  By: {}", names.join(", "));
    }
}

impl Program {
    fn name(&self) -> String {
        let command = self
            .command
            .as_ref()
            .map_or_else(|| "nobody".to_owned(), |command| escape(command.as_bytes()));
        format!("{command} {} (show {})", self.sockets, self.id)
    }
}
