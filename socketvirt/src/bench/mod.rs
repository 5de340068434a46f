//! `socketvirt bench`: what the fast path brings, and what socketvirt costs.
//!
//! Plain TCP, a Unix socket and accelerated TCP carry the same messages with
//! the same calls, interleaved in one run. A worker process (`worker`) drives
//! one variant and stays up; the orchestrator (`run`) asks each in turn over a
//! control link (`wire`). Accelerated workers run under `socketvirt exec`, as
//! any program would (`host`). Whether a number may be called fast is not
//! believed but measured: TCP's own counters do not see redirected bytes.

mod company;
mod dump;
mod error;
mod host;
mod load;
mod naive;
mod netns;
mod options;
mod plan;
mod report;
mod run;
pub mod scale;
mod scratch;
mod select;
mod stats;
mod table;
mod wire;
mod worker;

pub use self::{
    dump::{Dump, TableCosts},
    error::Error,
    options::{Args, WorkerArgs},
    report::{Case, Outcome, Report, SCHEMA, Skipped, Worker},
    run::run,
    worker::run as work,
};
