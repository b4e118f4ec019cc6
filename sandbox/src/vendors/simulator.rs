//! The handle on a simulated vendor: tests read its calls and accounts, and change them without the operator.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use serde_json::{Map, Value};
use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::fault::Fault;
use super::intercept::Intercept;
use super::listener::CutListener;
use super::server::{self, Call, Desk, Shared};
use super::state::{State, merge};
use super::table::{Table, text};
use super::{Options, Vendor, operation};

/// A running vendor. It stops when the last clone of its handle is dropped.
#[derive(Clone)]
pub struct Simulator {
    shared: Arc<Shared>,
    finished: CancellationToken,
    _stop: Arc<DropGuard>,
}

impl fmt::Debug for Simulator {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Simulator")
            .field("vendor", &self.vendor())
            .field("url", &self.url())
            .finish_non_exhaustive()
    }
}

/// First of the ports that simulators take in turn: below the ephemeral ports of common systems.
const FIRST_PORT: u16 = 10_000;
/// Ports that they take.
const PORTS: u16 = 22_000;

/// Listens on `address`; without a port, on one that no simulator of this process had before, because a late call to a stopped
/// simulator must not reach another one.
async fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    static NEXT: OnceLock<AtomicU16> = OnceLock::new();
    #[expect(clippy::cast_possible_truncation, reason = "less than PORTS")]
    let first = || AtomicU16::new((std::process::id() % u32::from(PORTS)) as u16);
    if address.port() != 0 {
        return TcpListener::bind(address).await;
    }
    let next = NEXT.get_or_init(first);
    loop {
        let port = FIRST_PORT + next.fetch_add(1, Ordering::Relaxed) % PORTS;
        match TcpListener::bind((address.ip(), port)).await {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {}
            other => return other,
        }
    }
}

impl Simulator {
    /// Starts a vendor on a free port.
    pub async fn start(vendor: Vendor) -> io::Result<Self> {
        Self::start_with(vendor, Options::default()).await
    }

    /// Starts a vendor with options. Errors: it cannot listen on the address.
    pub async fn start_with(vendor: Vendor, options: Options) -> io::Result<Self> {
        let listener = CutListener::new(listen(options.address).await?)?;
        let api = vendor.api();
        let secret = api.secret().iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        let mut state = State::new(options, secret, api.user_keys());
        api.seed(&mut state);
        let shared = Arc::new(Shared::new(vendor, &listener, state));
        let finished = CancellationToken::new();
        let (served, done) = (shared.clone(), finished.clone());
        tokio::spawn(async move {
            server::run(listener, served).await;
            done.cancel();
        });
        Ok(Self { _stop: Arc::new(shared.stop.clone().drop_guard()), shared, finished })
    }

    /// Closes the port and every connection; calls and accounts can still be read.
    pub async fn stop(&self) {
        self.shared.stop.cancel();
        self.finished.cancelled().await;
    }

    /// Which vendor it is.
    #[must_use]
    pub fn vendor(&self) -> Vendor {
        self.shared.vendor
    }

    /// The address as a `ProviderCredential` writes it.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}{}", self.shared.address, self.shared.api().base())
    }

    /// The credentials the vendor accepts, keyed as the Kubernetes Secret. Visibly fake.
    #[must_use]
    pub fn secret(&self) -> BTreeMap<String, String> {
        self.shared.look().state.secret.clone()
    }

    /// Every token issued so far, accepted or not. Visibly fake.
    #[must_use]
    pub fn tokens(&self) -> Vec<String> {
        self.shared.look().state.sessions.given.iter().cloned().collect()
    }

    /// Changes a key of the accepted credentials; open sessions stay.
    pub fn set_secret(&self, key: &str, value: &str) {
        self.shared.change(|desk| {
            desk.state.sessions.reinstate(value);
            desk.state.secret.insert(key.to_owned(), value.to_owned());
        });
    }

    /// Refuses every token known so far: issued ones, and the Secret's token until [`Self::set_secret`].
    pub fn revoke_tokens(&self) {
        self.shared.change(|desk| {
            let ready = desk.state.secret.get("token");
            desk.state.sessions.revoke(ready);
        });
    }

    /// Expires all issued access tokens now; refresh tokens stay.
    pub fn expire_access_tokens(&self) {
        self.shared.change(|desk| desk.state.sessions.expire_access());
    }

    /// Every call so far, in the order of their answers.
    #[must_use]
    pub fn calls(&self) -> Vec<Call> {
        self.shared.look().calls.clone()
    }

    /// How many calls were of this operation.
    #[must_use]
    pub fn count(&self, operation: &str) -> usize {
        let desk = self.shared.look();
        desk.calls.iter().filter(|call| call.operation == operation).count()
    }

    /// The calls that change users, groups or applications, whether they succeeded or not.
    #[must_use]
    pub fn writes(&self) -> Vec<Call> {
        let mut calls = self.calls();
        calls.retain(|call| operation::is_write(call.operation));
        calls
    }

    /// Forgets the calls so far.
    pub fn clear_calls(&self) {
        self.shared.change(|desk| desk.calls.clear());
    }

    /// Requests that no well-made client sends.
    #[must_use]
    pub fn violations(&self) -> Vec<String> {
        self.shared.look().violations.clone()
    }

    /// Switches a fault on. Of several that strike an operation the oldest goes first.
    pub fn fault(&self, fault: Fault) {
        self.shared.change(|desk| desk.faults.push(fault));
    }

    /// Switches every fault off.
    pub fn heal(&self) {
        self.shared.change(|desk| desk.faults.clear());
    }

    /// Refuses connections from now on and cuts open ones; the vendor keeps the port.
    pub async fn shut_port(&self) {
        self.set_port(false).await;
    }

    /// Takes connections again.
    pub async fn open_port(&self) {
        self.set_port(true).await;
    }

    async fn set_port(&self, open: bool) {
        tokio::select! {
            () = self.shared.door.set(open) => {}
            () = self.finished.cancelled() => {}
        }
    }

    /// Puts an interceptor in charge of all calls from now on, or none.
    pub fn intercept(&self, intercept: Option<Intercept>) {
        self.shared.gatekeeper.set(intercept);
    }

    /// All users, with the fields that the vendor never shows.
    #[must_use]
    pub fn users(&self) -> Vec<Value> {
        Rows::Users.all(&self.shared)
    }

    /// All groups, with the fields that the vendor never shows.
    #[must_use]
    pub fn groups(&self) -> Vec<Value> {
        Rows::Groups.all(&self.shared)
    }

    /// The vendor's roles, where they are neither users nor groups (`OZmap`, Industrility).
    #[must_use]
    pub fn roles(&self) -> Vec<Value> {
        self.shared.look().state.roles.iter().cloned().collect()
    }

    /// The vendor's projects (`OZmap`).
    #[must_use]
    pub fn projects(&self) -> Vec<Value> {
        self.shared.look().state.projects.iter().cloned().collect()
    }

    /// One user, by id, username or e-mail.
    #[must_use]
    pub fn user(&self, key_or_id: &str) -> Option<Value> {
        Rows::Users.one(&self.shared, key_or_id)
    }

    /// One group, by id or name.
    #[must_use]
    pub fn group(&self, name_or_id: &str) -> Option<Value> {
        Rows::Groups.one(&self.shared, name_or_id)
    }

    /// Resolves at the next change of state or call after this was called, whenever it is awaited.
    pub fn changed(&self) -> impl Future<Output = ()> + Send + use<> {
        let mut changes = self.shared.subscribe();
        async move {
            // The sender lives as long as the simulator; without it nothing changes any more.
            let _ = changes.changed().await;
        }
    }

    /// Waits until the condition holds. False if it did not within the time.
    pub async fn wait_until(&self, within: Duration, mut condition: impl FnMut(&Self) -> bool) -> bool {
        let waiting = async {
            loop {
                let changed = self.changed();
                if condition(self) {
                    return;
                }
                changed.await;
            }
        };
        tokio::time::timeout(within, waiting).await.is_ok()
    }
}

/// Changes by hand at the vendor, without the operator.
#[expect(clippy::must_use_candidate, reason = "acts, whose result a test may well ignore")]
impl Simulator {
    /// Creates a user by hand at the vendor and returns its id. It checks nothing and fills in missing fields.
    pub fn put_user(&self, user: Value) -> String {
        Rows::Users.put(&self.shared, user)
    }

    /// Creates a group by hand at the vendor and returns its id. It checks nothing and fills in missing fields.
    pub fn put_group(&self, group: Value) -> String {
        Rows::Groups.put(&self.shared, group)
    }

    /// Changes a user by hand: objects key by key, everything else replaced. False if there is none.
    pub fn edit_user(&self, key_or_id: &str, patch: Value) -> bool {
        Rows::Users.edit(&self.shared, key_or_id, patch)
    }

    /// Changes a group by hand, likewise.
    pub fn edit_group(&self, name_or_id: &str, patch: Value) -> bool {
        Rows::Groups.edit(&self.shared, name_or_id, patch)
    }

    /// Removes a user by hand. False if there is none.
    pub fn remove_user(&self, key_or_id: &str) -> bool {
        Rows::Users.remove(&self.shared, key_or_id)
    }

    /// Removes a group by hand, likewise.
    pub fn remove_group(&self, name_or_id: &str) -> bool {
        Rows::Groups.remove(&self.shared, name_or_id)
    }
}

/// Users or groups, for changes by hand.
#[derive(Clone, Copy, Debug)]
pub(super) enum Rows {
    Users,
    Groups,
}

/// A change by hand, which reads show as late as one by a call.
fn by_hand<T>(shared: &Shared, change: impl FnOnce(&mut Desk) -> T) -> T {
    shared.change(|desk| {
        desk.replica.keep(&desk.state);
        change(desk)
    })
}

impl Rows {
    fn table(self, state: &mut State) -> &mut Table {
        match self {
            Self::Users => &mut state.users,
            Self::Groups => &mut state.groups,
        }
    }

    fn whole(self, shared: &Shared, state: &State, row: &Value) -> Value {
        match self {
            Self::Users => row.clone(),
            Self::Groups => shared.api().whole_group(state, row),
        }
    }

    pub(super) fn all(self, shared: &Shared) -> Vec<Value> {
        let mut desk = shared.look();
        let rows: Vec<Value> = self.table(&mut desk.state).iter().cloned().collect();
        rows.iter().map(|row| self.whole(shared, &desk.state, row)).collect()
    }

    fn one(self, shared: &Shared, key_or_id: &str) -> Option<Value> {
        let mut desk = shared.look();
        let row = self.table(&mut desk.state).find(key_or_id)?.clone();
        Some(self.whole(shared, &desk.state, &row))
    }

    pub(super) fn put(self, shared: &Shared, given: Value) -> String {
        let given = match given {
            Value::Object(fields) => fields,
            _ => Map::new(),
        };
        by_hand(shared, |desk| {
            let state = &mut desk.state;
            let row = match self {
                Self::Users => shared.api().new_user(state, given),
                Self::Groups => shared.api().new_group(state, given),
            };
            self.table(state).put(row)
        })
    }

    pub(super) fn edit(self, shared: &Shared, key_or_id: &str, patch: Value) -> bool {
        by_hand(shared, |desk| {
            let table = self.table(&mut desk.state);
            let Some(before) = table.find(key_or_id).cloned() else {
                return false;
            };
            let mut after = before.clone();
            merge(&mut after, patch);
            shared.api().touch(&mut after);
            table.put(after.clone());
            if matches!(self, Self::Groups) {
                let state = &mut desk.state;
                shared.api().group_changed(state, &before, Some(&after));
            }
            true
        })
    }

    pub(super) fn remove(self, shared: &Shared, key_or_id: &str) -> bool {
        by_hand(shared, |desk| {
            let table = self.table(&mut desk.state);
            let Some(id) = table.find(key_or_id).map(|row| text(&row["id"])) else {
                return false;
            };
            let removed = table.remove(&id);
            if let (Self::Groups, Some(before)) = (self, removed) {
                shared.api().group_changed(&mut desk.state, &before, None);
            }
            true
        })
    }
}
