//! A vendor's API that only reads. `usher plan` runs the code of the operator, and this wrapper guarantees that no call of that
//! code changes anything at a vendor.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use secrecy::SecretString;

use super::{ErrorKind, Provider, ProviderError, Visit};
use crate::api::{PlatformGroupSpec, PlatformUserSpec};
use crate::plan::{Account, AccountKind, Capabilities, Catalog, Changes, Desired, GroupHandle, Rejection};

/// Forwards reads to the provider and refuses writes.
pub struct ReadOnly(pub Arc<dyn Provider>);

fn refused(operation: &str) -> ProviderError {
    let message = format!("usher plan is read-only and does not send {operation} to a vendor: this is a bug in usher");
    ProviderError::refused(ErrorKind::Unsupported, message)
}

// Without it, a new method with a default would bypass the vendor's own answer.
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

    fn id_from_key(&self, key: &str) -> Option<String> {
        self.0.id_from_key(key)
    }

    async fn whoami(&self) -> Result<Option<String>, ProviderError> {
        self.0.whoami().await
    }

    fn login(&self) -> Option<String> {
        self.0.login()
    }

    async fn list(&self, account_kind: AccountKind, visit: Visit<'_>) -> Result<(), ProviderError> {
        self.0.list(account_kind, visit).await
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::{Reason, Vendor};
    use crate::providers::capabilities;

    /// A vendor at its limit for applications, which answers nothing else.
    struct Exhausted;

    fn no() -> ProviderError {
        ProviderError::refused(ErrorKind::Unsupported, "no")
    }

    #[async_trait]
    impl Provider for Exhausted {
        fn capabilities(&self) -> &'static Capabilities {
            capabilities(Vendor::Pegasus)
        }

        fn place(&self) -> String {
            "vendor.example.com".into()
        }

        fn desire_user(&self, _: &PlatformUserSpec, _: &Catalog) -> Result<Desired, Rejection> {
            Err(Rejection::new(Reason::Invalid, "no"))
        }

        fn desire_group(&self, _: &str, _: &PlatformGroupSpec, _: &Catalog) -> Result<Desired, Rejection> {
            Err(Rejection::new(Reason::Invalid, "no"))
        }

        fn may_grant(&self, _: &str) -> Result<(), ProviderError> {
            Err(ProviderError::rate_limited("20 calls a minute", None))
        }

        async fn whoami(&self) -> Result<Option<String>, ProviderError> {
            Err(no())
        }

        async fn list(&self, _: AccountKind, _: Visit<'_>) -> Result<(), ProviderError> {
            Err(no())
        }

        async fn read(&self, _: AccountKind, _: &str) -> Result<Option<Account>, ProviderError> {
            Err(no())
        }

        async fn create(
            &self,
            _: AccountKind,
            _: &Changes,
            _: Option<&SecretString>,
        ) -> Result<Account, ProviderError> {
            Ok(Account::default())
        }

        async fn update(
            &self,
            _: AccountKind,
            _: &Account,
            _: &Changes,
            _: Option<&SecretString>,
        ) -> Result<(), ProviderError> {
            Ok(())
        }

        async fn delete(&self, _: AccountKind, _: &str) -> Result<(), ProviderError> {
            Ok(())
        }

        async fn grant(&self, _: &str, _: &str, _: &BTreeMap<String, bool>) -> Result<(), ProviderError> {
            Ok(())
        }
    }

    #[test]
    fn a_preview_hears_of_the_rate_limit_on_applications() {
        let refused = ReadOnly(Arc::new(Exhausted)).may_grant("1").unwrap_err();
        assert_eq!(refused.kind, ErrorKind::RateLimited);
    }

    #[tokio::test]
    async fn no_write_gets_through() {
        let (preview, kind) = (ReadOnly(Arc::new(Exhausted)), AccountKind::User);
        let refusals = [
            preview.create(kind, &Changes::default(), None).await.map(drop),
            preview.update(kind, &Account::default(), &Changes::default(), None).await,
            preview.delete(kind, "1").await,
            preview.grant("1", "app", &BTreeMap::new()).await,
        ];
        for refused in refusals {
            let error = refused.unwrap_err();
            assert!(error.message.contains("usher plan is read-only"), "{}", error.message);
        }
    }
}
