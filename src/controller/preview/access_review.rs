//! Reviews of the caller's own rights: the API server answers whether the caller may use a verb on an object. It stores nothing.

use k8s_openapi::api::authorization::v1::{ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec};
use kube::api::PostParams;
use kube::{Api, Client, ResourceExt};

use crate::controller::cluster::object::Object;

/// Those of `verbs` that the caller may not use on `object`; none if the caller may not review its rights.
///
/// Errors: the API server did not answer.
pub async fn missing_rights<'a, K: Object>(
    client: &Client,
    object: &K,
    verbs: &[&'a str],
) -> Result<Vec<&'a str>, kube::Error> {
    let mut missing = Vec::new();
    for verb in verbs {
        match Api::all(client.clone()).create(&PostParams::default(), &review(object, verb)).await {
            Ok(SelfSubjectAccessReview { status: Some(status), .. }) if !status.allowed => missing.push(*verb),
            Ok(_) => {}
            Err(kube::Error::Api(status)) if status.is_forbidden() => {}
            Err(error) => return Err(error),
        }
    }
    Ok(missing)
}

/// The question whether the caller may use `verb` on `object`.
fn review<K: Object>(object: &K, verb: &str) -> SelfSubjectAccessReview {
    let attributes = ResourceAttributes {
        group: Some(K::group(&()).into_owned()),
        version: Some(K::version(&()).into_owned()),
        resource: Some(K::plural(&()).into_owned()),
        namespace: object.namespace(),
        name: Some(object.name_any()),
        verb: Some(verb.to_owned()),
        ..ResourceAttributes::default()
    };
    let spec = SelfSubjectAccessReviewSpec { resource_attributes: Some(attributes), ..Default::default() };
    SelfSubjectAccessReview { spec, ..SelfSubjectAccessReview::default() }
}
