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
use super::resource::entry;
use super::session::Session;
use super::{Access, Provider};
use crate::api::credential::AmaniAccess;
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

    /// The first page, or the page that `query` selects.
    async fn page(&self, account_kind: AccountKind, query: &wire::Query) -> Result<wire::Page, ProviderError> {
        let (operation, path) = wire::listing(account_kind);
        let call = Call::new(operation, Method::GET, path);
        let call = query.iter().fold(call, |call, (name, value)| call.query(name.clone(), value));
        let first = query.is_empty();
        let answer = self.call(call).await.map_err(|error| no_page(account_kind, first, error));
        if account_kind == AccountKind::User && first {
            match &answer {
                Ok(_) => self.unlisted.store(false, Ordering::Relaxed),
                Err(error) if error.kind == ErrorKind::Unsupported => self.unlisted.store(true, Ordering::Relaxed),
                Err(_) => {}
            }
        }
        let answer = answer?;
        wire::page(account_kind, &answer)
    }

    /// The role with this id, from the whole listing.
    async fn role(&self, id: &str) -> Result<Option<Account>, ProviderError> {
        Ok(self.list(AccountKind::Group).await?.into_iter().find(|account| account.id == id))
    }

    /// The user with this id as listed. If it is missing, another user is read by its id once: that shows whether the
    /// call exists, and if so the next missing user costs no listing.
    async fn listed(&self, id: &str) -> Result<Option<Account>, ProviderError> {
        let mut listed = self.list(AccountKind::User).await?;
        if let Some(at) = listed.iter().position(|account| account.id == id) {
            return Ok(Some(listed.swap_remove(at)));
        }
        if let Some(other) = listed.first().filter(|_| !self.tried.swap(true, Ordering::Relaxed)) {
            self.shown.store(self.show(&other.id).await.is_ok(), Ordering::Relaxed);
        }
        Ok(None)
    }

    /// The JSON of one user.
    async fn show(&self, id: &str) -> Result<Value, ProviderError> {
        self.call(Call::new("users.read", Method::GET, entry(USERS, id))).await
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
        self.page(AccountKind::Group, &wire::Query::new()).await?;
        Ok(self.session.current().await.as_ref().and_then(auth::user_of))
    }

    fn login(&self) -> Option<String> {
        self.username.clone()
    }

    async fn list(&self, account_kind: AccountKind) -> Result<Vec<Account>, ProviderError> {
        let (_, path) = wire::listing(account_kind);
        let (mut accounts, mut promised) = (Vec::new(), decode::Total::default());
        let mut asked = vec![wire::Query::new()];
        while let Some(query) = asked.last() {
            let wire::Page { accounts: entries, count, next } = self.page(account_kind, query).await?;
            let is_barren = entries.is_empty();
            count.map_or(Ok(()), |count| promised.observe(count, path))?;
            accounts.extend(entries);
            let (here, whole) = (accounts.len(), count.unwrap_or(accounts.len()));
            if here > whole || (here < whole && next.is_none()) {
                return Err(decode::unexpected_answer(
                    path,
                    &format!("{here} entries of {whole}: a listing that is not whole"),
                ));
            }
            let Some(next) = next else { break };
            if is_barren || asked.contains(&next) {
                return Err(decode::unexpected_answer(path, "a next page that does not follow this one"));
            }
            asked.push(next);
        }
        decode::distinct(accounts, path)
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
                wire::account(account_kind, &entry).map(Some)
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
        let path = entry(USERS, &current.id);
        self.call(Call::new("users.update", Method::PATCH, path).json(body)).await?;
        Ok(())
    }

    async fn delete(&self, account_kind: AccountKind, _: &str) -> Result<(), ProviderError> {
        Err(unsupported(match account_kind {
            AccountKind::User => "Amani cannot remove users: set spec.deletionPolicy to Disable or Orphan",
            AccountKind::Group => READ_ONLY,
        }))
    }
}
