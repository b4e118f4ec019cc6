//! The vendors' quirks end here: one trait, one match over vendors, one transport, one login cache, one limiter.
//!
//! Nothing outside this room looks at an HTTP status, and nothing in it knows Kubernetes.

mod address;
mod amani;
mod clock;
mod error;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;
mod http;
mod industrility;
mod jwt;
mod limiter;
mod line;
mod observer;
mod ozmap;
mod pace;
mod pegasus;
mod plaspy;
mod redact;
mod resource;
mod retry;
mod secret;
mod session;
mod shape;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use secrecy::SecretString;

pub use clock::Clock;
pub use error::{Delivery, ErrorKind, ProviderError};
pub use limiter::{Limiter, Permit, to_come};
pub use line::Priority;
pub use observer::{NoMetrics, Observer};
pub use secret::SecretData;

use crate::api::credential::CredentialProvider;
use crate::api::{PlatformGroupSpec, PlatformUserSpec, Vendor};
use crate::plan::{Account, AccountKind, Capabilities, Catalog, Changes, Desired, GroupHandle, Rejection, carrying};
use http::{Settings, Transport};

/// One credential's way to its vendor.
#[async_trait]
pub trait Provider: Send + Sync {
    /// What the vendor can do.
    fn capabilities(&self) -> &'static Capabilities;

    /// Where the accounts are: host, port if it is not the usual one, base path, and the tenant that the log-in asks for.
    fn place(&self) -> String;

    /// The account that `spec` describes; groups are added by the caller.
    ///
    /// Errors: a manifest that the vendor cannot follow, with the field and what to change.
    fn desire_user(&self, spec: &PlatformUserSpec, catalog: &Catalog) -> Result<Desired, Rejection>;

    /// The group named `name` that `spec` describes.
    ///
    /// Errors: a manifest that the vendor cannot follow, with the field and what to change.
    fn desire_group(&self, name: &str, spec: &PlatformGroupSpec, catalog: &Catalog) -> Result<Desired, Rejection>;

    /// A group as this vendor takes it in a user: its id, or its name.
    fn group_value(&self, group: &GroupHandle) -> String {
        group.id.clone()
    }

    /// The usual id of a user with this natural key, at a vendor that shows no users; `None` at any other.
    fn id_from_key(&self, _key: &str) -> Option<String> {
        None
    }

    /// The login as the vendor names it (a name or an id), by its cheapest authenticated call.
    ///
    /// Errors: `Unauthenticated` when the credential is refused; `Unsupported` where there is no such call.
    async fn whoami(&self) -> Result<String, ProviderError>;

    /// All users or groups: complete and consistent, or an error.
    async fn list(&self, account_kind: AccountKind) -> Result<Vec<Account>, ProviderError>;

    /// The other things that a manifest may name: roles, projects, countries. Empty for a vendor without any.
    async fn catalog(&self) -> Result<Catalog, ProviderError> {
        Ok(Catalog::default())
    }

    /// The accounts that carry one of the natural keys of `desired`, freshly asked; each account once. Without a search of the
    /// vendor's own the whole listing answers.
    async fn find(&self, account_kind: AccountKind, desired: &Desired) -> Result<Vec<Account>, ProviderError> {
        let accounts = self.list(account_kind).await?;
        Ok(carrying(self.capabilities().fields(account_kind), accounts, &desired.keys))
    }

    /// The account with this id; `None` when the vendor answers "not found", which alone proves nothing.
    async fn read(&self, account_kind: AccountKind, id: &str) -> Result<Option<Account>, ProviderError>;

    /// Creates an account and returns what the vendor shows of it.
    ///
    /// Errors: `Conflict` when an account with such a key exists; unknown delivery when the account may have been
    /// created all the same.
    async fn create(
        &self,
        account_kind: AccountKind,
        changes: &Changes,
        password: Option<&SecretString>,
    ) -> Result<Account, ProviderError>;

    /// Applies `changes`, and nothing else, to the account `current` as just read.
    async fn update(
        &self,
        account_kind: AccountKind,
        current: &Account,
        changes: &Changes,
        password: Option<&SecretString>,
    ) -> Result<(), ProviderError>;

    /// Removes an account.
    ///
    /// Errors: `NotFound` when the vendor shows no such account.
    async fn delete(&self, account_kind: AccountKind, id: &str) -> Result<(), ProviderError>;

    /// The rights of a user in one application; `None` where the vendor has no such thing.
    async fn granted(
        &self,
        _user: &str,
        _application: &str,
    ) -> Result<Option<std::collections::BTreeMap<String, bool>>, ProviderError> {
        Ok(None)
    }

    /// Checks whether rights of a user may be set now, before anything is read for that.
    ///
    /// Errors: `RateLimited` with the time from which they may.
    fn may_grant(&self, _user: &str) -> Result<(), ProviderError> {
        Ok(())
    }

    /// Sets rights of a user in one application; rights not named stay.
    ///
    /// Errors: `Unsupported` where the vendor has no such thing.
    async fn grant(
        &self,
        _user: &str,
        application: &str,
        _rights: &std::collections::BTreeMap<String, bool>,
    ) -> Result<(), ProviderError> {
        Err(ProviderError::refused(ErrorKind::Unsupported, format!("this vendor has no application {application}")))
    }
}

/// A credential and the bounds on its calls, from which a provider is made.
pub struct Access<'a> {
    /// The vendor and its settings.
    pub provider: &'a CredentialProvider,
    /// The keys and values of the Secret.
    pub secret: &'a SecretData,
    /// Bounds every call.
    pub limiter: Limiter,
    /// Receives every call, for metrics.
    pub observer: Arc<dyn Observer>,
    /// Longest time for one call.
    pub timeout: Duration,
    /// Whether http:// and loopback are allowed.
    pub insecure: bool,
    /// PEM of further certificate authorities.
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
                insecure: self.insecure,
                ca_bundle: self.ca_bundle.clone(),
            },
        )
    }
}

/// The capabilities of a vendor, without a connection.
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

/// The provider of a credential; nothing is called yet.
///
/// Errors: a Secret without the keys the vendor needs or an address that may not be used is `Invalid`.
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
