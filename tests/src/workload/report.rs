//! One side of all connections, and what it reports.

use std::{net::SocketAddr, os::fd::OwnedFd};

use super::flow::Flow;

/// One side of all connections.
pub(crate) enum Side {
    Server {
        listener: OwnedFd,
        total: u32,
    },
    Client {
        server: SocketAddr,
        connections: u32,
        total: u32,
    },
}

impl Side {
    pub(crate) fn total(&self) -> u32 {
        match self {
            Self::Server { total, .. } | Self::Client { total, .. } => *total,
        }
    }
}

/// The report of a side.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Report {
    pub(crate) connections: u32,
    pub(crate) sent: u64,
    pub(crate) received: u64,
    pub(crate) spurious: u64,
    pub(crate) redirected: u64,
}

impl Report {
    pub(crate) fn count(&mut self, flow: &Flow) {
        self.connections += 1;
        self.sent += flow.sent;
        self.received += flow.received;
        self.spurious += flow.spurious;
        self.redirected += flow.redirected();
    }

    pub(crate) fn print(&self, side: &str) {
        let Self {
            connections,
            sent,
            received,
            spurious,
            redirected,
        } = self;
        println!(
            r#"{{"side":"{side}","connections":{connections},"sent":{sent},"received":{received},"redirected":{redirected},"spurious":{spurious}}}"#
        );
    }
}
