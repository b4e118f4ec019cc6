//! Dry runs of `usher plan -f`: the API server checks each manifest against schema, rules and admission policies as if it were applied,
//! and stores nothing.

use kube::api::{Patch, PatchParams};
use kube::core::response::StatusCause;
use kube::core::{ObjectMeta, Status};
use kube::{Api, Client, ResourceExt};
use serde_json::{Value, json};

use super::merged::{Merge, Merged, Write};
use crate::api::conditions::Verdict;
use crate::api::names::MANAGER_PLAN;
use crate::api::{Kind, Reason};

/// Most characters that a message quotes from the API server.
const MAX_QUOTED: usize = 1000;

/// Whether the API server would accept a manifest.
#[derive(Debug, PartialEq, Eq)]
pub enum Answer {
    /// The API server would store the manifest.
    Accepted,
    /// The API server would refuse the manifest.
    Refused(Verdict),
    /// The API server cannot check the manifest, for this reason.
    Unchecked(String),
}

/// Whether the API server would accept a manifest now. A manifest that changes nothing is accepted without a dry run.
///
/// Errors: the API server did not answer.
pub async fn check<K: Merge>(client: &Client, merged: &Merged<K>) -> Result<Answer, kube::Error> {
    let Merged { object, write } = merged;
    let patch = match write {
        Write::Nothing => return Ok(Answer::Accepted),
        Write::Create => apply(object),
        Write::Update => replace_spec(object)?,
    };
    let force = matches!(patch, Patch::Apply(_));
    let params =
        PatchParams { dry_run: true, force, field_manager: Some(MANAGER_PLAN.into()), ..PatchParams::default() };
    let namespace = object.namespace().unwrap_or_default();
    let api = Api::<K>::namespaced(client.clone(), &namespace);
    match api.patch_metadata(&object.name_any(), &params, &patch).await {
        Ok(_) => Ok(Answer::Accepted),
        Err(kube::Error::Api(status)) => answer(*status, K::KIND, &namespace),
        Err(error) => Err(error),
    }
}

/// Server-side apply of the whole manifest.
fn apply<K: Merge>(object: &K) -> Patch<Value> {
    let ObjectMeta { name, namespace, labels, annotations, .. } = object.meta().clone();
    let metadata = ObjectMeta { name, namespace, labels, annotations, ..ObjectMeta::default() };
    let mut manifest = json!(object);
    manifest["metadata"] = json!(metadata);
    Patch::Apply(manifest)
}

/// A JSON patch that replaces the stored spec. Server-side apply as the field manager of `usher plan` would keep the fields that the
/// manifest leaves out, and rules between fields could refuse a manifest that the manager of those fields can apply.
fn replace_spec<K: Merge>(object: &K) -> Result<Patch<Value>, kube::Error> {
    let operations = json!([
        {"op": "add", "path": "/metadata/labels", "value": object.labels()},
        {"op": "add", "path": "/metadata/annotations", "value": object.annotations()},
        {"op": "add", "path": "/spec", "value": json!(object)["spec"]},
    ]);
    serde_json::from_value(operations).map(Patch::Json).map_err(kube::Error::SerdeError)
}

/// The answer that the failed dry run of an object in `namespace` gives.
///
/// Errors: the API server did not check the manifest, for example because of an outage.
fn answer(status: Status, kind: Kind, namespace: &str) -> Result<Answer, kube::Error> {
    match status.code {
        404 if status.details.as_ref().is_some_and(|about| about.kind == "namespaces") => {
            Ok(Answer::Unchecked(format!("there is no namespace {namespace} yet")))
        }
        403 if is_about_rights(&status) => {
            Ok(Answer::Unchecked(format!("you may not create and patch {} in namespace {namespace}", kind.plural())))
        }
        403 => Ok(refused(Reason::PermissionDenied, &status)),
        401 | 404 | 408 | 409 | 429 => Err(kube::Error::Api(status.boxed())),
        400..500 => Ok(refused(Reason::Invalid, &status)),
        _ => Err(kube::Error::Api(status.boxed())),
    }
}

/// A refusal with the message of the API server.
fn refused(reason: Reason, status: &Status) -> Answer {
    Answer::Refused(Verdict::new(reason, format!("the API server refuses it: {}", quote(status))))
}

/// Whether the asking itself is not allowed. A policy's refusal has the same code and reason, and words of its own.
fn is_about_rights(status: &Status) -> bool {
    let has_causes = status.details.as_ref().is_some_and(|about| !about.causes.is_empty());
    let lacks = |verb: &str| status.message.contains(&format!(" cannot {verb} resource \""));
    !has_causes && (lacks("patch") || lacks("create"))
}

/// The message of the API server on one line, without the name of the object, which the plan shows anyway, and without credentials.
fn quote(status: &Status) -> String {
    let causes = status.details.iter().flat_map(|about| &about.causes).map(cause).collect::<Vec<_>>().join("; ");
    let about = [" is invalid: ", " is forbidden: "].into_iter().find_map(|after| status.message.split_once(after));
    let text = if causes.is_empty() { about.map_or(&*status.message, |(_, rest)| rest) } else { &causes };
    let line = without_credentials(&text.split_whitespace().collect::<Vec<_>>().join(" "));
    line.chars().filter(|letter| !letter.is_control()).take(MAX_QUOTED).collect()
}

/// The field and message of one cause, without the prefixes that say only that a value is invalid.
fn cause(cause: &StatusCause) -> String {
    let prefixes = ["Invalid value: ", "\"object\": ", "\"array\": "];
    let message = prefixes.iter().fold(&*cause.message, |text, prefix| text.strip_prefix(prefix).unwrap_or(text));
    match &*cause.field {
        "" | "<nil>" => message.to_owned(),
        field => format!("{field}: {message}"),
    }
}

/// The text with its URLs cut to host and path, because user and query of a URL may hold a secret by mistake.
fn without_credentials(text: &str) -> String {
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
            Answer::Unchecked(why) => why,
            Answer::Accepted => "",
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
