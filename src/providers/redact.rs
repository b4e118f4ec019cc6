//! The secrets of one call, and the vendor's words without them; it names no vendor.

use reqwest::header::HeaderValue;
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use strum::IntoEnumIterator;

use super::capabilities;
use super::http::percent_encoded;
use crate::api::Vendor;

/// The text in place of a secret.
const MASK: &str = "***";

/// The secrets of one call, in every form in which a vendor may repeat them. `Debug` shows none.
#[derive(Clone, Debug, Default)]
pub struct Hidden(Vec<SecretString>);

impl Hidden {
    /// The secrets in the header that authenticates and in the body.
    #[must_use]
    pub fn of(header: Option<&HeaderValue>, body: Option<&Value>) -> Self {
        let mut secrets = Vec::new();
        if let Some(text) = header.and_then(|value| value.to_str().ok()) {
            // With and without a scheme before it.
            secrets.extend([Some(text), text.split_once(' ').map(|(_, token)| token)].into_iter().flatten());
        }
        if let Some(body) = body {
            collect(body, &mut secrets);
        }
        let mut forms: Vec<String> = secrets.into_iter().flat_map(forms).filter(|form| !form.is_empty()).collect();
        // The longest first, because a masked part hides the rest of a longer secret.
        forms.sort_unstable_by(|one, other| other.len().cmp(&one.len()).then_with(|| one.cmp(other)));
        forms.dedup();
        Self(forms.into_iter().map(SecretString::from).collect())
    }

    /// `words` with a mask in place of every secret.
    #[must_use]
    pub fn mask(&self, words: &str) -> String {
        self.0.iter().fold(words.to_owned(), |words, secret| words.replace(secret.expose_secret(), MASK))
    }
}

/// The secrets in `body`: values of secret fields, and those that a JSON Patch sets at a path that ends in one.
fn collect<'a>(body: &'a Value, secrets: &mut Vec<&'a str>) {
    match body {
        Value::Array(items) => items.iter().for_each(|item| collect(item, secrets)),
        Value::Object(fields) => {
            let pointed = fields.get("path").and_then(Value::as_str).and_then(|path| path.rsplit('/').next());
            for (key, value) in fields {
                let name = pointed.filter(|_| key == "value").unwrap_or(key);
                match value {
                    Value::String(text) if is_secret(name) => secrets.push(text),
                    value => collect(value, secrets),
                }
            }
        }
        _ => {}
    }
}

/// Whether any vendor declares a field of this name as secret: one that passes on another's words leaks nothing either.
fn is_secret(name: &str) -> bool {
    let fields = Vendor::iter().flat_map(|vendor| capabilities(vendor).secret_fields);
    { fields }.any(|field| name.eq_ignore_ascii_case(field))
}

/// A secret as it is, inside a JSON text, and inside a url.
fn forms(secret: &str) -> [String; 3] {
    let quoted = Value::from(secret).to_string();
    let inside = quoted.get(1..quoted.len() - 1).unwrap_or_default();
    [secret.to_owned(), inside.to_owned(), percent_encoded(secret)]
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;

    fn hidden() -> Hidden {
        let body = json!({"username": "ada@example.com", "password": "Fake \"Pass\" 1", "prefs": {"apiKey": "fake-key-2"},
            "access": "basic"});
        Hidden::of(Some(&HeaderValue::from_static("Bearer fake-token-3")), Some(&body))
    }

    #[rstest]
    #[case::token("Invalid token fake-token-3.", "Invalid token ***.")]
    #[case::whole_header("authorization: Bearer fake-token-3", "authorization: ***")]
    #[case::password("Fake \"Pass\" 1 is too common", "*** is too common")]
    #[case::inside_json(r#"cannot take {"password":"Fake \"Pass\" 1"}"#, r#"cannot take {"password":"***"}"#)]
    #[case::inside_a_url("no such page: ?p=Fake%20%22Pass%22%201", "no such page: ?p=***")]
    #[case::nested("unknown key fake-key-2", "unknown key ***")]
    #[case::no_secret("ada@example.com has no basic access", "ada@example.com has no basic access")]
    fn a_secret_that_a_vendor_repeats_is_masked(#[case] words: &str, #[case] shown: &str) {
        assert_eq!(hidden().mask(words), shown);
    }

    #[test]
    fn a_secret_in_a_json_patch_is_masked_and_other_values_are_not() {
        let body = json!([{"op": "add", "path": "/password", "value": "Fake-Pass-1"}, {"op": "add", "path": "/name", "value": "Ada"}]);
        assert_eq!(Hidden::of(None, Some(&body)).mask("Ada: Fake-Pass-1 is too short"), "Ada: *** is too short");
    }

    #[test]
    fn every_vendor_declares_its_secret_fields_and_each_is_masked() {
        for vendor in Vendor::iter() {
            let fields = capabilities(vendor).secret_fields;
            assert!(!fields.is_empty(), "{vendor} logs in with no secret");
            for field in fields {
                assert_eq!(*field, field.to_ascii_lowercase(), "{vendor}");
                let body = json!({"login": {field.to_ascii_uppercase(): "Fake-Secret-4"}});
                assert_eq!(Hidden::of(None, Some(&body)).mask("no Fake-Secret-4"), "no ***", "{vendor}: {field}");
            }
        }
    }

    #[test]
    fn debug_shows_no_secret() {
        let shown = format!("{:?}", hidden());
        assert!(!shown.contains("fake-token-3") && !shown.contains("Fake"), "{shown}");
    }
}
