//! The key of password digests, kept in a Secret of usher's own namespace, so that status reveals nothing about a password.

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::hmac;
use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use data_encoding::HEXLOWER;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt;
use kube::api::{Api, ObjectMeta, PostParams};
use secrecy::{ExposeSecret, SecretString};

use crate::api::Reason;
use crate::api::names::DIGEST_KEY_SECRET;
use crate::controller::outcome::Stop;

/// The entry of the Secret that holds the key.
const ENTRY: &str = "key";
/// Bytes of a key.
const LENGTH: usize = 32;

/// The key of password digests.
pub struct DigestKey {
    /// The first bytes of the key's own digest in hexadecimal digits, because digests with different keys cannot be compared.
    pub id: String,
    key: hmac::Key,
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
        let id = HEXLOWER.encode(&digest(&SHA256, bytes).as_ref()[..4]);
        Ok(Self { id, key: hmac::Key::new(hmac::HMAC_SHA256, bytes) })
    }

    /// The digest of a password, in hexadecimal digits.
    pub fn digest(&self, value: &SecretString) -> String {
        HEXLOWER.encode(&hmac::sign(&self.key, value.expose_secret().as_bytes()).as_ref()[..16])
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
