//! The JSON object that a client sends (RFC 7591 3.1). Its size is bounded where it is read, its depth by serde_json, which
//! stops at 128 levels.

use std::fmt;

use bytes::Bytes;
use serde::de::{Deserialize, Deserializer, Error, MapAccess, Visitor};
use serde_json::{Map, Value};

use super::invalid;
use crate::oauth::error::OAuthError;

/// The members that have a value: RFC 7591 2 and RFC 7592 2.2 treat `null` as left out, and clients that have nothing to say
/// of a member send an empty text.
#[derive(Debug)]
pub(super) struct Members(Map<String, Value>);

impl Members {
    pub(super) fn parse(body: &Bytes) -> Result<Self, OAuthError> {
        let read = serde_json::from_slice(body);
        read.map_err(|_| invalid("the body must be a JSON object of client metadata, each name once"))
    }

    pub(super) fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(name)
    }

    pub(super) fn take(&mut self, name: &str) -> Option<Value> {
        self.0.remove(name)
    }
}

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Once;

        impl<'de> Visitor<'de> for Once {
            type Value = Members;

            fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Members, A::Error> {
                let mut members = Map::new();
                while let Some((name, value)) = access.next_entry::<String, Value>()? {
                    // What two readers could understand differently is refused (RFC 8259 4).
                    if members.insert(name, value).is_some() {
                        return Err(A::Error::custom("repeated"));
                    }
                }
                members.retain(|_, value| !value.is_null() && value.as_str() != Some(""));
                Ok(Members(members))
            }
        }

        deserializer.deserialize_map(Once)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Option<Members> {
        Members::parse(&Bytes::copy_from_slice(text.as_bytes())).ok()
    }

    #[test]
    fn what_is_no_object_of_bounded_depth_is_refused() {
        let deep = format!("{{\"x\":{}{}}}", "[".repeat(200), "]".repeat(200));
        for text in ["", "[]", "null", "1", "{", "{} {}", "{\"a\":1,\"a\":1}", "{\"a\":1,\"\\u0061\":null}", &deep] {
            assert!(parse(text).is_none(), "{text}");
        }
    }

    #[test]
    fn null_and_an_empty_text_are_no_values() {
        let members = parse("{\"a\":null,\"b\":false,\"c\":\"\"}").expect("members");
        assert_eq!((members.get("a"), members.get("b"), members.get("c")), (None, Some(&Value::Bool(false)), None));
    }
}
