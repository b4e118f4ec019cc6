//! Lenient decoding of objects that do not fit their schema, because they were stored under another version of it. Each field that can
//! be decoded is kept, so that such an object keeps its account, reports what is wrong, and can be deleted as its policy asks.
//!
//! Decoding takes time linear in the size of the object, because each field is tried on its own. The parser of the API server's
//! answers limits the depth of a value.

use std::borrow::Cow;

use kube::Resource;
use kube::core::ObjectMeta;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use serde_json::{Value, json};
use strum::IntoEnumIterator;

use super::object::Object;
use crate::api::{DecodeIssues, Kind, Reason, Vendor};
use crate::controller::outcome::Stop;

/// An object as it is stored, decoded as far as possible; [`Object::decode_issues`] of it names what is missing.
#[derive(Clone, Debug)]
pub struct Lenient<K>(pub K);

impl<'de, K: Object> Deserialize<'de> for Lenient<K> {
    /// Errors: the metadata cannot be decoded.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let stored = Value::deserialize(deserializer)?;
        let error = match K::deserialize(&stored) {
            Ok(object) => return Ok(Self(object)),
            Err(error) => error,
        };
        let mut object = decodable::<K>(&stored).ok_or_else(|| D::Error::custom(&error))?;
        object.set_decode_issues(issues::<K>(&stored, &error));
        Ok(Self(object))
    }
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
fn decodable<K: Object>(stored: &Value) -> Option<K> {
    let blank = blank::<K>(stored);
    let mut object = blank.clone();
    object["metadata"] = stored["metadata"].clone();
    for part in ["spec", "status"] {
        let fields = stored[part].as_object().into_iter().flatten();
        for (field, value) in fields.filter(|(field, value)| decodes::<K>(&blank, part, field, value)) {
            object[part][field] = value.clone();
        }
    }
    K::deserialize(&object).ok()
}

/// What of `stored` is not decoded. `error` is the decoder's.
fn issues<K: Object>(stored: &Value, error: &serde_json::Error) -> DecodeIssues {
    let blank = blank::<K>(stored);
    let undecoded = |field| {
        let value = stored["spec"].get(field).filter(|value| !decodes::<K>(&blank, "spec", field, value));
        value.map(Value::to_string)
    };
    DecodeIssues {
        message: error.to_string(),
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
    json!({"apiVersion": stored["apiVersion"], "kind": stored["kind"], "metadata": {}, "spec": spec, "status": {}})
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

    #[test]
    fn thousands_of_unknown_fields_are_decoded_in_linear_time() {
        let mut spec = json!({"credentialRef": {"name": "main"}, "email": 7});
        (0..20_000).for_each(|field| spec[format!("field{field}")] = json!("x".repeat(64)));
        let user: PlatformUser = stored(&spec, &json!({}));
        assert_eq!(user.spec.credential_ref.name, "main");
    }
}
