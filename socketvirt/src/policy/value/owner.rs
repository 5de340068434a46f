//! Network namespaces, users and groups: the kernel knows them by number.

use std::path::PathBuf;

use nix::unistd::{Group, User};

use super::Value;

/// Reads the number of a value.
fn id<T: Value>(number: i64, isnt: &str) -> Result<u32, String> {
    u32::try_from(number).map_err(|_| format!("`{number}` is {isnt}, expected {}", T::EXPECTS))
}

/// A network namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Namespace {
    /// By its number.
    Number(u32),
    /// By a file that shows it.
    Path(PathBuf),
}

impl Value for Namespace {
    const EXPECTS: &str = "a network namespace: a name (`ip netns`), a path such as \
                           \"/run/netns/blue\" or \"/proc/1/ns/net\", or its inode number";
    const TYPES: &[&str] = &["integer", "string"];

    fn of_text(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Err(format!("the name is empty, expected {}", Self::EXPECTS));
        }
        if text.starts_with('/') {
            return Ok(Self::Path(text.into()));
        }
        if text.contains('/') {
            return Err(format!(
                "`{text}` is a relative path, expected {}",
                Self::EXPECTS
            ));
        }
        Ok(Self::Path(PathBuf::from("/run/netns").join(text)))
    }

    fn of_number(number: i64) -> Result<Self, String> {
        id::<Self>(number, "no inode number").map(Self::Number)
    }
}

/// A user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Uid(pub u32);

impl Value for Uid {
    const EXPECTS: &str = "the number or the name of a user";
    const TYPES: &[&str] = &["integer", "string"];

    fn of_text(text: &str) -> Result<Self, String> {
        match User::from_name(text) {
            Ok(Some(user)) => Ok(Self(user.uid.as_raw())),
            _ => Err(format!(
                "this host has no user `{text}`, expected {}",
                Self::EXPECTS
            )),
        }
    }

    fn of_number(number: i64) -> Result<Self, String> {
        id::<Self>(number, "no user").map(Self)
    }
}

/// A group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gid(pub u32);

impl Value for Gid {
    const EXPECTS: &str = "the number or the name of a group";
    const TYPES: &[&str] = &["integer", "string"];

    fn of_text(text: &str) -> Result<Self, String> {
        match Group::from_name(text) {
            Ok(Some(group)) => Ok(Self(group.gid.as_raw())),
            _ => Err(format!(
                "this host has no group `{text}`, expected {}",
                Self::EXPECTS
            )),
        }
    }

    fn of_number(number: i64) -> Result<Self, String> {
        id::<Self>(number, "no group").map(Self)
    }
}
