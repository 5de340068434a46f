//! Files and shells over the network.

use xtask::setup::Extra;

use super::program::{Program, SUPPORT, seconds};

const LOOPBACK: (&str, &str) = ("loopback.py", include_str!("../data/loopback.py"));
const SSH: Extra<'_> = Extra {
    name: "openssh-server",
    reason: "server under test, with keys and configuration of its own",
};
const SSH_CLIENT: Extra<'_> = Extra {
    name: "openssh-client",
    reason: "client under test",
};

pub const PROGRAMS: &[Program] = &[
    Program {
        name: "rsync",
        what: "daemon and ssh: up, down, changes, limited",
        packages: &[
            SSH,
            SSH_CLIENT,
            Extra {
                name: "rsync",
                reason: "client and daemon under test",
            },
        ],
        prepare: None,
        files: &[
            ("main.py", include_str!("../data/rsync.py")),
            SUPPORT,
            LOOPBACK,
        ],
        arguments: &[],
        short: None,
        limit: seconds(240),
        known: &[],
    },
    Program {
        name: "ssh",
        what: "ssh, scp, sftp, forwarding over loopback",
        packages: &[SSH, SSH_CLIENT],
        prepare: None,
        files: &[
            ("main.py", include_str!("../data/ssh.py")),
            SUPPORT,
            LOOPBACK,
            ("websocket.py", include_str!("../data/websocket.py")),
        ],
        arguments: &[],
        short: None,
        limit: seconds(240),
        known: &[],
    },
];
