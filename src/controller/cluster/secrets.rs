//! The one way to the data of Secrets: in the cluster, or for a preview as files would change it.

use async_trait::async_trait;
use k8s_openapi::api::core::v1::Secret;
use kube::{Api, Client};

/// A source of Secrets.
#[async_trait]
pub trait SecretReader: Send + Sync {
    /// The Secret with its data; `None` if it does not exist.
    ///
    /// Errors: Kubernetes did not answer.
    async fn read(&self, namespace: &str, name: &str) -> Result<Option<Secret>, kube::Error>;

    /// Whether this source gives the entry another value than the cluster has.
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
