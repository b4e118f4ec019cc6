//! What PlatformUsers and PlatformGroups have in common, so that one way leads through the controller for both. No decisions.

use kube::ResourceExt;

use super::index_key::IndexKey;
use super::object::Object;
use crate::api::conditions::{self, ConditionType};
use crate::api::group::GroupDeletionPolicy;
use crate::api::names::RECONCILE_AT;
use crate::api::status::{Identity, ObjectStatus};
use crate::api::user::{AdoptionPolicy, CredentialRef, Mode, PasswordSecretRef, UserDeletionPolicy};
use crate::api::{Kind, ObjectKey, PlatformGroup, PlatformUser, Vendor};
use crate::plan::{AccountKind, Catalog, DeletionPolicy, Desired, Rejection, first_key_field, group_keys, user_keys};
use crate::providers::{Provider, capabilities};

/// A PlatformUser or PlatformGroup.
pub trait Managed: Object {
    /// What its calls are about.
    const ACCOUNT_KIND: AccountKind;

    /// The credential it uses.
    fn credential_ref(&self) -> &CredentialRef;
    /// The existing account it wants to be bound to.
    fn external_id(&self) -> Option<&str>;
    /// Whether an existing account may be taken.
    fn adoption(&self) -> Option<AdoptionPolicy>;
    /// Its own deletion policy.
    fn deletion_policy(&self) -> Option<DeletionPolicy>;
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

    /// Whether an account is, or may be, the object's.
    fn has_account(&self) -> bool {
        let identity = self.identity();
        identity.known_id().is_some() || identity.creating.is_some()
    }

    /// Whether status does not hold any condition yet.
    fn is_new(&self) -> bool {
        self.status().is_none_or(|status| status.report.conditions.is_empty())
    }

    /// Whether the object was in sync with its present spec at the last comparison.
    fn is_in_sync(&self) -> bool {
        let Some(status) = self.status() else { return false };
        let ready = conditions::find(&status.report.conditions, ConditionType::Ready);
        status.report.observed_generation == self.generation()
            && !self.is_deleting()
            && ready.is_some_and(|ready| ready.status == "True")
    }

    /// Whether the annotation `usher.dev/reconcile-at` asks for a comparison that was not made yet.
    fn is_forced(&self) -> bool {
        let handled = self.status().and_then(|status| status.report.last_handled_reconcile_at.as_ref());
        self.annotations().get(RECONCILE_AT).is_some_and(|asked| Some(asked) != handled)
    }
}

impl Managed for PlatformUser {
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

    fn deletion_policy(&self) -> Option<DeletionPolicy> {
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

    fn deletion_policy(&self) -> Option<DeletionPolicy> {
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
            first_key_field(provider.capabilities().group_fields).map(|name| desired.fields.remove(name));
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

/// The keys by which a cache finds a user or a group.
pub fn index_keys<K: Managed>(object: &K) -> Vec<IndexKey> {
    let credential = object.credential_key();
    let identity = object.status().map(|status| &status.identity);
    let known = identity.into_iter().flat_map(Identity::known_keys).map(String::as_str);
    let bound = identity.and_then(Identity::known_id).map(String::as_str);
    let keys = object.natural_keys().chain(known).map(IndexKey::key);
    let accounts = object.external_id().into_iter().chain(bound).map(|id| IndexKey::Account(id.to_owned()));
    let going = object.is_deleting().then(|| IndexKey::Deleting(credential.clone()));
    keys.chain(accounts).chain(going).chain([IndexKey::Credential(credential)]).collect()
}
