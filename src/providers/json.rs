//! JSON of a vendor, decoded within bounds: a text of one byte per value becomes more than thirty bytes per value in memory.

use std::cell::Cell;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

/// The most memory for one decoded answer or row, in bytes: a user with 1,000 projects needs 0.7 MiB.
pub const LARGEST_DECODED: usize = 1 << 20;
/// The memory of one value beside its text, in bytes.
const VALUE: usize = size_of::<Value>();
/// The memory of an object beside its values, in bytes: a node of a B-tree has room for eleven names and values.
const OBJECT: usize = 11 * (size_of::<String>() + VALUE);
/// The byte order mark in UTF-8, which some servers send before the JSON; a parser may skip it (RFC 8259, 8.1).
pub const BOM: &[u8] = b"\xEF\xBB\xBF";

/// Why a text is not decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unreadable {
    /// It is not JSON.
    NotJson,
    /// Its values need more than `LARGEST_DECODED`.
    TooLarge,
}

/// The value in `bytes`, with or without a byte order mark before it.
///
/// Errors: not JSON, or too large.
pub fn parse(bytes: &[u8]) -> Result<Value, Unreadable> {
    let left = Cell::new(Some(LARGEST_DECODED));
    let mut text = serde_json::Deserializer::from_slice(bytes.strip_prefix(BOM).unwrap_or(bytes));
    let parsed = Bounded(&left).deserialize(&mut text).and_then(|value| text.end().map(|()| value));
    parsed.map_err(|_| if left.get().is_none() { Unreadable::TooLarge } else { Unreadable::NotJson })
}

/// Decodes a value while memory is left, in bytes; `None`: it was exceeded.
#[derive(Clone, Copy)]
struct Bounded<'a>(&'a Cell<Option<usize>>);

impl Bounded<'_> {
    fn take<E: Error>(self, bytes: usize) -> Result<(), E> {
        self.0.set(self.0.get().and_then(|left| left.checked_sub(bytes)));
        self.0.get().map(drop).ok_or_else(|| E::custom("too large"))
    }
}

impl<'de> DeserializeSeed<'de> for Bounded<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, text: D) -> Result<Value, D::Error> {
        self.take(VALUE)?;
        text.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Bounded<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Value, E> {
        self.take(value.len())?;
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(self)? {
            list.push(item);
        }
        Ok(list.into())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        self.take(OBJECT)?;
        let mut object = Map::new();
        while let Some(name) = entries.next_key::<String>()? {
            self.take(name.len())?;
            object.insert(name, entries.next_value_seed(self)?);
        }
        Ok(object.into())
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;

    #[test]
    fn every_kind_of_value_is_decoded_as_usual() {
        let value = json!({"a": [null, true, -1, u64::MAX, 1.5, "x"], "b": {"c": {}}});
        assert_eq!(parse(value.to_string().as_bytes()), Ok(value));
    }

    #[test]
    fn a_byte_order_mark_is_skipped() {
        assert_eq!(parse(b"\xEF\xBB\xBF{\"a\": 1}"), Ok(json!({"a": 1})));
        assert_eq!(parse(b"\xEF\xBB\xBF\xEF\xBB\xBF1"), Err(Unreadable::NotJson));
    }

    #[rstest]
    #[case::zeros(format!("[{}0]", "0,".repeat(200_000)))]
    #[case::small_objects(format!("[{}0]", "{},".repeat(20_000)))]
    #[case::names(format!("{{{}\"a\": 0}}", "\"a\": 0,".repeat(200_000)))]
    #[case::text(format!("\"{}\"", "x".repeat(LARGEST_DECODED)))]
    fn dense_json_is_refused_before_it_needs_much_memory(#[case] text: String) {
        assert_eq!(parse(text.as_bytes()), Err(Unreadable::TooLarge));
    }

    #[rstest]
    #[case::deep("[".repeat(100_000))]
    #[case::nothing(String::new())]
    #[case::two_values("1 2".into())]
    #[case::words("OK".into())]
    fn other_text_is_not_json(#[case] text: String) {
        assert_eq!(parse(text.as_bytes()), Err(Unreadable::NotJson));
    }
}
