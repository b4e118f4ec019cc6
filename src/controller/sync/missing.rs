//! An account that the vendor shows no longer: gone by two pieces of evidence, or only hidden, or back.

use jiff::Timestamp;

use super::reconciliation::Reconciliation;
use crate::api::Reason;
use crate::api::status::Identity;
use crate::controller::cluster::status as record;
use crate::controller::cluster::status::Cached;
use crate::controller::outcome::{Change, Stop};
use crate::controller::ownership::conflict;
use crate::controller::ownership::handover::same_key;

impl<K: Cached> Reconciliation<'_, K> {
    /// A bound account that the vendor does not show: gone if a complete listing lacks it too.
    pub async fn handle_missing(&mut self, id: &str) -> Result<Option<Change>, Stop> {
        let vendor = self.connection.vendor.title();
        let provider = &self.connection.provider;
        // What the last listing lacks is merely looked for again, by the key it was last known by. That key may be written in
        // other case there, so what was listed is gone only if another complete listing lacks it.
        let (lacks, proved) = {
            let index = self.connection.index();
            let lacks = index.has(K::ACCOUNT_KIND) && index.get(K::ACCOUNT_KIND, id).is_none();
            (lacks, index.is_proved_gone(K::ACCOUNT_KIND, id, Timestamp::now()))
        };
        let is_searched = provider.capabilities().filter && self.identity.key.as_deref() == Some(self.desired.key());
        let is_listed = if lacks && is_searched && !proved {
            provider.find(K::ACCOUNT_KIND, &self.desired).await?.iter().any(|account| account.id == id)
        } else {
            self.connection.is_listed(self.context, K::ACCOUNT_KIND, id).await?
        };
        if is_listed {
            let message = format!(
                "{vendor} lists {id} but says \"not found\" when it is asked for or changed: the login may lack rights on it"
            );
            return Err(Stop::because(Reason::PermissionDenied, message));
        }
        if self.identity.missing.as_deref() == Some(id) {
            return Err(self.not_visible());
        }
        self.connection.wrote(K::ACCOUNT_KIND, id, None);
        if self.identity.adopted == Some(true) || self.object.external_id().is_some() {
            let message = format!(
                "{vendor} no longer has {id}, which usher did not make and so does not make again: delete this object, or restore the account"
            );
            return Err(Stop::because(Reason::NotFound, message));
        }
        self.only_if_enforced(self.desired.key(), &self.steps_anew()?).await?;
        self.identity.missing = self.identity.external_id.take();
        self.object = record::identity(self.context, &*self.object, &self.identity, false).await?;
        self.context.enqueue(self.object.key());
        Err(Stop::Queued)
    }

    /// An account of ours that the vendor neither shows nor makes anew.
    pub fn not_visible(&self) -> Stop {
        let message = format!(
            "{} neither shows {} nor lets it be made anew, because it is there: give usher's login sight of it",
            self.connection.vendor.title(),
            self.identity.external_id.as_deref().unwrap_or_default()
        );
        Stop::because(Reason::PermissionDenied, message)
    }

    /// Binds the account again that the vendor did not show for a while, with all that is known of it; what differs is next.
    pub async fn rebind(&mut self) -> Result<Change, Stop> {
        let id = self.identity.missing.clone().unwrap_or_default();
        conflict::ensure_unbound(self.context, &*self.object, &self.connection, &id)?;
        self.only_if_binding("bind", &id, &[])?;
        self.identity.external_id = self.identity.missing.take();
        self.identity.key.get_or_insert_with(|| self.desired.key().to_owned());
        self.identity.account = Some(self.connection.account.clone());
        self.identity.refused = None;
        self.object = record::identity(self.context, &*self.object, &self.identity, false).await?;
        self.context.enqueue(self.object.key());
        Err(Stop::Queued)
    }

    /// Forgets what is known of the account that the vendor does not show: nothing of that is there in the next one.
    pub fn forget_missing(&mut self) {
        let Identity { missing, refused, .. } = std::mem::take(&mut self.identity);
        self.identity = Identity { missing, refused, ..Identity::default() };
    }

    /// Whether the account that the vendor did not show, known by another key than the manifest's, is there again.
    pub async fn reappeared(&self) -> Result<bool, Stop> {
        let is_other = self.identity.key.as_ref().is_some_and(|key| !same_key(key, self.desired.key()));
        match self.identity.known_id().filter(|_| is_other) {
            Some(id) => Ok(self.connection.provider.read(K::ACCOUNT_KIND, id).await?.is_some()),
            None => Ok(false),
        }
    }
}
