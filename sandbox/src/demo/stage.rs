//! Sets up and clears away all that the story needs; it prints nothing but progress.

use std::path::{Path, PathBuf};

use k8s_openapi::api::core::v1::{Namespace, Secret};
use kube::api::{ApiResource, DeleteParams, DynamicObject, Patch, PatchParams};
use kube::core::GroupVersionKind;
use kube::runtime::wait::await_condition;
use kube::{Api, Client};
use serde_json::Value;

use super::operator::Operator;
use super::waiting::PATIENCE;
use super::{Failure, Out, borrowed, examples};
use crate::controlplane::{self, ControlPlane, Options};
use crate::vendors::{Simulator, Vendor};

/// Namespace of the examples.
pub const NAMESPACE: &str = "identity";

/// Kinds in the order of their removal: an object goes before the objects that it refers to.
const REMOVAL: [&str; 4] = ["PlatformUser", "PlatformGroup", "ProviderCredential", "Secret"];

/// A cluster, the vendors and the operator.
pub struct Stage {
    /// A client of the administrator.
    pub client: Client,
    kubeconfig: PathBuf,
    vendors: Vec<Simulator>,
    operator: Operator,
    // None on an existing cluster.
    plane: Option<ControlPlane>,
}

/// An object that was applied.
pub struct Applied {
    /// Its kind.
    pub kind: String,
    /// Its name in [`NAMESPACE`].
    pub name: String,
}

impl Stage {
    /// Starts everything; with `existing`, on that cluster.
    ///
    /// Errors: no control plane starts, the cluster is in use, or it refuses an object.
    pub async fn set(existing: Option<&Path>, out: Out<'_>) -> Result<Self, Failure> {
        let (plane, kubeconfig) = match existing {
            Some(path) => (None, path.to_owned()),
            None => own_plane(out).await?,
        };
        let client = controlplane::client_from(&kubeconfig).await?;
        let version = client.apiserver_version().await?;
        writeln!(out, "kube-apiserver {} answers.", version.git_version)?;
        if plane.is_none() {
            borrowed::refuse_if_in_use(&client).await?;
        }
        controlplane::apply(&client, &controlplane::crds()?).await?;
        controlplane::apply(&client, &controlplane::operator_manifests()?).await?;
        let mut vendors = Vec::new();
        for vendor in Vendor::ALL.iter().copied() {
            let simulator = Simulator::start(vendor).await?;
            writeln!(out, "{:<13} at {}", vendor.name(), simulator.url())?;
            vendors.push(simulator);
        }
        let operator = Operator::start(&client, &kubeconfig).await?;
        writeln!(out, "usher runs as ServiceAccount usher-system/usher, with the permissions of deploy/rbac.yaml.")?;
        Ok(Self { client, kubeconfig, vendors, operator, plane })
    }

    /// Stops the operator and everything else that was started.
    ///
    /// Errors: the operator panicked.
    pub async fn clear(self) -> Result<(), Failure> {
        self.operator.stop().await?;
        drop(self.plane);
        Ok(())
    }

    /// Removes the examples' objects from an existing cluster, while the operator still runs.
    ///
    /// Errors: an object is not removed in time.
    pub async fn remove_examples(&self, out: Out<'_>) -> Result<(), Failure> {
        writeln!(out, "\nRemoving all objects from namespace {NAMESPACE}, and the namespace itself.")?;
        let objects = examples::objects(&self.vendors)?;
        for kind in REMOVAL {
            let of_kind = objects.iter().filter(|object| examples::kind(object) == kind);
            let names: Vec<&str> = of_kind.map(examples::name).collect();
            for name in &names {
                absent_is_fine(self.objects(kind).delete(name, &DeleteParams::default()).await)?;
            }
            for name in names {
                self.until_gone(kind, name).await?;
            }
        }
        let namespaces: Api<Namespace> = Api::all(self.client.clone());
        absent_is_fine(namespaces.delete(NAMESPACE, &DeleteParams::default()).await)
    }

    /// The kubeconfig of the administrator.
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// All vendors.
    pub fn vendors(&self) -> &[Simulator] {
        &self.vendors
    }

    /// One vendor.
    ///
    /// Errors: no such vendor on this stage, which does not happen: every vendor is there.
    pub fn vendor(&self, vendor: Vendor) -> Result<&Simulator, Failure> {
        let found = self.vendors.iter().find(|simulator| simulator.vendor() == vendor);
        found.ok_or_else(|| format!("no {} on the stage", vendor.name()).into())
    }

    /// Applies deploy/examples and returns the objects that have a Ready condition.
    ///
    /// Errors: a file cannot be read, or the API server refuses it.
    pub async fn apply_examples(&self, out: Out<'_>) -> Result<Vec<Applied>, Failure> {
        let objects = examples::objects(&self.vendors)?;
        for object in &objects {
            controlplane::apply(&self.client, &object.to_string()).await?;
        }
        let count = |kind: &str| objects.iter().filter(|object| examples::kind(object) == kind).count();
        let counts = REMOVAL.map(|kind| format!("{} {kind}s", count(kind)));
        writeln!(out, "Applied {}.", counts.join(", "))?;
        let have_status = objects.iter().filter(|object| !matches!(examples::kind(object), "Namespace" | "Secret"));
        let applied = |object| Applied { kind: examples::kind(object).into(), name: examples::name(object).into() };
        Ok(have_status.map(applied).collect())
    }

    /// `kubectl patch --type merge` of a user.
    ///
    /// Errors: the API server refuses it.
    pub async fn patch(&self, user: &str, patch: Value) -> Result<(), Failure> {
        self.objects("PlatformUser").patch(user, &PatchParams::default(), &Patch::Merge(patch)).await?;
        Ok(())
    }

    /// `kubectl delete puser`, waiting until it is gone.
    ///
    /// Errors: it is not removed in time.
    pub async fn delete(&self, user: &str) -> Result<(), Failure> {
        self.objects("PlatformUser").delete(user, &DeleteParams::default()).await?;
        self.until_gone("PlatformUser", user).await
    }

    async fn until_gone(&self, kind: &str, name: &str) -> Result<(), Failure> {
        let gone = await_condition(self.objects(kind), name, |object: Option<&DynamicObject>| object.is_none());
        let waited = tokio::time::timeout(PATIENCE, gone).await;
        waited.map_err(|_| format!("{kind} {name} is still there after {} s", PATIENCE.as_secs()))??;
        Ok(())
    }

    /// The objects of a kind in the examples' namespace: Secrets, or one of usher's.
    pub fn objects(&self, kind: &str) -> Api<DynamicObject> {
        let resource = if kind == "Secret" {
            ApiResource::erase::<Secret>(&())
        } else {
            let plural = format!("{}s", kind.to_ascii_lowercase());
            ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk("usher.dev", "v1alpha1", kind), &plural)
        };
        Api::namespaced_with(self.client.clone(), NAMESPACE, &resource)
    }
}

/// A control plane that ends with the demo.
async fn own_plane(out: Out<'_>) -> Result<(Option<ControlPlane>, PathBuf), Failure> {
    writeln!(out, "Starting etcd and kube-apiserver.")?;
    out.flush()?;
    let plane = ControlPlane::start(Options::default()).await?;
    let kubeconfig = plane.dir().join("kubeconfig");
    plane.write_kubeconfig(&kubeconfig, plane.admin_token())?;
    Ok((Some(plane), kubeconfig))
}

fn absent_is_fine<T>(deleted: kube::Result<T>) -> Result<(), Failure> {
    match deleted {
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
        other => Ok(other.map(drop)?),
    }
}
