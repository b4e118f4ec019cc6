//! The address of one account and the answer to reading it, as the vendors have them in common; no vendor's names.

use serde_json::Value;

use super::decode::{self, unexpected_answer};
use super::error::{ErrorKind, ProviderError};
use super::http::{quote, segment};
use crate::plan::Account;

/// The form of a vendor's ids. Another id is refused before it is part of an address, because a proxy may resolve what it contains.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IdShape {
    /// A whole number without leading zeros.
    Integer,
    /// A UUID with its hyphens.
    Uuid,
    /// 24 hexadecimal digits.
    ObjectId,
    /// A text of at most 128 characters without blanks and without the characters that separate the parts of an address.
    Text,
}

impl IdShape {
    /// Whether `id` has this form.
    #[must_use]
    pub fn fits(self, id: &str) -> bool {
        match self {
            Self::Integer => id.parse::<u64>().is_ok_and(|number| number.to_string() == id),
            Self::Uuid => {
                let groups: Vec<&str> = id.split('-').collect();
                groups.iter().map(|group| group.len()).eq([8, 4, 4, 4, 12]) && groups.iter().all(|group| is_hex(group))
            }
            Self::ObjectId => id.len() == 24 && is_hex(id),
            Self::Text => {
                let is_plain = |letter: char| letter.is_ascii_graphic() && !r"/\?#%".contains(letter);
                (1..=128).contains(&id.len()) && id.chars().all(is_plain) && id.chars().any(|letter| letter != '.')
            }
        }
    }

    /// The form in words.
    #[must_use]
    pub fn described(self) -> &'static str {
        match self {
            Self::Integer => "a whole number",
            Self::Uuid => "a UUID",
            Self::ObjectId => "24 hexadecimal digits",
            Self::Text => "a short text without blanks and slashes",
        }
    }
}

fn is_hex(text: &str) -> bool {
    text.bytes().all(|letter| letter.is_ascii_hexdigit())
}

/// The path of the entry `id` in the collection at `path`.
///
/// Errors: `Invalid` if `id` has not the form of the vendor's ids.
pub fn entry(path: &str, id: &str, shape: IdShape) -> Result<String, ProviderError> {
    if shape.fits(id) {
        return Ok(format!("{path}/{}", segment(id)));
    }
    let message = format!("{} is no id of the vendor's {path}: an id is {}", quote(id), shape.described());
    Err(ProviderError::refused(ErrorKind::Invalid, message))
}

/// What a read of one entry found; `None` where the vendor answers "not found".
///
/// Errors: every other error of the read.
pub fn found<T>(answer: Result<T, ProviderError>) -> Result<Option<T>, ProviderError> {
    match answer {
        Ok(entry) => Ok(Some(entry)),
        Err(error) if error.kind == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// `account` as the answer to reading `id`.
///
/// Errors: it is another account, because what follows would be done to that one.
pub fn asked_for(id: &str, account: Account, path: &str) -> Result<Account, ProviderError> {
    ensure_same(id, &account.id, path).map(|()| account)
}

/// Accepts the answer to a change of the account `id`, which may show an account under one of the `names` of the id.
///
/// Errors: it shows another account.
pub fn ensure_changed(id: &str, answer: &Value, names: &[&str], path: &str) -> Result<(), ProviderError> {
    let shown = names.iter().find_map(|name| answer.get(*name).and_then(decode::id));
    shown.map_or(Ok(()), |shown| ensure_same(id, &shown, path))
}

fn ensure_same(id: &str, shown: &str, path: &str) -> Result<(), ProviderError> {
    if id.eq_ignore_ascii_case(shown) {
        return Ok(());
    }
    Err(unexpected_answer(path, &format!("the account {} in answer to {}", quote(shown), quote(id))))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;

    #[test]
    fn only_not_found_means_that_there_is_no_entry() {
        let refused = |kind| found::<()>(Err(ProviderError::refused(kind, "no")));
        assert_eq!(found(Ok(7)).unwrap(), Some(7));
        assert_eq!(refused(ErrorKind::NotFound).unwrap(), None);
        assert_eq!(refused(ErrorKind::Unsupported).unwrap_err().kind, ErrorKind::Unsupported);
    }

    #[rstest]
    #[case::number(IdShape::Integer, "4711", true)]
    #[case::zeros(IdShape::Integer, "04711", false)]
    #[case::sign(IdShape::Integer, "-1", false)]
    #[case::path(IdShape::Integer, "../groups/1", false)]
    #[case::uuid(IdShape::Uuid, "00000000-0000-4000-8000-00000000C001", true)]
    #[case::no_uuid(IdShape::Uuid, "00000000-0000-4000-8000-00000000c00g", false)]
    #[case::short_uuid(IdShape::Uuid, "0-0-4-8-0", false)]
    #[case::object_id(IdShape::ObjectId, "64b0c0ffee64b0c0ffee0001", true)]
    #[case::short(IdShape::ObjectId, "64b0c0ffee", false)]
    #[case::text(IdShape::Text, "usr-67890", true)]
    #[case::parent(IdShape::Text, "..", false)]
    #[case::slash(IdShape::Text, "usr/1", false)]
    #[case::encoded(IdShape::Text, "usr%2F1", false)]
    #[case::nothing(IdShape::Text, "", false)]
    #[case::long(IdShape::Text, &"x".repeat(129), false)]
    fn an_id_of_another_form_is_never_part_of_an_address(#[case] shape: IdShape, #[case] id: &str, #[case] fits: bool) {
        let path = entry("/users", id, shape);
        assert_eq!(path.as_ref().ok(), fits.then(|| format!("/users/{id}")).as_ref());
        assert!(path.map_or_else(|error| error.kind == ErrorKind::Invalid, |_| true));
    }

    #[test]
    fn another_account_in_answer_to_an_id_is_refused() {
        let account = |id: &str| Account { id: id.into(), ..Account::default() };
        assert_eq!(asked_for("AB", account("ab"), "/users").unwrap().id, "ab");
        let error = asked_for("1", account("2"), "/users").unwrap_err();
        assert!(error.kind == ErrorKind::Unavailable && error.message.contains("the account 2 in answer to 1"));
        assert!(ensure_changed("1", &json!({"id": 2}), &["id"], "/users").is_err());
        assert!(ensure_changed("1", &json!({"success": true}), &["id"], "/users").is_ok());
    }
}
