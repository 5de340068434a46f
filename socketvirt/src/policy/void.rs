//! Programs that have done what somebody has vouched that they do not.

use socketvirt_common::{
    reason::Reason,
    record::{pair::Side, program::Program, raw::Raw},
};

use super::store::{Store, StoreError, gone, map};
use crate::host::cgroup_paths;

/// A program whose vouch is void.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
pub struct Void {
    /// The cgroup in which its sockets were made; none for one that is gone.
    pub cgroup: Option<String>,
    /// The port of the service.
    pub port: u32,
    /// Whether it offers or uses that service: `client` or `server`.
    pub side: &'static str,
}

impl Store {
    /// Has the vouches count again that are void.
    ///
    /// # Errors
    /// When the map cannot be written.
    pub fn forgive(&mut self) -> Result<(), StoreError> {
        for program in self.spliced() {
            gone(self.habits.remove(&Raw::of(program))).map_err(map("writing sv_habits"))?;
        }
        Ok(())
    }

    /// The programs whose vouches are void, in order.
    #[must_use]
    pub fn void(&self) -> Vec<Void> {
        let programs = self.spliced();
        if programs.is_empty() {
            return Vec::new();
        }
        let paths = cgroup_paths::paths();
        let mut void: Vec<Void> = programs
            .into_iter()
            .map(|program| Void {
                cgroup: paths.get(&program.cgroup).cloned(),
                port: program.port,
                side: match program.side {
                    Side::Client => "client",
                    Side::Server => "server",
                },
            })
            .collect();
        void.sort();
        void
    }

    /// The programs that have spliced, though somebody had vouched that they do not.
    fn spliced(&self) -> Vec<Program> {
        let known = self.habits.iter().filter_map(Result::ok);
        known
            .filter(|(_, reason)| reason.value().ok() == Some(Reason::VouchVoid))
            .filter_map(|(program, _)| program.value().ok())
            .collect()
    }
}
