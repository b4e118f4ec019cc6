//! What users and groups have in common, so that one way leads through the house; no decisions.

use std::fmt::Debug;

use k8s_openapi::NamespaceResourceScope;
use kube::{Resource, ResourceExt};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::api::group::GroupDeletionPolicy;
use crate::api::status::{Identity, ObjectStatus};
use crate::api::user::{AdoptionPolicy, CredentialRef, Mode, PasswordSecretRef, UserDeletionPolicy};
use crate::api::{Kind, ObjectKey, PlatformGroup, PlatformUser, Vendor, names};
use crate::plan::{AccountKind, Catalog, DeletionPolicy, Desired, Rejection, first_key, group_keys, user_keys};
use crate::providers::{Provider, capabilities};

/// A PlatformUser or PlatformGroup.
pub trait Managed:
    Resource<DynamicType = (), Scope = NamespaceResourceScope>
    + Clone
    + Debug
    + DeserializeOwned
    + Serialize
    + Send
    + Sync
    + 'static
{
    /// Which kind.
    const KIND: Kind;
    /// What its calls are about.
    const ACCOUNT_KIND: AccountKind;

    /// The credential it uses.
    fn credential_ref(&self) -> &CredentialRef;
    /// The existing account it wants to be bound to.
    fn external_id(&self) -> Option<&str>;
    /// Whether an existing account may be taken.
    fn adoption(&self) -> Option<AdoptionPolicy>;
    /// Its own deletion policy.
    fn wish(&self) -> Option<DeletionPolicy>;
    /// Its own mode.
    fn mode(&self) -> Option<Mode>;
    /// The vendor of its provider block.
    fn block(&self) -> Option<Vendor>;
    /// Its status.
    fn status(&self) -> Option<&ObjectStatus>;
    /// Where its password is.
    fn password_ref(&self) -> Option<&PasswordSecretRef> {
        None
    }
    /// What it may be found by at the vendor, as the manifest says: username and e-mail, or name.
    fn natural_keys(&self) -> impl Iterator<Item = &str>;
    /// Those of its natural keys that name an account at `vendor`: what a vendor ignores makes no two objects one.
    fn keys_at(&self, vendor: Vendor) -> Vec<String>;
    /// The account it describes.
    ///
    /// Errors: what cannot be done as written.
    fn desire(&self, provider: &dyn Provider, catalog: &Catalog) -> Result<Desired, Rejection>;

    /// Its kind, namespace and name.
    fn key(&self) -> ObjectKey {
        ObjectKey::new(Self::KIND, self.namespace().unwrap_or_default(), self.name_any())
    }

    /// The credential's kind, namespace and name.
    fn credential_key(&self) -> ObjectKey {
        let CredentialRef { name, namespace } = self.credential_ref();
        let namespace = namespace.clone().or_else(|| self.namespace()).unwrap_or_default();
        ObjectKey::new(Kind::Credential, namespace, name)
    }

    /// What status says of its account.
    fn identity(&self) -> Identity {
        self.status().map(|status| status.identity.clone()).unwrap_or_default()
    }

    /// Whether it is being deleted.
    fn is_deleting(&self) -> bool {
        self.meta().deletion_timestamp.is_some()
    }

    /// Whether our finalizer holds it.
    fn has_finalizer(&self) -> bool {
        self.finalizers().iter().any(|finalizer| finalizer == names::FINALIZER)
    }

    /// The generation of its spec.
    fn generation(&self) -> i64 {
        self.meta().generation.unwrap_or_default()
    }
}

impl Managed for PlatformUser {
    const KIND: Kind = Kind::User;
    const ACCOUNT_KIND: AccountKind = AccountKind::User;

    fn credential_ref(&self) -> &CredentialRef {
        &self.spec.credential_ref
    }

    fn external_id(&self) -> Option<&str> {
        self.spec.external_id.as_deref()
    }

    fn adoption(&self) -> Option<AdoptionPolicy> {
        self.spec.adoption_policy
    }

    fn wish(&self) -> Option<DeletionPolicy> {
        self.spec.deletion_policy.map(deletion_policy_of)
    }

    fn mode(&self) -> Option<Mode> {
        self.spec.mode
    }

    fn block(&self) -> Option<Vendor> {
        self.spec.provider.as_ref().map(crate::api::user::UserProvider::vendor)
    }

    fn status(&self) -> Option<&ObjectStatus> {
        self.status.as_ref()
    }

    fn password_ref(&self) -> Option<&PasswordSecretRef> {
        self.spec.password_secret_ref.as_ref()
    }

    fn natural_keys(&self) -> impl Iterator<Item = &str> {
        self.spec.username.as_deref().into_iter().chain([self.spec.email.as_str()])
    }

    fn keys_at(&self, vendor: Vendor) -> Vec<String> {
        let keys = user_keys(capabilities(vendor).user_fields, &self.spec);
        keys.into_iter().map(|key| key.value).collect()
    }

    fn desire(&self, provider: &dyn Provider, catalog: &Catalog) -> Result<Desired, Rejection> {
        provider.desire_user(&self.spec, catalog)
    }
}

impl Managed for PlatformGroup {
    const KIND: Kind = Kind::Group;
    const ACCOUNT_KIND: AccountKind = AccountKind::Group;

    fn credential_ref(&self) -> &CredentialRef {
        &self.spec.credential_ref
    }

    fn external_id(&self) -> Option<&str> {
        self.spec.external_id.as_deref()
    }

    fn adoption(&self) -> Option<AdoptionPolicy> {
        self.spec.adoption_policy
    }

    fn wish(&self) -> Option<DeletionPolicy> {
        self.spec.deletion_policy.map(|policy| match policy {
            GroupDeletionPolicy::Delete => DeletionPolicy::Delete,
            GroupDeletionPolicy::Orphan => DeletionPolicy::Orphan,
        })
    }

    fn mode(&self) -> Option<Mode> {
        self.spec.mode
    }

    fn block(&self) -> Option<Vendor> {
        self.spec.provider.as_ref().map(crate::api::group::GroupProvider::vendor)
    }

    fn status(&self) -> Option<&ObjectStatus> {
        self.status.as_ref()
    }

    fn natural_keys(&self) -> impl Iterator<Item = &str> {
        self.spec.display_name.as_deref().or(self.metadata.name.as_deref()).into_iter()
    }

    fn keys_at(&self, vendor: Vendor) -> Vec<String> {
        let keys = group_keys(capabilities(vendor).group_fields, &remote_name(self));
        keys.into_iter().map(|key| key.value).collect()
    }

    fn desire(&self, provider: &dyn Provider, catalog: &Catalog) -> Result<Desired, Rejection> {
        let mut desired = provider.desire_group(&remote_name(self), &self.spec, catalog)?;
        // A group that is bound by its id and given no name keeps the one it has.
        if self.spec.external_id.is_some() && self.spec.display_name.is_none() {
            first_key(provider.capabilities().group_fields).map(|name| desired.fields.remove(name));
        }
        Ok(desired)
    }
}

/// The group's name at the vendor.
pub fn remote_name(group: &PlatformGroup) -> String {
    group.spec.display_name.clone().unwrap_or_else(|| group.name_any())
}

/// A user's or credential's deletion policy as the plan takes it.
pub fn deletion_policy_of(policy: UserDeletionPolicy) -> DeletionPolicy {
    match policy {
        UserDeletionPolicy::Delete => DeletionPolicy::Delete,
        UserDeletionPolicy::Disable => DeletionPolicy::Disable,
        UserDeletionPolicy::Orphan => DeletionPolicy::Orphan,
    }
}
