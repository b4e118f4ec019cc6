//! The operator runs with exactly deploy/'s rules; what it may not do is refused.

use k8s_openapi::api::authorization::v1::{ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec};
use kube::api::PostParams;
use kube::{Api, Client};
use rstest::rstest;

use crate::world::world;

#[rstest]
#[case::read_specs("", "usher.dev", "platformusers", "list", None, true)]
#[case::write_status("", "usher.dev", "platformusers", "patch", Some("status"), true)]
#[case::read_named_secrets("", "", "secrets", "get", None, true)]
#[case::restore_status("", "usher.dev", "platformusers", "restore", Some("status"), true)]
#[case::own_lease("usher-system", "coordination.k8s.io", "leases/usher", "update", None, true)]
#[case::other_leases("usher-system", "coordination.k8s.io", "leases/other", "update", None, false)]
#[case::create_users("", "usher.dev", "platformusers", "create", None, false)]
#[case::delete_users("", "usher.dev", "platformusers", "delete", None, false)]
#[case::replace_specs("", "usher.dev", "platformusers", "update", None, false)]
#[case::write_secrets("", "", "secrets", "update", None, false)]
#[case::delete_secrets("", "", "secrets", "delete", None, false)]
#[case::make_secrets_elsewhere("default", "", "secrets", "create", None, false)]
#[case::read_config("", "", "configmaps", "list", None, false)]
#[case::run_pods("", "", "pods", "create", None, false)]
#[case::exec("", "", "pods", "create", Some("exec"), false)]
#[case::grant_rights("", "rbac.authorization.k8s.io", "clusterroles", "escalate", None, false)]
#[case::bind_rights("", "rbac.authorization.k8s.io", "clusterrolebindings", "create", None, false)]
#[case::impersonate("", "", "users", "impersonate", None, false)]
#[case::make_tokens("", "", "serviceaccounts", "create", Some("token"), false)]
#[case::change_definitions("", "apiextensions.k8s.io", "customresourcedefinitions", "patch", None, false)]
#[case::leases_elsewhere("kube-system", "coordination.k8s.io", "leases", "get", None, false)]
#[tokio::test]
async fn the_operator_may_do_only_what_it_needs(
    #[case] namespace: &str,
    #[case] group: &str,
    #[case] resource: &str,
    #[case] verb: &str,
    #[case] subresource: Option<&str>,
    #[case] allowed: bool,
) {
    let world = world();
    let (resource, name) = resource.split_once('/').map_or((resource, None), |(resource, name)| (resource, Some(name)));
    let client = Client::try_from(world.plane.config(&world.operator_token).unwrap()).unwrap();
    let review = SelfSubjectAccessReview {
        spec: SelfSubjectAccessReviewSpec {
            resource_attributes: Some(ResourceAttributes {
                namespace: Some(namespace.into()),
                group: Some(group.into()),
                resource: Some(resource.into()),
                name: name.map(str::to_owned),
                verb: Some(verb.into()),
                subresource: subresource.map(str::to_owned),
                ..ResourceAttributes::default()
            }),
            ..SelfSubjectAccessReviewSpec::default()
        },
        ..SelfSubjectAccessReview::default()
    };
    let answer = Api::all(client).create(&PostParams::default(), &review).await.unwrap();
    assert_eq!(answer.status.unwrap().allowed, allowed, "{verb} {resource}");
}
