//! Dry runs of `usher plan -f`: the API server checks each manifest against schema, rules and admission policies as if it were
//! applied, and stores nothing.

use kube::api::{Patch, PatchParams};
use kube::core::response::StatusCause;
use kube::core::{ObjectMeta, Status};
use kube::{Api, Client, ResourceExt};
use serde_json::{Value, json};

use super::access_review::missing_rights;
use super::merged::{Merge, Merged, Write};
use crate::api::Reason;
use crate::api::conditions::Verdict;
use crate::api::names::MANAGER_PLAN;
use crate::controller::cluster::lenient::Lenient;

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
    let (patch, verbs): (_, &[&str]) = match write {
        Write::Nothing => return Ok(Answer::Accepted),
        Write::Create => (apply(object), &["create", "patch"]),
        Write::Update => (replace_spec(object)?, &["patch"]),
    };
    let force = matches!(patch, Patch::Apply(_));
    let params =
        PatchParams { dry_run: true, force, field_manager: Some(MANAGER_PLAN.into()), ..PatchParams::default() };
    let namespace = object.namespace().unwrap_or_default();
    let api = Api::<Lenient<K>>::namespaced(client.clone(), &namespace);
    match api.patch(&object.name_any(), &params, &patch).await {
        Ok(_) => Ok(Answer::Accepted),
        Err(kube::Error::Api(status)) if status.is_forbidden() => {
            // A missing right and a refusal by a policy have the same code and reason.
            let missing = missing_rights(client, object, verbs).await?.join(" and ");
            let why = format!("you may not {missing} {} in namespace {namespace}", K::KIND.plural());
            Ok(if missing.is_empty() { refused(Reason::PermissionDenied, &status) } else { Answer::Unchecked(why) })
        }
        Err(kube::Error::Api(status)) => answer(*status, &namespace),
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

/// A JSON patch that replaces the stored spec. Server-side apply as the field manager of `usher plan` would keep the fields that
/// the manifest leaves out, and rules between fields could refuse a manifest that the manager of those fields can apply.
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
fn answer(status: Status, namespace: &str) -> Result<Answer, kube::Error> {
    match status.code {
        404 if status.details.as_ref().is_some_and(|about| about.kind == "namespaces") => {
            Ok(Answer::Unchecked(format!("there is no namespace {namespace} yet")))
        }
        401 | 404 | 408 | 409 | 429 => Err(kube::Error::Api(status.boxed())),
        400..500 => Ok(refused(Reason::Invalid, &status)),
        _ => Err(kube::Error::Api(status.boxed())),
    }
}

/// A refusal with the message of the API server.
fn refused(reason: Reason, status: &Status) -> Answer {
    Answer::Refused(Verdict::new(reason, format!("the API server refuses it: {}", quote(status))))
}

/// The message of the API server on one line, without the name of the object, which the plan shows, and without credentials.
fn quote(status: &Status) -> String {
    let causes = status.details.iter().flat_map(|about| &about.causes).map(cause).collect::<Vec<_>>().join("; ");
    let about = [" is invalid: ", " is forbidden: "].into_iter().find_map(|after| status.message.split_once(after));
    let text = if causes.is_empty() { about.map_or(&*status.message, |(_, rest)| rest) } else { &causes };
    let line = without_credentials(&text.split_whitespace().collect::<Vec<_>>().join(" "));
    line.chars().filter(|letter| !letter.is_control()).take(MAX_QUOTED).collect()
}

/// The field and message of one cause, without the prefixes that all invalid values have.
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
    use std::sync::Arc;

    use http::{Method, StatusCode};
    use parking_lot::Mutex;
    use rstest::rstest;

    use super::*;
    use crate::api::PlatformUser;

    fn answer_to(code: u16, message: &str, kind: &str) -> Answer {
        let status = json!({"code": code, "message": message, "details": {"kind": kind}});
        answer(serde_json::from_value(status).unwrap(), "identity").unwrap()
    }

    fn message(answer: &Answer) -> &str {
        match answer {
            Answer::Refused(verdict) => &verdict.message,
            Answer::Unchecked(why) => why,
            Answer::Accepted => "",
        }
    }

    /// The answer of an API server that forbids every patch with the message `refusal`, and the verbs that were reviewed. The
    /// caller may use the verbs `granted`, and may not review rights if that is `None`.
    async fn check_forbidden(
        write: Write,
        refusal: &'static str,
        granted: Option<&'static [&'static str]>,
    ) -> (Answer, Vec<String>) {
        let reviewed = Arc::new(Mutex::new(Vec::new()));
        let seen = reviewed.clone();
        let server = axum::Router::new().fallback(move |method: Method, body: String| async move {
            let Some(granted) = granted.filter(|_| method == Method::POST) else {
                let status = json!({"kind": "Status", "reason": "Forbidden", "code": 403, "message": refusal});
                return (StatusCode::FORBIDDEN, axum::Json(status));
            };
            let mut review: Value = serde_json::from_str(&body).unwrap();
            let verb = review["spec"]["resourceAttributes"]["verb"].as_str().unwrap().to_owned();
            review["status"] = json!({"allowed": granted.contains(&&*verb)});
            seen.lock().push(verb);
            (StatusCode::CREATED, axum::Json(review))
        });
        let ada = json!({
            "apiVersion": "usher.dev/v1alpha1", "kind": "PlatformUser", "metadata": {"name": "ada", "namespace": "identity"},
            "spec": {"credentialRef": {"name": "main"}, "email": "ada@example.com"},
        });
        let object: PlatformUser = serde_json::from_value(ada).unwrap();
        let answer = check(&Client::new(server, "default"), &Merged { object, write }).await.unwrap();
        let reviewed = reviewed.lock().clone();
        (answer, reviewed)
    }

    /// The text of RBAC, which a policy may use, too.
    const LIKE_RBAC: &str =
        "platformusers.usher.dev \"ada\" is forbidden: User \"eve\" cannot patch resource \"platformusers\"";

    #[rstest]
    #[case::of_a_create(Write::Create, &["create", "patch"])]
    #[case::of_an_update(Write::Update, &["patch"])]
    #[tokio::test]
    async fn a_refusal_by_a_policy_is_no_missing_right_whatever_its_message(
        #[case] write: Write,
        #[case] granted: &'static [&'static str],
    ) {
        let (answer, reviewed) = check_forbidden(write, LIKE_RBAC, Some(granted)).await;
        let Answer::Refused(verdict) = &answer else { panic!("{answer:?}") };
        assert_eq!(verdict.reason, Reason::PermissionDenied);
        assert_eq!(verdict.message, "the API server refuses it: User \"eve\" cannot patch resource \"platformusers\"");
        assert_eq!(reviewed, granted);
    }

    #[rstest]
    #[case::of_both(Write::Create, &[], "create and patch")]
    #[case::to_create(Write::Create, &["patch"], "create")]
    #[case::to_patch(Write::Update, &["create"], "patch")]
    #[tokio::test]
    async fn a_missing_right_leaves_the_manifest_unchecked_whatever_the_message(
        #[case] write: Write,
        #[case] granted: &'static [&'static str],
        #[case] missing: &str,
    ) {
        let (answer, _) = check_forbidden(write, "denied by the webhook authorizer", Some(granted)).await;
        let why = format!("you may not {missing} platformusers in namespace identity");
        assert_eq!(answer, Answer::Unchecked(why));
    }

    #[tokio::test]
    async fn a_403_is_a_refusal_if_the_caller_may_not_review_rights() {
        let (answer, _) = check_forbidden(Write::Update, LIKE_RBAC, None).await;
        assert!(matches!(answer, Answer::Refused(_)), "{answer:?}");
    }

    #[test]
    fn rules_are_quoted_without_the_object() {
        let status = json!({"code": 422, "message": "PlatformUser.usher.dev \"ada\" is invalid: [all of it]", "details": {"causes": [
            {"field": "<nil>", "message": "Invalid value: \"object\": cannot\n  change"},
            {"field": "spec.email", "message": "Invalid value: \"nobody\": not an e-mail address"},
        ]}});
        let answer = answer(serde_json::from_value(status).unwrap(), "identity").unwrap();
        let expected = "the API server refuses it: cannot change; spec.email: \"nobody\": not an e-mail address";
        assert_eq!(message(&answer), expected);
        let answer = answer_to(422, "PlatformUser.usher.dev \"ada\" is invalid: no\n  such thing", "PlatformUser");
        assert_eq!(message(&answer), "the API server refuses it: no such thing");
    }

    #[test]
    fn a_missing_namespace_leaves_the_manifest_unchecked() {
        let answer = answer_to(404, "namespaces \"identity\" not found", "namespaces");
        assert_eq!(answer, Answer::Unchecked("there is no namespace identity yet".into()));
    }

    #[test]
    fn credentials_in_a_url_are_not_quoted() {
        let text = "spec.url: Invalid value: \"https://eve:fake-pass@example.com/a?token=fake-pass\": not a base address: write it as https://host[:port]";
        let answer = answer_to(422, text, "ProviderCredential");
        let end = "\"https://example.com/a\": not a base address: write it as https://host[:port]";
        assert!(!message(&answer).contains("fake-pass") && message(&answer).ends_with(end), "{answer:?}");
    }

    #[test]
    fn an_outage_is_an_error() {
        assert!(answer(Status::failure("", "").with_code(503), "identity").is_err());
    }
}
