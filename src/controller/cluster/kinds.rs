//! The three kinds as objects of a cache. No decisions.

use kube::ResourceExt;

use super::Cluster;
use super::cache::Cache;
use super::index_key::{IndexKey, Indexed};
use super::managed::{Managed, index_keys};
use super::object::Object;
use super::sealing;
use crate::api::user::{GroupEntry, Mode};
use crate::api::{DecodeIssues, Kind, ObjectKey, PlatformGroup, PlatformUser, ProviderCredential, Vendor};

impl Object for PlatformUser {
    const KIND: Kind = Kind::User;

    fn cache(cluster: &Cluster) -> &Cache<Self> {
        &cluster.users
    }

    fn mode(&self) -> Option<Mode> {
        self.spec.mode
    }

    fn vendor(&self) -> Option<Vendor> {
        self.status.as_ref()?.report.provider
    }

    fn last_handled_reconcile_at(&self) -> Option<&String> {
        self.status.as_ref()?.report.last_handled_reconcile_at.as_ref()
    }

    fn decode_issues(&self) -> Option<&DecodeIssues> {
        self.spec.decode_issues.as_deref()
    }

    fn set_decode_issues(&mut self, issues: DecodeIssues) {
        self.spec.decode_issues = Some(Box::new(issues));
    }

    fn check_seal(&mut self, cluster: &Cluster) {
        let is_unsealed = sealing::is_unsealed(cluster, self);
        self.status.iter_mut().for_each(|status| status.is_unsealed = is_unsealed);
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

    fn mode(&self) -> Option<Mode> {
        self.spec.mode
    }

    fn vendor(&self) -> Option<Vendor> {
        self.status.as_ref()?.report.provider
    }

    fn last_handled_reconcile_at(&self) -> Option<&String> {
        self.status.as_ref()?.report.last_handled_reconcile_at.as_ref()
    }

    fn decode_issues(&self) -> Option<&DecodeIssues> {
        self.spec.decode_issues.as_deref()
    }

    fn set_decode_issues(&mut self, issues: DecodeIssues) {
        self.spec.decode_issues = Some(Box::new(issues));
    }

    fn check_seal(&mut self, cluster: &Cluster) {
        let is_unsealed = sealing::is_unsealed(cluster, self);
        self.status.iter_mut().for_each(|status| status.is_unsealed = is_unsealed);
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

    fn mode(&self) -> Option<Mode> {
        self.spec.mode
    }

    /// The vendor that the spec names. If the spec names no known one, the vendor in status, because a credential's vendor is fixed.
    fn vendor(&self) -> Option<Vendor> {
        match self.decode_issues() {
            Some(issues) if issues.is_vendor_unknown => self.status.as_ref()?.provider,
            _ => Some(self.spec.provider.vendor()),
        }
    }

    fn last_handled_reconcile_at(&self) -> Option<&String> {
        self.status.as_ref()?.last_handled_reconcile_at.as_ref()
    }

    fn decode_issues(&self) -> Option<&DecodeIssues> {
        self.spec.decode_issues.as_deref()
    }

    fn set_decode_issues(&mut self, issues: DecodeIssues) {
        self.spec.decode_issues = Some(Box::new(issues));
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
