//! Digests of values that were sent but cannot be read back, because status must hold no such value itself.

use std::collections::BTreeMap;

use aws_lc_rs::digest::{SHA256, digest};
use data_encoding::HEXLOWER;
use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};
use serde_json::{Value, json};

use super::compare::Compare;
use super::field::Field;
use super::model::Desired;

/// The number of bytes kept of a digest: enough to notice a change, too few to recover a value.
const KEPT: usize = 6;
/// The characters that are percent-encoded in a name: the separator, and the percent sign itself.
const ESCAPED: &AsciiSet = &CONTROLS.add(b'%').add(b',');

/// A digest per field or application. Status holds it as `access=1f…,applications/pegasus2.0=9a…`, with names percent-encoded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LastApplied(BTreeMap<String, String>);

impl LastApplied {
    /// No digests.
    pub(super) const fn nothing() -> Self {
        Self(BTreeMap::new())
    }

    /// Reads the text of status. A name that an earlier build wrote without encoding is read as it is.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let decoded = |name| percent_decode_str(name).decode_utf8_lossy().into_owned();
        let pairs = text.split(',').filter_map(|pair| pair.rsplit_once('='));
        Self(pairs.map(|(name, digest)| (decoded(name), digest.to_owned())).collect())
    }

    /// The digests once `desired` is applied.
    #[must_use]
    pub fn of(table: &[Field], desired: &Desired) -> Self {
        let hidden = table.iter().filter(|field| matches!(field.compare, Compare::Shy | Compare::Hidden));
        let fields = hidden.filter_map(|field| Some((field.name.to_owned(), short(desired.fields.get(field.name)?))));
        let grants = desired.grants.iter().map(|(name, rights)| (application(name), short(&rights_value(rights))));
        Self(fields.chain(grants).collect())
    }

    /// The same for a vendor that may show nothing of `desired`: with every field and the groups.
    #[must_use]
    pub fn whole(table: &[Field], desired: &Desired) -> Self {
        let fields = desired.fields.iter().map(|(name, value)| (name.clone(), short(value)));
        let groups = desired.groups.iter().map(|groups| ("groups".to_owned(), short(&json!(groups.wanted))));
        Self(Self::of(table, desired).0.into_iter().chain(fields).chain(groups).collect())
    }

    /// Whether the field `name` was last sent with `value`.
    #[must_use]
    pub fn has(&self, name: &str, value: &Value) -> bool {
        self.0.get(name).is_some_and(|known| *known == short(value))
    }

    /// The same with `value` in the field `name`.
    #[must_use]
    pub fn with(mut self, name: impl Into<String>, value: &Value) -> Self {
        self.0.insert(name.into(), short(value));
        self
    }

    /// The same with a note that the vendor showed `shown` in the field `name` after `sent` was sent.
    #[must_use]
    pub(super) fn with_note(self, name: &str, sent: &Value, shown: &Value) -> Self {
        self.with(name, &json!([sent, shown]))
    }

    /// Whether it is noted that the vendor showed `shown` in the field `name` after `sent` was sent.
    #[must_use]
    pub(super) fn has_note(&self, name: &str, sent: &Value, shown: &Value) -> bool {
        self.has(name, &json!([sent, shown]))
    }

    /// Whether any of these values is in `other` too.
    #[must_use]
    pub fn shares(&self, other: &Self) -> bool {
        self.0.iter().any(|(name, digest)| other.0.get(name) == Some(digest))
    }

    /// The values that are in `other`, too.
    #[must_use]
    pub fn common(mut self, other: &Self) -> Self {
        self.0.retain(|name, digest| other.0.get(name) == Some(digest));
        self
    }

    /// The same with `rights` in the application `name`.
    #[must_use]
    pub fn with_grant(mut self, name: &str, rights: &BTreeMap<String, bool>) -> Self {
        self.0.insert(application(name), short(&rights_value(rights)));
        self
    }

    /// Whether `rights` were last sent for the application `name`.
    #[must_use]
    pub fn has_grant(&self, name: &str, rights: &BTreeMap<String, bool>) -> bool {
        self.has(&application(name), &rights_value(rights))
    }

    /// The text for status; `None` if there are no digests.
    #[must_use]
    pub fn text(&self) -> Option<String> {
        (!self.0.is_empty()).then(|| self.0.iter().map(pair).collect::<Vec<_>>().join(","))
    }
}

fn pair((name, digest): (&String, &String)) -> String {
    format!("{}={digest}", utf8_percent_encode(name, ESCAPED))
}

fn application(name: &str) -> String {
    format!("applications/{name}")
}

fn rights_value(rights: &BTreeMap<String, bool>) -> Value {
    rights
        .iter()
        .map(|(right, granted)| (right.clone(), Value::Bool(*granted)))
        .collect::<serde_json::Map<_, _>>()
        .into()
}

pub(super) fn short(value: &Value) -> String {
    HEXLOWER.encode(&digest(&SHA256, value.to_string().as_bytes()).as_ref()[..KEPT])
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::plain("pegasus2.0")]
    #[case::separator("a,b")]
    #[case::assignment("a=b,c=d")]
    #[case::encoded("50%2C,%25%")]
    #[case::letters("Flotte Süd\n")]
    fn an_application_of_any_name_is_granted_once(#[case] name: &str) {
        let rights = BTreeMap::from([("view".to_owned(), true)]);
        let text = LastApplied::default().with_grant(name, &rights).with_grant("other", &rights).text().unwrap();
        let read = LastApplied::parse(&text);
        assert!(read.has_grant(name, &rights) && read.has_grant("other", &rights), "{text}");
    }

    #[test]
    fn the_text_of_earlier_builds_is_read_and_written_the_same() {
        let text = "access=1f0000000000,applications/pegasus2.0=9a0000000000";
        assert_eq!(LastApplied::parse(text).text().as_deref(), Some(text));
    }
}
