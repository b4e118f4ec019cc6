//! Pegasus Gateway (Digital Communications Technologies): URLs and calls; shapes are in `wire`, the login in `auth`.
//!
//! Sources: pegasus.digitalcomtech.com/docs/user-creation and /docs/api-overview; what they leave open is in `vendors.md`.

mod auth;
pub(super) mod wire;

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use reqwest::Method;
use secrecy::SecretString;
use serde_json::{Map, Value, json};
use tokio::time::Instant;

use super::error::{ErrorKind, ProviderError};
use super::http::{Answer, Call, Transport, segment};
use super::pace::{Pace, Turn, Turns};
use super::session::Session;
use super::shape::{self, Verb, operation};
use super::{Access, Provider};
use crate::api::credential::PegasusAccess;
use crate::api::{PlatformGroupSpec, PlatformUserSpec};
use crate::plan::{
    Account, Capabilities, Catalog, Changes, Desired, GroupSupport, Limits, Rejection, Subject, Switch, matches_key,
};
use auth::PegasusLogin;

/// Where the API is unless the credential says otherwise (docs/user-creation).
const DEFAULT_URL: &str = "https://api.pegasusgateway.com";
/// Entries asked for per page: the documented most (docs/api-overview).
const PAGE: usize = 1000;
/// Documented limits of /apps for one user: 5 calls a second and 20 a minute (release notes 7.2.1).
const APPS_PER_MINUTE: u32 = 20;
/// See `APPS_PER_MINUTE`.
const APPS_BURST: u32 = 5;
/// Calls to /apps for one user: what is there is read and written back.
const APPS_CALLS: u32 = 2;

/// What Pegasus can do.
pub const CAPABILITIES: Capabilities = Capabilities {
    user_fields: wire::USER,
    group_fields: wire::GROUP,
    readable: true,
    listable: true,
    filter: true,
    updates: true,
    deletes: true,
    switch: Some(Switch { field: "is_active", blocked: false }),
    groups: GroupSupport::Managed,
    checkable: true,
    default_limits: Limits { per_minute: 300, burst: 20, concurrency: 4 },
};

/// One credential's way to Pegasus.
pub struct Pegasus {
    transport: Transport,
    session: Session<PegasusLogin>,
    apps: Arc<Turns>,
}

impl Pegasus {
    /// Errors: a Secret without `token` or `username` + `password`, or an address that may not be used.
    pub fn connect(settings: &PegasusAccess, access: &Access<'_>) -> Result<Self, Rejection> {
        let url = settings.url.as_deref().unwrap_or(DEFAULT_URL);
        let login_url = settings.login_url.clone().unwrap_or_else(|| format!("{}/login", url.trim_end_matches('/')));
        let login = PegasusLogin::new(access.transport(&login_url)?, settings.gateway.clone(), access.secret)?;
        Ok(Self {
            transport: access.transport(url)?,
            session: Session::new(login),
            apps: access.gate.turns(|| Turns::new(Pace::new(APPS_PER_MINUTE, APPS_BURST), APPS_CALLS)),
        })
    }

    /// The JSON of a successful answer. A 401 that outlives a fresh login is a missing scope if `GET /user` works.
    async fn call(&self, call: Call) -> Result<Value, ProviderError> {
        let answer = self.session.send(&self.transport, call).await?;
        match answer.status {
            204 => Ok(Value::Null),
            200..300 => answer.json(),
            401 => Err(self.judge_401(&answer).await),
            _ => Err(wire::refusal(&answer)),
        }
    }

    async fn judge_401(&self, answer: &Answer) -> ProviderError {
        let mut error = wire::refusal(answer);
        let me = self.session.send(&self.transport, Call::new("whoami", Method::GET, "/user")).await;
        if me.is_ok_and(|me| me.is_success()) {
            error.kind = ErrorKind::PermissionDenied;
            error.message += ": the login works but lacks the scope, or shares no group with the account";
        }
        error
    }

    async fn pages(
        &self,
        subject: Subject,
        search: Option<(&'static str, &str)>,
    ) -> Result<Vec<Account>, ProviderError> {
        let path = wire::path(subject);
        let name = operation(subject, if search.is_some() { Verb::Find } else { Verb::List });
        let mut accounts = Vec::new();
        let mut page = 1_usize;
        loop {
            let mut call = Call::new(name, Method::GET, path).query("page", page.to_string());
            call = call.query("set", PAGE.to_string());
            if let Some((key, value)) = search {
                call = call.query(key, value);
            }
            let answer = self.call(call).await?;
            for entry in shape::list(&answer, "data", path)? {
                accounts.push(wire::account(subject, entry)?);
            }
            let (pages, total) = (shape::count(&answer, "pages", path)?, shape::count(&answer, "total", path)?);
            if page >= pages.max(1) {
                return if accounts.len() == total {
                    shape::distinct(accounts, path)
                } else {
                    Err(shape::nonsense(path, &format!("{} entries of {total}: a short listing", accounts.len())))
                };
            }
            page += 1;
        }
    }

    /// Errors: `RateLimited` with the time of this user's turn.
    fn turn(&self, user: &str) -> Result<Turn, ProviderError> {
        self.apps.turn(user).map_err(|next| {
            let wait = next.saturating_duration_since(Instant::now());
            let until = Timestamp::now() + SignedDuration::try_from(wait).unwrap_or_default();
            let message = "Pegasus takes 20 calls a minute to /apps; it goes on by itself";
            ProviderError::rate_limited(message, Some(until))
        })
    }
}

/// The path of one user or group.
fn one(subject: Subject, id: &str) -> String {
    format!("{}/{}", wire::path(subject), segment(id))
}

#[async_trait]
impl Provider for Pegasus {
    fn capabilities(&self) -> &'static Capabilities {
        &CAPABILITIES
    }

    fn host(&self) -> String {
        self.transport.host()
    }

    fn desire_user(&self, spec: &PlatformUserSpec, _: &Catalog) -> Result<Desired, Rejection> {
        Ok(wire::desire_user(spec))
    }

    fn desire_group(&self, name: &str, spec: &PlatformGroupSpec, _: &Catalog) -> Result<Desired, Rejection> {
        Ok(wire::desire_group(name, spec))
    }

    async fn whoami(&self) -> Result<String, ProviderError> {
        let me = self.call(Call::new("whoami", Method::GET, "/user")).await?;
        let me = shape::object(&me, "/user")?;
        let name = ["username", "email", "id"].iter().find_map(|field| me.get(*field).and_then(shape::id));
        name.ok_or_else(|| shape::nonsense("/user", "no username"))
    }

    async fn list(&self, subject: Subject) -> Result<Vec<Account>, ProviderError> {
        self.pages(subject, None).await
    }

    /// By `search.<key>`; documented for groups, uncertain for users: rows that do not match show that it was ignored,
    /// and then the whole listing answers.
    async fn find(&self, subject: Subject, desired: &Desired) -> Result<Vec<Account>, ProviderError> {
        let table = CAPABILITIES.fields(subject);
        let Some(key) = desired.keys.first() else { return Ok(Vec::new()) };
        let matching = |accounts: Vec<Account>| -> Vec<Account> {
            accounts.into_iter().filter(|account| matches_key(table, account, key)).collect()
        };
        let search = match subject {
            Subject::User => "search.username",
            Subject::Group => "search.name",
        };
        let found = self.pages(subject, Some((search, &key.value))).await?;
        let all = found.len();
        let found = matching(found);
        if found.len() == all { Ok(found) } else { Ok(matching(self.list(subject).await?)) }
    }

    async fn read(&self, subject: Subject, id: &str) -> Result<Option<Account>, ProviderError> {
        match self.call(Call::new(operation(subject, Verb::Read), Method::GET, one(subject, id))).await {
            Ok(entry) => wire::account(subject, &entry).map(Some),
            Err(error) if error.kind == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn create(
        &self,
        subject: Subject,
        changes: &Changes,
        password: Option<&SecretString>,
    ) -> Result<Account, ProviderError> {
        let body = wire::body(changes.fields.clone(), changes.groups.as_ref(), password);
        let made = self
            .call(Call::new(operation(subject, Verb::Create), Method::POST, wire::path(subject)).json(body))
            .await?;
        wire::account(subject, &made)
    }

    /// Read-modify-write: the reference does not say that fields left out of a PUT stay, so what was read goes along.
    async fn update(
        &self,
        subject: Subject,
        current: &Account,
        changes: &Changes,
        password: Option<&SecretString>,
    ) -> Result<(), ProviderError> {
        let after = current.clone().with(changes);
        let body = wire::body(after.fields, after.groups.as_ref(), password);
        self.call(Call::new(operation(subject, Verb::Update), Method::PUT, one(subject, &current.id)).json(body))
            .await?;
        Ok(())
    }

    async fn delete(&self, subject: Subject, id: &str) -> Result<(), ProviderError> {
        self.call(Call::new(operation(subject, Verb::Delete), Method::DELETE, one(subject, id))).await?;
        Ok(())
    }

    fn may_grant(&self, user: &str) -> Result<(), ProviderError> {
        self.turn(user).map(drop)
    }

    /// Reads the user's record of the application, because what a PUT leaves out is not documented to stay.
    async fn grant(&self, user: &str, application: &str, rights: &BTreeMap<String, bool>) -> Result<(), ProviderError> {
        let _turn = self.turn(user)?;
        let path = format!("/apps/{}", segment(application));
        let call = |name, method| Call::new(name, method, path.clone()).query("user", user).within(self.apps.clone());
        let read = self.call(call("apps.read", Method::GET)).await;
        let staff = match read {
            Ok(record) => record.get("staff").and_then(Value::as_object).cloned().unwrap_or_default(),
            Err(error) if error.kind == ErrorKind::NotFound => Map::new(),
            Err(error) => return Err(error),
        };
        let there = staff.get("apps").and_then(Value::as_object).cloned().unwrap_or_default();
        if rights.iter().all(|(right, granted)| there.get(right) == Some(&json!(granted))) {
            return Ok(());
        }
        let mut apps = there;
        apps.extend(rights.iter().map(|(right, granted)| (right.clone(), json!(granted))));
        let mut staff = staff;
        staff.insert("apps".into(), apps.into());
        let body = json!({"staff": staff});
        self.call(call("apps.write", Method::PUT).json(body)).await?;
        Ok(())
    }
}
