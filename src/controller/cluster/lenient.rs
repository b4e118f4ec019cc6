//! Lenient decoding of objects that do not fit their schema, because they were stored under another version of it, or that are too
//! deep or too large for usher. Each field that can be decoded is kept, so that such an object keeps its account, reports what is
//! wrong, can be deleted as its policy asks, and harms no other object of the same listing.
//!
//! Decoding takes time linear in the size of the object, because each field is tried on its own.

use std::borrow::Cow;

use kube::Resource;
use kube::core::ObjectMeta;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use serde_json::{Value, json};
use strum::IntoEnumIterator;

use super::object::Object;
use crate::api::stored::Stored;
use crate::api::{DecodeIssues, Kind, Reason, Vendor};
use crate::controller::outcome::Stop;

/// Most characters of a value that a message quotes.
const MAX_QUOTED: usize = 64;

/// An object as it is stored, decoded as far as possible; [`Object::decode_issues`] of it names what is missing. Its metadata lacks
/// `managedFields`, which usher does not read.
#[derive(Clone, Debug)]
pub struct Lenient<K>(pub K);

impl<'de, K: Object> Deserialize<'de> for Lenient<K> {
    /// Errors: the metadata cannot be decoded.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // As text first, because a parser that meets a value of too many levels refuses the whole answer, with all its objects.
        let text = Box::<RawValue>::deserialize(deserializer)?;
        decode(text.get()).map(Self).map_err(D::Error::custom)
    }
}

fn decode<K: Object>(text: &str) -> serde_json::Result<K> {
    let mut stored: Stored = serde_json::from_str(text)?;
    let excess = stored.cut();
    let text = serde_json::to_string(&stored)?;
    if excess.is_none()
        && let Ok(object) = serde_json::from_str(&text)
    {
        return Ok(object);
    }
    let stored: Value = serde_json::from_str(&text)?;
    let issue = || K::deserialize(&stored).err().map(|error| error.to_string());
    let message = excess.or_else(issue).unwrap_or_default();
    let mut object = decodable::<K>(&stored)?;
    object.set_decode_issues(issues::<K>(&stored, message));
    Ok(object)
}

impl<K: Resource<DynamicType = ()>> Resource for Lenient<K> {
    type DynamicType = ();
    type Scope = K::Scope;

    fn kind((): &()) -> Cow<'_, str> {
        K::kind(&())
    }

    fn group((): &()) -> Cow<'_, str> {
        K::group(&())
    }

    fn version((): &()) -> Cow<'_, str> {
        K::version(&())
    }

    fn plural((): &()) -> Cow<'_, str> {
        K::plural(&())
    }

    fn meta(&self) -> &ObjectMeta {
        self.0.meta()
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        self.0.meta_mut()
    }
}

/// The object with only those fields of spec and status that can be decoded.
///
/// Errors: the metadata cannot be decoded.
fn decodable<K: Object>(stored: &Value) -> serde_json::Result<K> {
    let blank = blank::<K>(stored);
    let mut object = blank.clone();
    object["metadata"] = stored["metadata"].clone();
    for part in ["spec", "status"] {
        let fields = stored[part].as_object().into_iter().flatten();
        for (field, value) in fields.filter(|(field, value)| decodes::<K>(&blank, part, field, value)) {
            object[part][field] = value.clone();
        }
    }
    K::deserialize(&object)
}

/// What of `stored` is not decoded, and `message`, which says why.
fn issues<K: Object>(stored: &Value, message: String) -> DecodeIssues {
    let blank = blank::<K>(stored);
    let undecoded = |field| {
        let value = stored["spec"].get(field).filter(|value| !decodes::<K>(&blank, "spec", field, value));
        value.map(|value| value.to_string().chars().take(MAX_QUOTED).collect())
    };
    DecodeIssues {
        message,
        deletion_policy: undecoded("deletionPolicy"),
        mode: undecoded("mode"),
        is_vendor_unknown: K::KIND == Kind::Credential && vendor_of(stored).is_none(),
    }
}

/// Whether an object can be decoded that has this one field beside the required ones.
fn decodes<K: Object>(blank: &Value, part: &str, field: &str, value: &Value) -> bool {
    let mut candidate = blank.clone();
    candidate[part][field] = value.clone();
    K::deserialize(&candidate).is_ok()
}

/// An object with the required fields alone, all of them empty. A credential has an empty block of its vendor; if that is unknown, of
/// another vendor as a placeholder.
fn blank<K: Object>(stored: &Value) -> Value {
    let spec = match K::KIND {
        Kind::User => json!({"credentialRef": {"name": ""}, "email": ""}),
        Kind::Group => json!({"credentialRef": {"name": ""}}),
        Kind::Credential => {
            let vendor = vendor_of(stored).unwrap_or(Vendor::Pegasus);
            json!({"provider": {(vendor.label()): {"url": ""}}, "secretRef": {"name": ""}})
        }
    };
    json!({"metadata": {}, "spec": spec, "status": {}})
}

/// The vendor of a stored credential, by the key of its provider block alone; `None` unless exactly one known vendor has a block.
fn vendor_of(stored: &Value) -> Option<Vendor> {
    let mut known = Vendor::iter().filter(|vendor| stored["spec"]["provider"].get(vendor.label()).is_some());
    known.next().filter(|_| known.next().is_none())
}

/// Errors: the object was not decoded as a whole.
pub fn readable<K: Object>(object: &K) -> Result<(), Stop> {
    unreadable(object).map_or(Ok(()), |message| Err(Stop::because(Reason::Invalid, message)))
}

/// The message on an object that was not decoded as a whole.
pub fn unreadable<K: Object>(object: &K) -> Option<String> {
    let DecodeIssues { message, .. } = object.decode_issues()?;
    Some(format!("the stored object does not fit its schema: {message}; correct it and apply it again"))
}

/// A deletion policy that was not decoded, in JSON.
pub fn unread_policy<K: Object>(object: &K) -> Option<&str> {
    object.decode_issues()?.deletion_policy.as_deref()
}

/// A mode that was not decoded, in JSON.
pub fn unread_mode<K: Object>(object: &K) -> Option<&str> {
    object.decode_issues()?.mode.as_deref()
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::api::{PlatformGroup, PlatformUser, ProviderCredential};

    fn stored<K: Object>(spec: &Value, status: &Value) -> K {
        let stored = json!({
            "apiVersion": "usher.dev/v1alpha1", "kind": K::KIND.to_string(), "metadata": {"name": "main"}, "spec": spec, "status": status,
        });
        serde_json::from_value::<Lenient<K>>(stored).unwrap().0
    }

    fn credential(provider: &Value, status: &Value) -> ProviderCredential {
        stored(&json!({"provider": provider, "secretRef": {"name": "login"}, "mode": "Plan"}), status)
    }

    #[rstest]
    #[case::a_block_that_decodes(json!({"ozmap": {"url": "https://ozmap.example"}}), Some(Vendor::Ozmap))]
    #[case::a_block_with_a_wrong_type(json!({"ozmap": {"url": 7}}), Some(Vendor::Ozmap))]
    #[case::a_block_without_a_required_field(json!({"industrility": {}}), Some(Vendor::Industrility))]
    #[case::a_block_that_is_no_object(json!({"amani": "eu"}), Some(Vendor::Amani))]
    #[case::a_block_beside_an_unknown_one(json!({"plaspy": {}, "other": {}}), Some(Vendor::Plaspy))]
    #[case::two_blocks(json!({"ozmap": {"url": "https://ozmap.example"}, "pegasus": {}}), None)]
    #[case::an_unknown_block(json!({"other": {}}), None)]
    #[case::no_block(json!("ozmap"), None)]
    fn the_vendor_of_a_credential_is_known_by_the_key_of_its_block(
        #[case] provider: Value,
        #[case] vendor: Option<Vendor>,
    ) {
        let credential = credential(&provider, &json!({}));
        assert_eq!(credential.vendor(), vendor);
        assert_eq!(credential.spec.secret_ref.name, "login");
        assert_eq!(credential.mode(), Some(crate::api::user::Mode::Plan));
    }

    #[test]
    fn a_credential_without_a_known_vendor_keeps_the_one_in_its_status() {
        let credential = credential(&json!({"other": {}}), &json!({"provider": "ozmap"}));
        assert_eq!(credential.vendor(), Some(Vendor::Ozmap));
        assert_eq!(credential.vendor_label(), "ozmap");
    }

    #[test]
    fn an_undecodable_block_of_a_user_or_group_is_left_out() {
        let provider = json!({"ozmap": {"role": 7, "projects": "all"}});
        let spec = json!({"credentialRef": {"name": "main"}, "email": "ada@example.com", "provider": provider});
        let user: PlatformUser = stored(&spec, &json!({}));
        let group: PlatformGroup = stored(&spec, &json!({}));
        assert_eq!((user.spec.provider, user.spec.email.as_str()), (None, "ada@example.com"));
        assert_eq!((group.spec.provider, group.spec.credential_ref.name.as_str()), (None, "main"));
        assert!(user.spec.decode_issues.is_some() && group.spec.decode_issues.is_some());
    }

    #[test]
    fn every_decodable_field_of_spec_and_status_is_kept() {
        let spec = json!({"credentialRef": {"name": "main"}, "email": "ada@example.com", "groups": 1, "mode": "Pause", "deletionPolicy": "Retain"});
        let user: PlatformUser = stored(&spec, &json!({"externalId": "17", "conditions": "none"}));
        assert_eq!(user.status.as_ref().unwrap().identity.external_id.as_deref(), Some("17"));
        assert_eq!((unread_mode(&user), unread_policy(&user)), (Some("\"Pause\""), Some("\"Retain\"")));
        assert!(readable(&user).is_err());
    }

    #[test]
    fn decode_issues_are_neither_written_nor_taken_from_a_manifest() {
        let user: PlatformUser = stored(&json!({"credentialRef": {"name": "main"}, "email": 7}), &json!({}));
        assert!(!json!(user).to_string().contains("ssues"));
        let spec = json!({"credentialRef": {"name": "main"}, "email": "", "decodeIssues": {"message": "forged"}});
        let user: PlatformUser = stored(&spec, &json!({}));
        assert_eq!(user.decode_issues(), None);
    }

    /// `levels` lists in each other.
    fn deep(levels: usize) -> String {
        "[".repeat(levels) + &"]".repeat(levels)
    }

    fn decoded<K: Object>(metadata: &str, spec: &str, status: &str) -> K {
        decode(&format!(
            r#"{{"kind": "{}", "metadata": {metadata}, "spec": {spec}, "status": {status}, "other": {}}}"#,
            K::KIND,
            deep(10_000)
        ))
        .unwrap()
    }

    #[test]
    fn a_field_of_too_many_levels_is_left_out_and_named_and_the_others_are_kept() {
        let metadata = format!(r#"{{"name": "ada", "managedFields": [{{"fieldsV1": {}}}]}}"#, deep(10_000));
        let spec = format!(
            r#"{{"credentialRef": {{"name": "main"}}, "email": "ada@example.com", "deletionPolicy": "Orphan", "provider": {{"pegasus": {{"prefs": {{"a": {}}}}}}}}}"#,
            deep(10_000)
        );
        let status = format!(r#"{{"externalId": "17", "key": {}, "creating": {{"at": {}}}}}"#, deep(200), deep(200));
        let user: PlatformUser = decoded(&metadata, &spec, &status);
        assert_eq!(user.metadata.name.as_deref(), Some("ada"));
        assert_eq!((user.spec.email.as_str(), user.spec.provider.is_none()), ("ada@example.com", true));
        assert_eq!(user.spec.deletion_policy, Some(crate::api::user::UserDeletionPolicy::Orphan));
        let identity = &user.status.as_ref().unwrap().identity;
        assert_eq!(
            (identity.external_id.as_deref(), identity.key.as_deref(), &identity.creating),
            (Some("17"), None, &None)
        );
        let said = unreadable(&user).unwrap();
        assert!(said.contains("spec.provider has 10003 levels of objects and lists, more than 64"), "{said}");
    }

    #[rstest]
    #[case::policy(r#""deletionPolicy": "#)]
    #[case::mode(r#""mode": "#)]
    fn a_policy_of_too_many_levels_is_not_taken_for_absent(#[case] field: &str) {
        for value in [deep(200), format!(r#"{{"a": {}}}"#, deep(200))] {
            let spec = format!(r#"{{"credentialRef": {{"name": "main"}}, "email": "a@example.com", {field}{value}}}"#);
            let user: PlatformUser = decoded(r#"{"name": "ada"}"#, &spec, "{}");
            assert!(unread_policy(&user).or(unread_mode(&user)).is_some(), "{spec}");
        }
    }

    #[test]
    fn a_credential_of_too_many_levels_keeps_its_vendor() {
        let spec = format!(
            r#"{{"secretRef": {{"name": "login"}}, "provider": {{"ozmap": {{"url": "https://a", "more": {}}}}}}}"#,
            deep(200)
        );
        let credential: ProviderCredential = decoded(r#"{"name": "main"}"#, &spec, "{}");
        assert_eq!((credential.vendor(), credential.spec.secret_ref.name.as_str()), (Some(Vendor::Ozmap), "login"));
        assert!(readable(&credential).is_err());
    }

    #[test]
    fn an_object_is_decoded_within_a_listing_and_a_watch_event() {
        let spec = format!(r#"{{"credentialRef": {{"name": "main"}}, "phone": {}}}"#, deep(10_000));
        let object = format!(
            r#"{{"apiVersion": "usher.dev/v1alpha1", "kind": "PlatformUser", "metadata": {{"name": "ada"}}, "spec": {spec}}}"#
        );
        let list = format!(
            r#"{{"apiVersion": "v1", "kind": "PlatformUserList", "items": [{object}, {object}], "metadata": {{}}}}"#
        );
        let list: kube::core::ObjectList<Lenient<PlatformUser>> = serde_json::from_str(&list).unwrap();
        assert!(list.items.iter().all(|Lenient(user)| readable(user).is_err()));
        let event = format!(r#"{{"type": "ADDED", "object": {object}}}"#);
        let event: kube::core::WatchEvent<Lenient<PlatformUser>> = serde_json::from_str(&event).unwrap();
        assert!(
            matches!(event, kube::core::WatchEvent::Added(Lenient(user)) if user.spec.credential_ref.name == "main")
        );
    }

    #[test]
    fn thousands_of_unknown_fields_are_decoded_in_linear_time() {
        let mut spec = json!({"credentialRef": {"name": "main"}, "email": 7});
        (0..20_000).for_each(|field| spec[format!("field{field}")] = json!("x".repeat(64)));
        let user: PlatformUser = stored(&spec, &json!({}));
        assert_eq!(user.spec.credential_ref.name, "main");
    }
}
