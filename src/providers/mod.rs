//! The vendors' APIs behind one trait, with one transport, one session and one limiter per credential.
//!
//! No other room sees an HTTP status, and this room does not know Kubernetes.

mod address;
mod amani;
mod clock;
mod decode;
mod error;
mod exchange;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;
mod http;
mod industrility;
mod json;
mod jwt;
mod limiter;
mod listing;
mod observer;
mod ozmap;
mod pegasus;
mod plaspy;
mod queue;
mod rate_limit;
mod read_only;
mod redact;
mod resource;
mod retry;
mod secret;
mod session;
mod split;
mod words;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use secrecy::SecretString;

pub use address::AddressRules;
pub use clock::Clock;
pub use error::{Delivery, ErrorKind, ProviderError};
pub use http::quote;
pub use limiter::{Limiter, Permit, credible_closing};
pub use listing::{MOST_ENTRIES, Visit};
pub use observer::{NoMetrics, Observer};
pub use queue::Priority;
pub use read_only::ReadOnly;
pub use secret::{NotText, SecretData, text};

use crate::api::credential_provider::CredentialProvider;
use crate::api::{PlatformGroupSpec, PlatformUserSpec, Vendor};
use crate::plan::{Account, AccountKind, Capabilities, Catalog, Changes, Desired, GroupHandle, Key, Rejection};
use http::{Settings, Transport};
use listing::Found;

/// A vendor's API, reached through one credential.
#[async_trait]
pub trait Provider: Send + Sync {
    /// The capabilities of the vendor.
    fn capabilities(&self) -> &'static Capabilities;

    /// The place of the accounts: host, port unless it is the default one, base path, and the tenant that the log-in names.
    fn place(&self) -> String;

    /// The account that `spec` describes; groups are added by the caller.
    ///
    /// Errors: a manifest that the vendor cannot fulfil, with the field and the fix.
    fn desire_user(&self, spec: &PlatformUserSpec, catalog: &Catalog) -> Result<Desired, Rejection>;

    /// The group named `name` that `spec` describes.
    ///
    /// Errors: a manifest that the vendor cannot fulfil, with the field and the fix.
    fn desire_group(&self, name: &str, spec: &PlatformGroupSpec, catalog: &Catalog) -> Result<Desired, Rejection>;

    /// The value that stands for `group` in a user of this vendor: its id or its name.
    fn group_value(&self, group: &GroupHandle) -> String {
        group.id.clone()
    }

    /// The id of the user with this natural key at a vendor that shows no users; `None` at any other vendor.
    fn id_from_key(&self, _key: &str) -> Option<String> {
        None
    }

    /// Our login as the vendor names it (a stable name or id), by its cheapest authenticated call; `None` if it names none.
    ///
    /// Errors: `Unauthenticated` if the vendor refuses the credential; `Unsupported` if it has no such call.
    async fn whoami(&self) -> Result<Option<String>, ProviderError>;

    /// Our login as the Secret spells it, or as its token claims; `None` if neither does. It is not verified.
    fn login(&self) -> Option<String> {
        None
    }

    /// Passes all users or groups to `visit`, each once, while their listing arrives.
    ///
    /// Errors: any listing that is not complete and consistent, so that what was visited proves nothing; those of `visit`.
    async fn list(&self, account_kind: AccountKind, visit: Visit<'_>) -> Result<(), ProviderError>;

    /// The other things that a manifest may name: roles, projects, countries.
    async fn catalog(&self) -> Result<Catalog, ProviderError> {
        Ok(Catalog::default())
    }

    /// The accounts that carry one of the natural keys of `desired`, freshly asked; each account once. Without a search of the
    /// vendor's own the whole listing answers.
    async fn find(&self, account_kind: AccountKind, desired: &Desired) -> Result<Vec<Account>, ProviderError> {
        list_carrying(self, account_kind, &desired.keys).await
    }

    /// The account with this id; `None` if the vendor answers that there is none, which does not prove that it is gone.
    async fn read(&self, account_kind: AccountKind, id: &str) -> Result<Option<Account>, ProviderError>;

    /// Creates an account and returns it as the vendor shows it.
    ///
    /// Errors: `Conflict` if an account with such a key exists; unknown delivery if the account may have been created.
    async fn create(
        &self,
        account_kind: AccountKind,
        changes: &Changes,
        password: Option<&SecretString>,
    ) -> Result<Account, ProviderError>;

    /// Applies `changes` to the account `current`, which was just read; all other fields stay.
    async fn update(
        &self,
        account_kind: AccountKind,
        current: &Account,
        changes: &Changes,
        password: Option<&SecretString>,
    ) -> Result<(), ProviderError>;

    /// Removes an account.
    ///
    /// Errors: `NotFound` if the vendor has none with this id; the caller decides what that means.
    async fn delete(&self, account_kind: AccountKind, id: &str) -> Result<(), ProviderError>;

    /// The rights of a user in one application; `None` at a vendor without applications.
    async fn granted(
        &self,
        _user: &str,
        _application: &str,
    ) -> Result<Option<std::collections::BTreeMap<String, bool>>, ProviderError> {
        Ok(None)
    }

    /// Whether rights of a user can be set now. The caller asks before it reads anything for that.
    ///
    /// Errors: `RateLimited` with the time of this user's slot.
    fn may_grant(&self, _user: &str) -> Result<(), ProviderError> {
        Ok(())
    }

    /// Sets `rights` of a user in one application; all other rights stay.
    ///
    /// Errors: `Unsupported` at a vendor without applications.
    async fn grant(
        &self,
        _user: &str,
        application: &str,
        _rights: &std::collections::BTreeMap<String, bool>,
    ) -> Result<(), ProviderError> {
        Err(ProviderError::refused(ErrorKind::Unsupported, format!("this vendor has no application {application}")))
    }
}

/// The accounts in a complete listing that carry one of `keys`.
///
/// Errors: those of the listing, and too many such accounts.
pub async fn list_carrying<P: Provider + ?Sized>(
    provider: &P,
    account_kind: AccountKind,
    keys: &[Key],
) -> Result<Vec<Account>, ProviderError> {
    let mut found = Found::new(provider.capabilities().fields(account_kind), keys);
    provider.list(account_kind, &mut |account| found.take(account)).await?;
    Ok(found.accounts)
}

/// The parameters of a connection to a vendor.
pub struct Access<'a> {
    /// The vendor and its settings.
    pub provider: &'a CredentialProvider,
    /// The entries of the Secret.
    pub secret: &'a SecretData,
    /// Bounds every call.
    pub limiter: Limiter,
    /// Observes every call.
    pub observer: Arc<dyn Observer>,
    /// The longest time for one call including its answer.
    pub timeout: Duration,
    /// The addresses that may be called.
    pub addresses: AddressRules,
    /// PEM of additional certificate authorities.
    pub ca_bundle: Option<Vec<u8>>,
}

impl Access<'_> {
    fn transport(&self, url: &str) -> Result<Transport, Rejection> {
        Transport::new(
            url,
            Settings {
                vendor: self.provider.vendor(),
                limiter: self.limiter.clone(),
                observer: self.observer.clone(),
                timeout: self.timeout,
                addresses: self.addresses.clone(),
                ca_bundle: self.ca_bundle.clone(),
            },
        )
    }
}

/// The capabilities of a vendor, before a connection.
#[must_use]
pub fn capabilities(vendor: Vendor) -> &'static Capabilities {
    match vendor {
        Vendor::Pegasus => &pegasus::CAPABILITIES,
        Vendor::Amani => &amani::CAPABILITIES,
        Vendor::Plaspy => &plaspy::CAPABILITIES,
        Vendor::Industrility => &industrility::CAPABILITIES,
        Vendor::Ozmap => &ozmap::CAPABILITIES,
    }
}

/// The provider of a credential. It makes no call.
///
/// Errors: `Invalid` for a Secret without the needed keys and for a forbidden address.
pub fn connect(access: &Access<'_>) -> Result<Arc<dyn Provider>, Rejection> {
    match access.provider {
        CredentialProvider::Pegasus(settings) => Ok(Arc::new(pegasus::Pegasus::connect(settings, access)?)),
        CredentialProvider::Amani(settings) => Ok(Arc::new(amani::Amani::connect(settings, access)?)),
        CredentialProvider::Plaspy(settings) => Ok(Arc::new(plaspy::Plaspy::connect(settings, access)?)),
        CredentialProvider::Industrility(settings) => {
            Ok(Arc::new(industrility::Industrility::connect(settings, access)?))
        }
        CredentialProvider::Ozmap(settings) => Ok(Arc::new(ozmap::Ozmap::connect(settings, access)?)),
    }
}
