//! The trace points of receive calls, attached only while they are needed: each
//! receive call of the host passes them.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use aya::programs::{BtfTracePoint, ProgramError};
use socketvirt_common::record::config::ReceiveMode;

use super::{config::ConfigMap, home};
use crate::bpf::{error::BpfError, link};

/// The programs at the trace points of receive calls.
pub struct Calls {
    programs: Vec<Traced>,
    /// The link of one that is not needed.
    spare: Option<&'static str>,
    folder: PathBuf,
    attached: bool,
}

/// One of them, and where its link is pinned.
struct Traced {
    program: BtfTracePoint,
    name: &'static str,
    link: &'static str,
}

impl Calls {
    /// The programs that watch calls, which are pinned in `folder`.
    ///
    /// Where the kernel lets a program into TCP's own function for splice(2), the
    /// receives themselves are watched, and splice(2) costs nobody who does not use it.
    /// Elsewhere what reads TCP sees both, but for receives on sockets that are enrolled
    /// for sending alone (`tcp_bpf_recvmsg`, `net/ipv4/tcp_bpf.c`).
    ///
    /// # Errors
    /// When one cannot be opened.
    pub fn open(folder: &Path) -> Result<Self, BpfError> {
        let mode = ConfigMap::open(folder)?.get().receive_mode;
        let reads = folder.join(home::READ).exists();
        let alone = reads && mode == ReceiveMode::Unified;
        let mut programs = Vec::new();
        if reads {
            programs.push(Traced::open(folder, home::READ, home::SPLICE_LINK)?);
        }
        if !alone {
            programs.push(Traced::open(folder, home::RECEIVE, home::RECEIVE_LINK)?);
        }
        let is_attached = |traced: &Traced| folder.join(traced.link).exists();
        Ok(Self {
            attached: programs.iter().all(is_attached),
            programs,
            spare: alone.then_some(home::RECEIVE_LINK),
            folder: folder.to_owned(),
        })
    }

    /// Detaches what is not needed, which a start attaches before it knows.
    ///
    /// # Errors
    /// When a link cannot be unpinned.
    pub fn narrow(&self) -> io::Result<()> {
        self.spare.map_or(Ok(()), |link| self.unpin(link))
    }

    /// The program that watches what is submitted to rings, which is pinned in
    /// `folder` where the kernel has its trace point.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub fn submissions(folder: &Path) -> Result<Option<Self>, BpfError> {
        if !folder.join(home::SUBMIT).exists() {
            return Ok(None);
        }
        Ok(Some(Self {
            programs: vec![Traced::open(folder, home::SUBMIT, home::SUBMIT_LINK)?],
            spare: None,
            folder: folder.to_owned(),
            attached: folder.join(home::SUBMIT_LINK).exists(),
        }))
    }

    /// True while every call is seen.
    #[must_use]
    pub fn are_attached(&self) -> bool {
        self.attached
    }

    /// Attaches what is not. A link that is there from a try before stays.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn attach(&mut self) -> Result<(), BpfError> {
        for traced in &mut self.programs {
            let at = self.folder.join(traced.link);
            if !at.exists() {
                traced.attach(&at)?;
            }
        }
        self.attached = true;
        Ok(())
    }

    /// Detaches them all.
    ///
    /// # Errors
    /// When a link cannot be unpinned. No call may be taken for seen then.
    pub fn detach(&mut self) -> io::Result<()> {
        self.attached = false;
        self.narrow()?;
        let mut links = self.programs.iter().map(|traced| traced.link);
        links.try_for_each(|link| self.unpin(link))
    }

    fn unpin(&self, link: &str) -> io::Result<()> {
        match fs::remove_file(self.folder.join(link)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}

impl Traced {
    fn open(folder: &Path, name: &'static str, link: &'static str) -> Result<Self, BpfError> {
        let program = BtfTracePoint::from_pin(folder.join(name))
            .map_err(|error: ProgramError| BpfError::program(name)(error))?;
        Ok(Self {
            program,
            name,
            link,
        })
    }

    fn attach(&mut self, at: &Path) -> Result<(), BpfError> {
        let program = &mut self.program;
        let link = program
            .attach()
            .and_then(|link| program.take_link(link))
            .map_err(|error: ProgramError| BpfError::program(self.name)(error))?;
        link::pin(link.into(), self.name, at)
    }
}
