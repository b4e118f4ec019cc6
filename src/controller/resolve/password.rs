//! Whether a password has a value that was not sent yet; the value itself stays in a `SecretString`.

use std::fmt::Write as _;

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::hmac;
use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt;
use kube::api::{ObjectMeta, PostParams};
use secrecy::{ExposeSecret, SecretString};

use crate::api::conditions::Verdict;
use crate::api::names::DIGEST_KEY_SECRET;
use crate::api::user::{Mode, PasswordSecretRef};
use crate::api::{PlatformUser, Reason};
use crate::controller::cluster::managed::Managed;
use crate::controller::context::Context;
use crate::controller::outcome::Stop;

/// Instead of a version: that of an account taken over before its Secret was there, whose first value will be the baseline.
pub const ADOPTED: &str = "adopted";
/// Key in our own Secret.
const ENTRY: &str = "key";
/// Types of Secrets that passwords and logins are taken from.
const TYPES: [&str; 2] = ["Opaque", "kubernetes.io/basic-auth"];

/// What is known of a user's password.
#[derive(Clone, Debug)]
pub enum Password {
    /// The manifest names none.
    Unmanaged,
    /// It was sent; the version to remember may be newer than the one in status.
    Sent(String),
    /// Its value is one that was not sent yet.
    Due(SecretString, String),
    /// The Secret or its key is not there, or is none that may be used.
    Missing(Verdict),
}

impl Password {
    /// The value, if it has to be sent.
    pub fn due(&self) -> Option<&SecretString> {
        match self {
            Self::Due(value, _) => Some(value),
            Self::Unmanaged | Self::Sent(_) | Self::Missing(_) => None,
        }
    }

    /// What is known once the version `sent` turns out to have been sent.
    pub fn after(self, sent: &str) -> Self {
        match self {
            Self::Due(_, version) if is_same(&version, sent) => Self::Sent(version),
            other => other,
        }
    }

    /// The version to remember once all is done.
    pub fn version(&self) -> Option<&str> {
        match self {
            Self::Sent(version) | Self::Due(_, version) => Some(version),
            Self::Unmanaged | Self::Missing(_) => None,
        }
    }
}

/// Whether two versions are of the same value, as far as they tell.
pub fn is_same(one: &str, other: &str) -> bool {
    let parts = one.rsplit_once('/').zip(other.rsplit_once('/'));
    parts.is_some_and(|(one, other)| one.0 == other.0 || (one.1 == other.1 && !one.1.is_empty()))
}

/// The key that digests passwords, so that status tells nothing about them.
pub struct DigestKey {
    id: String,
    key: hmac::Key,
}

/// What is known of the password of `user`, whose last sent version is `known`.
///
/// Errors: Kubernetes failed us.
pub async fn resolve(context: &Context, user: &PlatformUser, known: Option<&str>) -> Result<Password, Stop> {
    let Some(reference) = user.password_ref() else { return Ok(Password::Unmanaged) };
    let namespace = user.namespace().unwrap_or_default();
    let Some(seen) = context.secret(&namespace, &reference.name) else {
        return Ok(Password::Missing(missing(&namespace, reference, "is not there")));
    };
    let key = digest_key(context).await?;
    let is_changed = context.secret_reader.is_changed(&namespace, &reference.name, reference.entry());
    if let (None, Some(known), false) = (key, known, is_changed) {
        return Ok(Password::Sent(known.to_owned()));
    }
    let stamp = |uid: Option<String>, version: Option<String>| {
        format!("{}/{}/{}", uid.unwrap_or_default(), version.unwrap_or_default(), reference.entry())
    };
    let (known_stamp, known_digest) = known.and_then(|known| known.rsplit_once('/')).unwrap_or_default();
    let same_stamp = known_stamp == stamp(seen.uid(), seen.resource_version());
    let same_key = key.is_some_and(|key| known_digest.split_once('.').is_some_and(|(id, _)| id == key.id));
    if same_stamp && same_key {
        return Ok(Password::Sent(known.unwrap_or_default().to_owned()));
    }
    let (secret, value) = match read(context, &namespace, reference).await? {
        Ok(found) => found,
        Err(verdict) => return Ok(Password::Missing(verdict)),
    };
    let digest = key.map(|key| format!("{}.{}", key.id, key.digest(&value))).unwrap_or_default();
    let version = format!("{}/{digest}", stamp(secret.uid(), secret.resource_version()));
    let unchanged = (key.is_some() && known_digest == digest) || same_stamp || known == Some(ADOPTED);
    Ok(if unchanged { Password::Sent(version) } else { Password::Due(value, version) })
}

/// The value that the Secret has now, sent before or not; `None` where the manifest names no Secret.
///
/// Errors: the Secret or its key is not there, or is none that may be used.
pub async fn present<K: Managed>(context: &Context, object: &K) -> Result<Option<SecretString>, Stop> {
    let Some(reference) = object.password_ref() else { return Ok(None) };
    let read = read(context, &object.namespace().unwrap_or_default(), reference).await?;
    read.map(|(_, value)| Some(value)).map_err(Stop::Verdict)
}

/// A Secret and the password in it, or the verdict that it cannot be had.
async fn read(
    context: &Context,
    namespace: &str,
    reference: &PasswordSecretRef,
) -> Result<Result<(Secret, SecretString), Verdict>, Stop> {
    let Some(secret) = context.secret_reader.read(namespace, &reference.name).await? else {
        return Ok(Err(missing(namespace, reference, "is not there")));
    };
    if let Some(verdict) = wrong_type(&secret, "spec.passwordSecretRef") {
        return Ok(Err(verdict));
    }
    let entry = reference.entry();
    let value = secret.data.as_ref().and_then(|data| data.get(entry)).and_then(text);
    let no_text = || missing(namespace, reference, &format!("has no text under the key {entry}"));
    Ok(value.map(|value| (secret, value)).ok_or_else(no_text))
}

fn missing(namespace: &str, reference: &PasswordSecretRef, what: &str) -> Verdict {
    let (name, entry) = (&reference.name, reference.entry());
    let message = format!(
        "spec.passwordSecretRef: Secret {namespace}/{name} {what}; create it: kubectl -n {namespace} create secret generic {name} --from-file={entry}=/dev/stdin"
    );
    Verdict::new(Reason::WaitingForSecret, message)
}

/// The verdict on a Secret of a type that is never read, e.g. a service account's token.
pub fn wrong_type(secret: &Secret, field: &str) -> Option<Verdict> {
    let type_ = secret.type_.as_deref().unwrap_or("Opaque");
    (!TYPES.contains(&type_)).then(|| {
        let message = format!(
            "{field}: Secret {} is of type {type_}; only Opaque and kubernetes.io/basic-auth are read",
            secret.name_any()
        );
        Verdict::new(Reason::Invalid, message)
    })
}

fn text(ByteString(bytes): &ByteString) -> Option<SecretString> {
    let text = std::str::from_utf8(bytes).ok()?.trim_end_matches(['\r', '\n']);
    (!text.is_empty()).then(|| text.into())
}

/// The key, made on first use and kept in a Secret of our own namespace. Who only plans makes none: `None` when there is no
/// key, or none that we may read.
async fn digest_key(context: &Context) -> Result<Option<&DigestKey>, Stop> {
    if context.settings.mode == Mode::Enforce {
        return context.digest_key.get_or_try_init(|| async { read_or_make_key(context).await }).await.map(Some);
    }
    if let Some(key) = context.digest_key.get() {
        return Ok(Some(key));
    }
    let secrets = context.api::<Secret>(&context.settings.namespace);
    match secrets.get_opt(DIGEST_KEY_SECRET).await {
        Ok(None) => Ok(None),
        Err(kube::Error::Api(status)) if status.code == 403 => Ok(None),
        Ok(Some(secret)) => {
            let key = DigestKey::from_secret(&secret)?;
            Ok(Some(context.digest_key.get_or_init(|| async { key }).await))
        }
        Err(error) => Err(error.into()),
    }
}

async fn read_or_make_key(context: &Context) -> Result<DigestKey, Stop> {
    let secrets = context.api::<Secret>(&context.settings.namespace);
    if let Some(secret) = secrets.get_opt(DIGEST_KEY_SECRET).await? {
        return DigestKey::from_secret(&secret);
    }
    let mut bytes = vec![0; 32];
    SystemRandom::new().fill(&mut bytes).map_err(|_| {
        Stop::because(Reason::ProviderUnavailable, "no randomness for the key of password digests; trying again")
    })?;
    let fresh = Secret {
        metadata: ObjectMeta { name: Some(DIGEST_KEY_SECRET.into()), ..ObjectMeta::default() },
        data: Some([(ENTRY.to_owned(), ByteString(bytes))].into()),
        ..Secret::default()
    };
    match secrets.create(&PostParams::default(), &fresh).await {
        Ok(made) => DigestKey::from_secret(&made),
        Err(kube::Error::Api(status)) if status.code == 409 => {
            DigestKey::from_secret(&secrets.get(DIGEST_KEY_SECRET).await?)
        }
        Err(error) => Err(error.into()),
    }
}

impl DigestKey {
    fn from_secret(secret: &Secret) -> Result<Self, Stop> {
        let bytes = secret.data.as_ref().and_then(|data| data.get(ENTRY)).filter(|bytes| bytes.0.len() >= 32);
        let ByteString(bytes) = bytes.ok_or_else(|| {
            let name = secret.name_any();
            Stop::because(
                Reason::Invalid,
                format!("usher's own Secret {name} has no usable key: delete it, it is made anew"),
            )
        })?;
        let id = hex(&digest(&SHA256, bytes).as_ref()[..4]);
        Ok(Self { id, key: hmac::Key::new(hmac::HMAC_SHA256, bytes) })
    }

    fn digest(&self, value: &SecretString) -> String {
        hex(&hmac::sign(&self.key, value.expose_secret().as_bytes()).as_ref()[..16])
    }
}

/// Lower-case hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::label_edited("1/2/password/k.d", "1/3/password/k.d", true)]
    #[case::digest_key_lost("1/2/password/k.d", "1/2/password/l.e", true)]
    #[case::another_value("1/2/password/k.d", "1/3/password/k.e", false)]
    #[case::another_entry("1/2/password/k.d", "1/2/new/k.e", false)]
    #[case::nothing_known("1/2/password/", "1/3/password/", false)]
    fn versions_of_the_same_value(#[case] one: &str, #[case] other: &str, #[case] same: bool) {
        assert_eq!(is_same(one, other), same);
    }
}
