//! What a ProviderCredential means where it sets nothing, and short questions to one. No field is ever written back.

use jiff::SignedDuration;
use kube::ResourceExt;

use super::credential::{ProviderCredential, ProviderCredentialSpec};
use super::names::{Kind, ObjectKey, PAUSED, RECONCILE_AT};
use super::user::{Mode, UserDeletionPolicy};

/// How often vendor and cluster are compared unless the credential sets `resyncInterval`.
const RESYNC_INTERVAL: SignedDuration = SignedDuration::from_mins(10);
/// The shortest interval that the schema admits. A credential stored before that rule must not cause a sweep without pause.
const SHORTEST_INTERVAL: SignedDuration = SignedDuration::from_mins(1);

impl ProviderCredentialSpec {
    /// How often vendor and cluster are compared.
    #[must_use]
    pub fn resync_interval(&self) -> SignedDuration {
        let written = self.resync_interval.as_deref().and_then(|text| text.parse().ok());
        written.unwrap_or(RESYNC_INTERVAL).max(SHORTEST_INTERVAL)
    }

    /// Whether the credential has a list of its own of roles and groups that make an administrator, and the list is in effect.
    #[must_use]
    pub fn lists_privileged(&self) -> bool {
        self.privileged.as_ref().is_some_and(|list| !list.is_empty()) && self.allow_privileged != Some(true)
    }
}

impl ProviderCredential {
    /// Kind, namespace and name.
    #[must_use]
    pub fn key(&self) -> ObjectKey {
        ObjectKey::new(Kind::Credential, self.namespace().unwrap_or_default(), self.name_any())
    }

    /// Whether the credential is being deleted.
    #[must_use]
    pub fn is_deleting(&self) -> bool {
        self.metadata.deletion_timestamp.is_some()
    }

    /// Whether the credential is being deleted and all its objects keep their accounts.
    #[must_use]
    pub fn releases_all(&self) -> bool {
        self.is_deleting() && self.spec.deletion_policy == Some(UserDeletionPolicy::Orphan)
    }

    /// The field or annotation that pauses the credential and with it all its objects, for a message.
    #[must_use]
    pub fn paused_by(&self) -> Option<String> {
        let name = self.name_any();
        if self.spec.mode == Some(Mode::Paused) {
            return Some(format!("spec.mode: Paused of the credential {name}"));
        }
        let annotated = self.annotations().get(PAUSED).is_some_and(|value| value == "true");
        annotated.then(|| format!("the annotation {PAUSED} of the credential {name}"))
    }

    /// Whether the annotation `usher.dev/reconcile-at` asks for a comparison that was not made yet.
    #[must_use]
    pub fn is_forced(&self) -> bool {
        let handled = self.status.as_ref().and_then(|status| status.last_handled_reconcile_at.as_ref());
        self.annotations().get(RECONCILE_AT).is_some_and(|asked| Some(asked) != handled)
    }
}
