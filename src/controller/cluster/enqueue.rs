//! Enqueues all objects that use a credential.

use super::Cluster;
use super::index_key::IndexKey;
use super::managed::Managed;
use crate::api::status::Identity;
use crate::api::{ObjectKey, PlatformGroup, PlatformUser};

impl Cluster {
    /// Enqueues all users and groups of a credential.
    pub fn enqueue_users_of(&self, credential: &ObjectKey) {
        self.enqueue_by_index(&[IndexKey::Credential(credential.clone())]);
    }

    /// Enqueues the users and groups of a credential that are being deleted. They need not wait for a listing.
    pub fn enqueue_deleting(&self, credential: &ObjectKey) {
        self.enqueue_by_index(&[IndexKey::Deleting(credential.clone())]);
    }

    /// Enqueues the users and groups of a credential whose account was bound in another cluster.
    pub fn enqueue_owned_elsewhere(&self, credential: &ObjectKey) {
        let keys = [IndexKey::Credential(credential.clone())];
        let own = self.id();
        let is_elsewhere = |identity: Identity| identity.cluster.is_some() && identity.cluster != own;
        self.enqueue_some(&keys, |group: &PlatformGroup| is_elsewhere(group.stated_identity()));
        self.enqueue_some(&keys, |user: &PlatformUser| is_elsewhere(user.stated_identity()));
    }

    fn enqueue_by_index(&self, keys: &[IndexKey]) {
        self.enqueue_some(keys, |_: &PlatformGroup| true);
        self.enqueue_some(keys, |_: &PlatformUser| true);
    }

    fn enqueue_some<K: Managed>(&self, keys: &[IndexKey], is_meant: impl Fn(&K) -> bool) {
        K::cache(self).by_index(keys, is_meant).iter().for_each(|object| self.enqueue(object.key()));
    }
}
