//! The entries of a Secret in a type that prints no value.

use std::collections::BTreeMap;

use secrecy::SecretString;

use super::json::BOM;
use crate::api::Reason;
use crate::plan::Rejection;

/// The value of an entry is not UTF-8.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotText;

/// The text in the value of an entry, without a byte order mark before it and line breaks behind it, because editors add both; `None`
/// if nothing is left.
///
/// Errors: it is no text.
pub fn text(value: &[u8]) -> Result<Option<SecretString>, NotText> {
    let text = std::str::from_utf8(value.strip_prefix(BOM).unwrap_or(value)).map_err(|_| NotText)?;
    let text = text.trim_end_matches(['\r', '\n']);
    Ok((!text.is_empty()).then(|| text.into()))
}

/// The entries of a Secret. `Debug` shows only the keys.
#[derive(Clone, Default)]
pub struct SecretData {
    name: String,
    entries: BTreeMap<String, Result<Option<SecretString>, NotText>>,
}

impl SecretData {
    /// The entries of the Secret `name`.
    pub fn new(name: impl Into<String>, entries: impl IntoIterator<Item = (String, Vec<u8>)>) -> Self {
        let entries = entries.into_iter().map(|(key, value)| (key, text(&value))).collect();
        Self { name: name.into(), entries }
    }

    /// The value of `key`; `None` if it is missing, empty or no text.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<SecretString> {
        self.entries.get(key)?.clone().ok()?
    }

    /// Two values; `None` if one of them is missing, empty or no text.
    #[must_use]
    pub fn pair(&self, first: &str, second: &str) -> Option<(SecretString, SecretString)> {
        Some((self.get(first)?, self.get(second)?))
    }

    /// The rejection of a Secret that lacks the keys `needed`.
    #[must_use]
    pub fn lacks(&self, needed: &str) -> Rejection {
        let unreadable: Vec<&str> =
            self.entries.iter().filter(|(_, value)| value.is_err()).map(|(key, _)| key.as_str()).collect();
        let message = if unreadable.is_empty() {
            format!("Secret {} has no {needed}: add what is missing", self.name)
        } else {
            format!("Secret {}: {} is not UTF-8 text: write it again as UTF-8", self.name, unreadable.join(", "))
        };
        Rejection::new(Reason::Invalid, message)
    }
}

impl std::fmt::Debug for SecretData {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SecretData").field("name", &self.name).field("keys", &self.entries.keys()).finish()
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use secrecy::ExposeSecret;

    use super::*;

    #[rstest]
    #[case::plain(b"Fake-Pass-1", Ok(Some("Fake-Pass-1")))]
    #[case::line_break(b"Fake-Pass-1\r\n", Ok(Some("Fake-Pass-1")))]
    #[case::byte_order_mark(b"\xEF\xBB\xBFFake-Pass-1", Ok(Some("Fake-Pass-1")))]
    #[case::blank(b" Fake Pass 1 ", Ok(Some(" Fake Pass 1 ")))]
    #[case::nothing(b"\xEF\xBB\xBF\r\n", Ok(None))]
    #[case::utf_16(b"\xFF\xFEF\0a\0", Err(NotText))]
    #[case::latin_1(b"Contrase\xF1a", Err(NotText))]
    fn what_editors_add_is_cut_and_what_is_no_text_is_told(
        #[case] value: &[u8],
        #[case] expected: Result<Option<&str>, NotText>,
    ) {
        let read = text(value);
        let shown = read.as_ref().map(|value| value.as_ref().map(ExposeSecret::expose_secret));
        assert_eq!(shown.map_err(|fault| *fault), expected);
    }

    #[test]
    fn a_value_that_is_no_text_is_named_by_its_key() {
        let secret = SecretData::new("main", [("token".to_owned(), b"\xFF\xFEf\0".to_vec())]);
        assert!(secret.get("token").is_none());
        assert_eq!(secret.lacks("token").message, "Secret main: token is not UTF-8 text: write it again as UTF-8");
        let secret = SecretData::new("main", [("other".to_owned(), b"x".to_vec())]);
        assert_eq!(secret.lacks("token").message, "Secret main has no token: add what is missing");
    }
}
