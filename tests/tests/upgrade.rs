//! Another build takes the data path over: its programs are put behind the maps that are
//! there, under traffic, and connections stay fast.
//!
//! A data path becomes one of another build by what it says of itself.

use std::{collections::BTreeSet, fs, path::PathBuf, process::Command, thread, time::Instant};

use aya::{
    maps::{Array, MapData},
    programs::{
        CgroupAttachMode,
        links::{FdLink, LinkError},
    },
};
use nix::sys::signal::Signal;
use socketvirt::{
    bpf::object,
    datapath::{
        calls::Calls,
        config::ConfigMap,
        exchange::{Exchange, Step},
        home, pinned, takeover,
    },
    kernel::layout,
};
use socketvirt_common::record::config::ReceiveMode;
use socketvirt_tests::{
    ids::{KEPT, living, of_link, programs},
    life::{
        ADOPT, BUILD, EAGER, OFF, Place, Talk, disguise, end, enrolled, host, kill, sockets, stats,
        until_enrolled, until_more_is_fast,
    },
    process::{PATIENCE, Process, until},
    run::{socketvirt, workload},
    session::{PINS, Session},
};

/// Said when a data path of another build is taken over.
const TAKEN: &str = "taking over the data path of socketvirt";

/// The folders of data paths, also unfinished ones.
fn folders() -> BTreeSet<String> {
    let entries = fs::read_dir(PINS).expect("pins").flatten();
    let folders = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    folders
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect()
}

/// Exchanges the programs up to a step, and leaves all as a kill leaves it.
fn exchange(steps: &[Step]) {
    let mut pins = takeover::of_host().expect("no agent").expect("a data path");
    let layout = layout::kernel_layout().expect("the layout");
    let mut exchange = Exchange::prepare(&layout, &mut pins).expect("programs");
    for step in steps {
        exchange.take(*step).expect("a step");
    }
}

/// Steered: what the operator says reaches the sockets.
#[track_caller]
fn is_steered(place: &Place) {
    place.apply(OFF);
    until_enrolled(0);
    place.apply(ADOPT);
    until_enrolled(8);
}

#[test]
fn programs_are_exchanged_there_and_back() {
    let _session = Session::start();
    let place = Place::new(ADOPT);
    let (mut agent, talk) = place.at_work("");
    let (before, mut ids) = (sockets(), programs());
    // What the sockets keep is of the build that enrolled them.
    let mut kept: BTreeSet<String> = KEPT.map(str::to_owned).into();
    for _ in 0..3 {
        disguise(BUILD);
        kill(agent);
        agent = place.agent("");
        let said = agent.stderr();
        assert!(said.contains(TAKEN), "{said}");
        assert!(said.contains("with 8 enrolled sockets"), "{said}");
        assert_eq!((enrolled(), sockets()), (8, before.clone()));
        until_more_is_fast();
        let now = programs();
        assert_eq!(
            ids.keys().collect::<Vec<_>>(),
            now.keys().collect::<Vec<_>>()
        );
        for (what, id) in &now {
            assert_ne!(ids[what], *id, "{what}");
        }
        // Nothing else of the build before runs.
        until("the programs before have gone", || living(&ids) == kept);
        kept = BTreeSet::new();
        assert_eq!(folders(), ["host".to_owned()].into());
        ids = now;
    }
    assert_eq!(stats().released, 0);
    is_steered(&place);
    talk.end();
    end(agent);
}

#[test]
fn sockets_of_handshakes_stay_and_others_come() {
    let _session = Session::start();
    let place = Place::new(EAGER);
    let agent = place.agent("");
    let blocking = "--io blocking --eager --retry-eagain --connections 2";
    let talk = place.talk(blocking);
    until_enrolled(4);
    until("those of the self-test have gone", || sockets().len() == 4);
    let (before, eager) = (sockets(), stats().eager);
    disguise(BUILD);
    kill(agent);
    let agent = place.agent("");
    let said = agent.stderr();
    assert!(said.contains(TAKEN), "{said}");
    assert_eq!(sockets(), before);
    until_more_is_fast();
    // The handshake program of this build enrols.
    let other = place.talk(blocking);
    until_enrolled(8);
    assert!(stats().eager >= eager + 2);
    assert_eq!(stats().released, 0);
    other.end();
    talk.end();
    end(agent);
}

#[test]
fn what_programs_show_is_seen_and_remembered() {
    let _session = Session::start();
    let place = Place::new(ADOPT);
    let (agent, talk) = place.at_work("");
    disguise(BUILD);
    kill(agent);
    let agent = place.agent("");
    // The trace points, the watch program, the walks and the handshakes all have part in it.
    for (shows, first) in [("splice", "stack"), ("rcvlowat", "fast")] {
        let words = workload(&format!("habit --shows {shows}"));
        let shown = Process::start(Command::new(&words[0]).args(&words[1..])).finish(PATIENCE);
        shown.success();
        let told: serde_json::Value = serde_json::from_str(&shown.stdout).expect("JSON");
        assert_eq!(told["first"], first, "{shows}: {told}");
        assert_eq!(told["second"], "stack", "{shows}: {told}");
        assert_eq!(told["other"], "fast", "{shows}: {told}");
    }
    until_more_is_fast();
    talk.end();
    end(agent);
}

/// An agent that comes after a kill at each step takes over what is there.
#[test]
fn a_kill_at_any_step_costs_no_connection() {
    let _session = Session::start();
    let place = Place::new(ADOPT);
    let (mut agent, talk) = place.at_work("");
    let before = sockets();
    for many in 0..=Step::ALL.len() {
        disguise(BUILD);
        kill(agent);
        exchange(&Step::ALL[..many]);
        assert_eq!(object::is_ours(host()), many == Step::ALL.len());
        assert_eq!((enrolled(), sockets()), (8, before.clone()));
        agent = place.agent("");
        let said = agent.stderr();
        assert_eq!(said.contains(TAKEN), many < Step::ALL.len(), "{said}");
        assert!(said.contains("with 8 enrolled sockets"), "{said}");
        assert_eq!(folders(), ["host".to_owned()].into());
        assert_eq!((enrolled(), sockets()), (8, before.clone()));
        until_more_is_fast();
    }
    assert_eq!(stats().released, 0);
    is_steered(&place);
    talk.end();
    end(agent);
}

#[test]
fn a_kill_at_any_step_leaves_what_can_be_drained() {
    let _session = Session::start();
    let place = Place::new(ADOPT);
    let (mut agent, talk) = place.at_work("");
    for many in 0..=Step::ALL.len() {
        kill(agent);
        exchange(&Step::ALL[..many]);
        let drained = socketvirt(&["drain"]);
        assert!(drained.status.success(), "{many}: {drained:?}");
        assert!(!host().exists());
        agent = place.agent("");
        assert!(!agent.stderr().contains("taking over"));
        until_enrolled(8);
    }
    talk.end();
    end(agent);
}

#[test]
fn a_kill_at_any_moment_costs_no_connection() {
    /// Kills at random moments.
    const KILLS: u32 = 30;
    let _session = Session::start();
    let place = Place::new(ADOPT);
    let (agent, talk) = place.at_work("--no-table");
    let before = sockets();
    disguise(BUILD);
    kill(agent);
    let began = Instant::now();
    let mut agent = place.agent("--no-table");
    let longest = began.elapsed() * 5 / 4;
    let mut killed = 0;
    for _ in 0..KILLS {
        disguise(BUILD);
        kill(agent);
        agent = place.start(place.cgroup(), "--no-table");
        // The moment is what is tried, so nothing is waited for.
        thread::sleep(longest.mul_f64(fastrand::f64()));
        agent.signal(Signal::SIGKILL);
        assert!(agent.wait(PATIENCE).is_some(), "it does not end");
        killed += u32::from(!agent.stderr().contains(TAKEN));
        assert_eq!((enrolled(), sockets()), (8, before.clone()));
        agent = place.agent("--no-table");
        assert!(agent.stderr().contains("with 8 enrolled sockets"));
        assert_eq!((enrolled(), sockets()), (8, before.clone()));
        until_more_is_fast();
    }
    println!("{killed} of {KILLS} before the exchange was told");
    assert_eq!(stats().released, 0);
    assert_eq!(folders(), ["host".to_owned()].into());
    is_steered(&place);
    talk.end();
    end(agent);
}

/// What the self-test of the new build chooses holds for all sockets.
#[test]
fn another_receive_mode_is_begun_anew() {
    let _session = Session::start();
    let (place, talk) = left_by_another_build();
    let mut switches = ConfigMap::open(host()).expect("the switches");
    assert_eq!(switches.get().receive_mode, ReceiveMode::Unified);
    switches
        .change(|config| config.receive_mode = ReceiveMode::TxOnly)
        .expect("write");
    is_begun_anew(
        &place,
        "receives in mode tx-only, and the self-test of this build chose unified",
    );
    talk.end();
}

#[test]
fn a_map_of_another_shape_is_not_used() {
    let _session = Session::start();
    let (place, talk) = left_by_another_build();
    fs::remove_file(host().join("sv_seen")).expect("unpin");
    pin_a_map("sv_seen");
    is_begun_anew(&place, "has a map sv_seen that this build cannot use");
    talk.end();
}

#[test]
fn what_cannot_be_exchanged_is_begun_anew() {
    let _session = Session::start();
    let (place, talk) = left_by_another_build();
    // Begins like the link of a cgroup that was in the place before.
    pin_a_map("link_sock_ops_7");
    is_begun_anew(&place, "exchanging the program of link_sock_ops_7 failed");
    talk.end();
}

/// A place whose agent, of another build, was killed: its connections live on.
fn left_by_another_build() -> (Place, Talk) {
    let place = Place::new(ADOPT);
    let (agent, talk) = place.at_work("");
    disguise(BUILD);
    kill(agent);
    (place, talk)
}

/// Pins a map of one number.
fn pin_a_map(name: &str) {
    let map = Array::<MapData, u32>::create(1, 0).expect("a map");
    map.pin(host().join(name)).expect("pin");
}

/// An agent says why it does not take over; then all is as at a first start.
#[track_caller]
fn is_begun_anew(place: &Place, why: &str) {
    let agent = place.agent("");
    let said = agent.stderr();
    assert!(said.contains(why), "{said}");
    assert!(!said.contains("taking over"), "{said}");
    until_enrolled(8);
    assert_eq!(stats().adopted, 4);
    assert_eq!(folders(), ["host".to_owned()].into());
    end(agent);
}

#[test]
fn maps_that_only_one_build_knows_come_and_go() {
    let _session = Session::start();
    let (place, talk) = left_by_another_build();
    fs::remove_file(host().join("sv_seen")).expect("unpin");
    pin_a_map("sv_future");
    let agent = place.agent("");
    let said = agent.stderr();
    assert!(said.contains(TAKEN), "{said}");
    assert!(host().join("sv_seen").exists());
    assert!(!host().join("sv_future").exists());
    talk.end();
    end(agent);
}

/// Readers are forgotten when calls were not seen for a while, and only then.
#[test]
fn calls_are_watched_after_it_as_before() {
    let _session = Session::start();
    let place = Place::new(ADOPT);
    let (agent, talk) = place.at_work("");
    kill(agent);
    let mut calls = Calls::open(host()).expect("calls");
    assert!(calls.are_attached());
    exchange(&Step::ALL);
    let mut after = Calls::open(host()).expect("calls");
    assert!(after.are_attached());
    after.detach().expect("detach");
    exchange(&Step::ALL);
    assert!(!Calls::open(host()).expect("calls").are_attached());
    calls.detach().expect("detach");
    let agent = place.agent("");
    until_more_is_fast();
    talk.end();
    end(agent);
}

#[test]
fn links_of_cgroups_before_are_exchanged_too() {
    let _session = Session::start();
    let place = Place::new(ADOPT);
    let (agent, talk) = place.at_work("");
    kill(agent);
    let link = |name: &str, cgroup: &PathBuf| {
        let mut program = pinned::handshake(host()).expect("the program");
        let folder = fs::File::open(cgroup).expect("the cgroup");
        let link = program
            .attach(folder, CgroupAttachMode::Single)
            .expect("attach");
        let link = program.take_link(link).expect("the link");
        let link: Result<FdLink, LinkError> = link.try_into();
        link.expect("a link").pin(host().join(name)).expect("pin");
    };
    let [lives, gone] = ["lives", "gone"].map(|name| place.cgroup().join(name));
    for (name, cgroup) in [("link_sock_ops_7", &lives), ("link_sock_ops_8", &gone)] {
        fs::create_dir(cgroup).expect("a cgroup");
        link(name, cgroup);
    }
    fs::remove_dir(&gone).expect("remove the cgroup");
    let at = host().join("link_sock_ops_7");
    let before = of_link(&at);
    exchange(&Step::ALL);
    assert_ne!(of_link(&at), before);
    assert_eq!(of_link(&at), of_link(&host().join(home::SOCK_OPS_LINK)));
    let agent = place.agent("");
    assert!(agent.stderr().contains("with 8 enrolled sockets"));
    talk.end();
    end(agent);
    fs::remove_dir(lives).expect("remove the cgroup");
}

#[test]
fn an_agent_that_is_replaced_keeps_its_connections() {
    let _session = Session::start();
    let place = Place::new(ADOPT);
    let (mut agent, talk) = place.at_work("");
    let before = sockets();
    for _ in 0..2 {
        disguise(BUILD);
        agent.signal(Signal::SIGUSR2);
        let ended = agent.finish(PATIENCE);
        ended.success();
        assert!(ended.stderr.contains("stays on, with 8 enrolled"));
        agent = place.agent("");
        assert!(agent.stderr().contains(TAKEN), "{}", agent.stderr());
        assert_eq!(sockets(), before);
        until_more_is_fast();
    }
    talk.end();
    end(agent);
    assert!(!host().exists());
}
