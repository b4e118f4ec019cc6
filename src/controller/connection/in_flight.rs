//! The creates of this process: at most one at a time for each natural key, and the time until which a create whose answer was lost
//! may still take effect. It calls no vendor.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use parking_lot::Mutex;

use crate::api::status::Creating;
use crate::plan::{AccountKind, fold, pending_until};

/// The pause between the vendor's answer to a create and the look-up of what it made: a read may lag this much behind a write.
const LOOK_UP_DELAY: SignedDuration = SignedDuration::from_secs(2);

/// A create whose call ended this long ago cannot take effect any more.
const FORGOTTEN: SignedDuration = SignedDuration::from_hours(1);

/// The creates of this process.
pub struct Creates {
    locks: Locks,
    ended: Ended,
    /// When this process began to create accounts. An earlier process may have sent its last create just before.
    started: Timestamp,
    /// The longest time from the sending of a create until it takes effect.
    longest: SignedDuration,
}

/// The credential's account, the kind, and the natural key in lower case.
type LockedKey = (String, AccountKind, String);
type Locks = Arc<Mutex<HashSet<LockedKey>>>;
/// The credential's account, the kind and the natural key of a create.
type Place = (String, AccountKind, String);
type Ended = Arc<Mutex<HashMap<Place, End>>>;

/// How the last call of a create ended.
#[derive(Clone, Copy)]
struct End {
    at: Timestamp,
    /// Whether the vendor answered, so that the call can have no effect after `at`.
    is_answered: bool,
}

/// The right to search for and create an account with one natural key. It is released on drop.
pub struct KeyGuard(Locks, LockedKey);

/// A create call in flight. On drop it has ended without an answer, unless the vendor answered before.
pub struct CreateCall(Ended, Place, Option<Timestamp>);

impl Creates {
    /// No create yet. A create may take effect for `longest` after it was sent. `is_live`: this process creates accounts, in place of
    /// an earlier process that may have sent a create until now.
    pub fn new(longest: Duration, is_live: bool) -> Self {
        let started = if is_live { Timestamp::now() } else { Timestamp::UNIX_EPOCH };
        let longest = SignedDuration::try_from(longest).unwrap_or(FORGOTTEN);
        Self { locks: Locks::default(), ended: Ended::default(), started, longest }
    }

    /// Locks a natural key. `None` while another object holds it, because two objects that ask for the same account must not both
    /// find it absent.
    pub fn try_lock(&self, account: &str, kind: AccountKind, key: &str) -> Option<KeyGuard> {
        let key = (account.to_owned(), kind, fold(key));
        self.locks.lock().insert(key.clone()).then(|| KeyGuard(self.locks.clone(), key))
    }

    /// Begins the call of the create `creating`.
    pub fn begin(&self, kind: AccountKind, creating: &Creating) -> CreateCall {
        let place = place(kind, creating);
        self.ended.lock().remove(&place);
        CreateCall(self.ended.clone(), place, None)
    }

    /// The time until which `creating` may still take effect, if it may now.
    ///
    /// A call may be sent long after it was recorded in status (a slow limiter, a log-in, a repetition), but not after this process
    /// dropped it, nor after this process took over from the one that recorded it.
    /// An answer ends a call: then it is known whether the create took effect as soon as reads show it.
    pub fn pending_until(&self, kind: AccountKind, creating: &Creating) -> Option<Timestamp> {
        let now = Timestamp::now();
        let end = self.ended.lock().get(&place(kind, creating)).copied();
        match end.filter(|end| end.is_answered) {
            Some(end) => pending_until(end.at, LOOK_UP_DELAY.min(self.longest), now),
            None => pending_until(self.last_sent(creating, end, now), self.longest, now),
        }
    }

    /// The time until which reads that lag by `lag` may not show what `creating` made, if that is in the future.
    pub fn unshown_until(&self, kind: AccountKind, creating: &Creating, lag: Duration) -> Option<Timestamp> {
        let now = Timestamp::now();
        let end = self.ended.lock().get(&place(kind, creating)).copied();
        let lag = SignedDuration::try_from(lag).unwrap_or(FORGOTTEN);
        pending_until(self.last_sent(creating, end, now), lag, now)
    }

    /// The latest time at which the call of `creating` can have been sent, where `end` is the end of its last call. A future time in
    /// status is ignored, because the clock that wrote it was wrong.
    fn last_sent(&self, creating: &Creating, end: Option<End>, now: Timestamp) -> Timestamp {
        let known = end.map_or(self.started, |end| end.at);
        if creating.at > now { known } else { known.max(creating.at) }
    }
}

impl CreateCall {
    /// The vendor answered.
    pub fn answered(mut self) {
        self.2 = Some(Timestamp::now());
    }
}

impl Drop for CreateCall {
    fn drop(&mut self) {
        let (mut ended, now) = (self.0.lock(), Timestamp::now());
        ended.retain(|_, end| now.duration_since(end.at) < FORGOTTEN);
        ended.insert(self.1.clone(), End { at: self.2.unwrap_or(now), is_answered: self.2.is_some() });
    }
}

impl Drop for KeyGuard {
    fn drop(&mut self) {
        self.0.lock().remove(&self.1);
    }
}

fn place(kind: AccountKind, creating: &Creating) -> Place {
    (creating.account.clone(), kind, creating.key.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).unwrap()
    }

    fn creating(second: i64) -> Creating {
        Creating {
            at: at(second),
            since: None,
            vendor_time: None,
            key: "ada".into(),
            account: "here".into(),
            password_version: None,
        }
    }

    fn creates(started: i64) -> Creates {
        Creates { started: at(started), ..Creates::new(Duration::from_secs(30), true) }
    }

    #[test]
    fn a_create_whose_answer_was_lost_is_pending_from_the_end_of_its_call() {
        let creates = creates(0);
        let call = creates.begin(AccountKind::User, &creating(60));
        let before = Timestamp::now();
        drop(call);
        assert!(
            creates.pending_until(AccountKind::User, &creating(60)).unwrap() >= before + SignedDuration::from_secs(30)
        );
    }

    #[test]
    fn a_create_that_was_answered_is_pending_until_reads_show_it() {
        let creates = creates(0);
        creates.begin(AccountKind::User, &creating(60)).answered();
        assert!(creates.pending_until(AccountKind::User, &creating(60)).unwrap() <= Timestamp::now() + LOOK_UP_DELAY);
        let again = creates.begin(AccountKind::User, &creating(60));
        assert_eq!(
            creates.pending_until(AccountKind::User, &creating(60)),
            None,
            "its first call is over, and its time has passed"
        );
        drop(again);
        assert!(creates.pending_until(AccountKind::User, &creating(60)).unwrap() > Timestamp::now() + LOOK_UP_DELAY);
    }

    #[test]
    fn a_create_of_an_earlier_process_may_have_been_sent_until_this_one_took_over() {
        assert_eq!(creates(90).last_sent(&creating(60), None, at(100)), at(90));
        assert_eq!(creates(30).last_sent(&creating(60), None, at(100)), at(60));
    }

    #[test]
    fn a_create_with_a_future_time_in_status_counts_from_the_start_of_the_process() {
        assert_eq!(creates(90).last_sent(&creating(3600), None, at(100)), at(90));
    }

    #[test]
    fn one_object_at_a_time_creates_an_account_with_a_key() {
        let creates = creates(0);
        let guard = creates.try_lock("here", AccountKind::User, "Ada@example.com");
        assert!(guard.is_some() && creates.try_lock("here", AccountKind::User, "ada@example.com").is_none());
        assert!(creates.try_lock("here", AccountKind::Group, "ada@example.com").is_some());
        drop(guard);
        assert!(creates.try_lock("here", AccountKind::User, "ada@example.com").is_some());
    }
}
