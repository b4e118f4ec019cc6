//! Asks the API server whether it would take documents, by dry runs: it checks all its rules and stores nothing.

use kube::api::{Patch, PatchParams};
use kube::core::response::StatusCause;
use kube::core::{ObjectMeta, Status};
use kube::{Api, Client, ResourceExt};
use serde_json::{Value, json};

use super::merged::{Draft, Effect, Laid};
use crate::api::conditions::Verdict;
use crate::api::names::MANAGER_PLAN;
use crate::api::{Kind, Reason};

/// Most characters of the API server's own words.
const LONGEST: usize = 1000;

/// What the API server says of a document.
#[derive(Debug, PartialEq, Eq)]
pub enum Answer {
    /// It would take it.
    Taken,
    /// It would not.
    Refused(Verdict),
    /// It does not say, for this reason.
    Untold(String),
}

/// Whether the API server would take a document now. One that changes nothing is not asked about.
///
/// Errors: the API server did not answer.
pub async fn ask<K: Laid>(client: &Client, draft: &Draft<K>) -> Result<Answer, kube::Error> {
    let patch = match draft.effect {
        Effect::None => return Ok(Answer::Taken),
        Effect::New => whole(&draft.laid),
        Effect::Changed => replacing(&draft.laid)?,
    };
    let force = matches!(patch, Patch::Apply(_));
    let params =
        PatchParams { dry_run: true, force, field_manager: Some(MANAGER_PLAN.into()), ..PatchParams::default() };
    let namespace = draft.laid.namespace().unwrap_or_default();
    let api = Api::<K>::namespaced(client.clone(), &namespace);
    match api.patch_metadata(&draft.laid.name_any(), &params, &patch).await {
        Ok(_) => Ok(Answer::Taken),
        Err(kube::Error::Api(status)) => answer(*status, K::KIND, &namespace),
        Err(error) => Err(error),
    }
}

/// The whole document, for server-side apply.
fn whole<K: Laid>(laid: &K) -> Patch<Value> {
    let ObjectMeta { name, namespace, labels, annotations, .. } = laid.meta().clone();
    let metadata = ObjectMeta { name, namespace, labels, annotations, ..ObjectMeta::default() };
    let mut document = json!(laid);
    document["metadata"] = json!(metadata);
    Patch::Apply(document)
}

/// The whole spec in place of the stored one. Server-side apply in a name of our own would keep what the document leaves out,
/// and rules between fields would then refuse what whoever owns those fields may well apply.
fn replacing<K: Laid>(laid: &K) -> Result<Patch<Value>, kube::Error> {
    let operations = json!([
        {"op": "add", "path": "/metadata/labels", "value": laid.labels()},
        {"op": "add", "path": "/metadata/annotations", "value": laid.annotations()},
        {"op": "add", "path": "/spec", "value": json!(laid)["spec"]},
    ]);
    serde_json::from_value(operations).map(Patch::Json).map_err(kube::Error::SerdeError)
}

/// Errors: it is no answer to the question.
fn answer(status: Status, kind: Kind, namespace: &str) -> Result<Answer, kube::Error> {
    let refused = |reason| {
        let message = format!("the API server refuses it: {}", words(&status));
        Ok(Answer::Refused(Verdict::new(reason, message)))
    };
    match status.code {
        404 if status.details.as_ref().is_some_and(|about| about.kind == "namespaces") => {
            Ok(Answer::Untold(format!("there is no namespace {namespace} yet")))
        }
        403 if is_about_rights(&status) => {
            Ok(Answer::Untold(format!("you may not create and patch {} in namespace {namespace}", kind.plural())))
        }
        403 => refused(Reason::PermissionDenied),
        401 | 404 | 408 | 409 | 429 => Err(kube::Error::Api(status.boxed())),
        400..500 => refused(Reason::Invalid),
        _ => Err(kube::Error::Api(status.boxed())),
    }
}

/// Whether the asking itself is not allowed. A policy's refusal has the same code and reason, and words of its own.
fn is_about_rights(status: &Status) -> bool {
    let has_causes = status.details.as_ref().is_some_and(|about| !about.causes.is_empty());
    let lacks = |verb: &str| status.message.contains(&format!(" cannot {verb} resource \""));
    !has_causes && (lacks("patch") || lacks("create"))
}

/// The API server's words on one line, without the object, which is shown beside, and without what an address may carry.
fn words(status: &Status) -> String {
    let causes = status.details.iter().flat_map(|about| &about.causes).map(cause).collect::<Vec<_>>().join("; ");
    let about = [" is invalid: ", " is forbidden: "].into_iter().find_map(|after| status.message.split_once(after));
    let said = if causes.is_empty() { about.map_or(&*status.message, |(_, words)| words) } else { &causes };
    let line = without_logins(&said.split_whitespace().collect::<Vec<_>>().join(" "));
    line.chars().filter(|letter| !letter.is_control()).take(LONGEST).collect()
}

/// One reason, after the field that it is about; that it is invalid is said already.
fn cause(cause: &StatusCause) -> String {
    let noise = ["Invalid value: ", "\"object\": ", "\"array\": "];
    let message = noise.iter().fold(&*cause.message, |words, noise| words.strip_prefix(noise).unwrap_or(words));
    match &*cause.field {
        "" | "<nil>" => message.to_owned(),
        field => format!("{field}: {message}"),
    }
}

/// The text with its addresses cut to host and path: a user or a query may hold a secret that someone put there by mistake.
fn without_logins(text: &str) -> String {
    let mut parts = text.split("://");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| {
        let (address, rest) = part.split_at(part.find([' ', '"', '\'']).unwrap_or(part.len()));
        let address = address.rsplit_once('@').map_or(address, |(_, host)| host);
        format!("{text}://{}{rest}", address.split_once('?').map_or(address, |(path, _)| path))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(code: u16, message: &str, kind: &str, causes: &[&str]) -> Answer {
        let causes: Vec<Value> = causes.iter().map(|message| json!({"message": message})).collect();
        let status = json!({"code": code, "message": message, "details": {"kind": kind, "causes": causes}});
        answer(serde_json::from_value(status).unwrap(), Kind::User, "identity").unwrap()
    }

    fn message(answer: &Answer) -> &str {
        match answer {
            Answer::Refused(verdict) => &verdict.message,
            Answer::Untold(why) => why,
            Answer::Taken => "",
        }
    }

    #[test]
    fn rules_are_quoted_without_the_object() {
        let status = json!({"code": 422, "message": "PlatformUser.usher.dev \"ada\" is invalid: [all of it]", "details": {"causes": [
            {"field": "<nil>", "message": "Invalid value: \"object\": cannot\n  change"},
            {"field": "spec.email", "message": "Invalid value: \"nobody\": not an e-mail address"},
        ]}});
        let answer = answer(serde_json::from_value(status).unwrap(), Kind::User, "identity").unwrap();
        let expected = "the API server refuses it: cannot change; spec.email: \"nobody\": not an e-mail address";
        assert_eq!(message(&answer), expected);
        let answer = said(422, "PlatformUser.usher.dev \"ada\" is invalid: no\n  such thing", "PlatformUser", &[]);
        assert_eq!(message(&answer), "the API server refuses it: no such thing");
    }

    #[test]
    fn a_policy_that_forbids_is_no_missing_right_whatever_it_says() {
        let words = "platformusers.usher.dev \"ada\" is forbidden: ValidatingAdmissionPolicy 'x' denied request: eve cannot patch resource \"y\"";
        let answer = said(403, words, "platformusers", &["denied"]);
        assert!(
            matches!(&answer, Answer::Refused(verdict) if verdict.reason == Reason::PermissionDenied),
            "{answer:?}"
        );
    }

    #[test]
    fn a_missing_right_and_a_missing_namespace_leave_the_question_open() {
        let words = "platformusers.usher.dev \"ada\" is forbidden: User \"eve\" cannot patch resource \"platformusers\" in API group \"usher.dev\" in the namespace \"identity\"";
        assert_eq!(
            message(&said(403, words, "platformusers", &[])),
            "you may not create and patch platformusers in namespace identity"
        );
        let answer = said(404, "namespaces \"identity\" not found", "namespaces", &[]);
        assert_eq!(message(&answer), "there is no namespace identity yet");
    }

    #[test]
    fn a_login_in_an_address_is_not_repeated() {
        let words = "spec.url: Invalid value: \"https://eve:fake-pass@example.com/a?token=fake-pass\": not a base address: write it as https://host[:port]";
        let answer = said(422, words, "ProviderCredential", &[]);
        assert!(!message(&answer).contains("fake-pass"), "{answer:?}");
        assert!(
            message(&answer)
                .ends_with("\"https://example.com/a\": not a base address: write it as https://host[:port]"),
            "{answer:?}"
        );
    }

    #[test]
    fn an_outage_is_no_answer() {
        let status = || Status::failure("", "").with_code(503);
        assert!(answer(status(), Kind::User, "identity").is_err());
    }
}
