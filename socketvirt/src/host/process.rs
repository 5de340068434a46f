//! The kernel's records of processes and threads: `stat` in `/proc`.

use std::{io, path::Path};

use procfs::{FromRead as _, ProcError, process::Stat};

/// Reads the record of a process.
///
/// # Errors
/// `NotFound` when it has ended, also while its record was read; otherwise the
/// kernel's answer.
pub fn stat(pid: u32) -> io::Result<Stat> {
    Stat::from_file(format!("/proc/{pid}/stat")).map_err(error)
}

/// Reads the record of a thread of this process.
///
/// # Errors
/// As [`stat`].
pub fn thread(id: libc::pid_t) -> io::Result<Stat> {
    let task = Path::new("/proc/self/task").join(id.to_string());
    Stat::from_file(task.join("stat")).map_err(error)
}

/// Converts an error of `procfs`, which takes `ESRCH` for [`ProcError::NotFound`].
#[must_use]
pub fn error(error: ProcError) -> io::Error {
    match error {
        ProcError::PermissionDenied(_) => io::ErrorKind::PermissionDenied.into(),
        ProcError::NotFound(_) => io::ErrorKind::NotFound.into(),
        ProcError::Io(error, _) => error,
        other => io::Error::new(io::ErrorKind::InvalidData, other),
    }
}

#[cfg(test)]
mod tests {
    use nix::unistd::{getppid, gettid};

    use super::*;

    #[test]
    fn this_process_and_one_that_is_gone() {
        let own = stat(std::process::id()).unwrap();
        assert_eq!(own.ppid, getppid().as_raw());
        assert_eq!(thread(gettid().as_raw()).unwrap().state, 'R');
        assert_eq!(stat(0).unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
