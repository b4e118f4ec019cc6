//! Amani identity verification: URLs and calls; shapes are in `wire`, the login in `auth`.
//!
//! Sources: documentation.amani.ai, pages `documents/api` and `documents/api/create_new_user`. They do not document how
//! users are listed or read, so both calls are assumed and may be missing.

mod auth;
pub(super) mod wire;

use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use reqwest::Method;
use secrecy::SecretString;
use serde_json::Value;

use super::decode;
use super::error::{ErrorKind, ProviderError};
use super::http::{Call, Transport};
use super::listing::{Listing, Visit};
use super::resource::{asked_for, ensure_changed, entry};
use super::session::Session;
use super::{Access, Provider};
use crate::api::credential_provider::AmaniAccess;
use crate::api::{PlatformGroupSpec, PlatformUserSpec};
use crate::plan::{
    Account, AccountKind, Capabilities, Catalog, Changes, Desired, GroupSupport, Limits, Rejection, Switch, Visibility,
};
use auth::AmaniLogin;

/// Users (seed 001): no slash at the end.
const USERS: &str = "/api/v2/user";
/// The message where a PATCH needs a password and there is none.
const NO_PASSWORD: &str = "this Amani takes no change without the user's password: set spec.passwordSecretRef, \
    or remove patchRequiresCredentials from the ProviderCredential";
/// The message for every write to a role.
const READ_ONLY: &str = "Amani's roles are read only: make or change the role in Amani Studio";

/// The capabilities of Amani.
pub const CAPABILITIES: Capabilities = Capabilities {
    user_fields: wire::USER,
    group_fields: wire::GROUP,
    visibility: Visibility::Full,
    filter: false,
    updates: true,
    change_needs_password: false,
    deletes: false,
    switch: Some(Switch { field: "is_active", blocked: false }),
    groups: GroupSupport::ReadOnly,
    named_roles: false,
    checkable: true,
    default_limits: Limits { per_minute: 120, burst: 20, concurrency: 4 },
    secret_fields: &["password", "refresh", "token"],
};

/// The capabilities of a server without a listing of users, which no document promises.
const UNLISTED: Capabilities = Capabilities { visibility: Visibility::NoListing, ..CAPABILITIES };
/// The capabilities of a server that requires e-mail and password in every PATCH, as the table of seed 001 has it.
const INSISTING: Capabilities = Capabilities { change_needs_password: true, ..CAPABILITIES };
/// The capabilities of a server to which both apply.
const UNLISTED_INSISTING: Capabilities = Capabilities { visibility: Visibility::NoListing, ..INSISTING };

/// One credential's way to Amani.
pub struct Amani {
    transport: Transport,
    session: Session<AmaniLogin>,
    username: Option<String>,
    patch_requires_credentials: bool,
    /// Whether the last listing of users was answered with "no such call".
    unlisted: AtomicBool,
    /// Whether a user was read by its id, so that this call exists and its 404 is about the user.
    shown: AtomicBool,
    /// Whether reading by id was tried with a user that exists.
    tried: AtomicBool,
}

impl Amani {
    /// Errors: a Secret without `username` + `password` or `token`, or an address that may not be used.
    pub fn connect(settings: &AmaniAccess, access: &Access<'_>) -> Result<Self, Rejection> {
        let transport = access.transport(&settings.url)?;
        let login = AmaniLogin::new(transport.clone(), access.secret)?;
        Ok(Self {
            transport,
            username: login.username(),
            session: Session::new(login),
            patch_requires_credentials: settings.patch_requires_credentials.unwrap_or(false),
            unlisted: AtomicBool::new(false),
            shown: AtomicBool::new(false),
            tried: AtomicBool::new(false),
        })
    }

    /// The JSON of a successful answer.
    async fn call(&self, call: Call) -> Result<Value, ProviderError> {
        let answer = self.session.send(&self.transport, call).await?;
        match answer.status {
            200..300 => answer.content(),
            _ => Err(wire::refusal(&answer)),
        }
    }

    /// Takes the accounts of the first page, or of the page that `query` selects.
    async fn page(
        &self,
        account_kind: AccountKind,
        query: &wire::Query,
        listing: &mut Listing<'_>,
    ) -> Result<wire::Page, ProviderError> {
        listing.begin_page()?;
        let (operation, path) = wire::listing(account_kind);
        let call = Call::new(operation, Method::GET, path);
        let call = query.iter().fold(call, |call, (name, value)| call.query(name.clone(), value));
        let take = |row: &Value| {
            let account = wire::account(account_kind, row)?;
            listing.take_account(account)
        };
        wire::page(account_kind, &decode::rows(call, wire::LIST, path, |call| self.call(call), take).await?)
    }

    /// The first page: in a fixed order, unless the server refuses to order.
    async fn first_page(
        &self,
        account_kind: AccountKind,
        listing: &mut Listing<'_>,
    ) -> Result<wire::Page, ProviderError> {
        if account_kind == AccountKind::Group {
            return self.page(account_kind, &wire::Query::new(), listing).await;
        }
        let mut first = self.page(account_kind, &wire::ordered(), listing).await;
        if first.as_ref().is_err_and(|error| error.kind == ErrorKind::Invalid) {
            first = self.page(account_kind, &wire::Query::new(), listing).await;
        }
        let first = first.map_err(|error| no_page(account_kind, true, error));
        match &first {
            Ok(_) => self.unlisted.store(false, Ordering::Relaxed),
            Err(error) if error.kind == ErrorKind::Unsupported => self.unlisted.store(true, Ordering::Relaxed),
            Err(_) => {}
        }
        first
    }

    /// Takes the accounts of all pages, each of which names the next one.
    async fn pages(&self, account_kind: AccountKind, listing: &mut Listing<'_>) -> Result<(), ProviderError> {
        let (_, path) = wire::listing(account_kind);
        let mut page = self.first_page(account_kind, listing).await?;
        let mut before = 0;
        loop {
            page.count.map_or(Ok(()), |count| listing.observe_total(count))?;
            let (rows, is_over) = (listing.rows(), page.count.is_some_and(|count| listing.rows() > count));
            let Some(next) = page.next.filter(|_| !is_over) else { return Ok(()) };
            if rows == before || !listing.follows(&next) {
                return Err(decode::unexpected_answer(path, "a next page that does not follow this one"));
            }
            before = rows;
            let later = self.page(account_kind, &next, listing).await;
            page = later.map_err(|error| no_page(account_kind, false, error))?;
        }
    }

    /// The role with this id, from the whole listing.
    async fn role(&self, id: &str) -> Result<Option<Account>, ProviderError> {
        let mut role = None;
        let mut take = |account: Account| {
            role = role.take().or(Some(account).filter(|account| account.id == id));
            Ok(())
        };
        self.list(AccountKind::Group, &mut take).await?;
        Ok(role)
    }

    /// The user with this id as listed. If it is missing, another user is read by its id once: that shows whether the
    /// call exists, and if so the next missing user costs no listing.
    async fn listed(&self, id: &str) -> Result<Option<Account>, ProviderError> {
        let (mut listed, mut other) = (None, None);
        let mut take = |account: Account| {
            if account.id.eq_ignore_ascii_case(id) {
                listed = Some(account);
            } else if other.is_none() {
                other = Some(account.id);
            }
            Ok(())
        };
        self.list(AccountKind::User, &mut take).await?;
        if listed.is_some() {
            return Ok(listed);
        }
        if let Some(other) = other.filter(|_| !self.tried.swap(true, Ordering::Relaxed)) {
            self.shown.store(self.show(&other).await.is_ok(), Ordering::Relaxed);
        }
        Ok(None)
    }

    /// The JSON of one user.
    async fn show(&self, id: &str) -> Result<Value, ProviderError> {
        self.call(Call::new("users.read", Method::GET, user(id)?)).await
    }

    /// `changes` with the e-mail address, which some servers require in every PATCH beside the password (seed 001).
    fn with_credentials(
        &self,
        current: &Account,
        changes: &Changes,
        password: Option<&SecretString>,
    ) -> Result<Changes, ProviderError> {
        let mut changes = changes.clone();
        if !self.patch_requires_credentials {
            return Ok(changes);
        }
        if password.is_none() {
            return Err(ProviderError::refused(ErrorKind::Invalid, NO_PASSWORD));
        }
        if let Some(email) = current.fields.get("email") {
            changes.fields.entry("email".into()).or_insert_with(|| email.clone());
        }
        Ok(changes)
    }
}

/// The path of one user.
///
/// Errors: `Invalid` for an id of another form.
fn user(id: &str) -> Result<String, ProviderError> {
    entry(USERS, id, wire::id_shape(AccountKind::User))
}

fn unsupported(message: &str) -> ProviderError {
    ProviderError::refused(ErrorKind::Unsupported, message)
}

/// The meaning of "not found" for a page: the server lacks the call if it is the `first` page, and the listing has
/// moved if it is a later one.
fn no_page(account_kind: AccountKind, first: bool, mut error: ProviderError) -> ProviderError {
    if error.kind == ErrorKind::NotFound && !first {
        error.kind = ErrorKind::Unavailable;
    } else if matches!(error.kind, ErrorKind::NotFound | ErrorKind::Unsupported) && account_kind == AccountKind::User {
        error.kind = ErrorKind::Unsupported;
        error.message += ": this server lists no users, so none can be looked up; or the url is wrong";
    }
    error
}

#[async_trait]
impl Provider for Amani {
    fn capabilities(&self) -> &'static Capabilities {
        match (self.unlisted.load(Ordering::Relaxed), self.patch_requires_credentials) {
            (false, false) => &CAPABILITIES,
            (false, true) => &INSISTING,
            (true, false) => &UNLISTED,
            (true, true) => &UNLISTED_INSISTING,
        }
    }

    fn place(&self) -> String {
        self.transport.place()
    }

    fn desire_user(&self, spec: &PlatformUserSpec, _: &Catalog) -> Result<Desired, Rejection> {
        Ok(wire::desire_user(spec))
    }

    fn desire_group(&self, name: &str, spec: &PlatformGroupSpec, _: &Catalog) -> Result<Desired, Rejection> {
        Ok(wire::desire_group(name, spec))
    }

    /// The roles are the cheapest documented call. They prove the login but do not name it; the accepted token may.
    async fn whoami(&self) -> Result<Option<String>, ProviderError> {
        let mut ignore = |_| Ok(());
        let (_, path) = wire::listing(AccountKind::Group);
        self.page(AccountKind::Group, &wire::Query::new(), &mut Listing::new(path, &mut ignore)).await?;
        Ok(self.session.current().await.as_ref().and_then(auth::user_of))
    }

    fn login(&self) -> Option<String> {
        self.username.clone()
    }

    async fn list(&self, account_kind: AccountKind, visit: Visit<'_>) -> Result<(), ProviderError> {
        let (_, path) = wire::listing(account_kind);
        let mut listing = Listing::new(path, visit);
        loop {
            self.pages(account_kind, &mut listing).await?;
            if listing.is_complete()? {
                return Ok(());
            }
        }
    }

    /// The listing answers for a role, which has no address of its own, and for a user where the server accepts only
    /// PATCH there.
    ///
    /// Errors: `Unsupported` where users are neither listed nor shown.
    async fn read(&self, account_kind: AccountKind, id: &str) -> Result<Option<Account>, ProviderError> {
        if account_kind == AccountKind::Group {
            return self.role(id).await;
        }
        match self.show(id).await {
            Ok(entry) => {
                self.shown.store(true, Ordering::Relaxed);
                asked_for(id, wire::account(account_kind, &entry)?, USERS).map(Some)
            }
            Err(error) if error.kind == ErrorKind::NotFound && self.shown.load(Ordering::Relaxed) => Ok(None),
            Err(error) if !matches!(error.kind, ErrorKind::NotFound | ErrorKind::Unsupported) => Err(error),
            Err(error) if self.unlisted.load(Ordering::Relaxed) => Err(no_page(account_kind, true, error)),
            Err(_) => self.listed(id).await,
        }
    }

    async fn create(
        &self,
        account_kind: AccountKind,
        changes: &Changes,
        password: Option<&SecretString>,
    ) -> Result<Account, ProviderError> {
        if account_kind == AccountKind::Group {
            return Err(unsupported(READ_ONLY));
        }
        let body = wire::body(changes.fields.clone(), changes.groups.as_ref(), password);
        let made = self.call(Call::new("users.create", Method::POST, USERS).json(body)).await?;
        wire::account(account_kind, &made)
    }

    async fn update(
        &self,
        account_kind: AccountKind,
        current: &Account,
        changes: &Changes,
        password: Option<&SecretString>,
    ) -> Result<(), ProviderError> {
        if account_kind == AccountKind::Group {
            return Err(unsupported(READ_ONLY));
        }
        let changes = self.with_credentials(current, changes, password)?;
        let body = wire::body(changes.fields, changes.groups.as_ref(), password);
        let path = user(&current.id)?;
        let answer = self.call(Call::new("users.update", Method::PATCH, path).json(body)).await?;
        ensure_changed(&current.id, &answer, wire::ID_NAMES, USERS)
    }

    async fn delete(&self, account_kind: AccountKind, _: &str) -> Result<(), ProviderError> {
        Err(unsupported(match account_kind {
            AccountKind::User => "Amani cannot remove users: set spec.deletionPolicy to Disable or Orphan",
            AccountKind::Group => READ_ONLY,
        }))
    }
}
