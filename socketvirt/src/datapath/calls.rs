//! The trace points of receive calls, attached only while they are needed: each
//! receive call of the host passes them.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use aya::programs::{BtfTracePoint, ProgramError};

use super::home;
use crate::bpf::{error::BpfError, link};

/// The programs at the trace points of receive calls.
pub struct Calls {
    programs: Vec<Traced>,
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
    /// Where the kernel lets a program into TCP's own function for splice(2), that
    /// one is not among them: it costs nobody who does not splice.
    ///
    /// # Errors
    /// When one cannot be opened.
    pub fn open(folder: &Path) -> Result<Self, BpfError> {
        let mut programs = vec![Traced::open(folder, home::RECEIVE, home::RECEIVE_LINK)?];
        if folder.join(home::READ).exists() {
            programs.push(Traced::open(folder, home::READ, home::SPLICE_LINK)?);
        }
        let is_attached = |traced: &Traced| folder.join(traced.link).exists();
        Ok(Self {
            attached: programs.iter().all(is_attached),
            programs,
            folder: folder.to_owned(),
        })
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
        for traced in &self.programs {
            match fs::remove_file(self.folder.join(traced.link)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
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
