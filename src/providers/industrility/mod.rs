//! Industrility: one call, which creates a user. Everything else is unsupported, and what was created stays unverified.
//!
//! Source: docs.industrility.com, `CreateNewUserRequest` (seed 003). Base address and authentication are not
//! documented, so both are configurable.

pub(super) mod wire;

use async_trait::async_trait;
use reqwest::Method;
use reqwest::header::HeaderName;
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;

use super::decode;
use super::error::{ErrorKind, ProviderError};
use super::http::{Call, Transport, parameters};
use super::listing::Visit;
use super::{Access, Provider};
use crate::api::credential_provider::IndustrilityAccess;
use crate::api::rules::is_own_header;
use crate::api::{PlatformGroupSpec, PlatformUserSpec, Reason};
use crate::plan::{
    Account, AccountKind, Capabilities, Catalog, Changes, Desired, GroupSupport, Limits, Rejection, Visibility,
};

/// The capabilities of Industrility.
pub const CAPABILITIES: Capabilities = Capabilities {
    user_fields: wire::USER,
    group_fields: wire::GROUP,
    visibility: Visibility::WriteOnly,
    filter: false,
    updates: false,
    change_needs_password: false,
    deletes: false,
    switch: None,
    groups: GroupSupport::Given,
    named_roles: false,
    checkable: false,
    default_limits: Limits { per_minute: 60, burst: 5, concurrency: 2 },
    secret_fields: &["token"],
};

/// One credential's way to Industrility.
pub struct Industrility {
    transport: Transport,
    path: String,
    header: HeaderName,
    scheme: String,
    token: SecretString,
}

impl Industrility {
    /// Errors: a Secret without `token`, a header that is none or not the credential's own, or an address that may not be used.
    pub fn connect(settings: &IndustrilityAccess, access: &Access<'_>) -> Result<Self, Rejection> {
        let IndustrilityAccess { url, create_path, auth_header, auth_scheme } = settings;
        let header = auth_header.as_deref().unwrap_or("Authorization");
        Ok(Self {
            transport: access.transport(url)?,
            path: create_path.clone().unwrap_or_else(|| "/CreateNewUser".into()),
            header: HeaderName::try_from(header).ok().filter(|_| is_own_header(header)).ok_or_else(|| {
                let field = "spec.provider.industrility.authHeader";
                Rejection::new(Reason::Invalid, format!("{field}: {header} is no header name, or one of HTTP itself"))
            })?,
            scheme: auth_scheme.clone().unwrap_or_else(|| "Bearer".into()),
            token: access.secret.get("token").ok_or_else(|| access.secret.lacks("token"))?,
        })
    }

    /// The create call, with the query that its path may have.
    fn address(&self) -> Call {
        let (path, query) = self.path.split_once('?').unwrap_or((&self.path, ""));
        let pairs = parameters(&format!("?{query}")).into_iter();
        pairs.fold(Call::new("users.create", Method::POST, path), |call, (name, value)| call.query(name, value))
    }

    fn bearer(&self) -> String {
        format!("{} {}", self.scheme, self.token.expose_secret()).trim_start().to_owned()
    }
}

fn unsupported(what: &str) -> ProviderError {
    ProviderError::refused(ErrorKind::Unsupported, format!("Industrility's API cannot {what}"))
}

#[async_trait]
impl Provider for Industrility {
    fn capabilities(&self) -> &'static Capabilities {
        &CAPABILITIES
    }

    fn place(&self) -> String {
        self.transport.place()
    }

    fn desire_user(&self, spec: &PlatformUserSpec, _: &Catalog) -> Result<Desired, Rejection> {
        wire::desire_user(spec)
    }

    fn desire_group(&self, name: &str, _: &PlatformGroupSpec, _: &Catalog) -> Result<Desired, Rejection> {
        Ok(wire::desire_group(name))
    }

    fn id_from_key(&self, key: &str) -> Option<String> {
        Some(wire::usual_id(key))
    }

    async fn whoami(&self) -> Result<Option<String>, ProviderError> {
        Err(unsupported("check a token"))
    }

    async fn list(&self, _: AccountKind, _: Visit<'_>) -> Result<(), ProviderError> {
        Err(unsupported("list"))
    }

    async fn read(&self, _: AccountKind, _: &str) -> Result<Option<Account>, ProviderError> {
        Err(unsupported("read"))
    }

    /// A 2xx is a success even if its body cannot be read, because the shape of the answer is not documented.
    async fn create(
        &self,
        account_kind: AccountKind,
        changes: &Changes,
        _: Option<&SecretString>,
    ) -> Result<Account, ProviderError> {
        if account_kind == AccountKind::Group {
            return Err(unsupported("make security groups; name an existing one by externalId"));
        }
        let body = wire::body(changes);
        let call = self.address().json(body).header(self.header.clone(), &self.bearer())?;
        let answer = wire::unwrapped(&self.transport.send(call).await?);
        if !answer.is_success() {
            return Err(wire::refusal(&answer));
        }
        decode::done(&answer)?;
        let email = changes.fields.get("email").and_then(Value::as_str).unwrap_or_default();
        Ok(Account { id: wire::id(&answer.json_or_null(), email), ..Account::default() })
    }

    async fn update(
        &self,
        _: AccountKind,
        _: &Account,
        _: &Changes,
        _: Option<&SecretString>,
    ) -> Result<(), ProviderError> {
        Err(unsupported("change anything"))
    }

    async fn delete(&self, _: AccountKind, _: &str) -> Result<(), ProviderError> {
        Err(unsupported("remove anything"))
    }
}
