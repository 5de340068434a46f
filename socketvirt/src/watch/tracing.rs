//! Calls are watched while a pair needs it: the trace points of receive calls cost
//! every process of the host.

use std::{
    io,
    time::{Duration, Instant},
};

use crate::{bpf::error::BpfError, datapath::calls::Calls, program::ringed::Submissions};

/// The time for which they stay once no pair needs them any more.
const KEPT: Duration = Duration::from_secs(10);

/// The trace points are not as they are needed.
#[derive(Debug, thiserror::Error)]
pub enum TracingError {
    /// They could not be attached again.
    #[error("attaching the trace points of receive calls failed: {0}")]
    Attach(#[from] BpfError),
    /// They could not be taken away.
    #[error("detaching the trace points of receive calls failed: {0}")]
    Detach(#[source] io::Error),
}

/// Attaches and detaches the trace points.
pub struct Tracing {
    calls: Option<Calls>,
    /// What is submitted to rings; none where it cannot be watched.
    submissions: Option<Calls>,
    needed: Instant,
}

impl Tracing {
    /// Trace points that are attached now, and detached while nothing needs them;
    /// without, they stay as they are. Those of submissions may be attached or not.
    pub fn of(calls: Option<Calls>, submissions: Option<Calls>) -> Self {
        Self {
            calls,
            submissions,
            needed: Instant::now(),
        }
    }

    /// Watches what is submitted to rings from the moment that it is wanted, until
    /// calls are not watched any more.
    pub fn watch_submissions(&mut self, wanted: bool) -> Submissions {
        let Some(submissions) = &mut self.submissions else {
            return Submissions::Never;
        };
        if wanted
            && !submissions.are_attached()
            && let Err(error) = submissions.attach()
        {
            tracing::warn!(%error, "programs with an io_uring are kept off");
            self.submissions = None;
            return Submissions::Never;
        }
        if submissions.are_attached() {
            Submissions::Watched
        } else {
            Submissions::Unwatched
        }
    }

    /// Attaches them when they are needed, and detaches them when they were not
    /// for a while. Returns true when they were attached: what was known of who
    /// reads a socket is then out of date.
    pub fn keep_up(&mut self, needed: bool) -> Result<bool, TracingError> {
        let Some(calls) = &mut self.calls else {
            return Ok(false);
        };
        if needed {
            self.needed = Instant::now();
            let new = !calls.are_attached();
            if new {
                calls.attach()?;
            }
            return Ok(new);
        }
        if calls.are_attached() && self.needed.elapsed() >= KEPT {
            calls.detach().map_err(TracingError::Detach)?;
            if let Some(submissions) = &mut self.submissions {
                submissions.detach().map_err(TracingError::Detach)?;
            }
        }
        Ok(false)
    }

    /// True while they are not attached, and shall be when they are needed.
    pub fn is_blind(&self) -> bool {
        self.calls
            .as_ref()
            .is_some_and(|calls| !calls.are_attached())
    }

    /// Returns the time to wait before they are detached, if nothing needs them
    /// until then.
    pub fn pause(&self) -> Option<Duration> {
        let calls = self.calls.as_ref()?;
        calls
            .are_attached()
            .then(|| KEPT.saturating_sub(self.needed.elapsed()))
    }
}
