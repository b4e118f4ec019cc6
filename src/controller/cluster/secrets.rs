//! The one door to what is in Secrets: the cluster's, or for a preview what files would make of it.

use async_trait::async_trait;
use k8s_openapi::api::core::v1::Secret;
use kube::{Api, Client};

/// Where Secrets are read from.
#[async_trait]
pub trait SecretReader: Send + Sync {
    /// A Secret with what is in it.
    ///
    /// Errors: Kubernetes failed us.
    async fn read(&self, namespace: &str, name: &str) -> Result<Option<Secret>, kube::Error>;

    /// Whether this entry has another value than in the cluster.
    fn is_changed(&self, _namespace: &str, _name: &str, _entry: &str) -> bool {
        false
    }
}

#[async_trait]
impl SecretReader for Client {
    async fn read(&self, namespace: &str, name: &str) -> Result<Option<Secret>, kube::Error> {
        Api::<Secret>::namespaced(self.clone(), namespace).get_opt(name).await
    }
}
