//! What an operator can vouch for.

use std::{fmt, str::FromStr};

use socketvirt_common::{difference, record::policy::NO_SPLICE};

use super::Value;

/// Something that programs are said not to do: `no-`, and the name of a difference
/// ([`difference`]) that no guard could keep away otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Assumption {
    /// They do not call splice(2) on sockets that they read.
    NoSplice,
}

/// The difference that programs without splice(2) never see.
const SPLICE: &difference::Difference = difference::named("splice");

impl Assumption {
    /// Every one of them.
    pub const ALL: [Self; 1] = [Self::NoSplice];

    /// Returns its name.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::NoSplice => "no-splice",
        }
    }

    /// Returns its bit for the kernel side.
    #[must_use]
    pub const fn bit(self) -> u32 {
        match self {
            Self::NoSplice => NO_SPLICE,
        }
    }

    /// Returns the difference that it denies.
    #[must_use]
    pub const fn denies(self) -> &'static difference::Difference {
        match self {
            Self::NoSplice => SPLICE,
        }
    }
}

impl fmt::Display for Assumption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

impl FromStr for Assumption {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|one| one.word() == text)
            .ok_or_else(|| format!("`{text}` cannot be vouched for, expected {}", Self::EXPECTS))
    }
}

impl Value for Assumption {
    const EXPECTS: &str = "what the programs do not do: `no-splice`";
    const TYPES: &[&str] = &["string"];

    fn of_text(text: &str) -> Result<Self, String> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each is told by the name of its difference, and among what is expected.
    #[test]
    fn names_are_those_of_differences() {
        for one in Assumption::ALL {
            assert_eq!(one.word(), format!("no-{}", one.denies().name));
            assert!(Assumption::EXPECTS.contains(one.word()));
            assert_eq!(one.word().parse(), Ok(one));
        }
        let refused = "no-zerocopy".parse::<Assumption>().unwrap_err();
        assert_eq!(
            refused,
            "`no-zerocopy` cannot be vouched for, expected what the programs do not do: `no-splice`"
        );
    }
}
