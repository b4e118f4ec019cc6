//! The seal on a binding: a code in status by which usher knows that it wrote the binding itself, because others may be able to write
//! status, too. A seal is of one object: a copy of it binds no other one. An object of the same name is the same, because a restore
//! from a backup gives it another uid.

use serde_json::json;

use super::digest_key::DigestKey;
use crate::api::ObjectKey;
use crate::api::status::{Creating, Identity};

/// Whether `identity` ties an object to an account, and so needs a seal. The name of an account that usher must not take needs none.
pub fn is_needed(identity: &Identity) -> bool {
    identity.external_id.is_some() || identity.missing.is_some() || identity.creating.is_some()
}

/// The seal on `identity` of an object that uses `credential`; `None` if it needs none.
pub fn seal(key: &DigestKey, object: &ObjectKey, credential: &ObjectKey, identity: &Identity) -> Option<String> {
    is_needed(identity).then(|| key.seal([&*text(object, credential, identity)]))
}

/// Whether the seal in `identity` is the one on it.
pub fn is_valid(key: &DigestKey, object: &ObjectKey, credential: &ObjectKey, identity: &Identity) -> bool {
    identity.seal.as_ref().is_some_and(|seal| key.has_sealed([&*text(object, credential, identity)], seal))
}

/// What is sealed: all that says which account is the object's. An array, because its order is the same in all builds.
fn text(object: &ObjectKey, credential: &ObjectKey, identity: &Identity) -> String {
    let Identity {
        external_id,
        key,
        renaming,
        account,
        creating,
        adopted,
        missing,
        refused,
        // These concern what was sent to the account and not which one it is.
        sent: _,
        password_version: _,
        groups: _,
        resolved_groups: _,
        rejected: _,
        not_kept: _,
        // Another value here only keeps usher from the account.
        cluster: _,
        seal: _,
    } = identity;
    let creating = creating.as_ref().map(|Creating { at, since, vendor_time, key, account, password_version: _ }| {
        json!([at, since, vendor_time, key, account])
    });
    let (object, credential) = (object.to_string(), credential.to_string());
    json!([object, credential, external_id, key, renaming, account, creating, adopted, missing, refused]).to_string()
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::Value;

    use super::*;
    use crate::api::Kind;

    fn key() -> DigestKey {
        DigestKey::of(&[7; 32])
    }

    fn object(name: &str) -> ObjectKey {
        ObjectKey::new(Kind::User, "identity", name)
    }

    fn credential(name: &str) -> ObjectKey {
        ObjectKey::new(Kind::Credential, "identity", name)
    }

    /// A bound identity with its seal.
    fn bound() -> Identity {
        let identity = Identity {
            external_id: Some("17".into()),
            key: Some("ada@example.com".into()),
            account: Some("amani eu u-1".into()),
            ..Identity::default()
        };
        Identity { seal: seal(&key(), &object("ada"), &credential("main"), &identity), ..identity }
    }

    #[test]
    fn a_seal_is_of_one_object_and_credential() {
        let identity = bound();
        assert!(is_valid(&key(), &object("ada"), &credential("main"), &identity));
        assert!(!is_valid(&key(), &object("eve"), &credential("main"), &identity));
        assert!(!is_valid(&key(), &object("ada"), &credential("other"), &identity));
        let group = ObjectKey::new(Kind::Group, "identity", "ada");
        assert!(!is_valid(&key(), &group, &credential("main"), &identity));
        assert!(!is_valid(&DigestKey::of(&[8; 32]), &object("ada"), &credential("main"), &identity));
    }

    #[rstest]
    #[case::of_the_id(json!({"externalId": "18"}))]
    #[case::of_the_key(json!({"key": "victim@example.com"}))]
    #[case::of_a_new_key(json!({"renaming": "victim@example.com"}))]
    #[case::of_the_credentials_account(json!({"account": "amani eu u-2"}))]
    #[case::of_a_pending_create(json!({"creating": {"at": "1970-01-01T00:00:00Z", "key": "victim@example.com", "account": "amani eu u-1"}}))]
    #[case::of_the_adoption(json!({"adopted": true}))]
    #[case::of_a_missing_account(json!({"vanished": "18"}))]
    #[case::of_a_refused_account(json!({"refused": "victim@example.com"}))]
    #[case::without_a_seal(json!({"seal": null}))]
    fn a_forgery_breaks_the_seal(#[case] forgery: Value) {
        let mut forged = json!(bound());
        forged.as_object_mut().unwrap().extend(forgery.as_object().unwrap().clone());
        let identity = serde_json::from_value(forged).unwrap();
        assert!(!is_valid(&key(), &object("ada"), &credential("main"), &identity));
    }

    #[test]
    fn what_was_sent_to_the_account_is_not_sealed() {
        let identity = Identity { sent: Some("a=b".into()), password_version: Some("1/2/3".into()), ..bound() };
        assert!(is_valid(&key(), &object("ada"), &credential("main"), &identity));
    }
}
