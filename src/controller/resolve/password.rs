//! Whether a password has a value that was not sent yet; the value itself stays in a `SecretString`.

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt;
use secrecy::SecretString;

use crate::api::conditions::Verdict;
use crate::api::user::{Mode, PasswordSecretRef};
use crate::api::{PlatformUser, Reason};
use crate::controller::cluster::managed::Managed;
use crate::controller::context::Context;
use crate::controller::keys::digest_key::DigestKey;
use crate::controller::outcome::Stop;
use crate::providers::{NotText, text};

/// In place of a version: the account was taken over before its Secret existed, and the first value is the baseline.
pub const ADOPTED: &str = "adopted";
/// Types of Secrets that are read.
const TYPES: [&str; 2] = ["Opaque", "kubernetes.io/basic-auth"];

/// What is known of a user's password.
#[derive(Clone, Debug)]
pub enum Password {
    /// The manifest names no Secret.
    Unmanaged,
    /// It was sent. The version to record may be newer than the one in status.
    Sent(String),
    /// Its present value was not sent yet.
    Due(SecretString, String),
    /// The Secret or its key is absent or may not be used.
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

    /// The password once the version `sent` is known to have been sent.
    pub fn after(self, sent: &str) -> Self {
        match self {
            Self::Due(_, version) if is_same(&version, sent) => Self::Sent(version),
            other => other,
        }
    }

    /// The version to record once everything is done.
    pub fn version(&self) -> Option<&str> {
        match self {
            Self::Sent(version) | Self::Due(_, version) => Some(version),
            Self::Unmanaged | Self::Missing(_) => None,
        }
    }
}

/// Whether two versions are known to be of the same value.
pub fn is_same(one: &str, other: &str) -> bool {
    let parts = one.rsplit_once('/').zip(other.rsplit_once('/'));
    parts.is_some_and(|(one, other)| one.0 == other.0 || (one.1 == other.1 && !one.1.is_empty()))
}

/// The password of `user`; `known` is the version that was sent last.
///
/// Errors: Kubernetes did not answer.
pub async fn resolve(context: &Context, user: &PlatformUser, known: Option<&str>) -> Result<Password, Stop> {
    let Some(reference) = user.password_ref() else { return Ok(Password::Unmanaged) };
    let namespace = user.namespace().unwrap_or_default();
    let Some(seen) = context.cluster.secret(&namespace, &reference.name) else {
        return Ok(Password::Missing(missing(&namespace, reference, "is not there")));
    };
    let key = digest_key(context).await?;
    let is_changed = context.cluster.secret_reader.is_changed(&namespace, &reference.name, reference.entry());
    if let (None, Some(known), false) = (key, known, is_changed) {
        return Ok(Password::Sent(known.to_owned()));
    }
    let stamp = |uid: Option<String>, version: Option<String>| {
        format!("{}/{}/{}", uid.unwrap_or_default(), version.unwrap_or_default(), reference.entry())
    };
    let (known_stamp, known_digest) = known.and_then(|known| known.rsplit_once('/')).unwrap_or_default();
    let same_stamp = known_stamp == stamp(seen.uid(), seen.resource_version());
    let same_key = key.is_some_and(|key| key.makes(known_digest));
    if same_stamp && same_key {
        return Ok(Password::Sent(known.unwrap_or_default().to_owned()));
    }
    let (secret, value) = match read(context, &namespace, reference).await? {
        Ok(found) => found,
        Err(verdict) => return Ok(Password::Missing(verdict)),
    };
    let place = [namespace.as_str(), &reference.name, reference.entry()];
    let digest = key.map(|key| key.digest(place, &value)).unwrap_or_default();
    let version = format!("{}/{digest}", stamp(secret.uid(), secret.resource_version()));
    let is_same = |key: &DigestKey| known_digest == digest || known_digest == key.earlier_digest(&value);
    let unchanged = key.is_some_and(is_same) || same_stamp || known == Some(ADOPTED);
    Ok(if unchanged { Password::Sent(version) } else { Password::Due(value, version) })
}

/// The present value in the Secret, sent or not; `None` where the manifest names no Secret.
///
/// Errors: the Secret or its key is absent or may not be used.
pub async fn present<K: Managed>(context: &Context, object: &K) -> Result<Option<SecretString>, Stop> {
    let Some(reference) = object.password_ref() else { return Ok(None) };
    let read = read(context, &object.namespace().unwrap_or_default(), reference).await?;
    read.map(|(_, value)| Some(value)).map_err(Stop::Verdict)
}

/// A Secret and the password in it, or the verdict on its absence.
async fn read(
    context: &Context,
    namespace: &str,
    reference: &PasswordSecretRef,
) -> Result<Result<(Secret, SecretString), Verdict>, Stop> {
    let Some(secret) = context.cluster.secret_reader.read(namespace, &reference.name).await? else {
        return Ok(Err(missing(namespace, reference, "is not there")));
    };
    if let Some(verdict) = wrong_type(&secret, "spec.passwordSecretRef") {
        return Ok(Err(verdict));
    }
    let entry = reference.entry();
    let value = secret.data.as_ref().and_then(|data| data.get(entry)).map(|ByteString(value)| text(value));
    let what = match value.unwrap_or(Ok(None)) {
        Ok(Some(value)) => return Ok(Ok((secret, value))),
        Ok(None) => format!("has no text under the key {entry}"),
        Err(NotText) => format!("has a value under the key {entry} that is not UTF-8 text"),
    };
    Ok(Err(missing(namespace, reference, &what)))
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

/// The key of password digests, made on first use. Mode Plan makes none: `None` when there is no key, or none that may be read.
async fn digest_key(context: &Context) -> Result<Option<&DigestKey>, Stop> {
    let (cached, secrets) = (&context.cluster.digest_key, context.cluster.api::<Secret>(&context.settings.namespace));
    if context.settings.mode == Mode::Enforce {
        return cached.get_or_try_init(|| async { DigestKey::read_or_create(&secrets).await }).await.map(Some);
    }
    if let Some(key) = cached.get() {
        return Ok(Some(key));
    }
    match DigestKey::read(&secrets).await? {
        Some(key) => Ok(Some(cached.get_or_init(|| async { key }).await)),
        None => Ok(None),
    }
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
