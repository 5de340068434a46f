//! A deployment: servers as their packages have them, a client that keeps them busy, and how both are set up.

use xtask::setup::Extra;

/// A file that a deployment has in its folder: its name, and its text.
pub type Text = (&'static str, &'static str);

/// Servers and a load. Each line is one of a shell in the deployment's folder, network namespace and cgroup.
#[derive(Debug)]
pub struct Deployment {
    /// Its name, for `--only`.
    pub name: &'static str,
    /// The programs and the way in which they are used, in a few words.
    pub what: &'static str,
    /// Packages beside those that setup installs.
    pub packages: &'static [Extra<'static>],
    /// What comes from `PyPI`, with the version that was seen to work: `name==version`.
    pub wheels: &'static [&'static str],
    pub files: &'static [Text],
    /// Runs to its end before the servers start; empty where nothing is to do.
    pub prepare: &'static str,
    pub servers: &'static [Server],
    /// Runs for `$TIME` seconds, and prints its rate.
    pub load: &'static str,
    /// The words before the rate, in the output of the load.
    pub rate: &'static str,
    /// What is done in that many a second.
    pub unit: &'static str,
    /// The policy of the agent; empty where it adopts everything.
    pub policy: &'static str,
    /// What an operator can do beside what the reasons say.
    pub advice: &'static str,
}

/// One server, which lives as long as the deployment.
#[derive(Debug)]
pub struct Server {
    pub line: &'static str,
    /// Succeeds once the server answers.
    pub answers: &'static str,
}

/// A deployment without anything special.
pub const PLAIN: Deployment = Deployment {
    name: "",
    what: "",
    packages: &[],
    wheels: &[],
    files: &[],
    prepare: "",
    servers: &[],
    load: WRK,
    rate: "Requests/sec:",
    unit: "requests",
    policy: "",
    advice: "",
};

/// A policy of an operator who knows that none of the programs splices.
pub const VOUCHED: &str =
    "[[rule]]\nname = \"all\"\naction = \"adopt\"\nassume = [\"no-splice\"]\n";

/// Requests `/` of a web server again and again on connections that stay open.
pub const WRK: &str = "wrk -t 1 -c 16 -d $TIME http://127.0.0.1:8080/";

/// Asks a web server once.
pub const CURL: &str = "curl -sSf -o answer http://127.0.0.1:8080/";

/// Words that begin a failure in the output of a load which ends with success.
pub const FAILURES: [&str; 2] = ["Non-2xx", "Socket errors"];
