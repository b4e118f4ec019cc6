//! Steps three and four: plans against what the vendor has and carries the steps out; each effect is followed by recording what must survive a crash.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;
use secrecy::SecretString;
use serde_json::json;
use tracing::info;

use super::checks::WITH_ID;
use crate::api::Reason;
use crate::api::conditions::Verdict;
use crate::api::status::Identity;
use crate::api::user::Mode;
use crate::controller::cluster::status as record;
use crate::controller::cluster::status::Cached;
use crate::controller::connection::link::Connection;
use crate::controller::context::Context;
use crate::controller::outcome::{Change, Done, Stop};
use crate::controller::ownership::conflict;
use crate::controller::ownership::handover::same_key;
use crate::controller::resolve::password;
use crate::controller::resolve::password::Password;
use crate::plan::{
    Account, AccountKind, Changes, Desired, Field, Fields, GroupSupport, LastApplied, PriorState, Step, first_key, plan,
};
use crate::providers::{ErrorKind, Permit, Priority};

/// One object on its way to what it shall be.
pub struct Reconciliation<'a, K> {
    /// What every reconcile can reach.
    pub context: &'a Context,
    /// The object as Kubernetes last answered.
    pub object: Arc<K>,
    /// The way to its vendor.
    pub connection: Arc<Connection>,
    /// What the account shall be.
    pub desired: Desired,
    /// What is known of its password.
    pub password: Password,
    /// The mode in effect: Enforce or Plan.
    pub mode: Mode,
    /// Whether the manifest no longer speaks of groups, so that those we added are nobody's business any more.
    pub releases_groups: bool,
    /// The groups that entries of the manifest stand for, to tell them when they cannot be resolved.
    pub resolved: Option<BTreeMap<String, String>>,
    /// Whether the vendor is asked even if the index says all is well.
    pub forced: bool,
    /// Whether the vendor shows nothing of the account, so that only what was sent is known.
    pub blind: bool,
    /// What status says of the account, and will say.
    pub identity: Identity,
}

impl<K: Cached> Reconciliation<'_, K> {
    /// Makes the account what it shall be.
    ///
    /// Errors: why that did not come about; what was done is recorded all the same.
    pub async fn converge(&mut self) -> Result<Done, Stop> {
        let capabilities = self.connection.provider.capabilities();
        let did = match (K::ACCOUNT_KIND, capabilities.groups) {
            (AccountKind::Group, GroupSupport::Given) => return self.take_as_given().await,
            (AccountKind::Group, GroupSupport::ReadOnly) => self.find_only().await?,
            (AccountKind::User, _) | (AccountKind::Group, GroupSupport::Managed) => {
                match self.identity.external_id.clone() {
                    Some(id) if capabilities.updates => self.keep(id).await?,
                    Some(_) => self.compare_blindly()?,
                    None if self.is_without_id() => self.compare_blindly()?,
                    None => Some(self.make().await?),
                }
            }
        };
        let is_seen = !self.blind && !self.is_without_id();
        let reason = if is_seen { Reason::Synced } else { Reason::Created };
        Ok(Done { verdict: Verdict::new(reason, self.summary()), did })
    }

    fn summary(&self) -> String {
        let id = self.identity.external_id.as_deref().unwrap_or_default();
        let vendor = self.connection.vendor.title();
        if self.is_without_id() {
            format!("{}; to go on, {WITH_ID}", self.without_id())
        } else if self.blind {
            format!("{vendor} made it as {id}; it offers no way to check")
        } else {
            format!("{vendor} has it as {id}")
        }
    }

    /// A place at the gate.
    ///
    /// Errors: parked until there is room, or the vendor asked to slow down.
    pub fn enter(&self, priority: Priority) -> Result<Permit, Stop> {
        self.connection.limiter.open()?;
        self.connection.limiter.try_enter(priority, &self.object.key()).ok_or(Stop::Queued)
    }

    /// An account that is bound: compared with the index, and only if that differs, with the vendor.
    async fn keep(&mut self, id: String) -> Result<Option<Change>, Stop> {
        let listed = self.connection.index().get(K::ACCOUNT_KIND, &id).cloned();
        // A list may show less of an account than its own address does.
        let is_whole = |account: &Account| account.groups.is_some() || self.desired.groups.is_none();
        let listed = listed.filter(|account| !self.forced && is_whole(account));
        // Where no listing shows whether all is well, an outage is no news about it either.
        let is_compared = listed.is_some();
        if let Some(account) = listed {
            let steps = self.steps(Some(&account))?;
            if steps.is_empty() {
                let released = self.releases_groups && self.identity.groups.is_some() && self.mode == Mode::Enforce;
                self.remember(&account).await?;
                return Ok(released.then_some(Change::GroupsReleased));
            }
            // Whoever waits for nothing but his turn there does not read in vain.
            if self.mode == Mode::Enforce && steps.iter().all(|step| matches!(step, Step::Grant { .. })) {
                self.connection.provider.may_grant(&id)?;
            }
        }
        let _place = match self.enter(Priority::Edit) {
            Err(Stop::Provider(_)) if !is_compared && self.is_at_rest() => return Err(Stop::Unchanged),
            place => place?,
        };
        let begun = Timestamp::now();
        let account = match self.connection.provider.read(K::ACCOUNT_KIND, &id).await {
            Ok(Some(account)) => account,
            Ok(None) => return self.handle_missing(&id).await,
            Err(error) if error.kind == ErrorKind::Unsupported && !self.is_listable() => self.believed(id)?,
            Err(error) if error.is_passing() && !is_compared && self.is_at_rest() => return Err(Stop::Unchanged),
            Err(error) => return Err(error.into()),
        };
        self.connection.saw(K::ACCOUNT_KIND, begun, &account);
        self.check_binding(&account)?;
        self.check_rights(&account)?;
        let mut steps = self.steps(Some(&account))?;
        if self.forced {
            let drifted = self.drifted_grants(&account.id, &steps).await?;
            steps.extend(drifted);
        }
        self.perform(&account, steps).await
    }

    /// The account as far as it is known where the vendor shows none: what was sent, under the key that it was given.
    ///
    /// Errors: groups that others may have added would be lost unseen.
    fn believed(&mut self, id: String) -> Result<Account, Stop> {
        if self.desired.groups.as_ref().is_some_and(|groups| groups.additive) {
            let vendor = self.connection.vendor.title();
            let message = format!("spec.membership: {vendor} does not show which groups a user is in; set Exclusive");
            return Err(Stop::because(Reason::Unsupported, message));
        }
        self.blind = true;
        let sent = self.known_sent();
        let mut fields = self.desired.fields.clone();
        fields.retain(|name, value| sent.has(name, value));
        Ok(believed(id, &self.identity, self.connection.table(K::ACCOUNT_KIND), fields))
    }

    /// Whether nothing is to be sent, as far as is known without the vendor.
    fn is_at_rest(&self) -> bool {
        !self.forced && self.password.due().is_none() && crate::controller::resolve::object::is_unchanged(&*self.object)
    }

    /// Whether accounts can be listed, and so seen.
    fn is_listable(&self) -> bool {
        self.connection.provider.capabilities().lists(K::ACCOUNT_KIND)
    }

    /// Digests of what was sent and may not be shown.
    fn known_sent(&self) -> LastApplied {
        self.identity.sent.as_deref().map(LastApplied::parse).unwrap_or_default()
    }

    /// Digests of what will have been sent and may not be shown: everything where nothing is listed, from the create on or from
    /// when the account could not be read.
    pub fn sent(&self, desired: &Desired) -> Option<String> {
        let is_new = self.object.identity().external_id.is_none();
        let is_counted = is_new || self.blind || self.identity.sent.is_some();
        let digests = if is_counted && !self.is_listable() { LastApplied::whole } else { LastApplied::of };
        digests(self.connection.table(K::ACCOUNT_KIND), desired).text()
    }

    pub fn steps(&self, observed: Option<&Account>) -> Result<Vec<Step>, Stop> {
        let sent = self.known_sent();
        let added: BTreeSet<String> = self.identity.groups.iter().flatten().cloned().collect();
        let known = PriorState { sent: &sent, added: &added, password_due: self.password.due().is_some() };
        Ok(plan(self.connection.table(K::ACCOUNT_KIND), &self.desired, observed, known)?)
    }

    /// The steps that make an account anew whose binding is forgotten: everything is due again, the password too.
    pub fn steps_anew(&self) -> Result<Vec<Step>, Stop> {
        let password_due = self.password.version().is_some();
        let known = PriorState { sent: &LastApplied::default(), added: &BTreeSet::new(), password_due };
        Ok(plan(self.connection.table(K::ACCOUNT_KIND), &self.desired, None, known)?)
    }

    /// Carries out steps on an account that was just read.
    pub async fn perform(&mut self, account: &Account, steps: Vec<Step>) -> Result<Option<Change>, Stop> {
        if steps.is_empty() {
            self.remember(account).await?;
            return Ok(None);
        }
        self.only_if_enforced(&account.id, &steps).await?;
        let change = self.classify_change(&steps);
        self.claim_planned_groups(account);
        self.record_names(account);
        self.record_progress().await?;
        let mut after = account.clone();
        let mut due = steps.len();
        for step in steps {
            due -= 1;
            match step {
                Step::Update(changes) => {
                    match self.update(account, &changes).await {
                        // Just read, and not to be found: as much a doubt as one that cannot be read.
                        Err(Stop::Provider(error)) if error.kind == ErrorKind::NotFound => {
                            return self.handle_missing(&account.id).await;
                        }
                        updated => updated?,
                    }
                    after = after.with(&changes);
                    self.sent_fields();
                }
                Step::Grant { application, rights } => self.grant(&account.id, &application, &rights).await?,
                Step::Create(_) => {}
            }
            if due > 0 {
                self.connection.wrote(K::ACCOUNT_KIND, &account.id, Some(after.clone()));
                self.record_progress().await?;
            }
        }
        self.connection.wrote(K::ACCOUNT_KIND, &account.id, Some(after));
        self.remember(account).await?;
        Ok(Some(change))
    }

    /// Counts groups among ours that are about to be added: once they are there, nobody could tell who added them.
    pub fn claim_planned_groups(&mut self, account: &Account) {
        let to_come = self.added_to(account).unwrap_or_default();
        let ours: BTreeSet<String> = self.identity.groups.iter().flatten().cloned().chain(to_come).collect();
        self.identity.groups = Some(Vec::from_iter(ours)).filter(|groups| !groups.is_empty());
    }

    /// Notes what the account is called now and what it is about to be: whichever a lost answer leaves it with, it is known by.
    pub fn record_names(&mut self, account: &Account) {
        let field = self.desired.keys.first().map_or("", |key| key.field);
        let known = |identity: &Identity, name: &str| identity.key.as_deref().is_some_and(|key| same_key(key, name));
        if let Some(now) = account.text(field).filter(|now| !known(&self.identity, now)) {
            self.identity.key = Some(now.to_owned());
        }
        let then = self.key(account);
        self.identity.renaming = Some(then).filter(|then| !known(&self.identity, then));
    }

    /// Why a change is made: the manifest or Secret changed, or the vendor's side did.
    fn classify_change(&self, steps: &[Step]) -> Change {
        let password_only = |step: &Step| matches!(step, Step::Update(changes) if changes.names() == ["password"]);
        let seen = self.object.status().map(|status| status.report.observed_generation);
        if steps.iter().all(password_only) {
            Change::PasswordSent
        } else if seen == Some(self.object.generation())
            && crate::controller::resolve::object::is_unchanged(&*self.object)
        {
            self.context.metrics.drift_repaired(K::KIND.into(), self.connection.vendor);
            Change::DriftRepaired
        } else {
            Change::Updated
        }
    }

    pub async fn update(&self, account: &Account, changes: &Changes) -> Result<(), Stop> {
        let password = self.password_beside(changes).await?;
        self.connection.provider.update(K::ACCOUNT_KIND, account, changes, password.as_ref()).await?;
        let sent = Changes { password: password.is_some(), ..changes.clone() };
        self.log("update", &account.id, &sent.names());
        Ok(())
    }

    /// The password that goes along with `changes`: a new one, or where the vendor insists, the present one once more.
    async fn password_beside(&self, changes: &Changes) -> Result<Option<SecretString>, Stop> {
        let insists = self.connection.provider.capabilities().change_needs_password;
        match self.password.due().filter(|_| changes.password || insists) {
            None if insists => password::present(self.context, &*self.object).await,
            due => Ok(due.cloned()),
        }
    }

    /// Notes that all fields were sent, the password too.
    fn sent_fields(&mut self) {
        let sent = self.known_sent();
        let mut reached = self.desired.clone();
        reached.grants.retain(|name, rights| sent.has_grant(name, rights));
        self.identity.sent = self.sent(&reached);
        if let Some(version) = self.password.version() {
            self.identity.password_version = Some(version.to_owned());
        }
    }

    /// Records what is known by now, if that is news: whatever fails next, nothing is sent twice.
    pub async fn record_progress(&mut self) -> Result<(), Stop> {
        if self.identity != self.object.identity() {
            self.object = record::identity(self.context, &*self.object, &self.identity, false).await?;
        }
        Ok(())
    }

    /// Sets rights in one application, and notes that.
    pub async fn grant(
        &mut self,
        id: &str,
        application: &str,
        rights: &std::collections::BTreeMap<String, bool>,
    ) -> Result<(), Stop> {
        self.connection.provider.grant(id, application, rights).await?;
        let sent = self.known_sent();
        self.identity.sent = sent.with_grant(application, rights).text();
        self.log("grant", id, &[application.to_owned()]);
        Ok(())
    }

    /// One line for every vendor write: what, through which credential, on which account, which fields; never values.
    pub fn log(&self, operation: &str, account: &str, fields: &[String]) {
        info!(
            object = %self.object.key(),
            generation = self.object.generation(),
            credential = %self.connection.key,
            account,
            operation,
            fields = fields.join(","),
            "vendor write"
        );
    }

    /// Records what was reached with `account`, if that is news.
    pub async fn remember(&mut self, account: &Account) -> Result<(), Stop> {
        let before = self.identity.key.replace(self.key(account));
        if let (Some(_), Some(before)) = (self.identity.renaming.take(), before) {
            conflict::enqueue_waiting_for_key(self.context, &*self.object, &before);
        }
        self.identity.sent = self.sent(&self.desired);
        self.identity.groups = self.added_to(account);
        self.identity.missing = None;
        self.identity.resolved_groups.clone_from(&self.resolved);
        if let Some(version) = self.password.version() {
            self.identity.password_version = Some(version.to_owned());
        }
        if self.mode == Mode::Enforce {
            self.record_progress().await?;
        }
        Ok(())
    }

    /// The natural key that the account will carry: the manifest's, or its own where the manifest leaves that alone.
    pub fn key(&self, account: &Account) -> String {
        let field = self.desired.keys.first().map_or("", |key| key.field);
        let own = account.text(field).filter(|_| !self.desired.fields.contains_key(field));
        own.unwrap_or(self.desired.key()).to_owned()
    }

    /// The groups that are there because of us, once `account` is what it shall be.
    fn added_to(&self, account: &Account) -> Option<Vec<String>> {
        let Some(membership) = &self.desired.groups else {
            return self.identity.groups.clone().filter(|_| !self.releases_groups);
        };
        let before: BTreeSet<&String> = self.identity.groups.iter().flatten().collect();
        let there = account.groups.clone().unwrap_or_default();
        let is_ours = |group: &String| before.contains(group) || self.was_ours_before_its_rename(group, &before);
        let given = membership.wanted.iter().filter(|group| is_ours(group) || !there.contains(*group));
        let ours = given.chain(membership.spared.iter().filter(|group| before.contains(group)));
        Some(ours.cloned().collect::<Vec<_>>()).filter(|groups| !groups.is_empty())
    }

    /// Whether the entry that stands for `group` stood for one that we added: where groups go by name, it was renamed.
    fn was_ours_before_its_rename(&self, group: &String, added: &BTreeSet<&String>) -> bool {
        let then = self.identity.resolved_groups.iter().flatten();
        let now = self.resolved.iter().flatten();
        let label = { now }.find(|(_, value)| *value == group).map(|(label, _)| label);
        { then }.any(|(known, value)| Some(known) == label && added.contains(value))
    }
}

/// An account that the vendor does not show: known by its id, its natural key, the groups that we added, and `fields`.
pub fn believed(id: String, identity: &Identity, table: &[Field], mut fields: Fields) -> Account {
    fields.extend(first_key(table).and_then(|field| Some((field.to_owned(), json!(identity.key.as_ref()?)))));
    Account { id, fields, groups: Some(identity.groups.iter().flatten().cloned().collect()), ..Account::default() }
}
