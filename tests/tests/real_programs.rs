//! Servers and clients from the distribution, unchanged: what they answer,
//! store and transfer must be right.

use std::{fs, path::Path};

use socketvirt_tests::{
    process::must,
    programs::{free_port, required},
    run::{GO, Mode, Outcome, Run, shell, workload_path},
    session::Session,
};
use tempfile::TempDir;
use test_support::{nginx::Nginx, random::numbered};

/// Runs a script in every mode; accelerated, something must have been
/// redirected.
fn in_every_mode(script: &str, mut check: impl FnMut(Mode, &Outcome)) {
    let _session = Session::beside_others();
    for mode in Mode::ALL {
        let outcome = Run::new(mode, shell(script))
            .until(|seen| seen.fast_bytes > 0)
            .success();
        if mode != Mode::Plain {
            outcome.summary().accelerated();
        }
        check(mode, &outcome);
    }
}

/// A script that starts a server, waits until it answers, runs the clients
/// and ends the server.
fn with_server(server: &str, answers: &str, clients: &str) -> String {
    format!(
        "set -e\n{server} & server=$!\ntrap 'kill $server; wait $server || true' EXIT\n\
         until {answers}; do kill -0 $server; sleep 0.05; done\n{clients}\n"
    )
}

#[test]
fn redis() {
    let (port, server) = (free_port(), required("redis-server"));
    required("redis-benchmark");
    let script = with_server(
        &format!(
            "{} --port {port} --save '' --appendonly no >/dev/null",
            server.display()
        ),
        &format!("redis-cli -p {port} ping >/dev/null 2>&1"),
        &format!(
            "{workload} kv --protocol redis --port {port} --operations 500 --rate 500 --until-fast --value 50000\n\
             {workload} kv --protocol redis --port {port} --operations 4000 --seed 2 --blocking\n\
             redis-benchmark -p {port} -n 40000 -c 8 -t set,get,lrange_100 --csv\n\
             redis-benchmark -p {port} -n 20000 -c 32 -P 8 -d 1000 -t set,get --csv",
            workload = workload_path()
        ),
    );
    in_every_mode(&script, |mode, outcome| {
        let rates = outcome
            .finished
            .stdout
            .lines()
            .filter(|l| l.starts_with("\"GET"))
            .count();
        assert_eq!(rates, 2, "{mode}: {}", outcome.finished.report());
        assert!(
            !outcome.finished.stderr.contains("rror"),
            "{mode}: {}",
            outcome.finished.report()
        );
    });
}

#[test]
fn memcached() {
    let (port, server) = (free_port(), required("memcached"));
    let workload = workload_path();
    let kv = format!("{workload} kv --protocol memcached --port {port}");
    let script = with_server(
        &format!("{} -u nobody -l 127.0.0.1 -p {port}", server.display()),
        &format!("{kv} --operations 1 >/dev/null 2>&1"),
        &format!(
            "{kv} --operations 500 --rate 500 --until-fast --value 50000\n{kv} --operations 5000 --seed 2 --connections 16"
        ),
    );
    in_every_mode(&script, |mode, outcome| {
        assert_eq!(
            outcome.finished.stdout.lines().count(),
            2,
            "{mode}: {}",
            outcome.finished.report()
        );
    });
}

/// The command of an nginx that serves and takes files.
fn nginx(folder: &Path, port: u16) -> String {
    let listen = &format!("127.0.0.1:{port}");
    let file = Nginx {
        folder,
        listen,
        workers: 2,
    }
    .prepare()
    .expect("the configuration");
    format!("{} -c {}", required("nginx").display(), file.display())
}

#[test]
fn nginx_small_responses() {
    let (folder, port) = (tempfile::tempdir().expect("a directory"), free_port());
    let server = nginx(folder.path(), port);
    fs::write(folder.path().join("files/small"), "x".repeat(612)).expect("a small file");
    let url = format!("http://127.0.0.1:{port}/small");
    let script = with_server(
        &server,
        &format!("curl -sf {url} >/dev/null"),
        &format!(
            "{} -t 2 -c 32 -d 1h {url} & wrk=$!\n\
             sleep 1; until [ -e ${GO} ]; do sleep 0.1; done\n\
             kill -INT $wrk; wait $wrk",
            required("wrk").display()
        ),
    );
    in_every_mode(&script, |mode, outcome| {
        let report = &outcome.finished.stdout;
        assert!(
            report.contains("Requests/sec"),
            "{mode}: {}",
            outcome.finished.report()
        );
        let wrong = report.contains("Non-2xx") || report.contains("Socket errors");
        assert!(!wrong, "{mode}: {report}");
    });
}

fn sha256(path: &Path) -> String {
    let line = must("sha256sum", [path]);
    line.split(' ').next().expect("a sum").to_owned()
}

#[test]
fn nginx_downloads_and_uploads() {
    let (folder, port) = (tempfile::tempdir().expect("a directory"), free_port());
    let server = nginx(folder.path(), port);
    let root = folder.path().join("files");
    fs::write(root.join("large"), numbered(10 << 20)).expect("a large file");
    fs::write(root.join("small"), "small").expect("a small file");
    let expected = sha256(&root.join("large"));
    let url = format!("http://127.0.0.1:{port}");
    let here = folder.path().display();
    required("curl");
    // curl keeps its connection: small requests until it is adopted, large
    // ones over it, and small ones again.
    let small = |last: u32| format!("-o /dev/null '{url}/small?[1-{last}]'");
    let script = |many: u32| {
        with_server(
            &server,
            &format!("curl -sf {url}/small >/dev/null"),
            &format!(
                "curl -sSf --rate 150/s {} -o {here}/down1 {url}/large {} -o {here}/down2 {url}/large\n\
             curl -sSf --rate 150/s {} --next -sSf -T {here}/down1 {url}/up/1 --next -sSf {}\n\
             for i in 3 4 5; do curl -sSf -o {here}/down$i {url}/large & pids=\"$pids $!\"; done\n\
             for pid in $pids; do wait $pid; done\n\
             for i in 3 4; do curl -sSf -T {here}/down$i {url}/up/$i; done\n\
             curl -sSf -o {here}/down6 --limit-rate 8M {url}/large",
                small(many),
                small(50),
                small(many),
                small(50),
            ),
        )
    };
    let _session = Session::beside_others();
    for mode in Mode::ALL {
        // curl does not see when it is adopted, so that it could go on until
        // then: it runs again with more requests.
        let many = (0..8).map(|doublings| 200 << doublings);
        many.map(|many| Run::new(mode, shell(&script(many))).success())
            .find(|outcome| mode == Mode::Plain || outcome.summary().fast_bytes() > 0)
            .expect("nothing was redirected");
        for name in [
            "down1",
            "down2",
            "down3",
            "down4",
            "down5",
            "down6",
            "files/up/1",
            "files/up/3",
            "files/up/4",
        ] {
            let path = folder.path().join(name);
            assert_eq!(sha256(&path), expected, "{mode}: {name}");
            fs::remove_file(path).expect("remove the copy");
        }
    }
}

#[test]
fn iperf3() {
    let (port, program) = (free_port(), required("iperf3"));
    let program = program.display();
    let folder: TempDir = tempfile::tempdir().expect("a directory");
    let log = folder.path().join("server");
    // The server listens anew for each test, and says so.
    let runs = ["", "-R", "-P 4", "-l 1000 -b 50M"]
        .iter()
        .zip(1..)
        .map(|(options, number)| {
            format!(
                "until [ $(grep -c listening {log}) -ge {number} ]; do sleep 0.05; done\n\
                 {program} -c 127.0.0.1 -p {port} -t 1 {options}\n",
                log = log.display()
            )
        })
        .collect::<Vec<_>>()
        .concat();
    let script = format!(
        "set -e\n{program} -s -p {port} --forceflush > {log} 2>&1 & server=$!\ntrap 'kill $server; wait $server || true' EXIT\n{runs}",
        log = log.display()
    );
    let _session = Session::beside_others();
    for mode in Mode::ALL {
        let _ = fs::remove_file(&log);
        fs::write(&log, "").expect("the log");
        let outcome = Run::new(mode, shell(&script)).success();
        let done = outcome.finished.stdout.matches("iperf Done.").count();
        assert_eq!(done, 4, "{mode}: {}", outcome.finished.report());
        if mode != Mode::Plain {
            let summary = outcome.summary();
            // One control connection a run; one-way streams are not followed
            // in adopt mode.
            assert!(summary.count("/pairs") >= 4, "{summary}");
            assert!(summary.counts("/errors").is_empty(), "{summary}");
        }
    }
}
