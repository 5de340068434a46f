//! `socketvirt drain` and `--on-exit`: what takes the data path away, and what leaves it.

use serde_json::Value;
use socketvirt_tests::{
    life::{ADOPT, EAGER, Place, end, enrolled, host, kill, sockets, until_enrolled},
    run::socketvirt,
    session::Session,
};

#[test]
fn kept_on_exit_it_stays_until_it_is_drained() {
    let _session = Session::start();
    let place = Place::new(ADOPT);
    let (agent, talk) = place.at_work("--on-exit keep");
    let before = sockets();
    let said = end(agent);
    assert!(said.contains("stays on, with 8 enrolled"), "{said}");
    assert!(said.contains("`socketvirt drain` takes it away"), "{said}");
    assert_eq!(sockets(), before);
    // It is the next agent's.
    let agent = place.agent("--on-exit keep");
    assert_eq!(sockets(), before);
    end(agent);
    let drained = socketvirt(&["drain"]);
    assert!(drained.status.success(), "{drained:?}");
    assert!(!host().exists());
    talk.end();
}

#[test]
fn what_carries_nothing_is_not_kept() {
    let _session = Session::start();
    let place = Place::new(ADOPT);
    end(place.agent("--on-exit keep"));
    assert!(!host().exists());
}

#[test]
fn drained_on_exit_it_is_gone() {
    let _session = Session::start();
    let place = Place::new(ADOPT);
    let (agent, talk) = place.at_work("");
    end(agent);
    assert!(!host().exists());
    talk.end();
}

#[test]
fn a_running_agent_is_drained_and_paused() {
    let _session = Session::start();
    let place = Place::new(ADOPT);
    let (agent, talk) = place.at_work("");
    for _ in 0..3 {
        until_enrolled(8);
        let drained = socketvirt(&["drain"]);
        assert!(drained.status.success(), "{drained:?}");
        assert_eq!(enrolled(), 0);
        let status = socketvirt(&["status", "--json"]);
        let status: Value = serde_json::from_slice(&status.stdout).expect("JSON");
        assert_eq!(status["accelerating"]["paused"], true);
        assert!(socketvirt(&["resume"]).status.success());
    }
    until_enrolled(8);
    talk.end();
    end(agent);
}

#[test]
fn without_an_agent_a_data_path_is_drained_under_traffic() {
    let _session = Session::start();
    let place = Place::new(ADOPT);
    let (agent, talk) = place.at_work("");
    kill(agent);
    let drained = socketvirt(&["drain", "--json"]);
    assert!(drained.status.success(), "{drained:?}");
    let shown: Value = serde_json::from_slice(&drained.stdout).expect("JSON");
    assert_eq!(shown["enrolled"], 0);
    assert!(!host().exists());
    talk.end();
}

#[test]
fn what_stays_is_named_and_goes_later() {
    let _session = Session::start();
    let place = Place::new(EAGER);
    let agent = place.agent("");
    // Blocking sockets stay enrolled until they close.
    let talk = place.talk("--io blocking --eager --retry-eagain --connections 2");
    until_enrolled(4);
    kill(agent);
    let drained = socketvirt(&["drain", "--timeout", "1"]);
    assert_eq!(drained.status.code(), Some(1), "{drained:?}");
    let said = String::from_utf8_lossy(&drained.stderr).into_owned();
    assert!(said.contains("4 sockets are in use still"), "{said}");
    assert_eq!(said.matches("  workload (pid ").count(), 4, "{said}");
    assert!(host().exists());
    // An agent that comes now takes it over all the same.
    let agent = place.agent("");
    assert!(agent.stderr().contains("with 4 enrolled sockets"));
    kill(agent);
    talk.end();
    let drained = socketvirt(&["drain"]);
    assert!(drained.status.success(), "{drained:?}");
    assert!(!host().exists());
}

#[test]
fn an_agent_that_is_not_reached_is_not_drained() {
    let _session = Session::start();
    let place = Place::new(ADOPT);
    let agent = place.agent("--no-admin");
    let drained = socketvirt(&["drain"]);
    assert_eq!(drained.status.code(), Some(1), "{drained:?}");
    let said = String::from_utf8_lossy(&drained.stderr).into_owned();
    let who = format!("by pid {}", agent.pid());
    assert!(said.contains(&who), "{said}");
    end(agent);
}

#[test]
fn nothing_is_drained_where_nothing_is() {
    let _session = Session::start();
    let drained = socketvirt(&["drain"]);
    assert!(drained.status.success(), "{drained:?}");
    let said = String::from_utf8_lossy(&drained.stderr).into_owned();
    assert!(said.contains("no agent runs"), "{said}");
}
