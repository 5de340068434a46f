//! Language runtimes: each has its own way with sockets.

use xtask::setup::Extra;

use super::program::{BLOCKING, EAGER, Known, Program, SUPPORT, Side, seconds};

pub const PROGRAMS: &[Program] = &[
    Program {
        name: "node",
        what: "http and net: streams, back-pressure, reset",
        packages: &[Extra {
            name: "nodejs",
            reason: "runtime under test",
        }],
        prepare: None,
        files: &[
            ("main.py", include_str!("../data/node.py")),
            SUPPORT,
            ("node.js", include_str!("../data/node.js")),
        ],
        arguments: &[],
        short: None,
        limit: seconds(240),
        known: &[],
    },
    Program {
        name: "java",
        what: "blocking sockets, HTTP client, server, NIO",
        packages: &[Extra {
            name: "openjdk-17-jdk-headless",
            reason: "runtime under test, with a compiler",
        }],
        prepare: None,
        files: &[
            ("main.py", include_str!("../data/java.py")),
            SUPPORT,
            ("Main.java", include_str!("../data/Main.java")),
        ],
        arguments: &[],
        short: None,
        limit: seconds(240),
        known: &[],
    },
    Program {
        name: "go",
        what: "net/http, deadlines, half-close, splice",
        packages: &[Extra {
            name: "golang-go",
            reason: "runtime under test",
        }],
        prepare: None,
        files: &[
            ("main.py", include_str!("../data/go.py")),
            SUPPORT,
            ("main.go", include_str!("../data/main.go")),
        ],
        arguments: &[],
        short: None,
        limit: seconds(90),
        known: &[],
    },
    Program {
        name: "python-blocking",
        what: "blocking sockets, signals, a writing thread",
        packages: &[],
        prepare: None,
        files: &[("main.py", include_str!("../data/blocking.py")), SUPPORT],
        arguments: &[],
        short: None,
        limit: seconds(120),
        known: &[
            Known {
                fact: "blocking recv with signals",
                reason: BLOCKING,
                sides: EAGER,
            },
            Known {
                fact: "reader and writer of one socket",
                reason: BLOCKING,
                sides: EAGER,
            },
        ],
    },
    Program {
        name: "python-switch",
        what: "a socket made blocking in mid-life, signals",
        packages: &[],
        prepare: None,
        files: &[("main.py", include_str!("../data/switch.py")), SUPPORT],
        arguments: &[],
        short: None,
        limit: seconds(60),
        known: &[Known {
            fact: "with signals",
            reason: BLOCKING,
            // A guard sees the change only when it has happened.
            sides: &[Side::Adopt, Side::Eager],
        }],
    },
];
