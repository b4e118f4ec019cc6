//! The sweeps under way: at most one per credential, each in a task of its own, because a slow vendor takes half an hour. It does not
//! know what a sweep does.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Semaphore;
use tokio::task::AbortHandle;

use crate::api::ObjectKey;
use crate::controller::connection::session::Session;

/// Most sweeps of the process at a time. Each holds what it has listed so far, and a connection to its vendor.
const MOST: usize = 1024;
/// Most sweeps that began less than [`QUICK`] ago: a quick one costs processor time, a slow one waits for its vendor.
const MOST_QUICK: usize = 32;
/// A sweep that takes longer is slow and lets the next one begin, because any number of slow vendors may delay no other.
const QUICK: Duration = Duration::from_secs(2);

/// The sweeps of all credentials.
pub struct Sweeps {
    under_way: Mutex<HashMap<ObjectKey, Sweep>>,
    all: Arc<Semaphore>,
    quick: Arc<Semaphore>,
}

/// One sweep. Dropping it cancels the sweep.
struct Sweep {
    session: Arc<Session>,
    asked: Option<String>,
    /// Whether there are news for the objects that were postponed until its end.
    has_postponed: bool,
    /// Whether it brought news; `None` while it is under way.
    ended: Arc<Mutex<Option<bool>>>,
    task: AbortHandle,
}

impl Drop for Sweep {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The state of a credential's sweep.
#[derive(Debug, PartialEq, Eq)]
pub enum SweepState {
    /// There is none.
    None,
    /// It is under way. Its end enqueues the credential.
    UnderWay,
    /// It has ended.
    Ended {
        /// Whether objects have to be reconciled.
        has_news: bool,
        /// The request of a person that it answers.
        asked: Option<String>,
    },
}

impl Default for Sweeps {
    fn default() -> Self {
        let places = |count| Arc::new(Semaphore::new(count));
        Self { under_way: Mutex::default(), all: places(MOST), quick: places(MOST_QUICK) }
    }
}

impl Sweeps {
    /// Starts `sweep` in `session`, and cancels the one before. It returns whether it has news. `asked` is the request that it answers.
    pub fn start(
        &self,
        session: Arc<Session>,
        asked: Option<String>,
        sweep: impl Future<Output = bool> + Send + 'static,
    ) {
        let ended: Arc<Mutex<Option<bool>>> = Arc::default();
        let (all, quick) = (self.all.clone(), self.quick.clone());
        let (at_end, queue, credential) = (ended.clone(), session.queue.clone(), session.key.clone());
        let task = tokio::spawn(async move {
            let has_news = in_turn(&all, &quick, sweep).await;
            *at_end.lock() = Some(has_news);
            queue.add(credential);
        });
        let sweep = Sweep { session, asked, has_postponed: false, ended, task: task.abort_handle() };
        self.under_way.lock().insert(sweep.session.key.clone(), sweep);
    }

    /// The state of the sweep in `session`. One that has ended is forgotten, and one in another session is cancelled, which ends it with
    /// the news that were postponed alone.
    pub fn take(&self, session: &Arc<Session>) -> SweepState {
        let mut under_way = self.under_way.lock();
        let Some(sweep) = under_way.get(&session.key) else { return SweepState::None };
        let is_own = Arc::ptr_eq(&sweep.session, session);
        let ended = *sweep.ended.lock();
        if is_own && ended.is_none() {
            return SweepState::UnderWay;
        }
        let Some(mut sweep) = under_way.remove(&session.key) else { return SweepState::None };
        let has_news = is_own && ended == Some(true);
        let asked = sweep.asked.take().filter(|_| is_own);
        SweepState::Ended { has_news: has_news || sweep.has_postponed, asked }
    }

    /// Whether the sweep of a credential is under way, or its end was not noticed yet.
    pub fn is_under_way(&self, credential: &ObjectKey) -> bool {
        self.under_way.lock().contains_key(credential)
    }

    /// Postpones news until the end of a credential's sweep, which counts as news then. Returns whether there is a sweep.
    pub fn postpone_news(&self, credential: &ObjectKey) -> bool {
        let mut under_way = self.under_way.lock();
        let sweep = under_way.get_mut(credential);
        sweep.map(|sweep| sweep.has_postponed = true).is_some()
    }

    /// Cancels the sweep of a credential.
    pub fn cancel(&self, credential: &ObjectKey) {
        self.under_way.lock().remove(credential);
    }
}

/// Runs `sweep` within the bounds of the process.
async fn in_turn(all: &Semaphore, quick: &Semaphore, sweep: impl Future<Output = bool>) -> bool {
    // The semaphores are never closed.
    let _place = all.acquire().await;
    let place = quick.acquire().await;
    let mut sweep = std::pin::pin!(sweep);
    if let Ok(has_news) = tokio::time::timeout(QUICK, &mut sweep).await {
        return has_news;
    }
    drop(place);
    sweep.await
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn slow_sweeps_let_others_begin() {
        let (all, quick) = (Semaphore::new(MOST), Semaphore::new(MOST_QUICK));
        let slow = futures::future::join_all((0..10 * MOST_QUICK).map(|_| in_turn(&all, &quick, pending())));
        let later = async {
            tokio::task::yield_now().await;
            in_turn(&all, &quick, async { true }).await
        };
        let ended = tokio::time::timeout(11 * QUICK, futures::future::select(Box::pin(slow), Box::pin(later))).await;
        assert!(matches!(ended, Ok(futures::future::Either::Right((true, _)))));
    }
}
