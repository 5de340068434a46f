//! The life of the data path: it outlives its agent, and the next one takes it over.

use std::{fs, path::Path, process::Command, time::Duration};

use nix::sys::signal::Signal;
use socketvirt::datapath::config::ConfigMap;
use socketvirt_common::record::config;
use socketvirt_tests::{
    life::{
        ADOPT, BUILD, EAGER, EDGE, OFF, Place, RECORDS, disguise, end, enrolled, host, kill,
        sockets, stats, until_enrolled, until_it_accelerates, until_more_is_fast,
    },
    process::{Process, until},
    run::{Mode, Run, binary, socketvirt, workload},
    session::{PINS, Session},
    table::table,
};

/// The enrolled sockets whose messages take the stack for this reason.
fn on_stack(reason: &str) -> usize {
    let enrolled = sockets();
    let is = |row: &&serde_json::Value| {
        row["id"].as_u64().is_some_and(|id| enrolled.contains(&id))
            && row["path"]["path"] == "stack"
            && row["path"]["reason"] == reason
    };
    table("--netns all").iter().filter(is).count()
}

#[test]
fn the_sockets_of_a_killed_agent_stay_and_are_steered_again() {
    let _session = Session::start();
    let place = Place::new(ADOPT);
    let (mut agent, talk) = place.at_work("");
    let before = sockets();
    for _ in 0..3 {
        kill(agent);
        assert_eq!(enrolled(), 8);
        agent = place.agent("");
        let said = agent.stderr();
        assert!(said.contains("with 8 enrolled sockets"), "{said}");
        assert_eq!((enrolled(), sockets()), (8, before.clone()));
        until_more_is_fast();
    }
    assert_eq!(stats().released, 0);
    // Steered: what the operator says reaches them.
    place.apply(OFF);
    until_enrolled(0);
    place.apply(ADOPT);
    until_enrolled(8);
    talk.end();
    end(agent);
}

#[test]
fn connections_that_begin_without_an_agent_are_found() {
    let _session = Session::start();
    let place = Place::new(ADOPT);
    let (agent, talk) = place.at_work("");
    kill(agent);
    let other = place.talk(EDGE);
    let agent = place.agent("");
    until_enrolled(16);
    other.end();
    talk.end();
    end(agent);
}

#[test]
fn nothing_depends_on_an_agent_that_is_silent() {
    let _session = Session::start();
    let place = Place::new(EAGER);
    let (agent, talk) = place.at_work("");
    agent.signal(Signal::SIGSTOP);
    until("all are on the stack", || on_stack("unwatched") == 8);
    let (eager, bytes) = (stats().eager, sockets());
    // Nobody would find what speaks against them later.
    let other = place.talk(EDGE);
    other.end();
    assert_eq!((stats().eager, sockets()), (eager, bytes));
    agent.signal(Signal::SIGCONT);
    until_more_is_fast();
    talk.end();
    end(agent);
}

/// One that is killed just then leaves sockets that nobody watches, and that say so.
#[test]
fn an_agent_has_said_that_it_watches_before_a_handshake_enrols() {
    let _session = Session::start();
    let place = Place::new(EAGER);
    for _ in 0..5 {
        let mut agent = place.start(place.cgroup(), "");
        let mut on = None;
        until("handshakes enrol", || {
            assert_eq!(agent.wait(Duration::ZERO), None, "{}", agent.stderr());
            let switches = ConfigMap::open(host()).map(|switches| switches.get());
            on = switches
                .ok()
                .filter(|switches| switches.mode == config::Mode::Eager);
            on.is_some()
        });
        assert_ne!(on.expect("the switches").watched_until, 0);
        until_it_accelerates(&mut agent);
        end(agent);
    }
}

#[test]
fn an_agent_that_has_nothing_to_see_is_not_taken_for_silent() {
    let _session = Session::start();
    let place = Place::new(EAGER);
    let agent = place.agent("");
    let beaten = || {
        let switches = ConfigMap::open(host()).expect("the switches");
        switches.get().watched_until
    };
    // Two more beats come without any connection.
    for _ in 0..2 {
        let last = beaten();
        until("it beats", || beaten() > last);
    }
    end(agent);
}

#[test]
fn records_that_are_not_understood_are_left_alone() {
    let _session = Session::start();
    let place = Place::new(ADOPT);
    let (agent, talk) = place.at_work("");
    disguise(BUILD);
    disguise(RECORDS);
    kill(agent);
    let agent = place.agent("");
    let said = agent.stderr();
    assert!(said.contains("is of a build with other records"), "{said}");
    assert!(said.contains("8 sockets are in use and stay in"), "{said}");
    let aside = fs::read_dir(PINS).expect("pins").flatten();
    let mut aside = aside.map(|entry| entry.file_name().to_string_lossy().into_owned());
    assert!(aside.any(|name| name.starts_with("old-")));
    let other = place.talk(EDGE);
    until_enrolled(8);
    // Of two homes, commands mean the one that is steered.
    place.apply(OFF);
    until_enrolled(0);
    other.end();
    talk.end();
    end(agent);
    let drained = socketvirt(&["drain"]);
    assert!(drained.status.success(), "{drained:?}");
}

#[test]
fn another_cgroup_is_another_data_path() {
    let _session = Session::start();
    let place = Place::new(ADOPT);
    let (agent, talk) = place.at_work("");
    kill(agent);
    let below = place.cgroup().join("below");
    fs::create_dir(&below).expect("a cgroup");
    let agent = place.agent_of(&below, "");
    let said = agent.stderr();
    assert!(said.contains("is of another cgroup"), "{said}");
    assert_eq!(enrolled(), 0);
    talk.end();
    end(agent);
    fs::remove_dir(below).expect("remove the cgroup");
}

#[test]
fn a_second_agent_is_told_who_is_the_first() {
    let _session = Session::start();
    let place = Place::new(ADOPT);
    for option in ["", "--no-table"] {
        let first = place.agent(option);
        assert_eq!(
            Path::new(PINS).join("sv_sockets").exists(),
            option.is_empty()
        );
        let mut command = Command::new(binary());
        command.args(["run", "--mode", "adopt", "--no-admin"]);
        command.args(option.split_whitespace());
        let second = Process::start(&mut command).finish(socketvirt_tests::process::PATIENCE);
        assert!(!second.status.success(), "{}", second.report());
        let who = format!("by pid {}", first.pid());
        assert!(second.stderr.contains(&who), "{}", second.report());
        assert_eq!(second.stderr.lines().count(), 1, "{}", second.report());
        end(first);
    }
}

#[test]
fn exec_works_beside_an_agent_and_leaves_its_home_alone() {
    let _session = Session::start();
    let place = Place::new(ADOPT);
    let (agent, talk) = place.at_work("");
    let before = sockets();
    let exec_works = || {
        let args = "streams --io edge --connections 2 --phases pp:20x4K,fast,stream:1M";
        Run::new(Mode::Adopt, workload(args))
            .finish()
            .finished
            .success();
        assert!(before.is_subset(&sockets()));
    };
    exec_works();
    kill(agent);
    exec_works();
    let agent = place.agent("");
    assert!(before.is_subset(&sockets()));
    until_more_is_fast();
    talk.end();
    end(agent);
}
