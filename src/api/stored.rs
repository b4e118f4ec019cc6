//! A stored object in parts that are not decoded yet, and the bounds on them. No decisions.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

/// Most levels of objects and lists in a field. The JSON parser refuses 128 levels, and a field is nested in a few levels itself.
pub const MAX_LEVELS: usize = 64;
/// Most bytes of an object's spec and status. Longer ones are possible, because the schemas admit lists of 1,024 long texts; a real
/// fleet's take a tenth of it.
pub const MAX_BYTES: usize = 512 * 1024;

/// Most keys, and most bytes of each, that are left of a value that exceeds a bound: enough to tell a credential's vendor.
const MAX_KEYS: (usize, usize) = (16, 64);

/// The parts of a stored object.
#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct Stored<'a> {
    #[serde(borrow, deserialize_with = "fields")]
    metadata: Fields<'a>,
    #[serde(borrow, deserialize_with = "fields")]
    spec: Fields<'a>,
    #[serde(borrow, deserialize_with = "fields", skip_serializing_if = "BTreeMap::is_empty")]
    status: Fields<'a>,
}

/// The JSON texts of an object's fields.
type Fields<'a> = BTreeMap<String, Text<'a>>;

/// The JSON text of one value, or what is left of it.
#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Text<'a> {
    /// As it is stored.
    Whole(&'a RawValue),
    /// The keys of a value that exceeds a bound, without their values; none unless it is an object.
    Keys(BTreeMap<String, Value>),
}

/// The fields of an object; none of another value.
fn fields<'de: 'a, 'a, D: Deserializer<'de>>(deserializer: D) -> Result<Fields<'a>, D::Error> {
    let text = <&RawValue>::deserialize(deserializer)?;
    let fields: BTreeMap<String, &RawValue> = serde_json::from_str(text.get()).unwrap_or_default();
    Ok(fields.into_iter().map(|(field, text)| (field, Text::Whole(text))).collect())
}

impl<'a> Stored<'a> {
    /// Cuts the fields of spec and status that exceed a bound to their keys, and drops `metadata.managedFields`. Returns which bound is
    /// exceeded where, if one is.
    #[must_use]
    pub fn cut(&mut self) -> Option<String> {
        self.metadata.remove("managedFields");
        let deep = self.cut_deep();
        let large = self.cut_large();
        deep.or(large)
    }

    fn cut_deep(&mut self) -> Option<String> {
        let mut said = None;
        for (path, text) in self.texts() {
            let levels = levels(text.get());
            if levels > MAX_LEVELS {
                let message = format!("{path} has {levels} levels of objects and lists, more than {MAX_LEVELS}");
                said = said.or(Some(message));
                text.cut();
            }
        }
        said
    }

    /// Cuts the longest fields until the others are short enough.
    fn cut_large(&mut self) -> Option<String> {
        let mut texts: Vec<_> = self.texts().collect();
        texts.sort_by_key(|(_, text)| Reverse(text.get().len()));
        let bytes: usize = texts.iter().map(|(_, text)| text.get().len()).sum();
        let longest = texts.first().filter(|_| bytes > MAX_BYTES).map(|(path, _)| path.clone())?;
        let mut left = bytes;
        for (_, text) in texts {
            if left > MAX_BYTES {
                left -= text.get().len();
                text.cut();
            }
        }
        Some(format!("spec and status have {bytes} bytes, more than {MAX_BYTES}; the longest field is {longest}"))
    }

    /// The texts of all fields of spec and status with their paths.
    fn texts(&mut self) -> impl Iterator<Item = (String, &mut Text<'a>)> {
        let spec = self.spec.iter_mut().map(|(field, text)| (format!("spec.{field}"), text));
        spec.chain(self.status.iter_mut().map(|(field, text)| (format!("status.{field}"), text)))
    }
}

impl Text<'_> {
    /// The text as it is stored; empty if it was cut.
    fn get(&self) -> &str {
        match self {
            Self::Whole(text) => text.get(),
            Self::Keys(_) => "",
        }
    }

    fn cut(&mut self) {
        let keys: BTreeMap<String, &RawValue> = serde_json::from_str(self.get()).unwrap_or_default();
        let (many, long) = MAX_KEYS;
        let short = keys.into_keys().filter(|key| key.len() <= long);
        *self = Self::Keys(short.take(many).map(|key| (key, Value::Null)).collect());
    }
}

/// The levels of objects and lists in a JSON text: 0 for a number, 2 for `[[1], 2]`.
#[must_use]
pub fn levels(text: &str) -> usize {
    let (mut level, mut deepest, mut is_quoted, mut is_escaped) = (0_usize, 0, false, false);
    for byte in text.bytes() {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' if is_quoted => is_escaped = true,
            b'"' => is_quoted = !is_quoted,
            _ if is_quoted => {}
            b'{' | b'[' => level += 1,
            b'}' | b']' => level = level.saturating_sub(1),
            _ => {}
        }
        deepest = deepest.max(level);
    }
    deepest
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("7", 0)]
    #[case("[[1], 2]", 2)]
    #[case(r#"{"a": {"b": []}, "c": [{}]}"#, 3)]
    #[case(r#"["[[[", "\"[[", "\\", [1]]"#, 2)]
    fn levels_are_counted_outside_of_texts(#[case] text: &str, #[case] expected: usize) {
        assert_eq!(levels(text), expected);
    }

    #[test]
    fn the_longest_fields_are_cut_until_the_others_are_short_enough() {
        let long = "x".repeat(MAX_BYTES / 2);
        let text =
            format!(r#"{{"spec": {{"a": "{long}", "b": {{"{long}": 1, "c": 2}}, "d": 3}}, "status": {{"e": 4}}}}"#);
        let mut stored: Stored = serde_json::from_str(&text).unwrap();
        let said = stored.cut().unwrap();
        assert!(said.contains("more than 524288") && said.ends_with("is spec.b"), "{said}");
        let left = serde_json::to_string(&stored).unwrap();
        assert!(
            left.contains(&long) && left.contains(r#""b":{"c":null},"d":3"#) && left.ends_with(r#""status":{"e":4}}"#)
        );
    }
}
