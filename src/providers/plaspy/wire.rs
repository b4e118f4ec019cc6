//! Plaspy's fields and shapes, translated both ways; it makes no call.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Map, Value, json};

use crate::api::credential_provider::GroupBy;
use crate::api::group::{GroupProvider, PlaspyGroup};
use crate::api::user::{PlaspyUser, UserProvider};
use crate::api::{PlatformGroupSpec, PlatformUserSpec, Reason};
use crate::plan::{
    Account, AccountKind, Catalog, CatalogEntry, Changes, Compare, Desired, Field, Fields, KeySource, Rejection,
    group_keys, user_keys,
};
use crate::providers::decode::{self, put};
use crate::providers::error::{ErrorKind, ProviderError};
use crate::providers::resource::IdShape;

/// Writable fields of a user (seed 002). `creation`, `modification` and `lastLogin` are the system's and never sent.
pub const USER: &[Field] = &[
    Field::new("email", Compare::FoldCase).key(KeySource::Email),
    Field::new("name", Compare::Exact).alias(),
    Field::new("country", Compare::Synonym),
    Field::new("timeZone", Compare::Exact),
    Field::new("description", Compare::Exact),
    Field::new("message", Compare::Exact),
    Field::new("disabled", Compare::Exact).access(),
    Field::new("disabledMessage", Compare::Exact),
    Field::new("tags", Compare::PerKey),
    Field::new("privileges", Compare::Set).access(),
    Field::new("deviceId", Compare::Exact).access(),
    Field::new("adminDevices", Compare::Exact).access(),
    Field::new("from", Compare::Instant).access(),
    Field::new("expires", Compare::Instant).access(),
];

/// Writable fields of a group of devices (`rest_api/groups_api`).
pub const GROUP: &[Field] = &[
    Field::new("name", Compare::Exact).key(KeySource::GroupName),
    Field::new("description", Compare::Exact),
    Field::new("devices", Compare::Set).access(),
];

/// The catalogue of countries.
const COUNTRY: &str = "country";
/// Fields that a create of a user needs (seed 002).
const REQUIRED: &[&str] = &["country", "timeZone"];

/// The form of ids, which the documents do not name: `usr-67890` as well as `12345` (`rest_api`).
pub const ID: IdShape = IdShape::Text;
/// The name of the id.
pub const ID_NAMES: &[&str] = &["id"];

/// The collection's path.
pub fn path(account_kind: AccountKind) -> &'static str {
    match account_kind {
        AccountKind::User => "/api/users",
        AccountKind::Group => "/api/groups",
    }
}

/// The name of the list in a listing.
pub fn plural(account_kind: AccountKind) -> &'static str {
    match account_kind {
        AccountKind::User => "users",
        AccountKind::Group => "groups",
    }
}

/// The user that a manifest describes.
///
/// Errors: a phone number, which Plaspy does not have, and more than one group.
pub fn desire_user(spec: &PlatformUserSpec, catalog: &Catalog) -> Result<Desired, Rejection> {
    if spec.phone.is_some() {
        return Err(Rejection::new(Reason::Unsupported, "Plaspy has no telephone number: remove spec.phone"));
    }
    if spec.groups.as_ref().is_some_and(|groups| groups.len() > 1) {
        return Err(Rejection::new(
            Reason::Invalid,
            "a Plaspy user is in at most one group: keep one entry of spec.groups",
        ));
    }
    let mut desired = Desired { keys: user_keys(USER, spec), ..Desired::default() };
    desired.fields.insert("email".into(), json!(spec.email));
    desired.fields.insert("name".into(), json!(decode::display_name(spec)));
    put(&mut desired.fields, "disabled", spec.active.map(|active| !active));
    if spec.active.is_none() {
        desired.at_create.insert("disabled".into(), json!(false));
    }
    if let Some(UserProvider::Plaspy(block)) = &spec.provider {
        if !catalog.entries.is_empty() {
            desired.synonyms.insert("country", search_terms(&block.country, catalog));
        }
        put_block(&mut desired.fields, block.clone());
    }
    Ok(desired)
}

fn put_block(fields: &mut Fields, block: PlaspyUser) {
    let PlaspyUser {
        country,
        time_zone,
        description,
        message,
        disabled_message,
        tags,
        privileges,
        device_id,
        admin_devices,
        from,
        expires,
    } = block;
    put(fields, "country", Some(country));
    put(fields, "timeZone", Some(time_zone));
    put(fields, "description", description);
    put(fields, "message", message);
    put(fields, "disabledMessage", disabled_message);
    put(fields, "tags", tags);
    put(fields, "privileges", privileges);
    put(fields, "deviceId", device_id);
    put(fields, "adminDevices", admin_devices);
    // null clears a time, because "" is not one.
    put(fields, "from", from.map(|time| Some(time).filter(|time| !time.is_empty())));
    put(fields, "expires", expires.map(|time| Some(time).filter(|time| !time.is_empty())));
}

/// Code and name, in lower case, of the country with the code or name `country` (`rest_api`: users show either).
fn search_terms(country: &str, catalog: &Catalog) -> BTreeSet<String> {
    let countries = catalog.entries.iter().filter(|entry| entry.catalog == COUNTRY);
    let same = countries
        .filter(|entry| [&entry.id, &entry.name].into_iter().any(|spelling| spelling.eq_ignore_ascii_case(country)));
    same.flat_map(|entry| [entry.id.to_ascii_lowercase(), entry.name.to_ascii_lowercase()]).collect()
}

/// The group that a manifest describes.
pub fn desire_group(name: &str, spec: &PlatformGroupSpec) -> Desired {
    let mut desired = Desired { keys: group_keys(GROUP, name), ..Desired::default() };
    desired.fields.insert("name".into(), json!(name));
    if let Some(GroupProvider::Plaspy(PlaspyGroup { description, devices })) = &spec.provider {
        put(&mut desired.fields, "description", description.as_ref());
        put(&mut desired.fields, "devices", devices.as_ref());
    }
    desired
}

/// A user or group as Plaspy shows it.
///
/// Errors: an entry that is no object or has no id.
pub fn account(account_kind: AccountKind, entry: &Value) -> Result<Account, ProviderError> {
    let said = path(account_kind);
    let object = decode::object(entry, said)?;
    let table = match account_kind {
        AccountKind::User => USER,
        AccountKind::Group => GROUP,
    };
    let mut account = Account {
        id: decode::id_of(object, ID_NAMES, ID, said)?,
        fields: decode::fields(table, object),
        // Without an offset it may be any place's time, and says nothing about who made the account.
        created: decode::instant(object.get("creation")),
        ..Account::default()
    };
    if account_kind == AccountKind::User {
        account.groups = Some(object.get("group").and_then(decode::id).into_iter().collect());
        tidy(&mut account.fields);
    }
    Ok(account)
}

/// Whether a user is shown to be in a group.
pub fn shows_group(user: &Value) -> bool {
    user.get("group").and_then(decode::id).is_some()
}

/// A user's group in the form in which usher writes it; `shown` is its id or name, and `known` holds the names of
/// groups by id.
pub fn as_written(shown: &str, group_by: GroupBy, known: &BTreeMap<String, String>) -> String {
    let ids: Vec<&String> = known.iter().filter(|(_, name)| *name == shown).map(|(id, _)| id).collect();
    let other = match (group_by, ids.as_slice()) {
        (GroupBy::Name, []) => known.get(shown),
        (GroupBy::Id, [id]) if !known.contains_key(shown) => Some(*id),
        (GroupBy::Name | GroupBy::Id, _) => None,
    };
    other.map_or(shown, String::as_str).to_owned()
}

/// Completes what the vendor may leave out: `disabled` where it is false (seed 002, reply), and the offset of a time.
fn tidy(fields: &mut Fields) {
    let disabled = fields.entry("disabled".into()).or_default();
    if disabled.is_null() {
        *disabled = json!(false);
    }
    for name in ["from", "expires"] {
        if let Some(time) = instant(fields.get(name)) {
            fields.insert(name.into(), json!(time.to_string()));
        }
    }
}

/// A point in time, in UTC if it has no offset (assumed).
pub fn instant(value: Option<&Value>) -> Option<Timestamp> {
    decode::instant(value).or_else(|| {
        let local: DateTime = value?.as_str()?.parse().ok()?;
        local.to_zoned(TimeZone::UTC).ok().map(|time| time.timestamp())
    })
}

/// The countries, which Plaspy lists as a map of two-letter code to name.
///
/// Errors: an answer without that map.
pub fn countries(answer: &Value, said: &str) -> Result<Catalog, ProviderError> {
    let countries = answer.get("countries").and_then(Value::as_object);
    let countries = countries.ok_or_else(|| decode::unexpected_answer(said, "no map under countries"))?;
    let entry = |(id, name): (&String, &Value)| {
        let name = name.as_str().ok_or_else(|| decode::unexpected_answer(said, "a country without a name"))?;
        Ok(CatalogEntry { catalog: COUNTRY, id: id.clone(), name: name.into(), privileged: false })
    };
    Ok(Catalog { entries: countries.iter().map(entry).collect::<Result<_, ProviderError>>()? })
}

/// The body of a POST, without empty times and without an empty group.
///
/// Errors: a user without country and time zone, or with more than one group, is `Invalid`.
pub fn body(
    account_kind: AccountKind,
    changes: &Changes,
    password: Option<&SecretString>,
) -> Result<Value, ProviderError> {
    let Changes { fields, groups, password: _, alongside: _ } = changes;
    if account_kind == AccountKind::User && REQUIRED.iter().any(|name| !fields.contains_key(*name)) {
        let message = "Plaspy makes no user without country and time zone: \
            set spec.provider.plaspy.country and spec.provider.plaspy.timeZone";
        return Err(ProviderError::refused(ErrorKind::Invalid, message));
    }
    let mut body: Map<String, Value> = fields.clone().into_iter().filter(|(_, value)| !value.is_null()).collect();
    if let Some(groups) = groups.as_ref().filter(|groups| !groups.is_empty()) {
        body.insert("group".into(), json!(one_group(groups)?));
    }
    if let Some(password) = password {
        body.insert("password".into(), json!(password.expose_secret()));
    }
    Ok(body.into())
}

/// The one group of a user, or "" for none.
///
/// Errors: more than one is `Invalid`.
pub fn one_group(groups: &BTreeSet<String>) -> Result<&str, ProviderError> {
    if groups.len() > 1 {
        let message = "a Plaspy user is in at most one group and this one is in another already: \
            set spec.membership to Exclusive, or leave the group out";
        return Err(ProviderError::refused(ErrorKind::Invalid, message));
    }
    Ok(groups.first().map_or("", String::as_str))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case::utc("2026-01-01T10:00:00Z", true)]
    #[case::offset("2026-01-01T10:00:00-05:00", true)]
    #[case::local("2026-01-01T10:00:00", false)]
    fn the_time_of_a_create_is_known_only_with_an_offset(#[case] creation: &str, #[case] known: bool) {
        let account = account(AccountKind::User, &json!({"id": "usr-1", "creation": creation})).unwrap();
        assert_eq!(account.created.is_some(), known);
    }

    #[rstest]
    #[case::name(GroupBy::Name, "Trucks", "Trucks")]
    #[case::id_for_name(GroupBy::Name, "grp-1", "Trucks")]
    #[case::id(GroupBy::Id, "grp-1", "grp-1")]
    #[case::name_for_id(GroupBy::Id, "Trucks", "grp-1")]
    #[case::name_of_two(GroupBy::Id, "Twins", "Twins")]
    #[case::unknown(GroupBy::Name, "grp-9", "grp-9")]
    fn a_group_is_known_by_id_and_by_name(#[case] by: GroupBy, #[case] shown: &str, #[case] written: &str) {
        let known = [("grp-1", "Trucks"), ("grp-2", "Twins"), ("grp-3", "Twins")];
        let known = known.map(|(id, name)| (id.to_owned(), name.to_owned())).into();
        assert_eq!(as_written(shown, by, &known), written);
    }

    #[test]
    fn a_new_user_without_a_group_carries_none() {
        let fields = Fields::from([("country".into(), json!("US")), ("timeZone".into(), json!("UTC"))]);
        let changes = Changes { fields, groups: Some(BTreeSet::new()), ..Changes::default() };
        assert_eq!(body(AccountKind::User, &changes, None).unwrap().get("group"), None);
    }

    fn spec() -> PlatformUserSpec {
        let block = PlaspyUser { country: "us".into(), time_zone: "America/Bogota".into(), ..PlaspyUser::default() };
        PlatformUserSpec {
            email: "ada@example.com".into(),
            provider: Some(UserProvider::Plaspy(block)),
            ..PlatformUserSpec::default()
        }
    }

    #[rstest]
    #[case(Some("Countess"), Some("Ada"), Some("Lovelace"), "Countess")]
    #[case(None, Some("Ada"), Some("Lovelace"), "Ada Lovelace")]
    #[case(None, Some("Ada"), None, "Ada")]
    #[case(None, None, None, "ada@example.com")]
    fn a_display_name_wins_over_names_and_these_over_the_address(
        #[case] display: Option<&str>,
        #[case] first: Option<&str>,
        #[case] last: Option<&str>,
        #[case] expected: &str,
    ) {
        let owned = |text: Option<&str>| text.map(str::to_owned);
        let spec = PlatformUserSpec {
            display_name: owned(display),
            first_name: owned(first),
            last_name: owned(last),
            ..spec()
        };
        assert_eq!(decode::display_name(&spec), expected);
    }

    #[test]
    fn a_country_is_known_by_code_and_by_name() {
        let answer = json!({"success": true, "countries": {"US": "United States", "CO": "Colombia"}});
        let desired = desire_user(&spec(), &countries(&answer, "/countries").unwrap()).unwrap();
        assert_eq!(desired.synonyms["country"], BTreeSet::from(["us".to_owned(), "united states".to_owned()]));
    }

    #[test]
    fn fields_absent_from_a_manifest_are_not_sent() {
        let desired = desire_user(&spec(), &Catalog::default()).unwrap();
        let names: Vec<&str> = desired.fields.keys().map(String::as_str).collect();
        assert_eq!(names, ["country", "email", "name", "timeZone"]);
    }

    #[test]
    fn a_reply_that_says_little_is_an_active_user_without_a_group() {
        let entry =
            json!({"success": true, "id": "usr-1", "email": "ada@example.com", "expires": "2027-01-01T00:00:00"});
        let account = account(AccountKind::User, &entry).unwrap();
        assert_eq!(account.groups, Some(BTreeSet::new()));
        assert_eq!(account.fields["disabled"], json!(false));
        assert_eq!(account.fields["expires"], json!("2027-01-01T00:00:00Z"));
    }

    #[test]
    fn no_user_is_made_without_country_and_time_zone() {
        let changes =
            Changes { fields: Fields::from([("email".into(), json!("ada@example.com"))]), ..Changes::default() };
        let error = body(AccountKind::User, &changes, None).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Invalid);
        assert!(error.message.contains("spec.provider.plaspy.timeZone"));
    }
}
