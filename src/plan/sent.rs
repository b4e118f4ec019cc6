//! Digests of what was sent but cannot be read back; it holds no value itself.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use aws_lc_rs::digest::{SHA256, digest};
use serde_json::{Value, json};

use super::compare::Compare;
use super::field::Field;
use super::model::Desired;

/// Bytes of a digest that are kept: enough to notice a change, too few to carry a value.
const KEPT: usize = 6;

/// Digest per field or application, as status holds it: `access=1f…,applications/pegasus2.0=9a…`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LastApplied(BTreeMap<String, String>);

impl LastApplied {
    /// What status says was sent.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        Self(text.split(',').filter_map(|pair| pair.rsplit_once('=')).map(|(k, v)| (k.into(), v.into())).collect())
    }

    /// What will have been sent once `desired` is reached.
    #[must_use]
    pub fn of(table: &[Field], desired: &Desired) -> Self {
        let hidden = table.iter().filter(|field| matches!(field.compare, Compare::Shy | Compare::Hidden));
        let fields = hidden.filter_map(|field| Some((field.name.to_owned(), short(desired.fields.get(field.name)?))));
        let grants = desired.grants.iter().map(|(name, rights)| (application(name), short(&rights_value(rights))));
        Self(fields.chain(grants).collect())
    }

    /// The same where the vendor may show nothing of `desired`: every field, and the groups.
    #[must_use]
    pub fn whole(table: &[Field], desired: &Desired) -> Self {
        let fields = desired.fields.iter().map(|(name, value)| (name.clone(), short(value)));
        let groups = desired.groups.iter().map(|groups| ("groups".to_owned(), short(&json!(groups.wanted))));
        Self(Self::of(table, desired).0.into_iter().chain(fields).chain(groups).collect())
    }

    /// Whether `value` was sent as the field `name`.
    #[must_use]
    pub fn has(&self, name: &str, value: &Value) -> bool {
        self.0.get(name).is_some_and(|known| *known == short(value))
    }

    /// The same, with these rights granted in this application.
    #[must_use]
    pub fn with_grant(mut self, name: &str, rights: &BTreeMap<String, bool>) -> Self {
        self.0.insert(application(name), short(&rights_value(rights)));
        self
    }

    /// Whether these rights were granted in this application.
    #[must_use]
    pub fn has_grant(&self, name: &str, rights: &BTreeMap<String, bool>) -> bool {
        self.has(&application(name), &rights_value(rights))
    }

    /// The text for status; `None` when nothing hidden was sent.
    #[must_use]
    pub fn text(&self) -> Option<String> {
        (!self.0.is_empty())
            .then(|| self.0.iter().map(|(name, digest)| format!("{name}={digest}")).collect::<Vec<_>>().join(","))
    }
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

fn short(value: &Value) -> String {
    let digest = digest(&SHA256, value.to_string().as_bytes());
    digest.as_ref()[..KEPT].iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
