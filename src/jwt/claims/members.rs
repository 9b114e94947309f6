//! The members of a payload that was read, and a type of the application's own filled from them:
//! what was found once is not looked for again.

#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::slice;

use serde::Deserializer;
use serde::de::value::BorrowedStrDeserializer;
use serde::de::{
    DeserializeOwned, DeserializeSeed, Error as _, IntoDeserializer, MapAccess, Visitor,
};
use serde_json::Error;

use crate::json::{Kind, Place, Value};

/// Members that are noted; a payload of more is left to serde_json.
const MOST: usize = 32;

/// Where the members of a payload stand.
pub(super) struct Members {
    noted: [Member; MOST],
    len: usize,
    /// Whether one could not be noted.
    missing: bool,
}

#[derive(Clone, Copy)]
struct Member {
    name: Place,
    value: Place,
}

impl Member {
    const NONE: Self = Self {
        name: Place::NONE,
        value: Place::NONE,
    };
}

impl Members {
    pub(super) const fn new() -> Self {
        Self {
            noted: [Member::NONE; MOST],
            len: 0,
            missing: false,
        }
    }

    pub(super) fn note(&mut self, name: Value<'_>, value: Value<'_>) {
        match self.noted.get_mut(self.len) {
            Some(slot) => {
                *slot = Member {
                    name: name.place(),
                    value: value.place(),
                };
                self.len += 1;
            }
            None => self.missing = true,
        }
    }

    /// All of `payload`, whose members these are, as a type of the application's own: as serde_json
    /// would read it.
    pub(super) fn deserialize<T: DeserializeOwned>(&self, payload: &str) -> Result<T, Error> {
        let members = self.noted.get(..self.len).filter(|_| !self.missing);
        let filled = members.map(|members| {
            T::deserialize(Payload {
                text: payload,
                members,
            })
        });
        match filled {
            Some(Ok(filled)) => Ok(filled),
            // It has the better errors, and takes numbers for names.
            Some(Err(_)) | None => serde_json::from_str(payload),
        }
    }
}

/// What is not said here is said by serde_json, about the same text.
macro_rules! leave_to_serde_json {
    ($($method:ident($($argument:ident: $kind:ty),*))*) => {$(
        fn $method<V: Visitor<'de>>(
            self,
            $($argument: $kind,)*
            visitor: V,
        ) -> Result<V::Value, Error> {
            let mut text = serde_json::Deserializer::from_str(self.text());
            let value = text.$method($($argument,)* visitor)?;
            text.end()?;
            Ok(value)
        }
    )*};
}

macro_rules! leave_scalars_and_sequences_to_serde_json {
    () => {
        leave_to_serde_json! {
            deserialize_bool() deserialize_char()
            deserialize_i8() deserialize_i16() deserialize_i32() deserialize_i64() deserialize_i128()
            deserialize_u8() deserialize_u16() deserialize_u32() deserialize_u64() deserialize_u128()
            deserialize_f32() deserialize_f64()
            deserialize_bytes() deserialize_byte_buf() deserialize_unit() deserialize_seq()
            deserialize_unit_struct(name: &'static str)
            deserialize_newtype_struct(name: &'static str)
            deserialize_tuple(len: usize)
            deserialize_tuple_struct(name: &'static str, len: usize)
            deserialize_enum(name: &'static str, variants: &'static [&'static str])
        }
    };
}

struct Payload<'de> {
    text: &'de str,
    members: &'de [Member],
}

impl<'de> Payload<'de> {
    const fn text(&self) -> &'de str {
        self.text
    }
}

impl<'de> Deserializer<'de> for Payload<'de> {
    type Error = Error;

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let mut rest = Rest {
            payload: self.text,
            members: self.members.iter(),
            begun: None,
        };
        let filled = visitor.visit_map(&mut rest)?;
        if rest.members.next().is_none() {
            Ok(filled)
        } else {
            Err(Error::custom("not all claims were read"))
        }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.deserialize_map(visitor)
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_map(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_some(self)
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_unit()
    }

    leave_to_serde_json! { deserialize_str() deserialize_string() deserialize_identifier() }
    leave_scalars_and_sequences_to_serde_json! {}
}

/// The members that are still to be read.
struct Rest<'de> {
    payload: &'de str,
    members: slice::Iter<'de, Member>,
    /// The one whose name was read, and whose value was not.
    begun: Option<&'de Member>,
}

impl<'de> MapAccess<'de> for &mut Rest<'de> {
    type Error = Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Error> {
        self.begun = self.members.next();
        let Some(member) = self.begun else {
            return Ok(None);
        };
        let name = member.name.of(self.payload);
        match name.plain_text() {
            Some(name) => seed.deserialize(BorrowedStrDeserializer::new(name)),
            None => {
                let name = name.string().unwrap_or_default();
                seed.deserialize(name.into_deserializer())
            }
        }
        .map(Some)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, Error> {
        match self.begun.take() {
            Some(member) => seed.deserialize(Claim(member.value.of(self.payload))),
            None => Err(Error::custom("a value was asked for before its name")),
        }
    }
}

/// The value of one claim.
struct Claim<'de>(Value<'de>);

impl<'de> Claim<'de> {
    fn text(&self) -> &'de str {
        self.0.raw()
    }
}

impl<'de> Deserializer<'de> for Claim<'de> {
    type Error = Error;

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.0.string() {
            Some(Cow::Borrowed(text)) => visitor.visit_borrowed_str(text),
            Some(Cow::Owned(text)) => visitor.visit_string(text),
            None => Err(Error::custom("not a string")),
        }
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_str(visitor)
    }

    fn deserialize_identifier<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_str(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.0.kind {
            Kind::Null => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_unit()
    }

    leave_to_serde_json! {
        deserialize_any() deserialize_map()
        deserialize_struct(name: &'static str, fields: &'static [&'static str])
    }
    leave_scalars_and_sequences_to_serde_json! {}
}
