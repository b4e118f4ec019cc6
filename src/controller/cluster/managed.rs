//! What PlatformUsers and PlatformGroups have in common, so that the controller reconciles both by the same code. No decisions.

use kube::ResourceExt;

use super::index_key::IndexKey;
use super::object::Object;
use crate::api::conditions::{self, ConditionType};
use crate::api::group::{GroupDeletionPolicy, GroupProvider};
use crate::api::status::{Identity, ObjectStatus};
use crate::api::user::{AdoptionPolicy, CredentialRef, PasswordSecretRef, UserDeletionPolicy, UserProvider};
use crate::api::{Kind, ObjectKey, PlatformGroup, PlatformUser, Vendor};
use crate::plan::{AccountKind, Catalog, DeletionPolicy, Desired, Rejection, first_key_field, group_keys, user_keys};
use crate::providers::{Provider, capabilities};

/// A PlatformUser or PlatformGroup.
pub trait Managed: Object {
    /// The kind of account that it describes.
    const ACCOUNT_KIND: AccountKind;

    /// The reference to its credential.
    fn credential_ref(&self) -> &CredentialRef;
    /// The id of the existing account that its spec asks for.
    fn external_id(&self) -> Option<&str>;
    /// Its own adoption policy.
    fn adoption(&self) -> Option<AdoptionPolicy>;
    /// Its own deletion policy.
    fn deletion_policy(&self) -> Option<DeletionPolicy>;
    /// The vendor of its provider block.
    fn block(&self) -> Option<Vendor>;
    /// Its status.
    fn status(&self) -> Option<&ObjectStatus>;
    /// The reference to its password; groups have none.
    fn password_ref(&self) -> Option<&PasswordSecretRef> {
        None
    }
    /// The natural keys in its spec: username and e-mail of a user, name of a group.
    fn natural_keys(&self) -> impl Iterator<Item = &str>;
    /// The natural keys that identify an account at `vendor`. Keys that the vendor ignores are left out, because two objects that share
    /// only such a key describe two accounts.
    fn keys_at(&self, vendor: Vendor) -> Vec<String>;
    /// The account it describes.
    ///
    /// Errors: the vendor does not support the spec as written.
    fn desire(&self, provider: &dyn Provider, catalog: &Catalog) -> Result<Desired, Rejection>;

    /// The credential's kind, namespace and name.
    fn credential_key(&self) -> ObjectKey {
        let CredentialRef { name, namespace } = self.credential_ref();
        let namespace = namespace.clone().or_else(|| self.namespace()).unwrap_or_default();
        ObjectKey::new(Kind::Credential, namespace, name)
    }

    /// The identity in its status; empty before the first one is written, and where it lacks usher's seal.
    fn identity(&self) -> Identity {
        if self.is_unsealed() { Identity::default() } else { self.stated_identity() }
    }

    /// The identity in its status, even if it does not count.
    fn stated_identity(&self) -> Identity {
        self.status().map(|status| status.identity.clone()).unwrap_or_default()
    }

    /// Whether its status ties it to an account without a valid seal.
    fn is_unsealed(&self) -> bool {
        self.status().is_some_and(|status| status.is_unsealed)
    }

    /// Whether it is bound, has a missing account, or has a pending create.
    fn has_account(&self) -> bool {
        let identity = self.status().map(|status| &status.identity);
        identity.is_some_and(|identity| identity.known_id().is_some() || identity.creating.is_some())
    }

    /// Whether its status has no condition yet.
    fn is_new(&self) -> bool {
        self.status().is_none_or(|status| status.report.conditions.is_empty())
    }

    /// Whether its status reports for its present spec that a person has to act.
    fn is_stalled(&self) -> bool {
        let Some(status) = self.status() else { return false };
        status.report.observed_generation == self.generation()
            && conditions::find(&status.report.conditions, ConditionType::Stalled).is_some()
    }

    /// Whether its status reports Ready for its present spec, and it is not being deleted.
    fn is_in_sync(&self) -> bool {
        let Some(status) = self.status() else { return false };
        let ready = conditions::find(&status.report.conditions, ConditionType::Ready);
        status.report.observed_generation == self.generation()
            && !self.is_deleting()
            && ready.is_some_and(|ready| ready.status == "True")
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

    fn block(&self) -> Option<Vendor> {
        self.spec.provider.as_ref().map(UserProvider::vendor)
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

    fn block(&self) -> Option<Vendor> {
        self.spec.provider.as_ref().map(GroupProvider::vendor)
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
        // A group that is bound by its id keeps its name at the vendor unless the spec sets one.
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

/// The deletion policy of a user or credential in the plan's terms.
pub fn deletion_policy_of(policy: UserDeletionPolicy) -> DeletionPolicy {
    match policy {
        UserDeletionPolicy::Delete => DeletionPolicy::Delete,
        UserDeletionPolicy::Disable => DeletionPolicy::Disable,
        UserDeletionPolicy::Orphan => DeletionPolicy::Orphan,
    }
}

/// The index keys of a user or group, apart from those that users alone have.
pub fn index_keys<K: Managed>(object: &K) -> Vec<IndexKey> {
    let credential = object.credential_key();
    let identity = object.status().filter(|status| !status.is_unsealed).map(|status| &status.identity);
    let known = identity.into_iter().flat_map(Identity::known_keys).map(String::as_str);
    let bound = identity.and_then(Identity::known_id).map(String::as_str);
    let keys = object.natural_keys().chain(known).map(IndexKey::key);
    let accounts = object.external_id().into_iter().chain(bound).map(|id| IndexKey::Account(id.to_owned()));
    let deleting = object.is_deleting().then(|| IndexKey::Deleting(credential.clone()));
    keys.chain(accounts).chain(deleting).chain([IndexKey::Credential(credential)]).collect()
}
