//! A create that the vendor did not answer with an account: refused, or refused because it is there; whose that is, is settled here.

use jiff::Timestamp;

use super::reconciliation::Reconciliation;
use crate::api::Reason;
use crate::api::status::Identity;
use crate::controller::cluster::status as record;
use crate::controller::cluster::status::Cached;
use crate::controller::connection::breaker as trial;
use crate::controller::credential::reconcile::resync;
use crate::controller::outcome::{Change, Stop};
use crate::controller::ownership::handover::same_key;
use crate::plan::Account;
use crate::providers::{Delivery, ErrorKind, ProviderError};

impl<K: Cached> Reconciliation<'_, K> {
    /// A create that was refused leaves no doubt; one whose answer was lost does. `before`: what was known before it was announced.
    pub async fn not_created(
        &mut self,
        error: ProviderError,
        in_doubt: bool,
        before: Identity,
    ) -> Result<Change, Stop> {
        let refused = trial::heard(self.context, &self.connection, &error);
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
            self.object = record::identity(self.context, &*self.object, &self.identity, false).await?;
        }
        refused?;
        if error.kind != ErrorKind::Conflict {
            return Err(error.into());
        }
        // Whoever looks again must not be told once more that it is not there.
        self.connection.index().refused(K::ACCOUNT_KIND, self.desired.key(), &error.message, Timestamp::now());
        Err(self.there_unseen(&error.message))
    }

    /// Errors: the vendor said of late that it is there, which no look has shown, and nobody has asked for another try since.
    pub fn only_if_worth_trying(&self) -> Result<(), Stop> {
        let (key, interval) = (self.desired.key(), resync(&self.connection.spec));
        let tried = self.object.status().map(|status| status.report.observed_generation);
        if tried != Some(self.object.generation()) || self.forced || self.identity.creating.is_some() {
            return Ok(());
        }
        let unseen = self.connection.index().unseen(K::ACCOUNT_KIND, key, interval, Timestamp::now());
        unseen.map_or(Ok(()), |words| Err(self.there_unseen(&words)))
    }

    /// "It exists", said to a create of what no look had shown.
    fn there_unseen(&self, words: &str) -> Stop {
        let (vendor, key) = (self.connection.vendor.title(), self.desired.key());
        let adopt = "if someone made it just now, set spec.adoptionPolicy: Adopt to take it over; else ";
        let adopt = if self.is_unsearchable() { "" } else { adopt };
        Stop::because(
            Reason::AlreadyExists,
            format!(
                "{vendor} says that {key} exists, but did not show it ({words}): {adopt}give usher's login sight of it, choose another name, or remove it there"
            ),
        )
    }

    /// "It exists", said to a create that was to replace an account of ours which seemed gone: the vendor only did not show it.
    async fn only_not_visible(&mut self, before: Identity) -> Result<Change, Stop> {
        self.identity = Identity {
            external_id: before.missing.clone(),
            key: Some(self.desired.key().to_owned()),
            account: Some(self.connection.account.clone()),
            creating: None,
            ..before
        };
        self.object = record::identity(self.context, &*self.object, &self.identity, false).await?;
        Err(self.not_visible())
    }

    /// "It exists", said to a create that repeats one with unknown end: ours, if a look shows so or none is possible, and the
    /// vendor had not said so before.
    async fn own_after_all(&mut self, error: ProviderError) -> Result<Change, Stop> {
        let was_there = self.identity.refused.as_deref().is_some_and(|key| same_key(key, self.desired.key()));
        if was_there && self.is_unsearchable() {
            self.clear_doubt().await?;
            return Err(self.there_unseen(&error.message));
        }
        if let Some(id) = self.connection.provider.id_from_key(self.desired.key()) {
            let groups = self.desired.groups.as_ref().map(|groups| groups.wanted.clone());
            self.bind(&Account { id, groups, ..Account::default() }, false).await?;
            self.compare_blindly()?;
            return Ok(Change::Created);
        }
        if self.is_unsearchable() {
            // Made, but its id was in the answer that was lost.
            self.identity.key = Some(self.desired.key().to_owned());
            self.object = record::identity(self.context, &*self.object, &self.identity, false).await?;
            self.compare_blindly()?;
            return Ok(Change::Created);
        }
        let found = self.connection.find_for_sure(self.context, K::ACCOUNT_KIND, &self.desired).await?;
        match found.as_slice() {
            [one] if self.claims(one) => self.claim(one.clone()).await,
            [_] => {
                self.clear_doubt().await?;
                Err(self.already_exists())
            }
            [] if self.identity.missing.is_some() => self.only_not_visible(self.identity.clone()).await,
            [] if was_there => {
                self.clear_doubt().await?;
                Err(self.there_unseen(&error.message))
            }
            _ => Err(error.into()),
        }
    }

    /// The verdict on an account that was there before us and may not be taken.
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

    /// What is there is not ours, so our create with unknown end made nothing.
    pub async fn clear_doubt(&mut self) -> Result<(), Stop> {
        if self.identity.creating.is_some() {
            self.identity = Identity { refused: Some(self.desired.key().to_owned()), ..Identity::default() };
            self.connection.index().refute(K::ACCOUNT_KIND, self.desired.key());
            self.object = record::identity(self.context, &*self.object, &self.identity, false).await?;
        }
        Ok(())
    }
}
