//! The meaning of Plaspy's refusals, by status, body and words; it makes no call.

use serde_json::Value;

use crate::plan::AccountKind;
use crate::providers::decode;
use crate::providers::error::{ErrorKind, ProviderError};
use crate::providers::http::Answer;
use crate::providers::words::{means_taken, says_absent};

/// The JSON of `answer` if its status and its body both say success. The body counts too, because the documents do not
/// say which status goes with `success: false`.
///
/// Errors: the refusal by its meaning.
pub fn judge(answer: &Answer) -> Result<Value, ProviderError> {
    let json = answer.json_or_null();
    let denied = json.get("success") == Some(&Value::Bool(false));
    match answer.status {
        // A success may have no body; a caller that needs an account or a list refuses null.
        200..300 if !denied && json.is_null() => answer.content(),
        200..300 if !denied => Ok(json),
        status => Err(refusal(answer, meaning(status, denied, words(&json)), words(&json))),
    }
}

/// The same for a create or a change. "Not found" may be about a user's group or devices, which is `Invalid`: a fault
/// of the manifest.
///
/// Errors: as [`judge`]; `NotFound` only where the user itself is missing.
pub fn judge_change(account_kind: AccountKind, answer: &Answer) -> Result<Value, ProviderError> {
    judge(answer).map_err(|mut error| {
        let words = words(&answer.json_or_null()).to_ascii_lowercase();
        if account_kind == AccountKind::User
            && error.kind == ErrorKind::NotFound
            && !is_about_user(answer.status, &words)
        {
            error.kind = ErrorKind::Invalid;
        }
        error
    })
}

/// Whether "not found" is about the user: the words say so, or a 404 names neither a group nor a device (`rest_api`:
/// "Group not found").
fn is_about_user(status: u16, words: &str) -> bool {
    let part = words.contains("group") || words.contains("device");
    words.contains("user not found") || (!part && (status == 404 || words.contains("user")))
}

/// Whether a refusal may be about the token: a call without a token and a call without the right get the same words
/// (`rest_api`: "Unauthorized access").
pub fn may_be_token(answer: &Answer) -> bool {
    let json = answer.json_or_null();
    let denied = json.get("success") == Some(&Value::Bool(false)) && answer.status != 403;
    denied && words(&json).to_ascii_lowercase().contains("unauthorized")
}

fn words(json: &Value) -> &str {
    json.get("error").and_then(Value::as_str).unwrap_or_default()
}

fn refusal(answer: &Answer, meaning: Option<ErrorKind>, words: &str) -> ProviderError {
    let error = decode::refusal(answer, words);
    match meaning {
        Some(kind) => ProviderError::refused(kind, error.message),
        None => error,
    }
}

/// The meaning of a refusal by its words, matched loosely; `None` where only its status has one. The words are those of
/// `rest_api` and some assumed ones. A limit of the plan ("User limit reached") does not limit calls.
fn meaning(status: u16, denied: bool, said: &str) -> Option<ErrorKind> {
    if !denied || matches!(status, 401 | 403 | 409) {
        return None;
    }
    let lower = said.to_ascii_lowercase();
    let has = |signs: &[&str]| signs.iter().any(|sign| lower.contains(sign));
    Some(if has(&["authentication", "invalid token", "token expired", "expired token"]) {
        ErrorKind::Unauthenticated
    } else if has(&["unauthorized"]) {
        ErrorKind::PermissionDenied
    } else if says_absent(said) {
        ErrorKind::NotFound
    } else if means_taken(status, said) {
        ErrorKind::Conflict
    } else if has(&["too many"]) || (has(&["limit"]) && has(&["request", "rate", "usage", "api", "daily"])) {
        ErrorKind::RateLimited
    } else if status < 300 {
        ErrorKind::Invalid
    } else {
        return None;
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;
    use serde_json::json;

    #[rstest]
    #[case::token(200, "Authentication failed. Invalid token.", Some(ErrorKind::Unauthenticated))]
    #[case::no_right(200, "Unauthorized access", Some(ErrorKind::PermissionDenied))]
    #[case::no_right_by_status(403, "Unauthorized access", None)]
    #[case::gone(200, "User not found.", Some(ErrorKind::NotFound))]
    #[case::gone_as_400(400, "user NOT FOUND", Some(ErrorKind::NotFound))]
    #[case::no_such(200, "The user does not exist", Some(ErrorKind::NotFound))]
    #[case::taken(200, "Email already exists.", Some(ErrorKind::Conflict))]
    #[case::taken_as_500(500, "Duplicate email", Some(ErrorKind::Conflict))]
    #[case::too_fast(200, "Too many requests", Some(ErrorKind::RateLimited))]
    #[case::used_up(200, "Daily limit reached", Some(ErrorKind::RateLimited))]
    #[case::plan_is_full(200, "User limit reached", Some(ErrorKind::Invalid))]
    #[case::bad(200, "Invalid email address.", Some(ErrorKind::Invalid))]
    #[case::taken_in_spanish(200, "El correo ya está registrado", Some(ErrorKind::Conflict))]
    #[case::gone_in_spanish(200, "Usuario no encontrado", Some(ErrorKind::NotFound))]
    #[case::broken(500, "Something went wrong", None)]
    #[case::cut_off(500, "An existing connection was forcibly closed", None)]
    fn a_refusal_means_what_its_words_say(
        #[case] status: u16,
        #[case] words: &str,
        #[case] expected: Option<ErrorKind>,
    ) {
        assert_eq!(meaning(status, true, words), expected);
    }

    #[rstest]
    #[case::user(404, "User not found.", ErrorKind::NotFound)]
    #[case::user_as_200(200, "The user does not exist", ErrorKind::NotFound)]
    #[case::nothing_said(404, "", ErrorKind::NotFound)]
    #[case::group(400, "Group not found", ErrorKind::Invalid)]
    #[case::group_as_200(200, "Group not found", ErrorKind::Invalid)]
    #[case::group_as_404(404, "Group not found", ErrorKind::Invalid)]
    #[case::group_of_the_user(404, "The user's group was not found", ErrorKind::Invalid)]
    #[case::device(200, "Device not found", ErrorKind::Invalid)]
    fn a_missing_group_or_device_is_not_a_missing_user(
        #[case] status: u16,
        #[case] words: &str,
        #[case] expected: ErrorKind,
    ) {
        let body = json!({"success": false, "error": words}).to_string();
        let answer = Answer::new(status, body.as_bytes(), "PATCH https://group.example.com/api/users/1 answered");
        assert_eq!(judge_change(AccountKind::User, &answer).unwrap_err().kind, expected);
        assert_ne!(judge_change(AccountKind::Group, &answer).unwrap_err().kind, ErrorKind::Invalid);
    }
}
