//! Databases, caches and queues.

use xtask::setup::Extra;

use super::deployment::{Deployment, PLAIN, Server, Text};

const POSTGRESQL: Extra<'_> = Extra {
    name: "postgresql",
    reason: "a server of a deployment",
};

/// Makes a cluster, with the tables of pgbench in it.
const POSTGRESQL_SETUP: Text = ("postgresql.sh", include_str!("../data/postgresql.sh"));

const POSTGRESQL_SERVER: Server = Server {
    line: "exec sh postgresql.sh serve",
    answers: "sh postgresql.sh answers",
};

pub const DEPLOYMENTS: &[Deployment] = &[
    Deployment {
        name: "redis",
        what: "redis, SET of 512 bytes",
        servers: &[Server {
            line: "redis-server --bind 127.0.0.1 --save '' --appendonly no",
            answers: "redis-cli ping",
        }],
        files: &[("load.sh", include_str!("../data/redis.sh"))],
        load: "sh load.sh",
        rate: "rate",
        ..PLAIN
    },
    Deployment {
        name: "memcached",
        what: "memcached, memcaslap: nine gets to a set of 1 KB",
        servers: &[Server {
            line: "memcached -u nobody -l 127.0.0.1",
            answers: "memcping --servers=127.0.0.1",
        }],
        load: "memcaslap -s 127.0.0.1:11211 -T 1 -c 16 -t ${TIME}s",
        rate: "TPS:",
        ..PLAIN
    },
    Deployment {
        name: "pgbench-select",
        what: "PostgreSQL, pgbench -S: one row a query",
        packages: &[POSTGRESQL],
        files: &[POSTGRESQL_SETUP],
        prepare: "sh postgresql.sh make",
        servers: &[POSTGRESQL_SERVER],
        load: "sh postgresql.sh load 5432 -S",
        rate: "tps =",
        unit: "transactions",
        ..PLAIN
    },
    Deployment {
        name: "pgbench",
        what: "PostgreSQL, pgbench: transactions of seven statements",
        packages: &[POSTGRESQL],
        files: &[POSTGRESQL_SETUP],
        prepare: "sh postgresql.sh make",
        servers: &[POSTGRESQL_SERVER],
        load: "sh postgresql.sh load 5432",
        rate: "tps =",
        unit: "transactions",
        ..PLAIN
    },
    Deployment {
        name: "pgbouncer",
        what: "PgBouncer before PostgreSQL, a pool of transactions, pgbench -S",
        packages: &[
            POSTGRESQL,
            Extra {
                name: "pgbouncer",
                reason: "a server of a deployment",
            },
        ],
        files: &[
            POSTGRESQL_SETUP,
            ("pgbouncer.ini", include_str!("../data/pgbouncer.ini")),
            ("users.txt", "\"postgres\" \"\"\n"),
        ],
        prepare: "sh postgresql.sh make",
        servers: &[
            POSTGRESQL_SERVER,
            Server {
                line: "exec sh postgresql.sh as_user pgbouncer pgbouncer.ini",
                answers: "ss -Hltn sport = 6432 | grep -q 6432",
            },
        ],
        load: "sh postgresql.sh load 6432 -S",
        rate: "tps =",
        unit: "transactions",
        ..PLAIN
    },
    Deployment {
        name: "mariadb",
        what: "MariaDB, sysbench: one row a query",
        packages: &[
            Extra {
                name: "mariadb-server",
                reason: "a server of a deployment",
            },
            Extra {
                name: "sysbench",
                reason: "load of MariaDB",
            },
        ],
        files: &[("mariadb.sh", include_str!("../data/mariadb.sh"))],
        prepare: "sh mariadb.sh make",
        servers: &[Server {
            line: "exec sh mariadb.sh serve",
            answers: "sh mariadb.sh answers",
        }],
        load: "sh mariadb.sh load",
        rate: "rate",
        ..PLAIN
    },
    Deployment {
        name: "rabbitmq",
        what: "RabbitMQ (Erlang), pika: small messages, each confirmed and taken again",
        packages: &[
            Extra {
                name: "python3-pika",
                reason: "client of RabbitMQ",
            },
            Extra {
                name: "rabbitmq-server",
                reason: "a server of a deployment",
            },
        ],
        files: &[
            ("rabbitmq.sh", include_str!("../data/rabbitmq.sh")),
            ("load.py", include_str!("../data/rabbitmq.py")),
        ],
        servers: &[Server {
            line: "exec sh rabbitmq.sh serve",
            answers: "sh rabbitmq.sh answers",
        }],
        load: "/usr/bin/python3 load.py",
        rate: "rate",
        unit: "messages",
        ..PLAIN
    },
    Deployment {
        name: "etcd",
        what: "etcd (Go), reads of one key in JSON",
        packages: &[Extra {
            name: "etcd-server",
            reason: "a server of a deployment",
        }],
        files: &[("load.lua", include_str!("../data/etcd.lua"))],
        servers: &[Server {
            line: "exec etcd --data-dir data --log-level error",
            answers: r#"curl -sSf -o answer -d '{"key":"a2V5","value":"dmFsdWU="}' http://127.0.0.1:2379/v3/kv/put"#,
        }],
        load: "wrk -t 1 -c 16 -d $TIME -s load.lua http://127.0.0.1:2379/v3/kv/range",
        ..PLAIN
    },
];
