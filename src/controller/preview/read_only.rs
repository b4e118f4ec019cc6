//! A vendor's API that only reads. `usher plan` runs the code of the operator, and this wrapper guarantees that no call of that
//! code changes anything at a vendor.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use secrecy::SecretString;

use crate::api::{PlatformGroupSpec, PlatformUserSpec};
use crate::controller::connection::link::{Connection, Link};
use crate::controller::connection::session::Session;
use crate::plan::{Account, AccountKind, Capabilities, Catalog, Changes, Desired, GroupHandle, Rejection};
use crate::providers::{ErrorKind, Provider, ProviderError};

/// `link` with a provider that only reads; `None` for a connection that is shared already, because its other owners could write.
pub fn read_only(link: Link) -> Option<Link> {
    match link {
        Link::Down(down) => Some(Link::Down(down)),
        Link::Up(connection) => {
            let connection = Arc::into_inner(connection)?;
            let session = Arc::into_inner(connection.session)?;
            let provider: Arc<dyn Provider> = Arc::new(ReadOnly(session.provider.clone()));
            let session = Arc::new(Session { provider, ..session });
            Some(Link::Up(Arc::new(Connection { session, ..connection })))
        }
    }
}

/// Forwards reads to the provider and refuses writes.
struct ReadOnly(Arc<dyn Provider>);

fn refused(operation: &str) -> ProviderError {
    let message = format!("usher plan is read-only and does not send {operation} to a vendor: this is a bug in usher");
    ProviderError::refused(ErrorKind::Unsupported, message)
}

// Without a default, so that a new method is either forwarded or refused here.
#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl Provider for ReadOnly {
    fn capabilities(&self) -> &'static Capabilities {
        self.0.capabilities()
    }

    fn place(&self) -> String {
        self.0.place()
    }

    fn desire_user(&self, spec: &PlatformUserSpec, catalog: &Catalog) -> Result<Desired, Rejection> {
        self.0.desire_user(spec, catalog)
    }

    fn desire_group(&self, name: &str, spec: &PlatformGroupSpec, catalog: &Catalog) -> Result<Desired, Rejection> {
        self.0.desire_group(name, spec, catalog)
    }

    fn group_value(&self, group: &GroupHandle) -> String {
        self.0.group_value(group)
    }

    fn unseen_id(&self, key: &str) -> Option<String> {
        self.0.unseen_id(key)
    }

    async fn whoami(&self) -> Result<Option<String>, ProviderError> {
        self.0.whoami().await
    }

    fn login(&self) -> Option<String> {
        self.0.login()
    }

    async fn list(&self, account_kind: AccountKind) -> Result<Vec<Account>, ProviderError> {
        self.0.list(account_kind).await
    }

    async fn catalog(&self) -> Result<Catalog, ProviderError> {
        self.0.catalog().await
    }

    async fn find(&self, account_kind: AccountKind, desired: &Desired) -> Result<Vec<Account>, ProviderError> {
        self.0.find(account_kind, desired).await
    }

    async fn read(&self, account_kind: AccountKind, id: &str) -> Result<Option<Account>, ProviderError> {
        self.0.read(account_kind, id).await
    }

    async fn granted(&self, user: &str, application: &str) -> Result<Option<BTreeMap<String, bool>>, ProviderError> {
        self.0.granted(user, application).await
    }

    fn may_grant(&self, user: &str) -> Result<(), ProviderError> {
        self.0.may_grant(user)
    }

    async fn create(&self, _: AccountKind, _: &Changes, _: Option<&SecretString>) -> Result<Account, ProviderError> {
        Err(refused("create"))
    }

    async fn update(
        &self,
        _: AccountKind,
        _: &Account,
        _: &Changes,
        _: Option<&SecretString>,
    ) -> Result<(), ProviderError> {
        Err(refused("update"))
    }

    async fn delete(&self, _: AccountKind, _: &str) -> Result<(), ProviderError> {
        Err(refused("delete"))
    }

    async fn grant(&self, _: &str, _: &str, _: &BTreeMap<String, bool>) -> Result<(), ProviderError> {
        Err(refused("grant"))
    }
}
