//! What is tried inside the machine, and how long each may take under emulation.

use clap::builder::PossibleValuesParser;

/// Seconds that one look at the table may take.
pub const TABLE_LIMIT: u64 = 180;
/// Seconds for the doctor.
pub const DOCTOR_LIMIT: u64 = 600;
/// Seconds for one run of the workload.
pub const EXEC_LIMIT: u64 = 180;

/// Streams of two connections, with all that makes a path change; contents are checked.
pub const WORKLOAD: &str = "--deadline 150 streams --io level --connections 2 --phases \
                            pp:300@150,stream:200K,pp:100,slowup:50K,pp:100@150,slowdown:50K,pipe:20x16";

/// A program of integration tests.
pub struct Tests {
    /// Its name.
    pub program: &'static str,
    /// Which of its tests.
    pub filters: &'static [&'static str],
    /// Seconds: many times what it takes on an idle host.
    pub limit: u64,
    /// They say nothing where nothing is accelerated.
    pub accelerated: bool,
}

/// The core of the suite: bytes, calls, ends, readiness, back-pressure, namespaces, the table.
pub const TESTS: [Tests; 8] = [
    tests("table_truth", &[], 1500, false),
    tests("table_life", &[], 1500, false),
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
        1500,
        true,
    ),
    tests("calls", &[], 1500, true),
    tests("closing", &[], 1500, true),
    tests("readiness", &[], 1500, true),
    // A byte a message fills no buffer in time.
    tests("backpressure", &["--skip", "single_bytes"], 1500, true),
    tests("namespaces", &[], 1500, true),
];

const fn tests(
    program: &'static str,
    filters: &'static [&'static str],
    limit: u64,
    accelerated: bool,
) -> Tests {
    Tests {
        program,
        filters,
        limit,
        accelerated,
    }
}

/// The programs of [`TESTS`], for the command line.
pub fn names() -> PossibleValuesParser {
    PossibleValuesParser::new(TESTS.map(|tests| tests.program))
}
