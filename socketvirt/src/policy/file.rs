//! The file that a policy is written in.

use std::{
    collections::HashSet,
    fs,
    path::{Path, PathBuf},
};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use socketvirt_common::record::{config::Mode, policy::RULES};
use toml::Spanned;

use super::{
    report::{Complaint, PolicyError, Report},
    value::{
        Many,
        address::{Ports, Prefix},
        assume::Assumption,
        owner::{Gid, Namespace, Uid},
        path::{Cgroups, Container, Executables, Pod, Unit},
    },
};

/// What is done with the connections that a rule matches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// Accelerated once they have proved worth it and suitable.
    #[default]
    Adopt,
    /// Accelerated at the handshake where that is possible, and later otherwise.
    Eager,
    /// Left on plain TCP.
    Off,
    /// Left on plain TCP, and counted when they would have been accelerated.
    Observe,
}

impl Action {
    /// The word of it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Adopt => "adopt",
            Self::Eager => "eager",
            Self::Off => "off",
            Self::Observe => "observe",
        }
    }
}

/// When connections are accelerated at the earliest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Earliest {
    /// Once they have proved worth it and suitable.
    Adopt,
    /// At the handshake.
    Eager,
}

/// The rules for which connections are accelerated. Rules are tried in order; the
/// first that matches decides.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "socketvirt.toml")]
struct Table {
    /// What is done with connections that no rule matches.
    #[serde(default)]
    default: Action,
    /// When connections are accelerated at the earliest; `eager` when a rule or the
    /// default says so, unless it is told. It is read when `run` starts.
    #[schemars(with = "Option<Earliest>")]
    mode: Option<Spanned<Earliest>>,
    /// The cgroup whose connections are accelerated alone, with those below it. It is
    /// read when `run` starts.
    cgroup: Option<String>,
    /// The path of the agent's control socket. It is read when `run` starts.
    admin_socket: Option<PathBuf>,
    /// The group whose members may use the control socket, by name or number. It is
    /// read when `run` starts.
    admin_group: Option<String>,
    /// The rules, in order.
    #[serde(default)]
    #[schemars(with = "Vec<Rule>")]
    rule: Vec<Spanned<Rule>>,
}

/// A rule. It matches when every property that it names matches; a property with
/// a list matches by any of it. Cgroup, user, namespace and executable are those of one
/// end. A connection gets the stricter of what its two ends get.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// The name, by which it is shown.
    #[schemars(with = "String")]
    pub name: Spanned<String>,
    /// What is done.
    #[schemars(with = "Action")]
    pub action: Spanned<Action>,
    /// The port that the server listens on.
    pub server_port: Option<Many<Ports>>,
    /// The client's own port.
    pub client_port: Option<Many<Ports>>,
    /// The port of either end.
    pub port: Option<Many<Ports>>,
    /// The server's address, as the end knows it.
    pub server_address: Option<Many<Prefix>>,
    /// The client's address, as the end knows it.
    pub client_address: Option<Many<Prefix>>,
    /// The address of either end, as the end knows it.
    pub address: Option<Many<Prefix>>,
    /// The cgroup that the socket was made in, or one above it.
    pub cgroup: Option<Many<Cgroups>>,
    /// The unit of systemd.
    pub unit: Option<Many<Unit>>,
    /// The pod of Kubernetes.
    pub pod: Option<Many<Pod>>,
    /// The container.
    pub container: Option<Many<Container>>,
    /// The network namespace.
    pub namespace: Option<Many<Namespace>>,
    /// The user who has made the socket.
    pub uid: Option<Many<Uid>>,
    /// The group of who has made the socket.
    pub gid: Option<Many<Gid>>,
    /// The executable of the process that reads the socket.
    pub executable: Option<Many<Executables>>,
    /// What you vouch for of the programs whose connections it matches.
    #[schemars(with = "Option<Many<Assumption>>")]
    pub assume: Option<Spanned<Many<Assumption>>>,
    /// How many connections of it are accelerated at once.
    #[schemars(with = "Option<u32>", range(min = 1))]
    pub max_pairs: Option<Spanned<i64>>,
}

/// A policy that has been checked.
#[derive(Clone, Debug)]
pub struct Policy {
    /// What is done with connections that no rule matches.
    pub default: Action,
    /// When connections are accelerated at the earliest.
    pub mode: Mode,
    /// The cgroup whose connections are accelerated alone.
    pub cgroup: Option<String>,
    /// The path of the agent's control socket.
    pub admin_socket: Option<PathBuf>,
    /// The group whose members may use it.
    pub admin_group: Option<String>,
    /// The rules, in order.
    pub rules: Vec<Rule>,
}

impl Policy {
    /// Reads a file. Gives the policy and its text.
    ///
    /// # Errors
    /// When it cannot be read, or says what is not allowed.
    pub fn read(path: &Path) -> Result<(Self, String), PolicyError> {
        let text = fs::read_to_string(path).map_err(|source| PolicyError::Read {
            path: path.to_owned(),
            source,
        })?;
        Ok((Self::parse(path, &text)?, text))
    }

    /// Reads the text of a file.
    ///
    /// # Errors
    /// When it says what is not allowed.
    pub fn parse(path: &Path, text: &str) -> Result<Self, PolicyError> {
        let wrong = |complaints| PolicyError::Wrong(Report::new(path, text, complaints));
        let table: Table = toml::from_str(text).map_err(|error| {
            let span = error.span().unwrap_or(0..0);
            wrong(vec![Complaint::new(span, error.message())])
        })?;
        let complaints = check(&table);
        if !complaints.is_empty() {
            return Err(wrong(complaints));
        }
        let rules: Vec<Rule> = table.rule.into_iter().map(Spanned::into_inner).collect();
        let mode = match table.mode.map(Spanned::into_inner) {
            Some(Earliest::Eager) => Mode::Eager,
            None if is_eager(table.default, &rules) => Mode::Eager,
            Some(Earliest::Adopt) | None => Mode::Adopt,
        };
        Ok(Self {
            default: table.default,
            mode,
            cgroup: table.cgroup,
            admin_socket: table.admin_socket,
            admin_group: table.admin_group,
            rules,
        })
    }

    /// What any of its rules vouches for, as the kernel side has it.
    #[must_use]
    pub fn assumes(&self) -> u32 {
        self.rules
            .iter()
            .fold(0, |bits, rule| bits | rule.assumes())
    }

    /// True when something in it is accelerated at the handshake.
    #[must_use]
    pub fn is_eager(&self) -> bool {
        is_eager(self.default, &self.rules)
    }

    /// The name of a rule, or of the default behind the last one.
    #[must_use]
    pub fn name(&self, rule: usize) -> &str {
        self.rules
            .get(rule)
            .map_or("default", |rule| rule.name.get_ref())
    }
}

fn is_eager(default: Action, rules: &[Rule]) -> bool {
    default == Action::Eager
        || rules
            .iter()
            .any(|rule| *rule.action.get_ref() == Action::Eager)
}

/// What is allowed by the types and still wrong.
fn check(table: &Table) -> Vec<Complaint> {
    let mut wrong = Vec::new();
    if let Some(rule) = table.rule.get(RULES as usize) {
        let many = table.rule.len();
        wrong.push(
            Complaint::new(
                rule.span(),
                format!("{many} rules, at most {RULES} are possible"),
            )
            .help("put values of several rules into the list of one"),
        );
    }
    let mut names: HashSet<&str> = HashSet::new();
    for rule in &table.rule {
        let rule = rule.get_ref();
        let name = rule.name.get_ref().as_str();
        let span = rule.name.span();
        if name.is_empty() || name == "default" || name.chars().any(char::is_control) {
            wrong.push(Complaint::new(
                span,
                "expected a name that is not empty, and not `default`",
            ));
        } else if !names.insert(name) {
            wrong.push(
                Complaint::new(span, format!("two rules have the name `{name}`"))
                    .help("counters are shown by name: give each rule its own"),
            );
        }
        wrong.extend(limit(rule));
        wrong.extend(vouch(rule));
        let early = *rule.action.get_ref() == Action::Eager;
        if early
            && table
                .mode
                .as_ref()
                .is_some_and(|m| *m.get_ref() == Earliest::Adopt)
        {
            wrong.push(
                Complaint::new(rule.action.span(), "`eager` under `mode = \"adopt\"`")
                    .help("write `action = \"adopt\"`, or leave `mode` out"),
            );
        }
    }
    wrong
}

/// What is wrong with the limit of a rule.
fn limit(rule: &Rule) -> Option<Complaint> {
    let limit = rule.max_pairs.as_ref()?;
    let message = match u32::try_from(*limit.get_ref()) {
        Ok(1..) if matches!(rule.action.get_ref(), Action::Adopt | Action::Eager) => return None,
        Ok(1..) => format!(
            "a limit has no meaning with `action = \"{}\"`, which accelerates nothing",
            rule.action.get_ref().word()
        ),
        _ => format!("expected a number from 1 to {}", u32::MAX),
    };
    Some(Complaint::new(limit.span(), message))
}

/// What is wrong with what a rule vouches for.
fn vouch(rule: &Rule) -> Option<Complaint> {
    let vouch = rule.assume.as_ref()?;
    if matches!(rule.action.get_ref(), Action::Adopt | Action::Eager) {
        return None;
    }
    let message = format!(
        "`assume` has no meaning with `action = \"{}\"`, which accelerates nothing",
        rule.action.get_ref().word()
    );
    Some(Complaint::new(vouch.span(), message))
}

impl Rule {
    /// What it vouches for, as the kernel side has it.
    #[must_use]
    pub fn assumes(&self) -> u32 {
        let all = self.vouches().iter();
        all.fold(0, |bits, one| bits | one.bit())
    }

    /// The same in words.
    #[must_use]
    pub fn assumed(&self) -> Vec<&'static str> {
        self.vouches().iter().map(|one| one.word()).collect()
    }

    fn vouches(&self) -> &[Assumption] {
        self.assume.as_ref().map_or(&[], |all| &all.get_ref().0)
    }
}

/// The JSON schema of the file.
#[must_use]
pub fn schema() -> schemars::Schema {
    schemars::schema_for!(Table)
}
