//! Renews and releases a lease that this process holds; `rules` decides which process may take it.

use kube::api::PostParams;
use tokio::time::{Instant, sleep_until, timeout_at};
use tracing::warn;

use super::rules::holder;
use super::{DEADLINE, Held, Lease, PAUSE, RENEWAL, bounded, code};

impl Held {
    /// Renews the lease every 2 s; ends when no renewal succeeded for 10 s, or when another process has it.
    pub async fn lost(&mut self) {
        let lease = self.lease.name.clone();
        let mut next = self.renewed + RENEWAL;
        loop {
            let deadline = self.renewed + DEADLINE;
            let renewal = async {
                sleep_until(next).await;
                next = Instant::now() + PAUSE;
                self.renew().await
            };
            match timeout_at(deadline, renewal).await {
                Ok(Ok(true)) => next = self.renewed + RENEWAL,
                Ok(Ok(false)) => return warn!(lease, "another process took or deleted the lease"),
                Ok(Err(error)) => warn!(lease, "failed to renew the lease, trying again: {error}"),
                Err(_) => return warn!(lease, "failed to renew the lease for {DEADLINE:?}"),
            }
        }
    }

    /// Renews the lease; false if another process has it. After an error that is unknown.
    pub(super) async fn renew(&mut self) -> Result<bool, kube::Error> {
        match self.write().await {
            // The conflict may come from this process's own last write whose answer was lost, so the holder decides.
            Err(error) if code(&error) == Some(409) => {
                let found = bounded(self.lease.api.get_opt(&self.lease.name)).await?;
                let ours = found.filter(|found| holder(found.spec.as_ref()) == Some(&self.lease.me));
                let Some(object) = ours else { return Ok(false) };
                self.object = object;
                self.write().await.map(|()| true)
            }
            Err(error) if code(&error) == Some(404) => Ok(false),
            written => written.map(|()| true),
        }
    }

    /// Writes the lease again, based on the version that this process last read.
    async fn write(&mut self) -> Result<(), kube::Error> {
        let sent = Instant::now();
        self.object = self.lease.claim(self.object.clone()).await?;
        self.renewed = sent;
        Ok(())
    }

    /// Releases the lease, so that the next holder need not wait until it lapses.
    pub async fn release(self) {
        if let Err(error) = self.vacate().await {
            warn!(lease = self.lease.name, "failed to release the lease, it will lapse: {error}");
        }
    }

    /// Removes this process from the lease as it is now, because the answer to the last renewal may not have arrived.
    async fn vacate(&self) -> Result<(), kube::Error> {
        let Lease { api, name, me } = &self.lease;
        let mut object = bounded(api.get(name)).await?;
        match &mut object.spec {
            Some(spec) if spec.holder_identity.as_ref() == Some(me) => spec.holder_identity = None,
            _ => return Ok(()),
        }
        bounded(api.replace(name, &PostParams::default(), &object)).await.map(drop)
    }
}
