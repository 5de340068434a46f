//! `CPython`'s own tests: the only ones here that ask about sockets themselves, call by call.

use std::{path::Path, process::Command};

use anyhow::Result;
use test_support::command;
use xtask::setup::{self, Extra};

use super::program::{EAGER, Known, Program, SUPPORT, seconds};

const FILES: &[(&str, &str)] = &[("main.py", include_str!("../data/cpython.py")), SUPPORT];

const fn tests(
    name: &'static str,
    what: &'static str,
    arguments: &'static [&'static str],
    known: &'static [Known],
) -> Program {
    Program {
        name,
        what,
        packages: &[],
        prepare: Some(suite),
        files: FILES,
        arguments,
        short: None,
        limit: seconds(600),
        known,
    }
}

pub const PROGRAMS: &[Program] = &[
    Program {
        short: Some(&[
            "test.test_socket.BasicTCPTest",
            "test.test_socket.NonBlockingTCPTests",
            "test.test_socket.FileObjectClassTestCase",
            "test.test_socket.SendfileUsingSendfileTest",
            "test.test_socket.TCPTimeoutTest",
        ]),
        ..tests(
            "cpython-socket",
            "CPython test_socket",
            &["test.test_socket"],
            &[],
        )
    },
    tests(
        "cpython-asyncio",
        "CPython test_asyncio",
        &["test.test_asyncio"],
        &[],
    ),
    tests("cpython-ssl", "CPython test_ssl", &["test.test_ssl"], &[]),
    tests(
        "cpython-http",
        "CPython test_httplib, test_httpservers",
        &["test.test_httplib", "test.test_httpservers"],
        &[],
    ),
    tests(
        "cpython-ftp",
        "CPython test_ftplib",
        &["test.test_ftplib"],
        &[],
    ),
    tests(
        "cpython-smtp",
        "CPython test_smtplib",
        &["test.test_smtplib"],
        &[],
    ),
    tests(
        "cpython-server",
        "CPython test_socketserver",
        &["test.test_socketserver"],
        &[],
    ),
    tests(
        "cpython-xmlrpc",
        "CPython test_xmlrpc",
        &["test.test_xmlrpc"],
        &[],
    ),
    tests(
        "cpython-others",
        "CPython telnet, POP3, IMAP, async, urllib, select",
        &[
            "test.test_asynchat",
            "test.test_asyncore",
            "test.test_epoll",
            "test.test_imaplib",
            "test.test_poll",
            "test.test_poplib",
            "test.test_select",
            "test.test_selectors",
            "test.test_telnetlib",
            "test.test_urllib2_localnet",
            "test.test_wsgiref",
        ],
        &[Known {
            fact: "test_handle_expt",
            reason: "urgent data (MSG_OOB) arrives as normal data",
            sides: EAGER,
        }],
    ),
];

/// The suite of whatever version Debian's python3 is; the package has the version in its name.
fn suite(_: &Path) -> Result<()> {
    let version = command::output(
        Command::new("/usr/bin/python3")
            .args(["-c", "import sys; print('%d.%d' % sys.version_info[:2])"]),
    )?;
    let version = version.trim_end();
    if Path::new(&format!("/usr/lib/python{version}/test/test_socket.py")).exists() {
        return Ok(());
    }
    setup::run_extra(&[Extra {
        name: &format!("libpython{version}-testsuite"),
        reason: "CPython's own tests",
    }])
}
