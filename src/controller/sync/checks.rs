//! What is checked before an account is touched, and the ways of vendors that cannot do everything; no writes to a vendor.

use std::collections::BTreeMap;

use super::reconciliation::Reconciliation;
use crate::api::Reason;
use crate::api::conditions::Verdict;
use crate::api::status::PendingCall;
use crate::api::user::Mode;
use crate::controller::cluster::status as record;
use crate::controller::cluster::status::Cached;
use crate::controller::deletion::finalize as removal;
use crate::controller::outcome::{Change, Done, Stop};
use crate::controller::resolve::password::Password;
use crate::controller::resolve::rights::Held;
use crate::controller::resolve::{access, object as resolve, rights};
use crate::plan::{Account, AccountKind, Key, Step, matches_key};

/// The way out for an account whose id is not known.
pub const WITH_ID: &str = "delete this object with deletionPolicy: Orphan and apply it anew with spec.externalId";

impl<K: Cached> Reconciliation<'_, K> {
    /// Errors: the account carries neither the key we know it by nor the manifest's.
    pub fn check_binding(&self, account: &Account) -> Result<(), Stop> {
        let table = self.connection.table(K::ACCOUNT_KIND);
        let fields = self.desired.keys.iter().map(|key| key.field);
        let known =
            fields.flat_map(|field| self.identity.known_keys().map(move |key| Key { field, value: key.clone() }));
        let mut keys = self.desired.keys.iter().cloned().chain(known);
        if keys.any(|key| matches_key(table, account, &key)) {
            return Ok(());
        }
        let message = format!(
            "{} is no longer {} at {}: someone renamed it or the id was given away; rename it back, or delete this object with deletionPolicy: Orphan",
            account.id,
            self.identity.key.as_deref().unwrap_or(self.desired.key()),
            self.connection.vendor.title()
        );
        Err(Stop::because(Reason::ProviderMismatch, message))
    }

    /// Errors: the account as found is protected, or has administrator rights that the credential does not allow to touch.
    pub fn check_rights(&self, account: &Account) -> Result<(), Stop> {
        rights::check(self.context, &*self.object, &self.connection, account)
    }

    /// Errors: what the manifest asks for cannot be made.
    pub fn check_creation(&self) -> Result<(), Stop> {
        if let Password::Missing(verdict) = &self.password {
            return Err(Stop::Verdict(verdict.clone()));
        }
        if self.desired.needs_password && self.password.due().is_none() {
            let message = format!(
                "{} makes no account without a password: add spec.passwordSecretRef",
                self.connection.vendor.title()
            );
            return Err(Stop::because(Reason::Invalid, message));
        }
        Ok(())
    }

    /// Errors: the manifest is about a protected account, asks for administrator rights that are not allowed, or for a removal
    /// that the vendor cannot carry out.
    pub fn check_desired(&self) -> Result<(), Stop> {
        let connection = &self.connection;
        rights::check_protected(connection, K::ACCOUNT_KIND, self.desired.keys.iter().map(|key| key.value.as_str()))?;
        let groups = self.desired.groups.as_ref().map(|membership| membership.wanted.clone()).unwrap_or_default();
        let asked = Held { why: self.desired.privileged.as_deref(), groups: &groups, roles: &self.desired.roles };
        rights::check_privileged(self.context, &*self.object, connection, &asked, "the manifest asks for")?;
        removal::decide(self.context, &*self.object)?;
        Ok(())
    }

    /// Errors: Plan mode, with the calls that would be made; a credential that says otherwise now.
    pub async fn only_if_enforced(&self, target: &str, steps: &[Step]) -> Result<(), Stop> {
        match self.mode {
            _ if steps.is_empty() => Ok(()),
            Mode::Enforce => resolve::ensure_credential_current(self.context, &self.connection).await,
            Mode::Plan | Mode::Paused => Err(Stop::Pending(pending(target, steps))),
        }
    }

    /// Errors: Plan mode, with `operation`, which writes to the object's status alone, and the calls that follow it.
    pub fn only_if_binding(&self, operation: &str, target: &str, steps: &[Step]) -> Result<(), Stop> {
        if self.mode == Mode::Enforce {
            return Ok(());
        }
        let mut calls = vec![PendingCall::new(operation, target, Vec::new())];
        calls.extend(pending(target, steps));
        Err(Stop::Pending(calls))
    }

    /// Rights in applications that are not as they were granted; they are read only when someone asks, by calls of their own.
    pub async fn drifted_grants(&self, id: &str, due: &[Step]) -> Result<Vec<Step>, Stop> {
        let is_due = |name: &String| {
            due.iter().any(|step| matches!(step, Step::Grant { application, .. } if application == name))
        };
        let mut drifted = Vec::new();
        if !self.desired.grants.is_empty() {
            self.connection.provider.may_grant(id)?;
        }
        for (application, rights) in self.desired.grants.iter().filter(|(name, _)| !is_due(name)) {
            let there = self.connection.provider.granted(id, application).await?;
            let differs =
                |there: BTreeMap<String, bool>| rights.iter().any(|(right, given)| there.get(right) != Some(given));
            if there.is_some_and(differs) {
                drifted.push(Step::Grant { application: application.clone(), rights: rights.clone() });
            }
        }
        Ok(drifted)
    }

    /// A group of a vendor without a group API: the id is taken as given.
    pub async fn take_as_given(&mut self) -> Result<Done, Stop> {
        let vendor = self.connection.vendor.title();
        let Some(id) = self.object.external_id().map(str::to_owned) else {
            let message = format!("{vendor} has no API for groups: set spec.externalId to the id of an existing one");
            return Err(Stop::because(Reason::Invalid, message));
        };
        self.bind_found(&id).await?;
        let verdict =
            Verdict::new(Reason::Unverified, format!("{id} is taken as given; {vendor} offers no way to check"));
        Ok(Done { verdict, did: None })
    }

    /// A group that can be found but not written: by externalId or name, exactly one.
    pub async fn find_only(&mut self) -> Result<Option<Change>, Stop> {
        let vendor = self.connection.vendor.title();
        // What was found by a name is kept, even if it is renamed there, until the manifest names another one.
        let same_name = self.identity.key.as_deref() == Some(self.desired.key());
        let known = self.identity.external_id.clone().filter(|_| same_name);
        let wanted = self.object.external_id().map(str::to_owned).or(known);
        let found: Vec<String> = {
            let (index, table) = (self.connection.index(), self.connection.table(AccountKind::Group));
            match &wanted {
                Some(id) => index.get(AccountKind::Group, id).map(|group| group.id.clone()).into_iter().collect(),
                None => index.groups_named(table, self.desired.key()).iter().map(|group| group.id.clone()).collect(),
            }
        };
        match found.as_slice() {
            [id] => self.bind_found(id).await.map(|()| None),
            // A vendor that shows no group at all any more is no evidence against one that was there.
            [] if resolve::is_unchanged(&*self.object) && self.connection.index().is_empty(AccountKind::Group) => {
                Err(Stop::Unchanged)
            }
            [] => Err(Stop::because(
                Reason::NotFound,
                format!(
                    "{vendor} lists no group {}: make it there, or correct spec.displayName or spec.externalId",
                    wanted.as_deref().unwrap_or(self.desired.key())
                ),
            )),
            several => Err(Stop::because(
                Reason::AmbiguousMatch,
                format!("{} groups of {vendor} are named {}: use spec.externalId", several.len(), self.desired.key()),
            )),
        }
    }

    /// Binds a group that is not ours to change.
    async fn bind_found(&mut self, id: &str) -> Result<(), Stop> {
        let field = if self.object.external_id().is_some() { "spec.externalId" } else { "spec.displayName" };
        access::only_if_existing_allowed(&self.connection, &*self.object, field)?;
        let before = self.identity.clone();
        self.identity.external_id = Some(id.to_owned());
        self.identity.key = Some(self.desired.key().to_owned());
        self.identity.account = Some(self.connection.account.clone());
        self.identity.adopted = Some(true);
        if self.identity != before {
            self.only_if_binding("bind", id, &[])?;
            self.object = record::identity(self.context, &*self.object, &self.identity, false).await?;
        }
        Ok(())
    }

    /// Whether accounts cannot be looked for: what a create says is all there is to know.
    pub fn is_unsearchable(&self) -> bool {
        !self.connection.provider.capabilities().lists(K::ACCOUNT_KIND)
    }

    /// Whether the account was made, but the answer that told its id was lost and nobody can look for it.
    pub fn is_without_id(&self) -> bool {
        let made = self.identity.creating.is_some() && self.identity.key.is_some();
        made && self.identity.external_id.is_none() && self.is_unsearchable()
    }

    /// An account that shows nothing and takes no change: only the manifest can be compared with what was sent.
    pub fn compare_blindly(&self) -> Result<Option<Change>, Stop> {
        if self.sent(&self.desired) == self.identity.sent || self.identity.sent.is_none() {
            return Ok(None);
        }
        let vendor = self.connection.vendor.title();
        let message = if self.is_without_id() {
            format!("{}: set the manifest back, or {WITH_ID}", self.without_id())
        } else {
            format!("{vendor} cannot change a user after it was made: set the manifest back, or make the change there")
        };
        Err(Stop::because(Reason::Unsupported, message))
    }

    /// What there is to say of an account without an id.
    pub fn without_id(&self) -> String {
        let vendor = self.connection.vendor.title();
        format!(
            "{vendor} made it, but the answer with its id was lost and this server lists no users, so it cannot be changed"
        )
    }
}

/// What `steps` would send for `target`.
fn pending(target: &str, steps: &[Step]) -> Vec<PendingCall> {
    let call = |operation: &str, fields: Vec<String>| PendingCall::new(operation, target, fields);
    let calls = steps.iter().map(|step| match step {
        Step::Create(changes) => call("create", changes.names()),
        Step::Update(changes) => call("update", changes.names()),
        Step::Grant { application, rights } => {
            call("grant", rights.keys().map(|right| format!("{application}.{right}")).collect())
        }
    });
    calls.collect()
}
