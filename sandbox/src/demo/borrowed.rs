//! Checks whether the demo may use an existing cluster. The demo's operator acts on every object that it finds, so the cluster
//! must not hold any object of usher. The check changes nothing.

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Namespace;
use kube::api::ListParams;
use kube::{Api, Client, ResourceExt};
use usher::api::ProviderCredential;

use super::Failure;
use super::stage::NAMESPACE;

/// Looks for objects that the demo would disturb.
///
/// Errors: the cluster is in use; the message says by which object and what to do.
pub async fn refuse_if_in_use(client: &Client) -> Result<(), Failure> {
    if Api::<Deployment>::namespaced(client.clone(), "usher-system").get_opt("usher").await?.is_some() {
        return Err("usher is deployed to this cluster, and two operators would act on the same objects: \
                    use another cluster, or delete Deployment usher of namespace usher-system"
            .into());
    }
    if let Some(credential) = first_credential(client).await? {
        return Err(format!(
            "this cluster has ProviderCredential {} of namespace {}, and the demo would act on it: use another cluster, or delete it",
            credential.name_any(),
            credential.namespace().unwrap_or_default()
        )
        .into());
    }
    if Api::<Namespace>::all(client.clone()).get_opt(NAMESPACE).await?.is_some() {
        return Err(format!(
            "this cluster has a namespace {NAMESPACE}, and the demo would overwrite what is in it: use another cluster, or delete it"
        )
        .into());
    }
    Ok(())
}

async fn first_credential(client: &Client) -> kube::Result<Option<ProviderCredential>> {
    match Api::<ProviderCredential>::all(client.clone()).list(&ListParams::default().limit(1)).await {
        Ok(found) => Ok(found.into_iter().next()),
        // The kind does not exist yet.
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(None),
        Err(error) => Err(error),
    }
}
