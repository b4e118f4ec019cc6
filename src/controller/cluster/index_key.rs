//! The keys by which a cache finds objects without a scan of all of them. No decisions.

use kube::Resource;

use crate::api::ObjectKey;
use crate::plan::fold;

/// A fact about an object by which a cache finds it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum IndexKey {
    /// It uses this credential.
    Credential(ObjectKey),
    /// It is being deleted, and uses this credential.
    Deleting(ObjectKey),
    /// Its spec or its status names this natural key of an account; in lower case.
    Key(String),
    /// Its spec or its status names the account with this id.
    Account(String),
    /// It names this PlatformGroup.
    Group(ObjectKey),
    /// It takes values from the Secret with this namespace and name.
    Secret(String, String),
}

impl IndexKey {
    /// The index key of a natural key in any case.
    pub fn key(key: &str) -> Self {
        Self::Key(fold(key))
    }
}

/// A kind whose objects a cache indexes.
pub trait Indexed: Resource<DynamicType = ()> + Clone + 'static {
    /// All keys by which a cache finds this object.
    fn index_keys(&self) -> Vec<IndexKey>;
}
