//! The values of a rule: a property holds one, or a list of which one has to match.

use std::{borrow::Cow, fmt, marker::PhantomData};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{
    Deserialize, Deserializer,
    de::{self, SeqAccess, Visitor},
};

pub mod address;
pub mod assume;
pub mod owner;
pub mod path;

/// A value that is written as a text, a number, or either.
pub trait Value: Sized {
    /// What may be written.
    const EXPECTS: &str;
    /// The types of JSON that it is written in.
    const TYPES: &[&str];

    /// Reads a text.
    ///
    /// # Errors
    /// Says what is wrong with it.
    fn of_text(text: &str) -> Result<Self, String>;

    /// Reads a number.
    ///
    /// # Errors
    /// Says what is wrong with it.
    fn of_number(number: i64) -> Result<Self, String> {
        Err(format!(
            "`{number}` is a number, expected {}",
            Self::EXPECTS
        ))
    }
}

/// One value or several.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Many<T>(pub Vec<T>);

impl<T> Many<T> {
    /// True when any of them is so.
    pub fn any(&self, is: impl FnMut(&T) -> bool) -> bool {
        self.0.iter().any(is)
    }
}

struct One<T>(T);

struct Reads<T>(PhantomData<T>);

impl<T: Value> Visitor<'_> for Reads<One<T>> {
    type Value = One<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(T::EXPECTS)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<One<T>, E> {
        T::of_text(text).map(One).map_err(E::custom)
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<One<T>, E> {
        T::of_number(number).map(One).map_err(E::custom)
    }
}

impl<'de, T: Value> Deserialize<'de> for One<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Reads::<Self>(PhantomData))
    }
}

impl<'de, T: Value> Visitor<'de> for Reads<Many<T>> {
    type Value = Many<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, or a list of such", T::EXPECTS)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Many<T>, E> {
        T::of_text(text)
            .map(|one| Many(vec![one]))
            .map_err(E::custom)
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<Many<T>, E> {
        T::of_number(number)
            .map(|one| Many(vec![one]))
            .map_err(E::custom)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Many<T>, A::Error> {
        let mut all = Vec::new();
        while let Some(One(one)) = list.next_element()? {
            all.push(one);
        }
        if all.is_empty() {
            return Err(de::Error::custom(
                "an empty list matches nothing: name a value, or leave the key out",
            ));
        }
        Ok(Many(all))
    }
}

impl<'de, T: Value> Deserialize<'de> for Many<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Reads::<Self>(PhantomData))
    }
}

impl<T: Value> JsonSchema for Many<T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        T::EXPECTS.into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let one = json_schema!({ "type": T::TYPES, "description": T::EXPECTS });
        json_schema!({ "anyOf": [one, { "type": "array", "items": one, "minItems": 1 }] })
    }
}
