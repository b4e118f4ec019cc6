//! Properties of every decoder for any answer of a vendor, checked by the fuzz targets in fuzz/ and, within bounds, by
//! `cargo test`.

use jiff::{SignedDuration, Timestamp};
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use serde_json::Value;

use super::error::ProviderError;
use super::http::{Answer, quote};
use super::retry::named_time;
use super::{amani, decode, industrility, ozmap, pegasus, plaspy};
use crate::api::Vendor;
use crate::plan::{Account, AccountKind};

const SAID: &str = "GET https://vendor.example.com/users answered 200";
/// The longest message: the call, what is wrong, and at most 256 characters of the vendor's own.
const LONGEST: usize = SAID.len() + 256 + 128;
/// The statuses that the first byte of the input selects.
const STATUSES: [u16; 12] = [200, 201, 204, 400, 401, 403, 404, 409, 410, 422, 429, 503];

/// Decodes `data` (the first byte chooses the status, the rest is the body) as every kind of answer of `vendor`.
///
/// Panics: a decoder panics, or invents an account or a message.
pub fn decode(vendor: Vendor, data: &[u8]) {
    let Some((first, body)) = data.split_first() else { return };
    let answer = Answer::new(STATUSES[usize::from(*first) % STATUSES.len()], body, SAID);
    let refused: ProviderError = match vendor {
        Vendor::Pegasus => pegasus::wire::refusal(&answer),
        Vendor::Amani => amani::wire::refusal(&answer),
        Vendor::Industrility => industrility::wire::refusal(&answer),
        Vendor::Ozmap => ozmap::wire::refusal(&answer),
        Vendor::Plaspy => match plaspy::refusal::judge(&answer) {
            Ok(_) => return accounts(vendor, &answer),
            Err(error) => error,
        },
    };
    readable(&refused);
    accounts(vendor, &answer);
}

/// Every row that the body may hold, as a user and as a group.
fn accounts(vendor: Vendor, answer: &Answer) {
    let value = match answer.json() {
        Ok(value) => value,
        Err(error) => return readable(&error),
    };
    let rows = rows(&value);
    for account_kind in [AccountKind::User, AccountKind::Group] {
        rows.iter().for_each(|row| drop(account(vendor, account_kind, row)));
    }
    match vendor {
        Vendor::Amani => {
            [AccountKind::User, AccountKind::Group].iter().for_each(|account_kind| page(*account_kind, &value));
        }
        Vendor::Plaspy => plaspy::wire::countries(&value, SAID).map_or_else(|error| readable(&error), drop),
        Vendor::Industrility => assert!(!industrility::wire::id(&value, "ada@example.com").is_empty()),
        Vendor::Pegasus | Vendor::Ozmap => {}
    }
    let _ = decode::instant(Some(&value));
}

/// Checks the rest of a page of a listing: the query of its next page is not empty.
fn page(account_kind: AccountKind, rest: &Value) {
    match amani::wire::page(account_kind, rest) {
        Ok(page) => assert!(page.next.is_none_or(|next| !next.is_empty()), "a listing that begins anew"),
        Err(error) => readable(&error),
    }
}

/// Everything that could be a row: the value itself, its elements and those of the lists under its keys.
fn rows(value: &Value) -> Vec<&Value> {
    let lists = value.as_object().into_iter().flat_map(serde_json::Map::values).chain([value]);
    lists.filter_map(Value::as_array).flatten().chain([value]).take(256).collect()
}

fn account(vendor: Vendor, account_kind: AccountKind, row: &Value) -> Option<Account> {
    let decoded = match vendor {
        Vendor::Pegasus => pegasus::wire::account(account_kind, row),
        Vendor::Amani => amani::wire::account(account_kind, row),
        Vendor::Plaspy => plaspy::wire::account(account_kind, row),
        Vendor::Ozmap => ozmap::wire::account(account_kind, row),
        Vendor::Industrility => return None,
    };
    match decoded {
        Ok(account) => {
            assert!(!account.id.is_empty(), "an account without an id");
            assert!(
                row.to_string().contains(account.id.trim_matches('"')) || row.to_string().contains('\\'),
                "an id made up"
            );
            Some(account)
        }
        Err(error) => {
            readable(&error);
            None
        }
    }
}

fn readable(error: &ProviderError) {
    assert!(error.message.chars().count() <= LONGEST, "too long: {}", error.message);
    assert!(!error.message.chars().any(char::is_control), "control characters: {:?}", error.message);
}

/// Reads `data` as the value of each header that names a time.
///
/// Panics: reading panics, or names a time that has passed.
pub fn headers(data: &[u8]) {
    let now = Timestamp::from_second(1_800_000_000).unwrap_or_default();
    let Ok(value) = HeaderValue::from_bytes(data) else { return };
    for name in ["retry-after", "x-ratelimit-reset"] {
        let headers: HeaderMap = [(HeaderName::from_static(name), value.clone())].into_iter().collect();
        if let Some(until) = named_time(&headers, now) {
            assert!(until >= now, "{name} names a time that has passed");
        }
    }
    let quoted = quote(&String::from_utf8_lossy(data));
    assert!(quoted.chars().count() <= 256, "more than 256 characters of a vendor's own words");
}

/// Reads `data` as a duration of a manifest.
///
/// Panics: reading panics, or returns a negative duration for a text without a sign.
pub fn durations(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(duration) = text.parse::<SignedDuration>() {
        let signed = text.contains(['-', '−']) || text.contains("ago");
        assert!(signed || duration >= SignedDuration::ZERO, "{text:?} became {duration:?}");
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};
    use strum::IntoEnumIterator;

    use super::*;
    use crate::providers::capabilities;

    /// An answer that each vendor might give, with visibly made-up people.
    fn sample(vendor: Vendor) -> Value {
        let id = match vendor {
            Vendor::Pegasus => json!(17),
            Vendor::Amani => json!("00000000-0000-4000-8000-000000000017"),
            Vendor::Plaspy | Vendor::Industrility => json!("usr-17"),
            Vendor::Ozmap => json!("64b0c0ffee64b0c0ffee0017"),
        };
        let person = json!({"id": id, "username": "ada", "email": "ada@example.com", "name": "Ada",
            "first_name": "Ada", "is_active": true, "disabled": false, "groups": [{"id": 3, "name": "North"}], "group": "North",
            "scopes": {"vehicles": "w"}, "projectGroups": [{"group": "5"}], "role": {"_id": "9", "name": "Manager"},
            "date_joined": "2026-01-01T00:00:00Z", "createdAt": "2026-01-01T00:00:00Z", "creatorData": {"username": "usher"}});
        match vendor {
            Vendor::Pegasus => json!([person]),
            Vendor::Amani => json!({"count": 1, "next": null, "previous": null, "results": [person]}),
            Vendor::Plaspy => {
                json!({"success": true, "users": [person], "error": null, "countries": [{"code": "CO", "name": "Colombia"}]})
            }
            Vendor::Industrility => json!({"message": "User created", "userId": "US-ada@example.com"}),
            Vendor::Ozmap => json!({"total": 1, "count": 1, "rows": [person]}),
        }
    }

    /// Any JSON, not too deep.
    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            ".{0,12}".prop_map(Value::from),
            Just(json!("\u{0}")),
            Just(json!(u64::MAX)),
        ];
        let names = prop_oneof![
            Just("id"),
            Just("_id"),
            Just("email"),
            Just("username"),
            Just("name"),
            Just("groups"),
            Just("results"),
            Just("rows"),
            Just("count"),
            Just("next"),
            Just("users"),
            Just("success"),
            Just("error"),
            Just("message"),
            Just("scopes"),
            Just("role"),
        ];
        leaf.prop_recursive(4, 48, 6, move |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
                prop::collection::btree_map(names.clone().prop_map(str::to_owned), inner, 0..6)
                    .prop_map(|map| json!(map)),
            ]
        })
    }

    /// One place of `value` replaced by something else.
    fn spoiled(value: &mut Value, mut place: usize, with: &Value) {
        let mut here = value;
        loop {
            let children = match here {
                Value::Array(list) => list.len(),
                Value::Object(map) => map.len(),
                _ => 0,
            };
            if children == 0 || place % (children + 1) == children {
                *here = with.clone();
                return;
            }
            let child = place % (children + 1);
            place /= children + 1;
            here = match here {
                Value::Array(list) => &mut list[child],
                Value::Object(map) => map.values_mut().nth(child).expect("counted"),
                _ => return,
            };
        }
    }

    fn encoded(status: u8, body: &[u8]) -> Vec<u8> {
        std::iter::once(status).chain(body.iter().copied()).collect()
    }

    #[test]
    fn the_sample_of_every_vendor_that_shows_accounts_holds_one() {
        for vendor in Vendor::iter() {
            let sample = sample(vendor);
            let holds = rows(&sample).into_iter().any(|row| account(vendor, AccountKind::User, row).is_some());
            assert_eq!(holds, capabilities(vendor).shows_accounts(), "{vendor}: {sample}");
        }
    }

    #[test]
    fn deep_nesting_is_an_error_and_no_crash() {
        let deep = "[".repeat(100_000);
        Vendor::iter().for_each(|vendor| decode(vendor, &encoded(0, deep.as_bytes())));
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn any_bytes_are_survived(data in prop::collection::vec(any::<u8>(), 0..256)) {
            Vendor::iter().for_each(|vendor| decode(vendor, &data));
            headers(&data);
            durations(&data);
        }

        #[test]
        fn any_json_is_survived(status in any::<u8>(), value in any_json()) {
            Vendor::iter().for_each(|vendor| decode(vendor, &encoded(status, value.to_string().as_bytes())));
        }

        #[test]
        fn a_spoiled_answer_is_survived(status in any::<u8>(), place in any::<usize>(), with in any_json(), cut in 0..400_usize) {
            for vendor in Vendor::iter() {
                let mut value = sample(vendor);
                spoiled(&mut value, place, &with);
                let text = value.to_string();
                decode(vendor, &encoded(status, text.as_bytes()));
                decode(vendor, &encoded(status, &text.as_bytes()[..cut.min(text.len())]));
            }
        }

        #[test]
        fn times_and_durations_are_survived(text in "[-+]?[0-9]{0,20}(\\.[0-9]{0,3})?(e[0-9]{1,3})?[a-zA-Z :,]{0,6}") {
            headers(text.as_bytes());
            durations(text.as_bytes());
        }
    }
}
