//! A read-only Kubernetes client: it sends reads, allowed dry runs and reviews of the caller's own rights, and refuses every
//! other request before that leaves the process.

use http::Method;
use kube::client::{Body, ClientBuilder};
use kube::{Client, Config};
use tower::BoxError;
use tower::filter::FilterLayer;

/// A request that the client did not send because it could write.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error(
    "refused to {method} {path}: this command is read-only and sends Kubernetes only reads, dry runs and reviews of your own rights"
)]
pub struct Refused {
    method: String,
    path: String,
}

/// Where a `SelfSubjectAccessReview` is posted. The API server answers with the rights of the caller and stores nothing, see
/// <https://kubernetes.io/docs/reference/kubernetes-api/authorization-resources/self-subject-access-review-v1/>.
const ACCESS_REVIEWS: &str = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";

/// The kinds whose objects may be patched in a dry run.
#[derive(Clone, Copy, Debug)]
pub struct AllowedDryRuns {
    /// Their API group.
    pub group: &'static str,
    /// Their plurals.
    pub plurals: &'static [&'static str],
}

/// A client that sends only reads, `dry_runs` and reviews of the caller's own rights.
///
/// Errors: the configuration is not valid for a client.
pub fn client(config: Config, dry_runs: AllowedDryRuns) -> kube::Result<Client> {
    let filter = FilterLayer::new(move |request| only_harmless(request, dry_runs));
    Ok(ClientBuilder::try_from(config)?.with_layer(&filter).build())
}

fn only_harmless(request: http::Request<Body>, dry_runs: AllowedDryRuns) -> Result<http::Request<Body>, BoxError> {
    let is_harmless = match *request.method() {
        Method::GET | Method::HEAD => true,
        Method::PATCH => dry_runs.include(request.uri()),
        Method::POST => is_access_review(request.uri()),
        _ => false,
    };
    if is_harmless {
        return Ok(request);
    }
    Err(Refused { method: request.method().to_string(), path: request.uri().path().to_owned() }.into())
}

/// Whether a POST to this URI reviews the rights of the caller.
fn is_access_review(uri: &http::Uri) -> bool {
    uri.path() == ACCESS_REVIEWS && uri.query().unwrap_or_default().is_empty()
}

impl AllowedDryRuns {
    /// Whether this is a dry run on one object of these kinds, not on its status or another subresource.
    fn include(self, uri: &http::Uri) -> bool {
        let path: Vec<&str> = uri.path().split('/').collect();
        let ["", "apis", group, _, "namespaces", _, plural, _] = path[..] else { return false };
        group == self.group && self.plurals.contains(&plural) && is_dry(uri.query().unwrap_or_default())
    }
}

/// Whether the query has `dryRun=All` exactly once.
fn is_dry(query: &str) -> bool {
    query.split('&').filter(|one| one.starts_with("dryRun")).eq(["dryRun=All"])
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    const DRY_RUNS: AllowedDryRuns = AllowedDryRuns { group: "usher.dev", plurals: &["platformusers"] };
    const ADA: &str = "/apis/usher.dev/v1alpha1/namespaces/identity/platformusers/ada";

    fn ask(method: &str, uri: &str) -> Result<http::Request<Body>, BoxError> {
        only_harmless(http::Request::builder().method(method).uri(uri).body(Body::empty()).unwrap(), DRY_RUNS)
    }

    #[test]
    fn reads_pass_and_every_write_is_refused_with_a_clear_error() {
        assert!(ask("GET", "/api/v1/secrets").is_ok());
        for method in ["POST", "PUT", "PATCH", "DELETE", "OPTIONS"] {
            let error = ask(method, "/api/v1/secrets").unwrap_err().to_string();
            assert!(error.starts_with(&format!("refused to {method} /api/v1/secrets")), "{error}");
        }
    }

    #[test]
    fn a_dry_run_of_a_patch_passes() {
        assert!(ask("PATCH", &format!("{ADA}?dryRun=All&force=true&fieldManager=usher-plan")).is_ok());
        assert!(ask("PATCH", &format!("{ADA}?&fieldManager=usher-plan&dryRun=All")).is_ok());
    }

    #[test]
    fn a_review_of_the_own_rights_passes() {
        assert!(ask("POST", ACCESS_REVIEWS).is_ok());
        assert!(ask("POST", &format!("{ACCESS_REVIEWS}?")).is_ok());
    }

    #[rstest]
    #[case::with_another_verb("PUT", ACCESS_REVIEWS)]
    #[case::as_a_patch("PATCH", ACCESS_REVIEWS)]
    #[case::with_a_query("POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews?fieldManager=usher")]
    #[case::below_it("POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews/token")]
    #[case::with_a_slash("POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews/")]
    #[case::of_another_version("POST", "/apis/authorization.k8s.io/v2/selfsubjectaccessreviews")]
    #[case::of_another_group("POST", "/apis/usher.dev/v1/selfsubjectaccessreviews")]
    #[case::of_other_rights("POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews")]
    #[case::in_a_namespace("POST", "/apis/authorization.k8s.io/v1/namespaces/identity/localsubjectaccessreviews")]
    fn any_other_post_and_review_is_refused(#[case] method: &str, #[case] uri: &str) {
        assert!(ask(method, uri).is_err());
    }

    #[rstest]
    #[case::for_real("PATCH", "")]
    #[case::empty("PATCH", "?dryRun=")]
    #[case::unknown("PATCH", "?dryRun=None")]
    #[case::twice("PATCH", "?dryRun=All&dryRun=")]
    #[case::of_another_name("PATCH", "?xdryRun=All")]
    #[case::in_the_fragment("PATCH", "#?dryRun=All")]
    #[case::of_a_part("PATCH", "/status?dryRun=All")]
    #[case::of_a_create("POST", "?dryRun=All")]
    #[case::of_a_removal("DELETE", "?dryRun=All")]
    fn any_other_patch_or_dry_run_is_refused(#[case] method: &str, #[case] rest: &str) {
        assert!(ask(method, &format!("{ADA}{rest}")).is_err());
    }

    #[rstest]
    #[case::another_kind("/apis/usher.dev/v1alpha1/namespaces/identity/robots/ada")]
    #[case::another_group("/apis/apps/v1/namespaces/identity/platformusers/ada")]
    #[case::a_secret("/api/v1/namespaces/identity/secrets/ada")]
    fn a_dry_run_of_anything_else_is_refused(#[case] path: &str) {
        assert!(ask("PATCH", &format!("{path}?dryRun=All")).is_err());
    }
}
