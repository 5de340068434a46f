//! The control socket as a file: who may ask, what a killed agent leaves of it, and starts
//! that cannot have it.

use std::{
    fs,
    os::unix::{fs::PermissionsExt as _, process::CommandExt as _},
    path::Path,
    process::Command,
};

use nix::{
    mount::{MntFlags, MsFlags, mount, umount2},
    sys::signal::Signal,
};
use serde_json::Value;
use socketvirt_tests::{
    admin::ask_at,
    process::{PATIENCE, Process},
    run::{binary, errors, socketvirt},
    session::{self, Session},
    table::keep::{accelerate, end, keep},
};

#[test]
fn strangers_are_refused() {
    let _session = Session::start();
    let folder = tempfile::tempdir().expect("a folder");
    let socket = folder.path().join("own/admin.sock");
    let agent = keep(&format!(
        "--admin-group 4242 --admin-socket {}",
        socket.display()
    ));
    let open = |path: &Path, mode| {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("permissions");
    };
    let program = folder.path().join("socketvirt");
    fs::copy(binary(), &program).expect("a copy that all may run");
    open(folder.path(), 0o755);
    let ask_as = |uid: u32, gid: u32| {
        let mut command = Command::new(&program);
        command
            .args(["status", "--socket"])
            .arg(&socket)
            .uid(uid)
            .gid(gid);
        command.output().expect("run socketvirt")
    };
    // Files keep them out...
    assert!(errors(&ask_as(4343, 4343)).contains("not for this user"));
    assert!(ask_as(4343, 4242).status.success());
    // ...and so does the agent, when somebody has opened the files.
    open(socket.parent().expect("a folder"), 0o755);
    open(&socket, 0o666);
    let refused = ask_as(4343, 4343);
    assert!(
        errors(&refused).contains("members of its `--admin-group` may ask"),
        "{refused:?}"
    );
    assert_eq!(refused.status.code(), Some(1));
    assert!(ask_as(4343, 4242).status.success());
    end(agent);
}

#[test]
fn a_killed_agent_is_told_from_one_that_lives() {
    let _session = Session::start();
    let folder = tempfile::tempdir().expect("a folder");
    let socket = folder.path().join("admin.sock");
    let args = format!("--mode adopt --admin-socket {}", socket.display());
    let mut killed = accelerate(&args);
    killed.signal(Signal::SIGKILL);
    killed.wait(PATIENCE);
    assert!(socket.exists());
    // What is pinned still tells.
    let path = socket.display().to_string();
    let told = socketvirt(&["status", "--socket", &path]);
    let text = String::from_utf8_lossy(&told.stdout).into_owned();
    assert!(
        text.contains("no agent runs") && text.contains("mode adopt"),
        "{told:?}"
    );
    let told = socketvirt(&["status", "--json", "--socket", &path]);
    let json: Value = serde_json::from_slice(&told.stdout).expect("JSON");
    assert_eq!(
        (&json["agent"], &json["accelerating"]["mode"]),
        (&Value::Null, &"adopt".into())
    );
    let next = accelerate(&args);
    assert_eq!(
        ask_at(&socket, "GET", "/healthz", "")
            .expect("an answer")
            .status,
        200
    );
    end(next);
    let none = socketvirt(&["status", "--socket", &path]);
    assert_eq!(none.status.code(), Some(1));
    assert!(
        errors(&none).contains("start one with `socketvirt run`"),
        "{none:?}"
    );
}

/// A start that cannot have its socket says so in one line, and leaves nothing.
#[test]
fn a_socket_that_cannot_be_made_starts_nothing() {
    let session = Session::start();
    let folder = tempfile::tempdir().expect("a folder");
    let full = folder.path().join("full");
    fs::create_dir(&full).expect("a folder");
    mount(
        Some("tmpfs"),
        &full,
        Some("tmpfs"),
        MsFlags::empty(),
        Some("nr_inodes=1,mode=0755"),
    )
    .expect("a full file system");
    let taken = folder.path().join("taken");
    fs::write(&taken, "mine").expect("a file");
    let open = folder.path().join("open");
    fs::create_dir(&open).expect("a folder");
    fs::set_permissions(&open, fs::Permissions::from_mode(0o777)).expect("permissions");
    for (args, says) in [
        (
            vec![full.join("a/admin.sock").display().to_string()],
            "No space left",
        ),
        (
            vec![full.join("admin.sock").display().to_string()],
            "No space left",
        ),
        (
            vec!["/proc/none/admin.sock".to_owned()],
            "making the folder /proc/none failed",
        ),
        (vec![taken.display().to_string()], "is no socket"),
        (
            vec![open.join("admin.sock").display().to_string()],
            "others than root",
        ),
        (vec!["admin.sock".to_owned()], "must begin with /"),
        (
            vec![
                folder.path().join("admin.sock").display().to_string(),
                "--admin-group".to_owned(),
                "no-such-group".to_owned(),
            ],
            "there is no group no-such-group",
        ),
    ] {
        let mut command = Command::new(binary());
        command
            .args(["run", "--mode", "adopt", "--admin-socket"])
            .args(&args);
        let mut agent = Process::start(&mut command);
        session::started(agent.pid());
        let ended = agent.finish(PATIENCE);
        assert_eq!(ended.status.code(), Some(1), "{args:?}: {}", ended.report());
        assert_eq!(
            ended.stderr.lines().count(),
            1,
            "{args:?}: {}",
            ended.report()
        );
        assert!(ended.stderr.contains(says), "{args:?}: {}", ended.report());
    }
    umount2(&full, MntFlags::MNT_DETACH).expect("unmount");
    assert_eq!(fs::read_to_string(&taken).expect("the file"), "mine");
    session.clean();
}
