//! Plaspy GPS tracking: URLs and calls; shapes are in `wire`, refusals in `refusal`, JSON Patches in `patch`, the login in `auth`.
//!
//! Sources: repository plaspy-dev/docs, `docs/developers/rest_api`; what it leaves open is marked as assumed. A group
//! is a set of devices that its users see; a user is in at most one.

mod auth;
mod patch;
pub(super) mod refusal;
pub(super) mod wire;

use std::collections::BTreeMap;

use async_trait::async_trait;
use parking_lot::Mutex;
use reqwest::Method;
use secrecy::SecretString;
use serde_json::Value;
use tracing::warn;

use super::decode::{self, Verb, operation};
use super::error::{ErrorKind, ProviderError};
use super::http::{Call, Transport};
use super::resource::{entry, found};
use super::session::Session;
use super::{Access, Provider};
use crate::api::credential::{GroupBy, PlaspyAccess};
use crate::api::{PlatformGroupSpec, PlatformUserSpec};
use crate::plan::{
    Account, AccountKind, Capabilities, Catalog, Changes, Desired, GroupHandle, GroupSupport, Limits, Rejection,
    Switch, Visibility,
};
use auth::PlaspyLogin;

/// Where the API is unless the credential says otherwise (`rest_api/index.md`).
const DEFAULT_URL: &str = "https://api.plaspy.com";
/// Code and name of every country (`rest_api/index.md`).
const COUNTRIES: &str = "/api/users/countries";

/// The capabilities of Plaspy.
pub const CAPABILITIES: Capabilities = Capabilities {
    user_fields: wire::USER,
    group_fields: wire::GROUP,
    visibility: Visibility::Full,
    filter: false,
    updates: true,
    change_needs_password: false,
    deletes: true,
    switch: Some(Switch { field: "disabled", blocked: true }),
    groups: GroupSupport::Managed,
    named_roles: false,
    checkable: true,
    default_limits: Limits { per_minute: 120, burst: 20, concurrency: 4 },
    secret_fields: &["password", "apikey"],
};

/// One credential's way to Plaspy.
pub struct Plaspy {
    transport: Transport,
    session: Session<PlaspyLogin>,
    name: String,
    group_by: GroupBy,
    /// The names of the listed groups by id, because a user may show either.
    groups: Mutex<BTreeMap<String, String>>,
    /// The countries as last listed.
    countries: Mutex<Catalog>,
}

impl Plaspy {
    /// Errors: a Secret without `username` + `apiKey`, or an address that may not be used.
    pub fn connect(settings: &PlaspyAccess, access: &Access<'_>) -> Result<Self, Rejection> {
        let transport = access.transport(settings.url.as_deref().unwrap_or(DEFAULT_URL))?;
        let login = PlaspyLogin::new(transport.clone(), access.secret)?;
        Ok(Self {
            transport,
            name: login.name(),
            session: Session::new(login),
            group_by: settings.group_by.unwrap_or_default(),
            groups: Mutex::default(),
            countries: Mutex::default(),
        })
    }

    /// The JSON of an answer that says success by status and by body.
    async fn call(&self, call: Call) -> Result<Value, ProviderError> {
        self.transport.observe_limit(refusal::judge(&self.session.send(&self.transport, call).await?))
    }

    /// An account as shown, but for a user's group, which is translated to the form in which usher writes it. The name
    /// of a group is remembered for that.
    fn account(&self, account_kind: AccountKind, entry: &Value) -> Result<Account, ProviderError> {
        let mut account = wire::account(account_kind, entry)?;
        match account_kind {
            AccountKind::Group => self.learn(&account.id, account.text("name")),
            AccountKind::User => {
                let known = self.groups.lock();
                account.groups = account
                    .groups
                    .map(|shown| shown.iter().map(|it| wire::as_written(it, self.group_by, &known)).collect());
            }
        }
        Ok(account)
    }

    /// Lists the groups if none is known yet, because an id could be mistaken for a name. Where that is not permitted,
    /// users stay as shown.
    async fn learn_all(&self) -> Result<(), ProviderError> {
        if !self.groups.lock().is_empty() {
            return Ok(());
        }
        match self.list(AccountKind::Group).await {
            Err(error) if !matches!(error.kind, ErrorKind::PermissionDenied | ErrorKind::Unsupported) => Err(error),
            _ => Ok(()),
        }
    }

    fn learn(&self, id: &str, name: Option<&str>) {
        let Some(name) = name else { return };
        self.groups.lock().insert(id.to_owned(), name.to_owned());
    }
}

#[async_trait]
impl Provider for Plaspy {
    fn capabilities(&self) -> &'static Capabilities {
        &CAPABILITIES
    }

    fn place(&self) -> String {
        self.transport.place()
    }

    fn desire_user(&self, spec: &PlatformUserSpec, catalog: &Catalog) -> Result<Desired, Rejection> {
        wire::desire_user(spec, catalog)
    }

    fn desire_group(&self, name: &str, spec: &PlatformGroupSpec, _: &Catalog) -> Result<Desired, Rejection> {
        Ok(wire::desire_group(name, spec))
    }

    /// By name, as in the vendor's examples, or by id where the credential says so: the documents do not say whether an
    /// id is accepted.
    fn group_value(&self, group: &GroupHandle) -> String {
        match (self.group_by, &group.name) {
            (GroupBy::Name, Some(name)) => name.clone(),
            (GroupBy::Name, None) | (GroupBy::Id, _) => group.id.clone(),
        }
    }

    /// No call says who we are: the countries, the smallest answer there is, prove the login; where they are not to be had,
    /// the users do.
    async fn whoami(&self) -> Result<Option<String>, ProviderError> {
        match self.call(Call::new("whoami", Method::GET, COUNTRIES)).await {
            Err(error) if !matches!(error.kind, ErrorKind::Unauthenticated | ErrorKind::RateLimited) => {
                self.list(AccountKind::User).await?;
            }
            answer => drop(answer?),
        }
        Ok(Some(self.name.clone()))
    }

    /// There are no pages (`rest_api`): one answer holds all.
    async fn list(&self, account_kind: AccountKind) -> Result<Vec<Account>, ProviderError> {
        let (name, path) = (operation(account_kind, Verb::List), wire::path(account_kind));
        let answer = self.call(Call::new(name, Method::GET, path)).await?;
        let entries = decode::list(&answer, wire::plural(account_kind), path)?;
        if account_kind == AccountKind::User && entries.iter().any(wire::shows_group) {
            self.learn_all().await?;
        }
        let accounts: Vec<Account> =
            entries.iter().map(|entry| self.account(account_kind, entry)).collect::<Result<_, _>>()?;
        if account_kind == AccountKind::Group {
            let names = accounts.iter().filter_map(|group| Some((group.id.clone(), group.text("name")?.to_owned())));
            *self.groups.lock() = names.collect();
        }
        decode::distinct(accounts, path)
    }

    /// The countries, which pair codes and names. If listing them fails, the last listed ones serve, because nothing
    /// else depends on them.
    async fn catalog(&self) -> Result<Catalog, ProviderError> {
        let answer = self.call(Call::new("countries.list", Method::GET, COUNTRIES)).await;
        let listed = answer.and_then(|answer| wire::countries(&answer, COUNTRIES));
        let mut known = self.countries.lock();
        match listed {
            Ok(countries) => *known = countries,
            Err(error) => warn!("the countries cannot be listed, so the last listed ones serve: {error}"),
        }
        Ok(known.clone())
    }

    async fn read(&self, account_kind: AccountKind, id: &str) -> Result<Option<Account>, ProviderError> {
        let (name, path) = (operation(account_kind, Verb::Read), wire::path(account_kind));
        let Some(shown) = found(self.call(Call::new(name, Method::GET, entry(path, id))).await)? else {
            return Ok(None);
        };
        if account_kind == AccountKind::User && wire::shows_group(&shown) {
            self.learn_all().await?;
        }
        self.account(account_kind, &shown).map(Some)
    }

    async fn create(
        &self,
        account_kind: AccountKind,
        changes: &Changes,
        password: Option<&SecretString>,
    ) -> Result<Account, ProviderError> {
        let (name, path) = (operation(account_kind, Verb::Create), wire::path(account_kind));
        let body = wire::body(account_kind, changes, password)?;
        let answer = self.session.send(&self.transport, Call::new(name, Method::POST, path).json(body)).await?;
        self.account(account_kind, &self.transport.observe_limit(refusal::judge_change(account_kind, &answer))?)
    }

    /// Sends a PATCH, because a PUT replaces the whole account and may clear omitted fields (`rest_api`, put).
    async fn update(
        &self,
        account_kind: AccountKind,
        current: &Account,
        changes: &Changes,
        password: Option<&SecretString>,
    ) -> Result<(), ProviderError> {
        let operations = patch::operations(current, changes, password)?;
        if operations.is_empty() {
            return Ok(());
        }
        let (name, path) = (operation(account_kind, Verb::Update), wire::path(account_kind));
        let call = Call::new(name, Method::PATCH, entry(path, &current.id)).json(operations.into());
        let answer = self.session.send(&self.transport, call).await?;
        self.transport.observe_limit(refusal::judge_change(account_kind, &answer))?;
        if account_kind == AccountKind::Group {
            self.learn(&current.id, changes.fields.get("name").and_then(Value::as_str));
        }
        Ok(())
    }

    async fn delete(&self, account_kind: AccountKind, id: &str) -> Result<(), ProviderError> {
        let (name, path) = (operation(account_kind, Verb::Delete), wire::path(account_kind));
        self.call(Call::new(name, Method::DELETE, entry(path, id))).await?;
        Ok(())
    }
}
