//! The agent inspects every program of a cgroup.
//!
//! The agent reads from a program's executable and libraries what it may do
//! (see [`habit`](crate::rule::habit)), after it has begun. The kernel side counts
//! the programs that begin. The agent reads that count, inspects all processes,
//! and says up to which count it has come. While the two differ, some program
//! may be one that must be kept off.

/// Stands for every cgroup: its programs are counted here when there is no
/// room to count them apart. No folder has this inode number.
pub const ANY: u64 = 0;

/// True when no program began since the count that was read before the last
/// complete inspection.
///
/// A cgroup in which no program was counted has nothing to be inspected. A
/// cgroup that was never inspected counts as inspected up to 0.
#[inline(always)]
#[must_use]
pub const fn all(begun: Option<u64>, inspected: Option<u64>) -> bool {
    match (begun, inspected) {
        (None, _) => true,
        (Some(begun), None) => begun == 0,
        (Some(begun), Some(inspected)) => begun == inspected,
    }
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn nothing_began() {
        assert!(all(None, None));
        assert!(all(None, Some(3)), "its entry was taken away first");
        assert!(all(Some(0), None));
    }

    #[test]
    fn something_began() {
        assert!(!all(Some(1), None));
        assert!(!all(Some(2), Some(1)));
        assert!(all(Some(2), Some(2)));
    }

    /// An event in a cgroup; events come in any order.
    #[derive(Clone, Copy, Debug)]
    enum Step {
        /// A process runs a program, which splices or not.
        Begin(usize, bool),
        /// The agent reads the count.
        Read,
        /// It inspects one process.
        Look(usize),
        /// It has come to the end of its inspection.
        Say,
    }

    const PROCESSES: usize = 3;

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            2 => (0..PROCESSES, any::<bool>()).prop_map(|(at, splices)| Step::Begin(at, splices)),
            2 => Just(Step::Read),
            4 => (0..PROCESSES).prop_map(Step::Look),
            2 => Just(Step::Say),
        ];
        proptest::collection::vec(step, 0..200)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        /// A program that splices is known whenever all were inspected, however
        /// the agent's look and the programs interleave.
        #[test]
        fn a_splicer_is_known_when_all_were_inspected(steps in steps()) {
            let mut splices = [false; PROCESSES];
            let mut known = [false; PROCESSES];
            let (mut begun, mut inspected) = (None, None);
            let mut reading: Option<(u64, [bool; PROCESSES])> = None;
            for step in steps {
                match step {
                    Step::Begin(at, splicer) => {
                        splices[at] = splicer;
                        known[at] = false;
                        begun = Some(begun.unwrap_or(0) + 1);
                    }
                    Step::Read => reading = Some((begun.unwrap_or(0), [false; PROCESSES])),
                    Step::Look(at) => {
                        known[at] = splices[at];
                        if let Some((_, seen)) = &mut reading {
                            seen[at] = true;
                        }
                    }
                    Step::Say => {
                        if let Some((count, [true, true, true])) = reading.take() {
                            inspected = Some(count);
                        }
                    }
                }
                if all(begun, inspected) {
                    prop_assert_eq!(splices, known);
                }
            }
        }
    }
}
