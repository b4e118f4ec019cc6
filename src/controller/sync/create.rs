//! An account that is not bound yet: looked for, then made, claimed, adopted or bound by its id; each effect is recorded before the next.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use jiff::{SignedDuration, Timestamp};
use kube::ResourceExt;

use super::checks::WITH_ID;
use super::reconciliation::Reconciliation;
use crate::api::Reason;
use crate::api::status::Creating;
use crate::api::user::AdoptionPolicy;
use crate::controller::cluster::status as record;
use crate::controller::cluster::status::Cached;
use crate::controller::connection::in_flight::CreateCall;
use crate::controller::connection::{breaker as trial, in_flight as pending_create};
use crate::controller::outcome::{Change, Stop};
use crate::controller::ownership::conflict;
use crate::controller::resolve::password::Password;
use crate::controller::resolve::{access, object as resolve, password};
use crate::plan::{Account, AccountKind, Changes, Desired, Field, Key, Step, first_key, matches_key, names};
use crate::providers::{Delivery, Priority, ProviderError};

/// When to look again while another object makes an account with the same key.
const RIVAL: SignedDuration = SignedDuration::from_secs(1);

/// What a create with unknown end is looked for by: the key it was made with, whatever the manifest says now.
pub fn made_as(table: &[Field], creating: &Creating) -> Desired {
    let keys = first_key(table).map(|field| Key { field, value: creating.key.clone() }).into_iter().collect();
    Desired { keys, ..Desired::default() }
}

/// Natural keys that are being looked for and made right now: two objects that want the same never both find it absent.
#[derive(Default)]
pub struct KeyLocks(Arc<Mutex<HashSet<LockedKey>>>);

/// The credential's account, users or groups, key in lower case.
type LockedKey = (String, AccountKind, String);

/// The right to make an account with one key, given back on drop.
pub struct KeyGuard(Arc<Mutex<HashSet<LockedKey>>>, LockedKey);

impl KeyLocks {
    /// `None` while another object makes an account with this key.
    pub fn try_lock(&self, key: LockedKey) -> Option<KeyGuard> {
        let fresh = self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(key.clone());
        fresh.then(|| KeyGuard(self.0.clone(), key))
    }
}

impl Drop for KeyGuard {
    fn drop(&mut self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.1);
    }
}

impl<K: Cached> Reconciliation<'_, K> {
    /// An account that is not bound: looked for, then made, claimed or taken.
    pub async fn make(&mut self) -> Result<Change, Stop> {
        if self.connection.is_deleting {
            let why = "it is being deleted and starts nothing new";
            return Err(Stop::waiting(Reason::WaitingForCredential, &self.connection.key, why));
        }
        self.wait_out_doubt()?;
        conflict::ensure_first(self.context, &*self.object, self.connection.vendor)?;
        let key = (self.connection.account.clone(), K::ACCOUNT_KIND, self.desired.key().to_ascii_lowercase());
        let Some(_guard) = self.context.key_locks.try_lock(key) else {
            return Err(Stop::CreatePending(Timestamp::now() + RIVAL));
        };
        let _place = self.enter(Priority::New)?;
        if !self.connection.provider.capabilities().shows_accounts() {
            return self.create_unseen().await;
        }
        if let Some(id) = self.object.external_id().map(str::to_owned) {
            return self.bind_existing(&id).await;
        }
        if self.is_unsearchable() {
            return self.create_unseen().await;
        }
        if let Some(account) = self.made_under_another_key().await? {
            return self.claim(account).await;
        }
        if self.reappeared().await? {
            return self.rebind().await;
        }
        let found = self.look_up().await?;
        if !found.is_empty() {
            self.connection.index().shown(K::ACCOUNT_KIND, self.desired.key());
        }
        if self.identity.is_missing() && found.iter().any(|one| Some(&one.id) == self.identity.missing.as_ref()) {
            return self.rebind().await;
        }
        match found.as_slice() {
            [] => self.create().await,
            [one] if self.claims(one) => self.claim(one.clone()).await,
            [one] => {
                conflict::ensure_unbound(self.context, &*self.object, &self.connection, &one.id)?;
                self.clear_doubt().await?;
                self.adopt(one.clone()).await
            }
            several => Err(self.ambiguous(several.len())),
        }
    }

    /// Several accounts match. While a create is in doubt, the API server takes no spec.externalId.
    fn ambiguous(&self, count: usize) -> Stop {
        let (vendor, key) = (self.connection.vendor.title(), self.desired.key());
        let name_one = if self.identity.creating.is_some() { WITH_ID } else { "name one in spec.externalId" };
        let message = format!("{count} accounts of {vendor} match {key}: remove the surplus there, or {name_one}");
        Stop::because(Reason::AmbiguousMatch, message)
    }

    /// Errors: an earlier create may still be under way.
    fn wait_out_doubt(&self) -> Result<(), Stop> {
        let doubt = self.identity.creating.as_ref().and_then(|creating| pending_create::until(self.context, creating));
        doubt.map_or(Ok(()), |until| Err(Stop::CreatePending(until)))
    }

    /// Accounts with the natural key: from a fresh listing for users, by a call of its own where names are not unique or
    /// the listing is older.
    async fn look_up(&self) -> Result<Vec<Account>, Stop> {
        let (connection, table) = (&self.connection, self.connection.table(K::ACCOUNT_KIND));
        let (in_doubt, uid) = (self.identity.creating.is_some(), self.object.uid().unwrap_or_default());
        let wide = {
            let mut index = connection.index();
            let fresh = index.is_fresh(K::ACCOUNT_KIND, self.desired.key(), &uid, Timestamp::now());
            if K::ACCOUNT_KIND == AccountKind::User && fresh && !in_doubt {
                return Ok(index.matching(K::ACCOUNT_KIND, table, &self.desired));
            }
            let many = connection.limiter.waiting_for_new() > index.pages(K::ACCOUNT_KIND);
            K::ACCOUNT_KIND == AccountKind::User && !in_doubt && (many || !connection.provider.capabilities().filter)
        };
        if wide {
            return Err(resolve::ask_for_listing(self.context, &*self.object, connection, K::ACCOUNT_KIND));
        }
        connection.index().answered(&uid);
        if in_doubt {
            return Ok(connection.find_for_sure(self.context, K::ACCOUNT_KIND, &self.desired).await?);
        }
        let found = connection.provider.find(K::ACCOUNT_KIND, &self.desired).await?;
        let was_listed = !connection.index().matching(K::ACCOUNT_KIND, table, &self.desired).is_empty();
        if K::ACCOUNT_KIND == AccountKind::User && found.is_empty() && was_listed {
            // Gone since, or written in other case than the search was asked for.
            return Err(resolve::ask_for_listing(self.context, &*self.object, connection, K::ACCOUNT_KIND));
        }
        Ok(found)
    }

    /// The account of a create with unknown end whose key the manifest has given up since.
    ///
    /// Errors: there are several that it may have made.
    async fn made_under_another_key(&self) -> Result<Option<Account>, Stop> {
        let Some(creating) = self.identity.creating.as_ref().filter(|creating| creating.key != self.desired.key())
        else {
            return Ok(None);
        };
        let then = made_as(self.connection.table(K::ACCOUNT_KIND), creating);
        let found = self.connection.find_for_sure(self.context, K::ACCOUNT_KIND, &then).await?;
        conflict::made_by(self.context, &*self.object, &self.connection, found)
    }

    /// Whether `account` is the one that our create with unknown end made.
    pub fn claims(&self, account: &Account) -> bool {
        let creating = self.identity.creating.as_ref();
        creating.is_some_and(|creating| creating.key == self.desired.key())
            && conflict::is_made_by(self.context, &*self.object, &self.connection, account)
    }

    /// Binds the account that our own lost create made; everything that create may have left open is then due.
    pub async fn claim(&mut self, account: Account) -> Result<Change, Stop> {
        if self.identity.missing.as_ref() != Some(&account.id) {
            self.note_password_of_create();
        }
        self.only_if_binding("bind", &account.id, &self.steps(Some(&account))?)?;
        self.bind(&account, false).await?;
        self.connection.wrote(K::ACCOUNT_KIND, &account.id, Some(account.clone()));
        let steps = self.steps(Some(&account))?;
        self.perform(&account, steps).await?;
        Ok(Change::Created)
    }

    /// The password that went with the create is there, and is sent again only if its value changed since.
    fn note_password_of_create(&mut self) {
        let creating = self.identity.creating.as_mut();
        let Some(sent) = creating.and_then(|creating| creating.password_version.take()) else { return };
        self.password = self.password.clone().after(&sent);
        if self.password.due().is_none() {
            self.identity.password_version = Some(self.password.version().map_or(sent, str::to_owned));
        }
    }

    /// Takes an account that was there before, if the manifest allows.
    async fn adopt(&mut self, account: Account) -> Result<Change, Stop> {
        let policy = self.object.adoption().or(self.connection.spec.adoption_policy).unwrap_or_default();
        if policy == AdoptionPolicy::Never {
            return Err(self.already_exists());
        }
        // A list may show less of an account than its own address does, the rights that forbid to touch it among that.
        let is_lean = K::ACCOUNT_KIND == AccountKind::User && account.groups.is_none();
        let read = if is_lean { self.connection.provider.read(K::ACCOUNT_KIND, &account.id).await? } else { None };
        self.take(read.unwrap_or(account)).await
    }

    /// Binds the account that `spec.externalId` names, if it is the one the manifest describes.
    async fn bind_existing(&mut self, id: &str) -> Result<Change, Stop> {
        access::only_if_existing_allowed(&self.connection, &*self.object, "spec.externalId")?;
        let vendor = self.connection.vendor.title();
        let Some(account) = self.connection.provider.read(K::ACCOUNT_KIND, id).await? else {
            return Err(Stop::because(
                Reason::NotFound,
                format!("spec.externalId: {vendor} has no {id}; correct the id"),
            ));
        };
        let table = self.connection.table(K::ACCOUNT_KIND);
        if K::ACCOUNT_KIND == AccountKind::User
            && !self.desired.keys.iter().any(|key| matches_key(table, &account, key))
        {
            let found = names(table, &account).next().unwrap_or("another account");
            let found = access::masked(&self.connection, &*self.object, found);
            let message = format!(
                "spec.externalId: {id} is {found} at {vendor}, not {}; correct the id or the e-mail",
                self.desired.key()
            );
            return Err(Stop::because(Reason::Invalid, message));
        }
        self.take(account).await
    }

    async fn take(&mut self, account: Account) -> Result<Change, Stop> {
        let field = if self.object.external_id().is_some() { "spec.externalId" } else { "spec.adoptionPolicy" };
        access::only_if_existing_allowed(&self.connection, &*self.object, field)?;
        conflict::ensure_unbound(self.context, &*self.object, &self.connection, &account.id)?;
        self.check_rights(&account)?;
        // The password that is there stays: the present value of the Secret is the baseline.
        match &self.password {
            Password::Due(_, version) => self.password = Password::Sent(version.clone()),
            Password::Missing(_) => self.password = Password::Sent(password::ADOPTED.into()),
            Password::Sent(_) | Password::Unmanaged => {}
        }
        if self.identity.is_missing() {
            self.forget_missing();
        }
        let steps = self.steps(Some(&account))?;
        self.only_if_binding("adopt", &account.id, &steps)?;
        self.claim_planned_groups(&account);
        self.bind(&account, true).await?;
        self.connection.wrote(K::ACCOUNT_KIND, &account.id, Some(account.clone()));
        self.perform(&account, steps).await?;
        Ok(Change::Adopted)
    }

    /// Makes an account that nobody can look for. One that an earlier create with unknown end may have made is settled first, by
    /// repeating that very create: under another key it would be left behind, and nobody would know.
    async fn create_unseen(&mut self) -> Result<Change, Stop> {
        if let Some(id) = self.connection.provider.id_from_key(self.desired.key()) {
            conflict::ensure_unbound(self.context, &*self.object, &self.connection, &id)?;
        }
        match &self.identity.creating {
            Some(Creating { key, .. }) if key != self.desired.key() => {
                let vendor = self.connection.vendor.title();
                let message = format!(
                    "{vendor} may have made {key} already, and offers no way to look: set the manifest back to {key}, which settles it; or delete this object, look for that account at {vendor}, and make a new object"
                );
                Err(Stop::because(Reason::Unsupported, message))
            }
            _ => self.create().await,
        }
    }

    /// Makes the account: `creating` first, then the call, then the id.
    async fn create(&mut self) -> Result<Change, Stop> {
        self.only_if_worth_trying()?;
        self.check_creation()?;
        let before = self.identity.clone();
        if before.is_missing() {
            self.forget_missing();
        }
        let mut steps = self.steps(None)?;
        self.only_if_enforced(self.desired.key(), &steps).await?;
        // What another key is said to be taken for is news, and no word about a create of ours.
        let in_doubt = self.identity.creating.as_ref().is_some_and(|creating| creating.key == self.desired.key());
        let Step::Create(changes) = steps.remove(0) else { return Err(Stop::Queued) };
        let probe = trial::probe(&self.connection)?;
        self.object = record::add_finalizer(self.context, self.object.clone()).await?;
        self.announce().await?;
        probe.used();
        let made = self.send(&changes).await;
        let account = match made {
            Ok(account) => account,
            Err(error) => return self.not_created(error, in_doubt, before).await,
        };
        trial::accepted(self.context, &self.connection);
        self.log("create", &account.id, &changes.names());
        let account = Account { groups: changes.groups.clone().or(account.groups.clone()), ..account.with(&changes) };
        let empty = Account { id: account.id.clone(), ..Account::default() };
        self.connection.wrote(K::ACCOUNT_KIND, &account.id, Some(account.clone()));
        self.identity.external_id = Some(account.id.clone());
        self.identity.creating = None;
        self.identity.refused = None;
        self.identity.adopted = None;
        if steps.is_empty() {
            self.remember(&empty).await?;
        } else {
            self.made();
            self.bind(&account, false).await?;
            self.follow_up(&account, steps).await?;
            self.remember(&empty).await?;
        }
        Ok(Change::Created)
    }

    /// The create call; one that ends without an answer, dropped ones too, is in doubt from then on.
    async fn send(&self, changes: &Changes) -> Result<Account, ProviderError> {
        let call = self.identity.creating.as_ref().map(|creating| self.context.calls.begin(creating));
        let made = self.connection.provider.create(K::ACCOUNT_KIND, changes, self.password.due()).await;
        if made.as_ref().err().is_none_or(|error| error.delivery == Delivery::NoEffect) {
            call.into_iter().for_each(CreateCall::answered);
        }
        made
    }

    /// What a create does not carry: fields that it does not take, and rights in applications.
    async fn follow_up(&mut self, made: &Account, steps: Vec<Step>) -> Result<(), Stop> {
        let mut due = steps.len();
        for step in steps {
            due -= 1;
            match step {
                Step::Update(changes) => {
                    self.update(made, &changes).await?;
                    self.connection.wrote(K::ACCOUNT_KIND, &made.id, Some(made.clone().with(&changes)));
                }
                Step::Grant { application, rights } => self.grant(&made.id, &application, &rights).await?,
                Step::Create(_) => {}
            }
            if due > 0 {
                self.record_progress().await?;
            }
        }
        Ok(())
    }

    /// Notes what the create call carried: all but rights in applications, which are calls of their own.
    fn made(&mut self) {
        let created = Desired { grants: BTreeMap::new(), ..self.desired.clone() };
        self.identity.sent = self.sent(&created);
        self.identity.password_version = self.password.version().map(str::to_owned);
    }

    /// Writes `creating`, so that an account made from now on is known to be ours even if its answer is lost.
    async fn announce(&mut self) -> Result<(), Stop> {
        // Where nothing can be looked up, what the first call carries may be all that will ever be known of the account.
        if self.identity.creating.is_none() && self.is_unsearchable() {
            self.identity.sent = self.sent(&self.desired);
        }
        let (now, key) = (Timestamp::now(), self.desired.key());
        let before = self.identity.creating.as_ref().filter(|before| before.key == key);
        if let (None, Some(creating)) = (before, &self.identity.creating) {
            conflict::enqueue_waiting_for_key(self.context, &*self.object, &creating.key);
        }
        let sent = self.password.due().and(self.password.version());
        self.identity.creating = Some(if let Some(before) = before {
            let same = |before: &String| sent.is_some_and(|sent| password::is_same(before, sent));
            before.again(now, before.password_version.clone().filter(same))
        } else {
            let (account, password_version) = (self.connection.account.clone(), sent.map(str::to_owned));
            let vendor_time = self.connection.limiter.clock().there(now);
            Creating { at: now, since: None, vendor_time, key: key.into(), account, password_version }
        });
        self.identity.account = Some(self.connection.account.clone());
        self.object = record::identity(self.context, &*self.object, &self.identity, true).await?;
        Ok(())
    }

    /// Binds the object to an account.
    pub async fn bind(&mut self, account: &Account, found: bool) -> Result<(), Stop> {
        self.object = record::add_finalizer(self.context, self.object.clone()).await?;
        self.identity.external_id = Some(account.id.clone());
        self.identity.key = Some(self.key(account));
        self.record_names(account);
        self.identity.account = Some(self.connection.account.clone());
        self.identity.creating = None;
        let missing = self.identity.missing.take();
        self.identity.refused = None;
        self.identity.adopted = found.then_some(true);
        if !found && missing.as_ref() != Some(&account.id) && self.desired.groups.is_some() {
            // Whatever an account is in that we made just now, it is in because of us.
            let groups = account.groups.iter().flatten().cloned().collect::<Vec<_>>();
            self.identity.groups = Some(groups).filter(|groups| !groups.is_empty());
        }
        if found && let Some(version) = self.password.version() {
            self.identity.password_version = Some(version.to_owned());
        }
        self.object = record::identity(self.context, &*self.object, &self.identity, false).await?;
        Ok(())
    }
}
