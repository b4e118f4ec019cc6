//! A create whose end is not known: until when it may still be under way. It looks at nothing and makes nothing.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::{SignedDuration, Timestamp};

use crate::api::status::{Creating, Identity};
use crate::controller::context::Context;
use crate::controller::ownership::handover::same_key;
use crate::plan::Account;
use crate::providers::Clock;

/// What ended this long ago is no matter of doubt any more.
const OLD: SignedDuration = SignedDuration::from_hours(1);

/// How much a vendor's clock may lag behind what we know of it: who answers and who keeps the accounts may be two.
const SKEW: SignedDuration = SignedDuration::from_secs(5);

/// Whether a create that was first sent at `creating.since` or `creating.at` can have made `account`, by the vendor's `clock`.
///
/// The vendor's time that was noted with the create tells better than `clock`: another process may have had another idea of time.
/// `login` is our own login, if it is known; a creator that is not shown, or in another form, is no evidence.
pub fn can_have_made(creating: &Creating, account: &Account, login: Option<&str>, clock: &Clock) -> bool {
    let first = creating.since.unwrap_or(creating.at);
    let earliest = creating.vendor_time.or(clock.there(first)).unwrap_or(first) - SKEW;
    let young = account.created.is_none_or(|created| created >= earliest);
    let is_other = |login: &str, creator: &str| form(creator) == form(login) && !creator.eq_ignore_ascii_case(login);
    let by_other = login.zip(account.creator.as_deref()).is_some_and(|(login, creator)| is_other(login, creator));
    young && !by_other
}

/// Whether the vendor said before that an account with this key is there which is not ours: then only its time tells that
/// `account` is another one.
pub fn was_there_before(identity: &Identity, account: &Account) -> bool {
    let key = identity.creating.as_ref().map(|creating| &creating.key);
    account.created.is_none() && identity.refused.as_ref().zip(key).is_some_and(|(refused, key)| same_key(refused, key))
}

/// Whether a name is an e-mail address, and whether it is an id (OZmap's are 24 hexadecimal digits).
fn form(name: &str) -> (bool, bool) {
    (name.contains('@'), name.len() == 24 && name.bytes().all(|letter| letter.is_ascii_hexdigit()))
}

/// Until when the call of `creating` may still have an effect, if it may now: for its time and some grace after it left.
///
/// It may leave long after it was announced (a slow gate, a log-in, a repetition), but not after this process gave it up, nor,
/// where another process made it, after this one took over.
pub fn until(context: &Context, creating: &Creating) -> Option<Timestamp> {
    let left = context.calls.left(creating, context.begun);
    let longest = SignedDuration::try_from(context.settings.call_timeout + context.settings.grace).unwrap_or(OLD);
    Some(left + longest).filter(|until| *until > Timestamp::now())
}

/// The credential's account and the natural key of a create.
type Place = (String, String);

/// When the last create of each account that this process sent ended without an answer.
#[derive(Default)]
pub struct CreateCalls(Arc<Mutex<HashMap<Place, Timestamp>>>);

/// A create under way; unless its answer is known, it ends in doubt on drop, however that comes about.
pub struct CreateCall(Arc<Mutex<HashMap<Place, Timestamp>>>, Option<Place>);

impl CreateCalls {
    /// Begins the call of `creating`.
    pub fn begin(&self, creating: &Creating) -> CreateCall {
        CreateCall(self.0.clone(), Some(place(creating)))
    }

    /// The latest time at which the call of `creating` can have left, if this process began at `begun`. A time to come is none:
    /// whoever wrote it had a wrong clock.
    fn left(&self, creating: &Creating, begun: Timestamp) -> Timestamp {
        let known = lock(&self.0).get(&place(creating)).copied().unwrap_or(begun);
        if creating.at > Timestamp::now() { known } else { known.max(creating.at) }
    }
}

impl CreateCall {
    /// The vendor made it, or said no.
    pub fn answered(mut self) {
        self.1 = None;
    }
}

impl Drop for CreateCall {
    fn drop(&mut self) {
        let Some(place) = self.1.take() else { return };
        let (mut calls, now) = (lock(&self.0), Timestamp::now());
        calls.retain(|_, ended| *ended + OLD > now);
        calls.insert(place, now);
    }
}

fn place(creating: &Creating) -> Place {
    (creating.account.clone(), creating.key.clone())
}

fn lock(calls: &Mutex<HashMap<Place, Timestamp>>) -> MutexGuard<'_, HashMap<Place, Timestamp>> {
    calls.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn creating(at: i64) -> Creating {
        let at = Timestamp::from_second(at).unwrap();
        Creating {
            at,
            since: None,
            vendor_time: None,
            key: "ada".into(),
            account: "here".into(),
            password_version: Some("1".into()),
        }
    }

    #[test]
    fn a_call_is_in_doubt_from_its_end_and_not_from_its_announcement() {
        let (calls, begun) = (CreateCalls::default(), creating(0).at);
        let call = calls.begin(&creating(60));
        let before = Timestamp::now();
        drop(call);
        assert!(calls.left(&creating(60), begun) >= before);
    }

    #[test]
    fn a_call_that_was_answered_leaves_no_doubt() {
        let calls = CreateCalls::default();
        calls.begin(&creating(60)).answered();
        assert_eq!(calls.left(&creating(60), creating(0).at), creating(60).at);
    }

    #[test]
    fn a_create_of_another_process_may_have_left_until_this_one_took_over() {
        assert_eq!(CreateCalls::default().left(&creating(60), creating(90).at), creating(90).at);
        assert_eq!(CreateCalls::default().left(&creating(60), creating(30).at), creating(60).at);
    }

    fn made(at: i64, creator: Option<&str>) -> Account {
        Account { created: Timestamp::from_second(at).ok(), creator: creator.map(str::to_owned), ..Account::default() }
    }

    #[test]
    fn what_was_there_before_is_not_ours() {
        let clock = Clock::default();
        assert!(can_have_made(&creating(100), &made(95, None), Some("usher"), &clock), "clocks differ");
        assert!(!can_have_made(&creating(100), &made(94, None), Some("usher"), &clock));
        assert!(can_have_made(&creating(100), &Account::default(), Some("usher"), &clock), "nothing is said of when");
    }

    #[test]
    fn before_means_by_the_vendors_clock() {
        let clock = Clock::default();
        let date = "Thu, 01 Jan 1970 00:00:10 GMT".parse().unwrap();
        clock.observe(&[(reqwest::header::DATE, date)].into_iter().collect(), creating(100).at);
        assert!(can_have_made(&creating(100), &made(5, None), Some("usher"), &clock), "90 seconds behind");
        assert!(!can_have_made(&creating(100), &made(4, None), Some("usher"), &clock));
    }

    #[test]
    fn the_vendors_time_that_was_noted_outlives_the_clock_that_noted_it() {
        let fast = Creating { vendor_time: Timestamp::from_second(40).ok(), ..creating(100) };
        assert!(can_have_made(&fast, &made(35, None), Some("usher"), &Clock::default()), "ours was a minute ahead");
        assert!(!can_have_made(&fast, &made(34, None), Some("usher"), &Clock::default()));
    }

    #[test]
    fn a_time_to_come_leaves_no_doubt_longer_than_the_process_lives() {
        let (now, hour) = (Timestamp::now(), SignedDuration::from_hours(1));
        let ahead = Creating { at: now + hour, ..creating(0) };
        assert_eq!(CreateCalls::default().left(&ahead, now), now);
    }

    #[test]
    fn what_another_login_made_is_not_ours() {
        let clock = Clock::default();
        let by = |creator, login| can_have_made(&creating(100), &made(100, Some(creator)), login, &clock);
        assert!(by("Usher@example.com", Some("usher@example.com")));
        assert!(!by("eve@example.com", Some("usher@example.com")));
        assert!(by("0123456789abcdef01234567", Some("usher@example.com")), "an id proves nothing about a name");
        assert!(by("eve", None), "our login is not known");
    }

    #[test]
    fn what_was_said_to_be_there_is_ours_only_by_its_time() {
        let refused = |key: &str| Identity {
            refused: Some(key.into()),
            creating: Some(Creating { key: "ada@example.com".into(), ..creating(100) }),
            ..Identity::default()
        };
        assert!(was_there_before(&refused("ADA@example.com"), &Account::default()));
        assert!(!was_there_before(&refused("ada@example.com"), &made(100, None)));
        assert!(!was_there_before(&refused("eve@example.com"), &Account::default()));
    }

    #[test]
    fn a_repeated_create_still_owns_what_the_first_one_made() {
        let again = creating(10).again(creating(60).at, None).again(creating(90).at, None);
        assert_eq!((again.at, again.since), (creating(90).at, Some(creating(10).at)));
    }
}
