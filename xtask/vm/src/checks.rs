//! The checks inside the machine, and the time that each may take under emulation.

use clap::builder::PossibleValuesParser;

/// Seconds that one look at the table may take.
pub const TABLE_LIMIT: u64 = 180;
/// Seconds for the doctor.
pub const DOCTOR_LIMIT: u64 = 600;
/// Seconds for one run of the workload.
pub const EXEC_LIMIT: u64 = 180;
/// Seconds for a program of tests, which on an idle host take one to five minutes.
pub const TESTS_LIMIT: u64 = 1500;

/// Streams of two connections, with all that makes a path change; contents are checked.
pub const WORKLOAD: &str = "--deadline 150 streams --io level --connections 2 --phases \
                            pp:300@150,stream:200K,pp:100,slowup:50K,pp:100@150,slowdown:50K,pipe:20x16";

/// A program of integration tests.
pub struct Tests {
    /// Its name.
    pub program: &'static str,
    /// Which of its tests.
    pub filters: &'static [&'static str],
    /// They say nothing where nothing is accelerated.
    pub accelerated: bool,
    /// They run with `--quick` too.
    pub quick: bool,
}

/// The core of the suite, the short ones first: the table, bytes that come again, namespaces, ends, unread bytes,
/// enrolments one after another, bytes, readiness, back-pressure, the fixed scenarios. Not `table_truth`, whose thousands
/// of connections a second never end under emulation.
pub const TESTS: [Tests; 11] = [
    tests("table_life", &[], false),
    tests("resend", &[], true),
    tests("namespaces", &[], true),
    tests("closing", &[], true),
    // Without those of many connections.
    tests("unread", &["a_request_that_waits"], true),
    // A kernel's counts of references have to bear these.
    Tests {
        quick: true,
        ..tests("returning", &[], true)
    },
    tests(
        "exact_streams",
        &[
            "plain_tcp_passes",
            "adopted_",
            "eager_",
            "blocking_sockets_are_not_adopted",
            "two_ends_in_one_process",
            "small_buffers",
            "released_for_bulk",
        ],
        true,
    ),
    tests("readiness", &[], true),
    // Without those that compile programs. Distributions' kernels let programs
    // into their functions, so that splice(2) is watched there.
    tests(
        "habits",
        &[
            "--exact",
            "splice",
            "an_owner_for_signals",
            "unread_bytes_at_close",
        ],
        true,
    ),
    // A byte a message fills no buffer in time.
    tests("backpressure", &["--skip", "single_bytes"], true),
    // A pair released under emulation is adopted again before it is looked at.
    tests(
        "conformance",
        &[
            "--exact",
            "fixed_scenarios_eager",
            "fixed_scenarios_adopted",
        ],
        true,
    ),
];

const fn tests(
    program: &'static str,
    filters: &'static [&'static str],
    accelerated: bool,
) -> Tests {
    Tests {
        program,
        filters,
        accelerated,
        quick: false,
    }
}

/// The programs of [`TESTS`], for the command line.
pub fn names() -> PossibleValuesParser {
    PossibleValuesParser::new(TESTS.map(|tests| tests.program))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    /// One that is not built is left out as if nobody had asked for it.
    #[test]
    fn each_is_there() {
        let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/tests");
        for program in TESTS.map(|tests| tests.program) {
            assert!(
                tests.join(program).with_extension("rs").is_file(),
                "{program}"
            );
        }
    }
}
