//! A create that the vendor did not answer with an account: it refused, or the account exists; whose that is, is settled here.

use jiff::Timestamp;

use super::progress::Progress;
use super::reconciliation::Reconciliation;
use crate::api::Reason;
use crate::api::status::Identity;
use crate::controller::cluster::managed::Managed;
use crate::controller::cluster::status::write_identity;
use crate::controller::connection::breaker;
use crate::controller::outcome::{Change, Stop};
use crate::plan::{Account, same_key};
use crate::providers::{Delivery, ErrorKind, ProviderError};

impl<K: Managed> Reconciliation<'_, K> {
    /// A refused create is settled; a create whose answer was lost is pending. `before`: the identity before it was announced.
    pub async fn not_created(
        &mut self,
        error: ProviderError,
        in_doubt: bool,
        before: Identity,
    ) -> Result<Progress, Stop> {
        let refused = breaker::failed(&self.connection, &self.connection.spec, &error);
        if error.kind == ErrorKind::Conflict && in_doubt {
            return self.own_after_all(error).await;
        }
        if error.delivery == Delivery::NoEffect && !in_doubt {
            let is_its = before.key.as_deref().is_none_or(|key| same_key(key, self.desired.key()));
            if error.kind == ErrorKind::Conflict && before.missing.is_some() && is_its {
                return self.only_not_visible(before).await;
            }
            let here = (error.kind == ErrorKind::Conflict).then(|| self.desired.key().to_owned());
            let refused = here.or(before.refused.clone());
            let known = if before.missing.is_some() { before } else { Identity::default() };
            self.identity = Identity { creating: None, refused, ..known };
            self.object = write_identity(&self.context.cluster, &*self.object, &self.identity, false).await?;
        }
        refused?;
        if error.kind != ErrorKind::Conflict {
            return Err(error.into());
        }
        // The listing lacks the account, so it must not answer the next search.
        self.connection.inventory().record_not_visible(
            K::ACCOUNT_KIND,
            self.desired.key(),
            &error.message,
            Timestamp::now(),
        );
        Err(self.there_unseen(&error.message))
    }

    /// Errors: the vendor reported within the last interval that the account exists, no search has shown it since, and neither the
    /// manifest nor a person asks for another attempt.
    pub fn only_if_worth_trying(&self) -> Result<(), Stop> {
        let (key, interval) = (self.desired.key(), self.connection.spec.resync_interval());
        let tried = self.object.status().map(|status| status.report.observed_generation);
        if tried != Some(self.object.generation()) || self.forced || self.identity.creating.is_some() {
            return Ok(());
        }
        let unseen = self.connection.inventory().not_visible(K::ACCOUNT_KIND, key, interval, Timestamp::now());
        unseen.map_or(Ok(()), |words| Err(self.there_unseen(&words)))
    }

    /// The vendor answers that an account exists which no search has shown.
    pub fn there_unseen(&self, words: &str) -> Stop {
        let (vendor, key) = (self.connection.vendor.title(), self.desired.key());
        let adopt = "if it was made just now, set spec.adoptionPolicy: Adopt to take it over; else ";
        let adopt = if self.is_unsearchable() { "" } else { adopt };
        Stop::because(
            Reason::AlreadyExists,
            format!(
                "{vendor} says that {key} exists, but did not show it ({words}): {adopt}give usher's login access to it, choose another name, or remove it there"
            ),
        )
    }

    /// The vendor answers that an account exists which the create was to replace: it is the missing one, and only not visible.
    pub async fn only_not_visible(&mut self, before: Identity) -> Result<Progress, Stop> {
        self.identity = Identity {
            external_id: before.missing.clone(),
            key: Some(self.desired.key().to_owned()),
            account: Some(self.connection.account.clone()),
            creating: None,
            ..before
        };
        self.object = write_identity(&self.context.cluster, &*self.object, &self.identity, false).await?;
        Err(self.not_visible())
    }

    /// The vendor answers that an account exists to a create that repeats a pending one: it is the object's if a search shows so, or no
    /// search is possible and the vendor had not reported it before.
    pub async fn own_after_all(&mut self, error: ProviderError) -> Result<Progress, Stop> {
        let was_there = self.identity.refused.as_deref().is_some_and(|key| same_key(key, self.desired.key()));
        if was_there && self.is_unsearchable() {
            self.settle_pending_create().await?;
            return Err(self.there_unseen(&error.message));
        }
        if let Some(id) = self.connection.provider.unseen_id(self.desired.key()) {
            let groups = self.desired.groups.as_ref().map(|groups| groups.wanted.clone());
            self.bind(&Account { id, groups, ..Account::default() }, false).await?;
            self.compare_with_last_applied()?;
            return Ok(Progress::Change(Change::Created));
        }
        if self.is_unsearchable() {
            // It was made, and its id was in the lost answer.
            self.identity.key = Some(self.desired.key().to_owned());
            self.object = write_identity(&self.context.cluster, &*self.object, &self.identity, false).await?;
            self.compare_with_last_applied()?;
            return Ok(Progress::Change(Change::Created));
        }
        let found = self.connection.search_exhaustively(K::ACCOUNT_KIND, &self.desired).await?;
        match found.as_slice() {
            [one] if self.is_claimed(one) => self.claim(one.clone()).await,
            [_] => {
                self.settle_pending_create().await?;
                Err(self.already_exists())
            }
            [] if self.identity.missing.is_some() => self.only_not_visible(self.identity.clone()).await,
            [] if was_there => {
                self.settle_pending_create().await?;
                Err(self.there_unseen(&error.message))
            }
            _ => Err(error.into()),
        }
    }

    /// The verdict on an existing account that may not be taken over.
    pub fn already_exists(&self) -> Stop {
        Stop::because(
            Reason::AlreadyExists,
            format!(
                "{} has a {} {} that usher did not make: set spec.adoptionPolicy: Adopt to take it over (spec.mode: Plan first shows what would change), or remove it there",
                self.connection.vendor.title(),
                K::ACCOUNT_KIND,
                self.desired.key()
            ),
        )
    }

    /// Notes that the pending create made nothing, because the account that exists is not the object's.
    pub async fn settle_pending_create(&mut self) -> Result<(), Stop> {
        if self.identity.creating.is_some() {
            self.identity = Identity { refused: Some(self.desired.key().to_owned()), ..Identity::default() };
            self.connection.inventory().record_lacking(K::ACCOUNT_KIND, self.desired.key());
            self.object = write_identity(&self.context.cluster, &*self.object, &self.identity, false).await?;
        }
        Ok(())
    }
}
