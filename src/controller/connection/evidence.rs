//! Evidence about the accounts of one kind that no listing holds. It makes no decision.

use std::collections::HashMap;

use jiff::{SignedDuration, Timestamp};

/// An object that did not come back for the answer to its search within this time was deleted.
const LONGEST_SEARCH: SignedDuration = SignedDuration::from_hours(24);

/// A timer that fires this much early still finds an interval over.
const EARLY: SignedDuration = SignedDuration::from_secs(1);

/// The evidence about one kind; at most one piece about each thing.
pub type EvidenceSet = HashMap<About, Evidence>;

/// What evidence is about.
#[derive(Debug, PartialEq, Eq, Hash)]
pub enum About {
    /// The kind: an object needs a listing from the next sweep.
    ListingRequest,
    /// The kind: the vendor answered that it offers no listing.
    NoListing,
    /// The kind, where the vendor offers no listing: its objects were enqueued to read their accounts one by one.
    ReadsEnqueued,
    /// An object, by its uid because its name may be given to another object: it searches for its account.
    Search(String),
    /// An account, by its id: the next sweep finds out whether it exists, because an object cannot wait for a listing.
    Existence(String),
    /// A natural key in lower case: the vendor reported that its account exists, and no search has shown one since.
    NotVisible(String),
}

impl About {
    /// How long evidence counts, where `interval` is the credential's time between two sweeps.
    fn lifetime(&self, interval: SignedDuration) -> SignedDuration {
        match self {
            Self::ListingRequest | Self::NoListing | Self::Existence(_) => SignedDuration::MAX,
            Self::Search(_) => LONGEST_SEARCH,
            Self::ReadsEnqueued => almost(interval),
            Self::NotVisible(_) => interval,
        }
    }
}

/// One piece of evidence. The end of its time follows from what it is about, because the credential's interval may be edited meanwhile.
#[derive(Debug)]
pub struct Evidence {
    /// Since when it counts.
    pub since: Timestamp,
    /// The vendor's message; empty unless the evidence is an answer of the vendor.
    pub message: String,
}

impl Evidence {
    /// Evidence that counts since `since`.
    pub fn new(since: Timestamp) -> Self {
        Self { since, message: String::new() }
    }

    /// Whether this evidence about `about` counts at `now`: the one rule by which evidence expires.
    pub fn counts(&self, about: &About, interval: SignedDuration, now: Timestamp) -> bool {
        is_within(self.since, about.lifetime(interval), now)
    }
}

/// Whether `now` is less than `time` after `since`.
pub fn is_within(since: Timestamp, time: SignedDuration, now: Timestamp) -> bool {
    now.duration_since(since) < time
}

/// The interval as a timer sees it that may fire early.
pub fn almost(interval: SignedDuration) -> SignedDuration {
    interval.saturating_sub(EARLY)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::a_request(About::ListingRequest, 1_000_000, true)]
    #[case::a_search_of_a_day(About::Search("uid".into()), 86_399, true)]
    #[case::a_search_of_more_than_a_day(About::Search("uid".into()), 86_400, false)]
    #[case::a_key_within_the_interval(About::NotVisible("ada".into()), 599, true)]
    #[case::a_key_after_the_interval(About::NotVisible("ada".into()), 600, false)]
    #[case::reads_within_the_interval(About::ReadsEnqueued, 598, true)]
    #[case::reads_when_a_timer_is_early(About::ReadsEnqueued, 599, false)]
    fn evidence_expires_by_what_it_is_about(#[case] about: About, #[case] seconds: i64, #[case] counts: bool) {
        let evidence = Evidence::new(Timestamp::UNIX_EPOCH);
        let now = Timestamp::from_second(seconds).unwrap();
        assert_eq!(evidence.counts(&about, SignedDuration::from_mins(10), now), counts);
    }
}
