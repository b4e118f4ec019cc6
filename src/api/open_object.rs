//! An open JSON object within bounds, kept as text, because a tree of values takes up to a hundred times the memory of its text.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::Error as _;
use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

/// Most levels of objects and lists, the object itself included. The vendor's own preferences have two.
pub const MAX_LEVELS: usize = 4;
/// Most bytes of the text. The vendor's own preferences have about 300.
pub const MAX_BYTES: usize = 16 * 1024;
/// Most entries of each object and list.
const MAX_ENTRIES: usize = 64;
/// Most characters of each text.
const MAX_TEXT: usize = 256;

/// An open JSON object, as its text with sorted keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenObject(String);

impl<'de> Deserialize<'de> for OpenObject {
    /// Errors: it is no object, or exceeds a bound.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Box::<RawValue>::deserialize(deserializer)?;
        let bytes = text.get().len();
        if bytes > MAX_BYTES {
            return Err(D::Error::custom(format!(
                "an open object of {bytes} bytes, more than {MAX_BYTES}: shorten it"
            )));
        }
        let object: Map<String, Value> = serde_json::from_str(text.get()).map_err(D::Error::custom)?;
        let object = Value::Object(object);
        if !is_within(&object, MAX_LEVELS) {
            return Err(D::Error::custom(format!("an open object of more than {MAX_LEVELS} levels: flatten it")));
        }
        Ok(Self(object.to_string()))
    }
}

impl Serialize for OpenObject {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serde_json::from_str::<Value>(&self.0).map_err(S::Error::custom)?.serialize(serializer)
    }
}

impl JsonSchema for OpenObject {
    fn schema_name() -> Cow<'static, str> {
        "OpenObject".into()
    }

    fn inline_schema() -> bool {
        true
    }

    /// The API server must not prune the object. It is atomic, because a server-side apply that removes the last key would otherwise
    /// leave null instead of {}.
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "object",
            "additionalProperties": value(MAX_LEVELS - 1),
            "x-kubernetes-preserve-unknown-fields": true,
            "x-kubernetes-map-type": "atomic",
            "maxProperties": MAX_ENTRIES,
        })
    }
}

/// The schema of any value of at most `levels` levels. A schema cannot refer to itself, so that each level is written out.
fn value(levels: usize) -> Value {
    let mut schema =
        serde_json::json!({"x-kubernetes-preserve-unknown-fields": true, "nullable": true, "maxLength": MAX_TEXT});
    let entries = if levels == 0 { 0 } else { MAX_ENTRIES };
    (schema["maxProperties"], schema["maxItems"]) = (entries.into(), entries.into());
    if levels > 0 {
        (schema["additionalProperties"], schema["items"]) = (value(levels - 1), value(levels - 1));
    }
    schema
}

/// Whether `value` has at most `levels` levels. An empty object or list is none, as in the schema.
fn is_within(value: &Value, levels: usize) -> bool {
    match value {
        Value::Object(entries) => {
            entries.is_empty() || levels > 0 && entries.values().all(|entry| is_within(entry, levels - 1))
        }
        Value::Array(entries) => {
            entries.is_empty() || levels > 0 && entries.iter().all(|entry| is_within(entry, levels - 1))
        }
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;

    #[rstest]
    #[case::empty(json!({}), true)]
    #[case::flat(json!({"language": "es", "hour_format": 12, "system_notifications": {}}), true)]
    #[case::four_levels(json!({"a": {"b": [{"c": [], "d": {}}]}}), true)]
    #[case::five_levels(json!({"a": {"b": [{"c": [1]}]}}), false)]
    #[case::no_object(json!([1]), false)]
    #[case::long(json!({"a": "x".repeat(MAX_BYTES)}), false)]
    fn an_open_object_has_few_levels_and_bytes(#[case] value: Value, #[case] is_allowed: bool) {
        let parsed = serde_json::from_str::<OpenObject>(&value.to_string());
        assert_eq!(parsed.is_ok(), is_allowed, "{parsed:?}");
        assert_eq!(serde_json::from_value::<OpenObject>(value.clone()).is_ok(), is_allowed);
        if let Ok(object) = parsed {
            assert_eq!(json!(object), value);
        }
    }

    #[test]
    fn the_order_of_keys_and_the_spelling_of_texts_make_no_difference() {
        let parse = |text| serde_json::from_str::<OpenObject>(text).unwrap();
        assert_eq!(parse(r#"{"b": 1, "a": "\u003c"}"#), parse(r#"{ "a":"<","b":1}"#));
    }

    /// The parser reads an object with this key as the value that its text holds.
    #[test]
    fn levels_in_the_text_of_a_raw_value_count() {
        let deep = "[".repeat(100) + &"]".repeat(100);
        let text = json!({"a": {"$serde_json::private::RawValue": deep}}).to_string();
        serde_json::from_str::<OpenObject>(&text).unwrap_err();
    }
}
