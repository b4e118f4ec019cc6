//! Enqueues all objects that use a credential.

use super::Cluster;
use super::index_key::IndexKey;
use super::managed::Managed;
use super::object::Object;
use crate::api::ObjectKey;
use crate::api::status::Identity;

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
        self.groups
            .by_index(&keys, |group| is_elsewhere(group.stated_identity()))
            .iter()
            .for_each(|group| self.enqueue(group.key()));
        self.users
            .by_index(&keys, |user| is_elsewhere(user.stated_identity()))
            .iter()
            .for_each(|user| self.enqueue(user.key()));
    }

    fn enqueue_by_index(&self, keys: &[IndexKey]) {
        self.groups.by_index(keys, |_| true).iter().for_each(|group| self.enqueue(group.key()));
        self.users.by_index(keys, |_| true).iter().for_each(|user| self.enqueue(user.key()));
    }
}
