//! OZmap (DevOZ): URLs and calls; shapes are in `wire`, the login in `auth`.
//!
//! Sources: the wiki page "User creation" (seed 004) and the vendor's own SDK, @ozmap/ozmap-sdk 1.1.8.

mod auth;
pub(super) mod wire;

use async_trait::async_trait;
use reqwest::Method;
use secrecy::SecretString;
use serde_json::{Value, json};

use super::decode::{self, Verb, operation};
use super::error::ProviderError;
use super::http::{Call, Transport};
use super::resource::{entry, found};
use super::session::Session;
use super::{Access, Provider};
use crate::api::credential::{OzmapAccess, PasswordEncoding};
use crate::api::{PlatformGroupSpec, PlatformUserSpec};
use crate::plan::{
    Account, AccountKind, Capabilities, Catalog, CatalogEntry, Changes, Desired, GroupSupport, Key, Limits, ROLE,
    Rejection, Visibility, carrying, matches_key,
};
use auth::OzmapLogin;

/// Entries per page; the default of 25 would cost a call per 25 users (wiki, "User creation").
const PAGE: usize = 500;
/// The end of the path of every address (SDK); a place leaves it out, because all tenants have it.
const BASE_PATH: &str = "/api/v2";

/// The capabilities of OZmap.
pub const CAPABILITIES: Capabilities = Capabilities {
    user_fields: wire::USER,
    group_fields: wire::GROUP,
    visibility: Visibility::Full,
    filter: true,
    updates: true,
    change_needs_password: false,
    deletes: true,
    switch: None,
    groups: GroupSupport::Managed,
    named_roles: true,
    checkable: true,
    default_limits: Limits { per_minute: 120, burst: 20, concurrency: 4 },
    secret_fields: &["password", "apikey", "token"],
};

/// One credential's way to OZmap.
pub struct Ozmap {
    transport: Transport,
    session: Session<OzmapLogin>,
    username: Option<String>,
    encoding: PasswordEncoding,
}

impl Ozmap {
    /// Errors: a Secret without `token` or `username` + `password`, or an address that may not be used.
    pub fn connect(settings: &OzmapAccess, access: &Access<'_>) -> Result<Self, Rejection> {
        let OzmapAccess { url, password_encoding } = settings;
        let transport = access.transport(url)?;
        let login = OzmapLogin::new(transport.clone(), access.secret)?;
        Ok(Self {
            transport,
            username: login.username(),
            session: Session::new(login),
            encoding: password_encoding.unwrap_or_default(),
        })
    }

    async fn call(&self, call: Call) -> Result<Value, ProviderError> {
        let answer = self.session.send(&self.transport, call).await?;
        match answer.status {
            204 => Ok(Value::Null),
            200..300 => answer.json(),
            _ => Err(wire::refusal(&answer)),
        }
    }

    /// All rows of a collection, or those that match `filter`, without the rows marked as deleted.
    async fn rows(&self, name: &'static str, path: &str, filter: Option<&Value>) -> Result<Vec<Value>, ProviderError> {
        let (mut rows, mut limit, mut promised) = (Vec::new(), PAGE, decode::Total::default());
        for page in 1_usize.. {
            let mut call = Call::new(name, Method::GET, path).query("page", page.to_string());
            call = call.query("limit", limit.to_string());
            if let Some(filter) = filter {
                call = call.query("filter", filter.to_string());
            }
            let answer = self.call(call).await?;
            let (found, total) = (decode::list(&answer, "rows", path)?, decode::count(&answer, "total", path)?);
            promised.observe(total, path)?;
            rows.extend(found.iter().cloned());
            if rows.len() == total {
                break;
            }
            if found.is_empty() || rows.len() > total {
                let what = format!("{} rows of {total}: a listing that is not whole", rows.len());
                return Err(decode::unexpected_answer(path, &what));
            }
            if page == 1 {
                // The server may cap pages: the next one is asked for in the size of this one, so that it begins where
                // this one ended.
                limit = found.len();
            }
        }
        rows.retain(wire::is_there);
        Ok(rows)
    }

    async fn accounts(&self, account_kind: AccountKind, filter: Option<&Value>) -> Result<Vec<Account>, ProviderError> {
        let verb = if filter.is_some() { Verb::Find } else { Verb::List };
        let path = wire::path(account_kind);
        let rows = self.rows(operation(account_kind, verb), path, filter).await?;
        let accounts: Result<Vec<_>, _> = rows.iter().map(|row| wire::account(account_kind, row)).collect();
        decode::distinct(accounts?, path)
    }

    /// The accounts that carry `key`. The listing answers where the vendor refuses the filter or ignores it, which rows
    /// that do not match show.
    async fn with_key(&self, account_kind: AccountKind, key: &Key) -> Result<Vec<Account>, ProviderError> {
        let table = CAPABILITIES.fields(account_kind);
        for spelling in decode::search_terms(table, key) {
            let filter = json!([{"property": key.field, "operator": "=", "value": spelling}]);
            match self.accounts(account_kind, Some(&filter)).await {
                Ok(found) if found.is_empty() => {}
                Ok(found) if found.iter().all(|account| matches_key(table, account, key)) => return Ok(found),
                Err(error) if !decode::is_no_search(&error) => return Err(error),
                Ok(_) | Err(_) => {
                    return Ok(carrying(table, self.list(account_kind).await?, std::slice::from_ref(key)));
                }
            }
        }
        Ok(Vec::new())
    }
}

/// The path of one user or group.
fn one(account_kind: AccountKind, id: &str) -> String {
    entry(wire::path(account_kind), id)
}

#[async_trait]
impl Provider for Ozmap {
    fn capabilities(&self) -> &'static Capabilities {
        &CAPABILITIES
    }

    fn place(&self) -> String {
        let place = self.transport.place();
        place.strip_suffix(BASE_PATH).map_or_else(|| place.clone(), str::to_owned)
    }

    fn desire_user(&self, spec: &PlatformUserSpec, catalog: &Catalog) -> Result<Desired, Rejection> {
        wire::desire_user(spec, catalog)
    }

    fn desire_group(&self, name: &str, spec: &PlatformGroupSpec, catalog: &Catalog) -> Result<Desired, Rejection> {
        wire::desire_group(name, spec, catalog)
    }

    /// The shape of the answer is not documented, so any usual name in it is taken. The call itself is known only from an old SDK
    /// (git history, RESTAPI.ts): on a server without it, reading one user proves the login and does not name it.
    async fn whoami(&self) -> Result<Option<String>, ProviderError> {
        let answer = self.session.send(&self.transport, Call::new("whoami", Method::GET, "/authenticated")).await?;
        let me = match answer.status {
            404 | 405 => {
                self.call(Call::new("whoami", Method::GET, wire::path(AccountKind::User)).query("limit", "1")).await?;
                Value::Null
            }
            200..300 if answer.is_page() => {
                return Err(decode::unexpected_answer(answer.said(), "a web page"));
            }
            200..300 if answer.is_plain() => Value::Null,
            200..300 => answer.json()?,
            _ => return Err(wire::refusal(&answer)),
        };
        wire::name(&me)
    }

    fn login(&self) -> Option<String> {
        self.username.clone()
    }

    async fn list(&self, account_kind: AccountKind) -> Result<Vec<Account>, ProviderError> {
        self.accounts(account_kind, None).await
    }

    /// Roles and projects, by id and name only.
    async fn catalog(&self) -> Result<Catalog, ProviderError> {
        let mut entries = Vec::new();
        for (catalog, name, path) in [(ROLE, "roles.list", "/roles"), (wire::PROJECT, "projects.list", "/projects")] {
            for row in self.rows(name, path, None).await? {
                let object = decode::object(&row, path)?;
                let id = decode::id_of(object, wire::ID, path)?;
                let name = object.get("name").and_then(Value::as_str).unwrap_or_default().to_owned();
                let privileged = catalog == ROLE && name == wire::ADMINISTRATOR;
                entries.push(CatalogEntry { catalog, id, name, privileged });
            }
        }
        if !entries.iter().any(|entry| entry.catalog == ROLE) {
            // Every tenant has seven roles from the beginning (help centre, article 44001786995).
            return Err(decode::unexpected_answer("/roles", "no role at all"));
        }
        Ok(Catalog { entries })
    }

    async fn find(&self, account_kind: AccountKind, desired: &Desired) -> Result<Vec<Account>, ProviderError> {
        let mut found: Vec<Account> = Vec::new();
        for key in &desired.keys {
            for account in self.with_key(account_kind, key).await? {
                if found.iter().all(|known| known.id != account.id) {
                    found.push(account);
                }
            }
        }
        Ok(found)
    }

    async fn read(&self, account_kind: AccountKind, id: &str) -> Result<Option<Account>, ProviderError> {
        let call = Call::new(operation(account_kind, Verb::Read), Method::GET, one(account_kind, id));
        let row = found(self.call(call).await)?.filter(wire::is_there);
        row.map(|row| wire::account(account_kind, &row)).transpose()
    }

    async fn create(
        &self,
        account_kind: AccountKind,
        changes: &Changes,
        password: Option<&SecretString>,
    ) -> Result<Account, ProviderError> {
        let body = wire::creation(account_kind, changes, password, self.encoding);
        let call = Call::new(operation(account_kind, Verb::Create), Method::POST, wire::path(account_kind)).json(body);
        wire::account(account_kind, &self.call(call).await?)
    }

    async fn update(
        &self,
        account_kind: AccountKind,
        current: &Account,
        changes: &Changes,
        password: Option<&SecretString>,
    ) -> Result<(), ProviderError> {
        let body = wire::body(changes, password, self.encoding);
        let call =
            Call::new(operation(account_kind, Verb::Update), Method::PATCH, one(account_kind, &current.id)).json(body);
        let answer = self.session.send(&self.transport, call).await?;
        // The SDK ignores the body of this answer; so do we.
        if answer.is_success() { decode::done(&answer) } else { Err(wire::refusal(&answer)) }
    }

    async fn delete(&self, account_kind: AccountKind, id: &str) -> Result<(), ProviderError> {
        let call = Call::new(operation(account_kind, Verb::Delete), Method::DELETE, one(account_kind, id));
        let answer = self.session.send(&self.transport, call).await?;
        if answer.is_success() { decode::done(&answer) } else { Err(wire::refusal(&answer)) }
    }
}
