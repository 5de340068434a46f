//! Common ground of the integration tests, the demo and the crates below `xtask`: traces that runs leave in the kernel,
//! guards for namespaces, cgroups and processes, servers, content, and waiting.
//!
//! Functions return what went wrong instead of panicking: a demo that cannot go on says so and cleans up. The tests
//! turn errors into panics where they call.

#![expect(
    clippy::missing_errors_doc,
    reason = "errors are for people: each says what was attempted and what the kernel or program answered"
)]
#![expect(
    clippy::must_use_candidate,
    reason = "nothing here is called for its side effect and returns something else"
)]

pub mod agent;
pub mod cgroup;
pub mod command;
pub mod job;
pub mod leftovers;
pub mod lock;
pub mod mounts;
pub mod netns;
pub mod nginx;
pub mod owner;
pub mod ports;
pub mod random;
pub mod signals;
pub mod stats;
pub mod summary;
pub mod wait;
