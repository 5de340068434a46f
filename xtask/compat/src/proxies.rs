//! Web servers and proxies: non-blocking, event driven, and the ones that splice.

use xtask::setup::Extra;

use super::program::{Program, SUPPORT, seconds};

const WEBSOCKET: (&str, &str) = ("websocket.py", include_str!("../data/websocket.py"));
const HAPROXY: &[Extra<'_>] = &[Extra {
    name: "haproxy",
    reason: "proxy under test, the one that splices",
}];

pub const PROGRAMS: &[Program] = &[
    Program {
        name: "nginx",
        what: "proxy, PUT, ranges, keep-alive, websockets",
        packages: &[],
        prepare: None,
        files: &[
            ("main.py", include_str!("../data/nginx.py")),
            SUPPORT,
            WEBSOCKET,
        ],
        arguments: &[],
        short: None,
        limit: seconds(240),
        known: &[],
    },
    Program {
        name: "haproxy",
        what: "TCP and HTTP mode, splicing, websockets",
        packages: HAPROXY,
        prepare: None,
        files: &[
            ("main.py", include_str!("../data/haproxy.py")),
            SUPPORT,
            WEBSOCKET,
        ],
        arguments: &["20", "2", "tcp", "http"],
        short: Some(&["4", "1", "tcp", "http"]),
        limit: seconds(240),
        known: &[],
    },
    Program {
        name: "curl",
        what: "HTTP/1.1 and 2: up, down, ranges, resumed",
        packages: &[],
        prepare: None,
        files: &[("main.py", include_str!("../data/curl.py")), SUPPORT],
        arguments: &[],
        short: None,
        limit: seconds(240),
        known: &[],
    },
];
