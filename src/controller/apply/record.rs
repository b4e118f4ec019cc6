//! What is recorded of an account while it is changed, so that nothing is sent twice and nothing is lost after a crash.

use std::collections::BTreeSet;

use super::reconciliation::Reconciliation;
use crate::api::status::Identity;
use crate::api::user::Mode;
use crate::controller::cluster::managed::Managed;
use crate::controller::cluster::status::write_identity;
use crate::controller::outcome::Stop;
use crate::controller::ownership::wake;
use crate::plan::{Account, Desired, LastApplied, same_key};

impl<K: Managed> Reconciliation<'_, K> {
    /// The digests of applied fields that the vendor may not show.
    pub fn known_sent(&self) -> LastApplied {
        self.identity.sent.as_deref().map(LastApplied::parse).unwrap_or_default()
    }

    /// The digests of fields of `desired` that the vendor may not show: all fields where users are not listed, from the create on, or
    /// from the first read that failed.
    pub fn sent(&self, desired: &Desired) -> Option<String> {
        let is_new = self.object.identity().external_id.is_none();
        let is_counted = is_new || self.is_write_only || self.identity.sent.is_some();
        let digests = if is_counted && !self.is_listable() { LastApplied::whole } else { LastApplied::of };
        digests(self.connection.table(K::ACCOUNT_KIND), desired).text()
    }

    /// Notes the groups that are about to be added as added by usher, because later nothing shows which ones it added.
    pub fn claim_planned_groups(&mut self, account: &Account) {
        let to_come = self.added_to(account).unwrap_or_default();
        let ours: BTreeSet<String> = self.identity.groups.iter().flatten().cloned().chain(to_come).collect();
        self.identity.groups = Some(Vec::from_iter(ours)).filter(|groups| !groups.is_empty());
    }

    /// Notes the present key of the account and the one that it is about to get, because after a lost answer it may have either.
    pub fn record_names(&mut self, account: &Account) {
        let field = self.desired.keys.first().map_or("", |key| key.field);
        let known = |identity: &Identity, name: &str| identity.key.as_deref().is_some_and(|key| same_key(key, name));
        if let Some(now) = account.text(field).filter(|now| !known(&self.identity, now)) {
            self.identity.key = Some(now.to_owned());
        }
        let then = self.key(account);
        if !known(&self.identity, &then) {
            self.identity.renaming = Some(then);
        }
    }

    /// Notes that all fields were sent, and the password, but for the `outstanding` ones.
    pub fn sent_fields(&mut self, outstanding: &BTreeSet<String>) {
        let sent = self.known_sent();
        let mut reached = self.desired.clone();
        reached.grants.retain(|name, rights| sent.has_grant(name, rights));
        reached.fields.retain(|name, _| !outstanding.contains(name));
        self.identity.sent = self.sent(&reached);
        if let Some(version) = self.password.version().filter(|_| !outstanding.contains("password")) {
            self.identity.password_version = Some(version.to_owned());
        }
    }

    /// Writes the identity with its seal; a `guarded` write only if the object was not written since it was read.
    pub async fn store_identity(&mut self, guarded: bool) -> Result<(), Stop> {
        self.object = write_identity(&self.context.cluster, &*self.object, &self.identity, guarded).await?;
        self.identity.seal = self.object.identity().seal;
        Ok(())
    }

    /// Writes the identity if it changed, so that nothing is sent twice if the next step fails.
    pub async fn record_progress(&mut self) -> Result<(), Stop> {
        if self.identity != self.object.identity() {
            self.store_identity(false).await?;
        }
        Ok(())
    }

    /// Writes the identity of an account that is in sync, if it changed. Until the vendor shows its new name, the account may have the old
    /// one.
    pub async fn remember(&mut self, account: &Account, is_shown: bool) -> Result<(), Stop> {
        self.connection.object_memory.forget_drift(&self.object.key());
        let key = self.key(account);
        let before = self.identity.key.replace(key.clone()).filter(|before| *before != key);
        if let Some(before) = &before {
            wake::enqueue_waiting_for_key(self.context, &*self.object, before);
        }
        self.identity.renaming = if is_shown {
            self.own_key(account).filter(|shown| !same_key(shown, &key)).map(str::to_owned)
        } else {
            before.or(self.identity.renaming.take())
        };
        self.identity.rejected.clear();
        self.note_not_kept(account);
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

    /// What the account shows under the first natural key.
    pub fn own_key<'b>(&self, account: &'b Account) -> Option<&'b str> {
        account.text(self.desired.keys.first().map_or("", |key| key.field))
    }

    /// The natural key that the account will carry: the manifest's, or its own where the manifest does not manage it.
    pub fn key(&self, account: &Account) -> String {
        let field = self.desired.keys.first().map_or("", |key| key.field);
        let own = account.text(field).filter(|_| !self.desired.fields.contains_key(field));
        own.unwrap_or(self.desired.key()).to_owned()
    }

    /// The groups that usher added, once `account` is in sync.
    pub fn added_to(&self, account: &Account) -> Option<Vec<String>> {
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

    /// Whether the entry that stands for `group` stood for a group that usher added, which was renamed since: some vendors take
    /// groups by name.
    pub fn was_ours_before_its_rename(&self, group: &String, added: &BTreeSet<&String>) -> bool {
        let then = self.identity.resolved_groups.iter().flatten();
        let now = self.resolved.iter().flatten();
        let label = { now }.find(|(_, value)| *value == group).map(|(label, _)| label);
        { then }.any(|(known, value)| Some(known) == label && added.contains(value))
    }
}
