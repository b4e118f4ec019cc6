//! The entries of a Secret in a type that prints no value.

use std::collections::BTreeMap;

use secrecy::{ExposeSecret, SecretString};

use crate::api::Reason;
use crate::plan::Rejection;

/// The text entries of a Secret. `Debug` shows only the keys.
#[derive(Clone, Default)]
pub struct SecretData {
    name: String,
    entries: BTreeMap<String, SecretString>,
}

impl SecretData {
    /// The entries of the Secret `name` that are UTF-8, without trailing line breaks, because editors add them.
    pub fn new(name: impl Into<String>, entries: impl IntoIterator<Item = (String, Vec<u8>)>) -> Self {
        let text =
            |bytes: Vec<u8>| String::from_utf8(bytes).ok().map(|text| text.trim_end_matches(['\r', '\n']).to_owned());
        let entries = entries.into_iter().filter_map(|(key, bytes)| Some((key, text(bytes)?.into()))).collect();
        Self { name: name.into(), entries }
    }

    /// The value of `key`; `None` if it is missing or empty.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<SecretString> {
        self.entries.get(key).filter(|value| !value.expose_secret().is_empty()).cloned()
    }

    /// Two values; `None` if one of them is missing or empty.
    #[must_use]
    pub fn pair(&self, first: &str, second: &str) -> Option<(SecretString, SecretString)> {
        Some((self.get(first)?, self.get(second)?))
    }

    /// The rejection of a Secret that lacks the keys `needed`.
    #[must_use]
    pub fn lacks(&self, needed: &str) -> Rejection {
        Rejection::new(Reason::Invalid, format!("Secret {} has no {needed}: add what is missing", self.name))
    }
}

impl std::fmt::Debug for SecretData {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SecretData").field("name", &self.name).field("keys", &self.entries.keys()).finish()
    }
}
