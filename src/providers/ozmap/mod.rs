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
use super::error::{ErrorKind, ProviderError};
use super::exchange::too_large;
use super::http::{Call, Transport};
use super::listing::{Found, Listing, Visit};
use super::resource::{asked_for, ensure_changed, entry, found};
use super::session::Session;
use super::{Access, Provider, list_carrying};
use crate::api::credential_provider::{OzmapAccess, PasswordEncoding};
use crate::api::{PlatformGroupSpec, PlatformUserSpec};
use crate::plan::{
    Account, AccountKind, Capabilities, Catalog, CatalogEntry, Changes, Desired, GroupSupport, Key, Limits, ROLE,
    Rejection, Visibility,
};
use auth::OzmapLogin;

/// Entries per page; the default of 25 would cost a call per 25 users (wiki, "User creation").
const PAGE: usize = 500;
/// The most memory for roles and projects, in bytes: more than 60,000 with names of 40 characters.
const CATALOG: usize = 8 << 20;
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

    /// Takes the rows of one page, of `limit` entries, and returns the number of entries on all pages. `query` orders or filters.
    async fn page<T: Send>(
        &self,
        collection: &Collection<'_, T>,
        (number, limit): (usize, usize),
        query: Option<&(&'static str, String)>,
        listing: &mut Listing<'_, T>,
    ) -> Result<usize, ProviderError> {
        listing.begin_page()?;
        let path = collection.path;
        let mut call = Call::new(collection.operation, Method::GET, path).query("page", number.to_string());
        call = call.query("limit", limit.to_string());
        if let Some((name, value)) = query {
            call = call.query(*name, value);
        }
        let take = |row: &Value| {
            let (id, entry) = (collection.decode)(row)?;
            listing.take(&id, entry.filter(|_| wire::is_there(row)))
        };
        let rest = decode::rows(call, wire::LIST, path, |call| self.call(call), take).await?;
        decode::ensure_list(&rest, wire::LIST, path)?;
        let total = decode::count(&rest, "total", path)?;
        listing.observe_total(total)?;
        Ok(total)
    }

    /// Takes the rows of all pages. The server may cap pages: the next one is asked for in the size of the first one, so that it begins
    /// where that one ended.
    async fn pages<T: Send>(
        &self,
        collection: &Collection<'_, T>,
        query: Option<&(&'static str, String)>,
        listing: &mut Listing<'_, T>,
    ) -> Result<(), ProviderError> {
        let mut limit = PAGE;
        for number in 1.. {
            let before = listing.rows();
            let total = self.page(collection, (number, limit), query, listing).await?;
            if number == 1 {
                limit = listing.rows();
            }
            if listing.rows() >= total || listing.rows() == before {
                break;
            }
        }
        Ok(())
    }

    /// Takes all rows of a collection that are not marked as deleted: in a fixed order, unless the server refuses to order; or those
    /// that match `filter`.
    async fn rows<T: Send>(
        &self,
        collection: &Collection<'_, T>,
        filter: Option<String>,
        visit: Visit<'_, T>,
    ) -> Result<(), ProviderError> {
        let mut listing = Listing::new(collection.path, visit);
        let mut query = Some(filter.map_or_else(wire::ordered, |filter| ("filter", filter)));
        loop {
            match self.pages(collection, query.as_ref(), &mut listing).await {
                Err(error) if error.kind == ErrorKind::Invalid && query == Some(wire::ordered()) => {
                    query = None;
                    listing.restart();
                }
                Err(error) => return Err(error),
                Ok(()) if listing.is_complete()? => return Ok(()),
                Ok(()) => {}
            }
        }
    }

    /// Takes all users or groups, or those that match `filter`.
    async fn accounts(
        &self,
        account_kind: AccountKind,
        filter: Option<String>,
        visit: Visit<'_>,
    ) -> Result<(), ProviderError> {
        let verb = if filter.is_some() { Verb::Find } else { Verb::List };
        let decode = |row: &Value| {
            let account = wire::account(account_kind, row)?;
            Ok((account.id.clone(), Some(account)))
        };
        let (operation, path) = (operation(account_kind, verb), wire::path(account_kind));
        self.rows(&Collection { operation, path, decode: Box::new(decode) }, filter, visit).await
    }

    /// The accounts that one filter finds; `None` where the vendor refuses the filter or ignores it, which rows that do not match show.
    async fn filtered(
        &self,
        account_kind: AccountKind,
        key: &Key,
        spelling: &str,
    ) -> Result<Option<Vec<Account>>, ProviderError> {
        let filter = json!([{"property": key.field, "operator": "=", "value": spelling}]).to_string();
        let mut found = Found::new(CAPABILITIES.fields(account_kind), std::slice::from_ref(key));
        match self.accounts(account_kind, Some(filter), &mut |account| found.take(account)).await {
            Err(error) if decode::is_no_search(&error) => Ok(None),
            Err(error) => Err(error),
            Ok(()) => Ok(Some(found.accounts).filter(|_| found.is_exact)),
        }
    }

    /// The accounts that carry `key`. The listing answers where a filter proves nothing.
    async fn with_key(&self, account_kind: AccountKind, key: &Key) -> Result<Vec<Account>, ProviderError> {
        for spelling in decode::search_terms(CAPABILITIES.fields(account_kind), key) {
            match self.filtered(account_kind, key, &spelling).await? {
                Some(found) if found.is_empty() => {}
                Some(found) => return Ok(found),
                None => return list_carrying(self, account_kind, std::slice::from_ref(key)).await,
            }
        }
        Ok(Vec::new())
    }

    /// The entries of one catalogue, with the memory that they need.
    async fn entries(
        &self,
        catalog: &'static str,
        (operation, path): (&'static str, &'static str),
        room: &mut usize,
        entries: &mut Vec<CatalogEntry>,
    ) -> Result<(), ProviderError> {
        let decode = |row: &Value| {
            let object = decode::object(row, path)?;
            let id = decode::id_of(object, wire::ID_NAMES, wire::ID, path)?;
            let name = object.get("name").and_then(Value::as_str).unwrap_or_default().to_owned();
            let privileged = catalog == ROLE && name == wire::ADMINISTRATOR;
            Ok((id.clone(), Some(CatalogEntry { catalog, id, name, privileged })))
        };
        let mut take = |entry: CatalogEntry| {
            let size = size_of::<CatalogEntry>() + entry.id.len() + entry.name.len();
            *room = room.checked_sub(size).ok_or_else(|| too_large(path, " of entries", CATALOG))?;
            entries.push(entry);
            Ok(())
        };
        self.rows(&Collection { operation, path, decode: Box::new(decode) }, None, &mut take).await
    }
}

/// Decodes a row: its id, and what it is unless it is left out.
type Decode<'a, T> = dyn Fn(&Value) -> Result<(String, Option<T>), ProviderError> + Send + Sync + 'a;

/// A collection: its name in metrics, its path, and what a row is.
struct Collection<'a, T> {
    operation: &'static str,
    path: &'static str,
    decode: Box<Decode<'a, T>>,
}

/// The path of one user or group.
///
/// Errors: `Invalid` for an id of another form.
fn one(account_kind: AccountKind, id: &str) -> Result<String, ProviderError> {
    entry(wire::path(account_kind), id, wire::ID)
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

    async fn list(&self, account_kind: AccountKind, visit: Visit<'_>) -> Result<(), ProviderError> {
        self.accounts(account_kind, None, visit).await
    }

    /// Roles and projects, by id and name only.
    async fn catalog(&self) -> Result<Catalog, ProviderError> {
        let (mut entries, mut room) = (Vec::new(), CATALOG);
        for (catalog, call) in [(ROLE, ("roles.list", "/roles")), (wire::PROJECT, ("projects.list", "/projects"))] {
            self.entries(catalog, call, &mut room, &mut entries).await?;
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
        let call = Call::new(operation(account_kind, Verb::Read), Method::GET, one(account_kind, id)?);
        let row = found(self.call(call).await)?.filter(wire::is_there);
        let shown = row.map(|row| wire::account(account_kind, &row)).transpose()?;
        shown.map(|account| asked_for(id, account, wire::path(account_kind))).transpose()
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
        let path = one(account_kind, &current.id)?;
        let call = Call::new(operation(account_kind, Verb::Update), Method::PATCH, path).json(body);
        let answer = self.session.send(&self.transport, call).await?;
        if !answer.is_success() {
            return Err(wire::refusal(&answer));
        }
        decode::done(&answer)?;
        // The SDK ignores the body of this answer; usher only notices another account in it.
        ensure_changed(&current.id, &answer.json_or_null(), wire::ID_NAMES, wire::path(account_kind))
    }

    async fn delete(&self, account_kind: AccountKind, id: &str) -> Result<(), ProviderError> {
        let call = Call::new(operation(account_kind, Verb::Delete), Method::DELETE, one(account_kind, id)?);
        let answer = self.session.send(&self.transport, call).await?;
        if answer.is_success() { decode::done(&answer) } else { Err(wire::refusal(&answer)) }
    }
}
