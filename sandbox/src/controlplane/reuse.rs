//! A control plane that another process keeps running (`cargo plane`), so that a quick test does not wait for one to start.

use std::fmt::Debug;
use std::fs::File;
use std::path::Path;

use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams};
use kube::config::Kubeconfig;
use kube::{Api, Client, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use serde_json::json;
use usher::api::names::SECRET_FINALIZER;
use usher::api::{PlatformGroup, PlatformUser, ProviderCredential};

use super::access::Access;
use super::error::io;
use super::{ControlPlane, Error, folder};

/// Environment variable that names the kubeconfig of a running control plane.
const RUNNING: &str = "USHER_TEST_PLANE";

impl ControlPlane {
    /// The control plane of the kubeconfig in `USHER_TEST_PLANE`, see `reuse`; `None` without that variable.
    ///
    /// Errors: see `reuse`.
    pub async fn running() -> Result<Option<Self>, Error> {
        match std::env::var_os(RUNNING).filter(|path| !path.is_empty()) {
            Some(kubeconfig) => Self::reuse(Path::new(&kubeconfig)).await.map(Some),
            None => Ok(None),
        }
    }

    /// The control plane of a kubeconfig, without the objects of usher that were there. It goes on when this is dropped.
    ///
    /// Errors: the file is not from `write_kubeconfig`, its control plane does not answer, or another test run uses it.
    pub async fn reuse(kubeconfig: &Path) -> Result<Self, Error> {
        let lock = lock(kubeconfig)?;
        let access = access(kubeconfig)?;
        if !access.is_ready().await {
            let file = kubeconfig.display();
            return Err(Error::Running(format!(
                "the control plane of {file} does not answer: start it anew, or remove the file"
            )));
        }
        clear(&access.admin()?).await?;
        Ok(Self { access, _processes: None, folder: folder()?, _lock: Some(lock) })
    }
}

/// Two operators at a time would reconcile each other's objects.
fn lock(kubeconfig: &Path) -> Result<File, Error> {
    let path = kubeconfig.with_extension("lock");
    let file = File::create(&path).map_err(io(format!("make {}", path.display())))?;
    file.try_lock().map_err(|_| {
        Error::Running(format!("another test run uses the control plane of {RUNNING}: wait for it, or unset {RUNNING}"))
    })?;
    Ok(file)
}

fn access(kubeconfig: &Path) -> Result<Access, Error> {
    let unusable = || Error::Running(format!("{} is not from `cargo plane`: start that anew", kubeconfig.display()));
    let read = Kubeconfig::read_from(kubeconfig).map_err(|_| unusable())?;
    let cluster = read.clusters.into_iter().find_map(|named| named.cluster).ok_or_else(unusable)?;
    let (Some(url), Some(certificate)) = (cluster.server, cluster.certificate_authority) else {
        return Err(unusable());
    };
    Ok(Access { url, certificate: certificate.into() })
}

/// Removes all objects of usher's kinds and usher's finalizers from Secrets; no operator may run.
///
/// Errors: the API server's.
pub async fn clear(admin: &Client) -> Result<(), Error> {
    remove::<PlatformUser>(admin, |_| true).await?;
    remove::<PlatformGroup>(admin, |_| true).await?;
    remove::<ProviderCredential>(admin, |_| true).await?;
    remove::<Secret>(admin, |secret| secret.finalizers().iter().any(|name| name == SECRET_FINALIZER)).await
}

/// Removes the objects of a kind that are `ours`.
async fn remove<K>(admin: &Client, ours: fn(&K) -> bool) -> Result<(), Error>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned,
{
    let found = match Api::<K>::all(admin.clone()).list(&ListParams::default()).await {
        // The kinds are not there before the first run. That answer has no reason that `is_not_found` knows.
        Err(kube::Error::Api(status)) if status.code == 404 => return Ok(()),
        found => found?,
    };
    for object in found.iter().filter(|object| ours(object)) {
        let api: Api<K> = Api::namespaced(admin.clone(), &object.namespace().unwrap_or_default());
        let without = Patch::Merge(json!({"metadata": {"finalizers": null}}));
        absent_is_fine(api.patch(&object.name_any(), &PatchParams::default(), &without).await)?;
        absent_is_fine(api.delete(&object.name_any(), &DeleteParams::default()).await)?;
    }
    Ok(())
}

fn absent_is_fine<T>(done: kube::Result<T>) -> kube::Result<()> {
    match done {
        Err(kube::Error::Api(status)) if status.is_not_found() => Ok(()),
        other => other.map(drop),
    }
}
