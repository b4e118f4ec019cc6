//! The key of password digests and of seals, kept in a Secret of usher's own namespace, so that status reveals nothing about a
//! password, and nobody else can bind an object to an account.

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::hmac;
use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use data_encoding::HEXLOWER;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt;
use kube::api::{Api, ObjectMeta, Patch, PatchParams, PostParams};
use secrecy::{ExposeSecret, SecretString};
use serde_json::json;

use crate::api::Reason;
use crate::api::names::{BINDINGS_SEALED, DIGEST_KEY_SECRET, MANAGER};
use crate::controller::outcome::Stop;

/// The entry of the Secret that holds the key.
const ENTRY: &str = "key";
/// Bytes of a key.
const LENGTH: usize = 32;
/// Bytes of a password's digest: enough to tell two passwords apart.
const DIGEST_LENGTH: usize = 16;

/// The key of password digests and of seals. Each use has a key of its own, derived from this one, so that no digest passes for a seal.
pub struct DigestKey {
    /// Whether every binding has a seal, so that one without does not count.
    pub are_bindings_sealed: bool,
    passwords: Key,
    seals: Key,
    /// By which earlier builds made digests of passwords.
    earlier: Key,
}

/// A key for one use.
struct Key {
    /// The first bytes of the key's own digest in hexadecimal digits, because codes of different keys cannot be compared.
    id: String,
    // Boxed, because it is large and travels through the futures of every reconcile.
    key: Box<hmac::Key>,
}

impl DigestKey {
    /// The key in the Secret; `None` if the Secret is absent or usher may not read it.
    ///
    /// Errors: the Secret holds no usable key; Kubernetes did not answer.
    pub async fn read(secrets: &Api<Secret>) -> Result<Option<Self>, Stop> {
        match secrets.get_opt(DIGEST_KEY_SECRET).await {
            Ok(secret) => secret.as_ref().map(Self::from_secret).transpose(),
            Err(kube::Error::Api(status)) if status.is_forbidden() => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// The key in the Secret. An absent Secret is created with a new key.
    ///
    /// Errors: the Secret holds no usable key; Kubernetes did not answer.
    pub async fn read_or_create(secrets: &Api<Secret>) -> Result<Self, Stop> {
        if let Some(secret) = secrets.get_opt(DIGEST_KEY_SECRET).await? {
            return Self::from_secret(&secret);
        }
        match secrets.create(&PostParams::default(), &with_new_key()?).await {
            Ok(created) => Self::from_secret(&created),
            Err(kube::Error::Api(status)) if status.is_already_exists() => {
                Self::from_secret(&secrets.get(DIGEST_KEY_SECRET).await?)
            }
            Err(error) => Err(error.into()),
        }
    }

    fn from_secret(secret: &Secret) -> Result<Self, Stop> {
        let bytes = secret.data.as_ref().and_then(|data| data.get(ENTRY)).filter(|bytes| bytes.0.len() >= LENGTH);
        let ByteString(bytes) = bytes.ok_or_else(|| {
            let message = format!(
                "usher's own Secret {} has no usable key: delete it, and usher makes a new one",
                secret.name_any()
            );
            Stop::because(Reason::Invalid, message)
        })?;
        Ok(Self { are_bindings_sealed: secret.annotations().contains_key(BINDINGS_SEALED), ..Self::of(bytes) })
    }

    /// The key of these bytes, by which nothing is sealed yet.
    pub(super) fn of(bytes: &[u8]) -> Self {
        let earlier = Key::new(bytes);
        let derived = |name: &str| Key::new(hmac::sign(&earlier.key, name.as_bytes()).as_ref());
        let (passwords, seals) = (derived("usher passwords"), derived("usher seals"));
        Self { are_bindings_sealed: false, passwords, seals, earlier }
    }

    /// The digest of a password at `place`, its Secret and entry. Equal passwords at two places have different digests, so that nobody
    /// who reads a status learns that they are equal, or tries passwords in a Secret of his own.
    pub fn digest(&self, place: [&str; 3], value: &SecretString) -> String {
        let code = self.passwords.code(place.into_iter().chain([value.expose_secret()]));
        format!("{}.{}", self.passwords.id, HEXLOWER.encode(&code.as_ref()[..DIGEST_LENGTH]))
    }

    /// The digest of a password as earlier builds wrote it.
    pub fn earlier_digest(&self, value: &SecretString) -> String {
        let code = hmac::sign(&self.earlier.key, value.expose_secret().as_bytes());
        format!("{}.{}", self.earlier.id, HEXLOWER.encode(&code.as_ref()[..DIGEST_LENGTH]))
    }

    /// Whether `digest` is one that this key makes.
    pub fn makes(&self, digest: &str) -> bool {
        digest.split_once('.').is_some_and(|(id, _)| id == self.passwords.id)
    }

    /// The seal on `parts`.
    pub fn seal<'p>(&self, parts: impl IntoIterator<Item = &'p str>) -> String {
        format!("{}.{}", self.seals.id, HEXLOWER.encode(self.seals.code(parts).as_ref()))
    }

    /// Whether `seal` is the one on `parts`.
    pub fn has_sealed<'p>(&self, parts: impl IntoIterator<Item = &'p str>, seal: &str) -> bool {
        verify_slices_are_equal(self.seal(parts).as_bytes(), seal.as_bytes()).is_ok()
    }

    /// Notes on the Secret that every binding has a seal.
    ///
    /// Errors: Kubernetes did not answer.
    pub async fn note_bindings_sealed(secrets: &Api<Secret>) -> Result<(), kube::Error> {
        let patch = json!({"metadata": {"annotations": {BINDINGS_SEALED: "true"}}});
        let params = PatchParams { field_manager: Some(MANAGER.into()), ..PatchParams::default() };
        secrets.patch_metadata(DIGEST_KEY_SECRET, &params, &Patch::Merge(patch)).await.map(drop)
    }
}

impl Key {
    fn new(bytes: &[u8]) -> Self {
        let id = HEXLOWER.encode(&digest(&SHA256, bytes).as_ref()[..4]);
        Self { id, key: Box::new(hmac::Key::new(hmac::HMAC_SHA256, bytes)) }
    }

    /// The code for `parts`. Each part is preceded by its length, so that no text passes from one part into the next.
    fn code<'p>(&self, parts: impl IntoIterator<Item = &'p str>) -> hmac::Tag {
        let mut context = hmac::Context::with_key(&self.key);
        for part in parts {
            context.update(&part.len().to_be_bytes());
            context.update(part.as_bytes());
        }
        context.sign()
    }
}

/// A Secret with a new random key.
///
/// Errors: the system has no randomness.
fn with_new_key() -> Result<Secret, Stop> {
    let mut bytes = vec![0; LENGTH];
    SystemRandom::new().fill(&mut bytes).map_err(|_| {
        let message = "the system has no randomness for the key of password digests; usher tries again";
        Stop::because(Reason::ProviderUnavailable, message)
    })?;
    Ok(Secret {
        metadata: ObjectMeta { name: Some(DIGEST_KEY_SECRET.into()), ..ObjectMeta::default() },
        data: Some([(ENTRY.to_owned(), ByteString(bytes))].into()),
        ..Secret::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(byte: u8) -> DigestKey {
        DigestKey::of(&[byte; LENGTH])
    }

    #[test]
    fn equal_passwords_show_at_no_other_place_and_are_known_in_their_earlier_form() {
        let (key, password) = (key(1), SecretString::from("Fake-Pass-1"));
        let digest = |place| key.digest(place, &password);
        let ada = digest(["identity", "ada", "password"]);
        assert_eq!(ada, digest(["identity", "ada", "password"]));
        for other in [["identity", "eve", "password"], ["other", "ada", "password"], ["identity", "ada", "new"]] {
            assert_ne!(ada, digest(other));
        }
        assert_ne!(digest(["a", "bc", "d"]), digest(["ab", "c", "d"]));
        assert!(key.makes(&ada) && !key.makes(&key.earlier_digest(&password)));
    }

    #[test]
    fn a_seal_is_of_one_key_and_no_digest_passes_for_it() {
        let seal = key(1).seal(["ada", "17"]);
        assert!(key(1).has_sealed(["ada", "17"], &seal));
        assert!(!key(1).has_sealed(["ada", "18"], &seal) && !key(1).has_sealed(["ada1", "7"], &seal));
        assert!(!key(2).has_sealed(["ada", "17"], &seal) && !key(1).has_sealed(["ada", "17"], ""));
        let password = SecretString::from("17");
        assert_ne!(key(1).digest(["", "", "ada"], &password), key(1).seal(["", "", "ada", "17"]));
    }
}
