//! Checks before an account is touched, and mode Plan. They call no vendor, but for the read of rights in applications.

use std::collections::BTreeMap;

use super::reconciliation::Reconciliation;
use crate::api::Reason;
use crate::api::status::PendingCall;
use crate::api::user::Mode;
use crate::controller::cluster::managed::Managed;
use crate::controller::outcome::Stop;
use crate::controller::resolve::password::Password;
use crate::controller::resolve::{freshness, rights};
use crate::plan::{Account, Key, Step, matches_key, step_calls};

impl<K: Managed> Reconciliation<'_, K> {
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
            "{} is no longer {} at {}: it was renamed there, or its id was given to another account; rename it back, or delete this object with deletionPolicy: Orphan",
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

    /// Errors: the account cannot be made as the manifest asks.
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

    /// Errors: mode Plan, with the calls that would be made; an edit of the credential that the connection does not know.
    pub async fn only_if_enforced(&self, calls: Vec<PendingCall>) -> Result<(), Stop> {
        match self.mode {
            _ if calls.is_empty() => Ok(()),
            Mode::Enforce => freshness::ensure_credential_current(self.context, &self.connection).await,
            Mode::Plan | Mode::Paused => Err(Stop::Pending(calls)),
        }
    }

    /// Errors: mode Plan, with `operation`, which writes to the object's status alone, and the calls that follow it.
    pub fn only_if_binding(&self, operation: &str, target: &str, steps: &[Step]) -> Result<(), Stop> {
        if self.mode == Mode::Enforce {
            return Ok(());
        }
        let mut calls = vec![PendingCall::new(operation, target, Vec::new())];
        calls.extend(step_calls(target, steps));
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
}
