//! The three kinds as objects of a cache. No decisions.

use kube::ResourceExt;

use super::Cluster;
use super::cache::Cache;
use super::index_key::{IndexKey, Indexed};
use super::managed::{Managed, index_keys};
use super::object::Object;
use crate::api::user::GroupEntry;
use crate::api::{Kind, ObjectKey, PlatformGroup, PlatformUser, ProviderCredential, Vendor};

impl Object for PlatformUser {
    const KIND: Kind = Kind::User;

    fn cache(cluster: &Cluster) -> &Cache<Self> {
        &cluster.users
    }

    fn vendor_label(&self) -> &'static str {
        self.status.as_ref().and_then(|status| status.report.provider).map_or("", Vendor::label)
    }

    fn lost_finalizer(&self) -> bool {
        self.has_account() && !self.has_finalizer()
    }
}

impl Object for PlatformGroup {
    const KIND: Kind = Kind::Group;

    fn cache(cluster: &Cluster) -> &Cache<Self> {
        &cluster.groups
    }

    fn vendor_label(&self) -> &'static str {
        self.status.as_ref().and_then(|status| status.report.provider).map_or("", Vendor::label)
    }

    fn lost_finalizer(&self) -> bool {
        self.has_account() && !self.has_finalizer()
    }
}

impl Object for ProviderCredential {
    const KIND: Kind = Kind::Credential;

    fn cache(cluster: &Cluster) -> &Cache<Self> {
        &cluster.credentials
    }

    fn vendor_label(&self) -> &'static str {
        self.spec.provider.vendor().label()
    }
}

impl Indexed for PlatformUser {
    fn index_keys(&self) -> Vec<IndexKey> {
        let namespace = self.namespace().unwrap_or_default();
        let groups = self.spec.groups.iter().flatten().filter_map(|entry| match entry {
            GroupEntry::GroupRef(reference) => Some(ObjectKey::new(Kind::Group, &*namespace, &*reference.name)),
            GroupEntry::ExternalId(_) | GroupEntry::ExternalName(_) => None,
        });
        let secret = self.spec.password_secret_ref.as_ref();
        let secret = secret.map(|reference| IndexKey::Secret(namespace.clone(), reference.name.clone()));
        index_keys(self).into_iter().chain(groups.map(IndexKey::Group)).chain(secret).collect()
    }
}

impl Indexed for PlatformGroup {
    fn index_keys(&self) -> Vec<IndexKey> {
        index_keys(self)
    }
}

impl Indexed for ProviderCredential {
    fn index_keys(&self) -> Vec<IndexKey> {
        vec![IndexKey::Secret(self.namespace().unwrap_or_default(), self.spec.secret_ref.name.clone())]
    }
}
