//! Pegasus Gateway (Digital Communications Technologies): URLs and calls; shapes are in `wire`, the login in `auth`.
//!
//! Sources: pegasus.digitalcomtech.com/docs/user-creation and /docs/api-overview; what they leave open is marked as
//! assumed.

mod auth;
mod slots;
pub(super) mod wire;

use std::collections::BTreeMap;

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use reqwest::Method;
use secrecy::SecretString;
use serde_json::{Map, Value, json};
use tokio::time::Instant;

use super::decode::{self, Verb, operation};
use super::error::{Delivery, ErrorKind, ProviderError};
use super::http::{Call, Transport, segment};
use super::listing::{Found, Listing, Visit};
use super::rate_limit::RateLimit;
use super::resource::{asked_for, ensure_changed, entry, found};
use super::session::{Session, Token};
use super::{Access, Provider, list_carrying};
use crate::api::credential_provider::{PegasusAccess, Updates};
use crate::api::{PlatformGroupSpec, PlatformUserSpec};
use crate::plan::{
    Account, AccountKind, Capabilities, Catalog, Changes, Desired, GroupSupport, Key, Limits, Rejection, Switch,
    Visibility, first_key_field,
};
use auth::PegasusLogin;
use slots::{RateLimitedSlots, Slot};

/// Where the API is unless the credential says otherwise (docs/user-creation).
const DEFAULT_URL: &str = "https://api.pegasusgateway.com";
/// Entries per page: the documented maximum (docs/api-overview).
const PAGE: usize = 1000;
/// Documented limits of /apps for one user: 5 calls a second and 20 a minute (release notes 7.2.1).
const APPS_PER_MINUTE: u32 = 20;
/// See `APPS_PER_MINUTE`.
const APPS_BURST: u32 = 5;
/// Calls to /apps for one change of rights: a read and a write.
const APPS_CALLS: u32 = 2;

/// The capabilities of Pegasus.
pub const CAPABILITIES: Capabilities = Capabilities {
    user_fields: wire::USER,
    group_fields: wire::GROUP,
    visibility: Visibility::Full,
    filter: true,
    updates: true,
    change_needs_password: false,
    deletes: true,
    switch: Some(Switch { field: "is_active", blocked: false }),
    groups: GroupSupport::Managed,
    named_roles: false,
    checkable: true,
    default_limits: Limits { per_minute: 300, burst: 20, concurrency: 4 },
    secret_fields: &["password", "auth", "token"],
};

/// One credential's way to Pegasus.
pub struct Pegasus {
    transport: Transport,
    /// The site that the central log-in asks for; it, and not the address, selects the accounts.
    gateway: Option<String>,
    updates: Updates,
    session: Session<PegasusLogin>,
    apps: RateLimitedSlots,
}

impl Pegasus {
    /// Errors: a Secret without `token` or `username` + `password`, or an address that may not be used.
    pub fn connect(settings: &PegasusAccess, access: &Access<'_>) -> Result<Self, Rejection> {
        let url = settings.url.as_deref().unwrap_or(DEFAULT_URL);
        let login_url = settings.login_url.clone().unwrap_or_else(|| format!("{}/login", url.trim_end_matches('/')));
        let login = PegasusLogin::new(access.transport(&login_url)?, settings.gateway.clone(), access.secret)?;
        Ok(Self {
            transport: access.transport(url)?,
            gateway: settings.gateway.as_ref().map(|gateway| gateway.to_ascii_lowercase()),
            updates: settings.updates.unwrap_or_default(),
            session: Session::new(login),
            apps: access
                .limiter
                .extension(|| RateLimitedSlots::new(RateLimit::new(APPS_PER_MINUTE, APPS_BURST), APPS_CALLS)),
        })
    }

    /// The JSON of a successful answer. A 401 means a missing scope if `GET /user` accepts the token; otherwise the
    /// token may have expired, so a log-in and a second attempt follow.
    async fn call(&self, call: Call) -> Result<Value, ProviderError> {
        let (answer, token) = self.session.attempt(&self.transport, call.clone()).await?;
        if answer.status != 401 {
            return wire::judge(&answer);
        }
        if self.accepts(&token).await {
            return Err(wire::denied(&answer));
        }
        let Some(again) = self.session.repeat(&self.transport, call, &token).await else {
            return wire::judge(&answer);
        };
        let (answer, token) = again?;
        if answer.status == 401 && self.accepts(&token).await {
            return Err(wire::denied(&answer));
        }
        wire::judge(&answer)
    }

    /// Whether the vendor accepts `token`.
    async fn accepts(&self, token: &Token) -> bool {
        let me = self.session.send_with(&self.transport, whoami(), token).await;
        me.is_ok_and(|me| me.is_success())
    }

    /// Takes the accounts of one page and returns the number of entries on all pages, where the server says it.
    async fn page(
        &self,
        account_kind: AccountKind,
        number: usize,
        search: Option<(&str, &str)>,
        listing: &mut Listing<'_>,
    ) -> Result<Option<usize>, ProviderError> {
        listing.begin_page()?;
        let (verb, path) = (if search.is_some() { Verb::Find } else { Verb::List }, wire::path(account_kind));
        let mut call = Call::new(operation(account_kind, verb), Method::GET, path).query("page", number.to_string());
        call = call.query("set", PAGE.to_string());
        if let Some((key, value)) = search {
            call = call.query(format!("search.{key}"), value);
        }
        let take = |row: &Value| {
            let account = wire::account(account_kind, row)?;
            listing.take_account(account)
        };
        let rest = decode::rows(call, wire::LIST, path, |call| self.call(call), take).await?;
        let total = wire::total(account_kind, &rest)?;
        total.map_or(Ok(()), |total| listing.observe_total(total))?;
        Ok(total)
    }

    /// Takes the accounts of all pages: until there are as many as promised, or a page is not full.
    async fn pages(&self, account_kind: AccountKind, listing: &mut Listing<'_>) -> Result<(), ProviderError> {
        for number in 1.. {
            let before = listing.rows();
            let total = self.page(account_kind, number, None, listing).await?;
            let count = listing.rows() - before;
            match total {
                Some(total) if listing.rows() < total && count > 0 => {}
                None if count == PAGE => {}
                Some(_) | None => break,
            }
        }
        Ok(())
    }

    /// The accounts that one search finds; `None` where its answer proves nothing: the vendor refused the search,
    /// ignored it (some rows do not match), or answered with more than one page.
    async fn search(
        &self,
        account_kind: AccountKind,
        key: &Key,
        value: &str,
    ) -> Result<Option<Vec<Account>>, ProviderError> {
        let mut found = Found::new(CAPABILITIES.fields(account_kind), std::slice::from_ref(key));
        let mut take = |account| found.take(account);
        let mut listing = Listing::new(wire::path(account_kind), &mut take);
        let is_whole = match self.page(account_kind, 1, Some((key.field, value)), &mut listing).await {
            Err(error) if decode::is_no_search(&error) => return Ok(None),
            total => total?.is_none_or(|total| total == listing.rows()),
        };
        Ok(Some(found.accounts).filter(|_| is_whole && found.is_exact))
    }

    /// The account of a create whose answer shows nothing.
    ///
    /// Errors: the account cannot be found now, although it may exist.
    async fn just_made(&self, account_kind: AccountKind, changes: &Changes) -> Result<Account, ProviderError> {
        let key = first_key_field(CAPABILITIES.fields(account_kind)).and_then(|field| {
            let value = changes.fields.get(field)?.as_str()?.to_owned();
            Some(Key { field, value })
        });
        let desired = Desired { keys: key.into_iter().collect(), ..Desired::default() };
        let unknown = |error| ProviderError { delivery: Delivery::Answered, ..error };
        match self.find(account_kind, &desired).await.map_err(unknown)?.as_slice() {
            [one] => Ok(one.clone()),
            found => Err(decode::unexpected_answer(
                wire::path(account_kind),
                &format!("nothing, and {} found after it", found.len()),
            )),
        }
    }

    /// The `staff` object in the record of a user in an application; empty without a record, and where the record
    /// cannot be read, because only the PUT is documented (docs/user-creation).
    async fn staff(&self, user: &str, application: &str) -> Result<Map<String, Value>, ProviderError> {
        match self.call(self.on_apps("apps.read", Method::GET, user, application)).await {
            Ok(record) => Ok(record.get("staff").and_then(Value::as_object).cloned().unwrap_or_default()),
            Err(error) if matches!(error.kind, ErrorKind::NotFound | ErrorKind::Unsupported) => Ok(Map::new()),
            Err(error) => Err(error),
        }
    }

    /// A call that counts against the limit of `/apps`.
    fn on_apps(&self, operation: &'static str, method: Method, user: &str, application: &str) -> Call {
        let path = format!("/apps/{}", segment(application));
        Call::new(operation, method, path).query("user", user).within(self.apps.rate_limit().clone())
    }

    /// Errors: `RateLimited` with the time of this user's slot.
    fn slot(&self, user: &str) -> Result<Slot, ProviderError> {
        self.apps.try_acquire(user).map_err(|next| {
            let wait = next.saturating_duration_since(Instant::now());
            let until = Timestamp::now() + SignedDuration::try_from(wait).unwrap_or_default();
            let message = "Pegasus allows 20 calls per minute to /apps; usher retries automatically";
            ProviderError::rate_limited(message, Some(until))
        })
    }
}

fn whoami() -> Call {
    Call::new("whoami", Method::GET, "/user")
}

/// The path of one user or group.
///
/// Errors: `Invalid` for an id of another form.
fn one(account_kind: AccountKind, id: &str) -> Result<String, ProviderError> {
    entry(wire::path(account_kind), id, wire::ID)
}

#[async_trait]
impl Provider for Pegasus {
    fn capabilities(&self) -> &'static Capabilities {
        &CAPABILITIES
    }

    fn place(&self) -> String {
        let place = self.transport.place();
        self.gateway.as_ref().map_or_else(|| place.clone(), |gateway| format!("{place} {gateway}"))
    }

    fn desire_user(&self, spec: &PlatformUserSpec, _: &Catalog) -> Result<Desired, Rejection> {
        Ok(wire::desire_user(spec))
    }

    fn desire_group(&self, name: &str, spec: &PlatformGroupSpec, _: &Catalog) -> Result<Desired, Rejection> {
        Ok(wire::desire_group(name, spec))
    }

    async fn whoami(&self) -> Result<Option<String>, ProviderError> {
        let me = wire::judge(&self.session.send(&self.transport, whoami()).await?)?;
        let me = decode::object(&me, "/user")?;
        let name = ["username", "email", "id"].iter().find_map(|field| me.get(*field).and_then(decode::login));
        name.map(Some).ok_or_else(|| decode::unexpected_answer("/user", "no username"))
    }

    async fn list(&self, account_kind: AccountKind, visit: Visit<'_>) -> Result<(), ProviderError> {
        let mut listing = Listing::new(wire::path(account_kind), visit);
        loop {
            self.pages(account_kind, &mut listing).await?;
            if listing.is_complete()? {
                return Ok(());
            }
        }
    }

    /// Uses `search.<key>`, which is documented for groups and uncertain for users. The whole listing answers where a
    /// search proves nothing.
    async fn find(&self, account_kind: AccountKind, desired: &Desired) -> Result<Vec<Account>, ProviderError> {
        let table = CAPABILITIES.fields(account_kind);
        let Some(key) = desired.keys.first() else { return Ok(Vec::new()) };
        for spelling in wire::search_terms(table, key) {
            match self.search(account_kind, key, &spelling).await? {
                Some(found) if found.is_empty() => {}
                Some(found) => return Ok(found),
                None => {
                    return list_carrying(self, account_kind, &desired.keys).await;
                }
            }
        }
        Ok(Vec::new())
    }

    async fn read(&self, account_kind: AccountKind, id: &str) -> Result<Option<Account>, ProviderError> {
        let call = Call::new(operation(account_kind, Verb::Read), Method::GET, one(account_kind, id)?);
        let shown = found(self.call(call).await)?.map(|shown| wire::account(account_kind, &shown)).transpose()?;
        shown.map(|account| asked_for(id, account, wire::path(account_kind))).transpose()
    }

    async fn create(
        &self,
        account_kind: AccountKind,
        changes: &Changes,
        password: Option<&SecretString>,
    ) -> Result<Account, ProviderError> {
        let body = wire::body(changes.fields.clone(), changes.groups.as_ref(), password);
        let made = self
            .call(Call::new(operation(account_kind, Verb::Create), Method::POST, wire::path(account_kind)).json(body))
            .await?;
        if made.is_null() { self.just_made(account_kind, changes).await } else { wire::account(account_kind, &made) }
    }

    /// Read-modify-write: the PUT carries the fields that were read and those that are never shown, because the
    /// reference does not say that omitted fields stay. With `ChangedFields` it carries the changes alone.
    async fn update(
        &self,
        account_kind: AccountKind,
        current: &Account,
        changes: &Changes,
        password: Option<&SecretString>,
    ) -> Result<(), ProviderError> {
        let body = match self.updates {
            Updates::WholeAccount => {
                let mut after = current.clone().with(changes);
                after.fields.extend(changes.alongside.clone());
                wire::body(after.fields, after.groups.as_ref(), password)
            }
            Updates::ChangedFields => wire::body(changes.fields.clone(), changes.groups.as_ref(), password),
        };
        let path = one(account_kind, &current.id)?;
        let answer = self.call(Call::new(operation(account_kind, Verb::Update), Method::PUT, path).json(body)).await?;
        ensure_changed(&current.id, &answer, wire::ID_NAMES, wire::path(account_kind))
    }

    async fn delete(&self, account_kind: AccountKind, id: &str) -> Result<(), ProviderError> {
        self.call(Call::new(operation(account_kind, Verb::Delete), Method::DELETE, one(account_kind, id)?)).await?;
        Ok(())
    }

    async fn granted(&self, user: &str, application: &str) -> Result<Option<BTreeMap<String, bool>>, ProviderError> {
        let staff = self.staff(user, application).await?;
        let apps = staff.get("apps").and_then(Value::as_object).into_iter().flatten();
        Ok(Some(apps.filter_map(|(right, given)| Some((right.clone(), given.as_bool()?))).collect()))
    }

    fn may_grant(&self, user: &str) -> Result<(), ProviderError> {
        self.slot(user).map(drop)
    }

    /// Reads the record first, because the documents do not say that rights omitted from a PUT stay.
    async fn grant(&self, user: &str, application: &str, rights: &BTreeMap<String, bool>) -> Result<(), ProviderError> {
        let _slot = self.slot(user)?;
        let staff = self.staff(user, application).await?;
        let there = staff.get("apps").and_then(Value::as_object).cloned().unwrap_or_default();
        if rights.iter().all(|(right, granted)| there.get(right) == Some(&json!(granted))) {
            return Ok(());
        }
        let mut apps = there;
        apps.extend(rights.iter().map(|(right, granted)| (right.clone(), json!(granted))));
        let mut staff = staff;
        staff.insert("apps".into(), apps.into());
        let body = json!({"staff": staff});
        self.call(self.on_apps("apps.write", Method::PUT, user, application).json(body)).await?;
        Ok(())
    }
}
