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
use super::exchange::too_large;
use super::http::{Call, Transport};
use super::listing::{Listing, Visit};
use super::resource::{asked_for, ensure_changed, entry, found};
use super::session::Session;
use super::{Access, Provider};
use crate::api::credential_provider::{GroupBy, PlaspyAccess};
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

/// The most memory for names of groups, in bytes: more than 60,000 groups with names of 100 characters.
const NAMES: usize = 8 << 20;

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
    groups: Mutex<GroupNames>,
    /// The countries as last listed.
    countries: Mutex<Catalog>,
}

/// The names of groups by id.
#[derive(Default)]
struct GroupNames {
    by_id: BTreeMap<String, String>,
    bytes: usize,
}

impl GroupNames {
    fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    /// Notes the name of a group.
    ///
    /// Errors: the names need more than `NAMES`.
    fn learn(&mut self, id: &str, name: Option<&str>) -> Result<(), ProviderError> {
        let Some(name) = name else { return Ok(()) };
        let before = self.by_id.get(id).map_or(0, |before| id.len() + before.len());
        let bytes = self.bytes - before + id.len() + name.len();
        if bytes > NAMES {
            return Err(too_large(wire::path(AccountKind::Group), " of names", NAMES));
        }
        self.bytes = bytes;
        self.by_id.insert(id.to_owned(), name.to_owned());
        Ok(())
    }
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
            AccountKind::Group => self.groups.lock().learn(&account.id, account.text("name"))?,
            AccountKind::User => {
                let known = self.groups.lock();
                account.groups = account
                    .groups
                    .map(|shown| shown.iter().map(|it| wire::as_written(it, self.group_by, &known.by_id)).collect());
            }
        }
        Ok(account)
    }

    /// Takes the accounts of the one answer. False: it broke off at a user in a group, because `may_learn` names of groups first.
    async fn page(
        &self,
        account_kind: AccountKind,
        may_learn: bool,
        listing: &mut Listing<'_>,
    ) -> Result<bool, ProviderError> {
        listing.begin_page()?;
        let (name, path) = (operation(account_kind, Verb::List), wire::path(account_kind));
        let mut is_broken_off = false;
        let take = |row: &Value| {
            is_broken_off = may_learn && wire::shows_group(row);
            if is_broken_off {
                return Err(decode::unexpected_answer(path, "a group whose name is not known yet"));
            }
            let account = self.account(account_kind, row)?;
            listing.take_account(account)
        };
        let list = wire::plural(account_kind);
        let rest = decode::rows(Call::new(name, Method::GET, path), list, path, |call| self.call(call), take).await;
        if is_broken_off {
            return Ok(false);
        }
        decode::ensure_list(&rest?, list, path).map(|()| true)
    }

    /// Lists the groups if none is known yet, because an id could be mistaken for a name. Where that is not permitted,
    /// users stay as shown.
    async fn learn_all(&self) -> Result<(), ProviderError> {
        if !self.groups.lock().is_empty() {
            return Ok(());
        }
        match self.list(AccountKind::Group, &mut |_| Ok(())).await {
            Err(error) if !matches!(error.kind, ErrorKind::PermissionDenied | ErrorKind::Unsupported) => Err(error),
            _ => Ok(()),
        }
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
                self.list(AccountKind::User, &mut |_| Ok(())).await?;
            }
            answer => drop(answer?),
        }
        Ok(decode::login(&Value::from(self.name.as_str())))
    }

    /// There are no pages (`rest_api`): one answer holds all.
    async fn list(&self, account_kind: AccountKind, visit: Visit<'_>) -> Result<(), ProviderError> {
        let mut names = GroupNames::default();
        let mut learn = |account: Account| {
            if account_kind == AccountKind::Group {
                names.learn(&account.id, account.text("name"))?;
            }
            visit(account)
        };
        let mut listing = Listing::new(wire::path(account_kind), &mut learn);
        let mut may_learn = account_kind == AccountKind::User && self.groups.lock().is_empty();
        loop {
            let is_read = self.page(account_kind, may_learn, &mut listing).await?;
            if !is_read {
                self.learn_all().await?;
                may_learn = false;
                listing.restart();
            } else if listing.is_complete()? {
                break;
            }
        }
        if account_kind == AccountKind::Group {
            *self.groups.lock() = names;
        }
        Ok(())
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
        let Some(shown) = found(self.call(Call::new(name, Method::GET, entry(path, id, wire::ID)?)).await)? else {
            return Ok(None);
        };
        if account_kind == AccountKind::User && wire::shows_group(&shown) {
            self.learn_all().await?;
        }
        asked_for(id, self.account(account_kind, &shown)?, path).map(Some)
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
        let call = Call::new(name, Method::PATCH, entry(path, &current.id, wire::ID)?).json(operations.into());
        let answer = self.session.send(&self.transport, call).await?;
        let shown = self.transport.observe_limit(refusal::judge_change(account_kind, &answer))?;
        ensure_changed(&current.id, &shown, wire::ID_NAMES, path)?;
        if account_kind == AccountKind::Group {
            self.groups.lock().learn(&current.id, changes.fields.get("name").and_then(Value::as_str))?;
        }
        Ok(())
    }

    async fn delete(&self, account_kind: AccountKind, id: &str) -> Result<(), ProviderError> {
        let (name, path) = (operation(account_kind, Verb::Delete), wire::path(account_kind));
        self.call(Call::new(name, Method::DELETE, entry(path, id, wire::ID)?)).await?;
        Ok(())
    }
}
