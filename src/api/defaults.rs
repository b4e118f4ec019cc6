//! What a ProviderCredential means where it sets nothing, and short questions to one. No field is ever written back.

use jiff::SignedDuration;

use super::credential::{ProviderCredential, ProviderCredentialSpec, ProviderCredentialStatus};
use super::status::unseen;
use super::user::UserDeletionPolicy;

/// How often vendor and cluster are compared unless the credential sets `resyncInterval`.
const RESYNC_INTERVAL: SignedDuration = SignedDuration::from_mins(10);
/// The shortest interval that the schema admits. A credential stored before that rule must not cause a sweep without pause.
const SHORTEST_INTERVAL: SignedDuration = SignedDuration::from_mins(1);
/// The longest duration that the schema admits. Every duration of a spec is held to it, so that a sum of times cannot overflow.
const LONGEST: SignedDuration = SignedDuration::from_hours(168);

/// The duration that `text` spells, from `least` to the longest that the schema admits; `default` if it spells none.
#[must_use]
pub fn duration(text: Option<&str>, least: SignedDuration, default: SignedDuration) -> SignedDuration {
    text.and_then(|text| text.parse().ok()).unwrap_or(default).clamp(least, LONGEST)
}

impl ProviderCredentialSpec {
    /// How often vendor and cluster are compared.
    #[must_use]
    pub fn resync_interval(&self) -> SignedDuration {
        duration(self.resync_interval.as_deref(), SHORTEST_INTERVAL, RESYNC_INTERVAL)
    }

    /// Whether the credential has a list of its own of roles and groups that make an administrator, and the list is in effect.
    #[must_use]
    pub fn lists_privileged(&self) -> bool {
        self.privileged.as_ref().is_some_and(|list| !list.is_empty()) && self.allow_privileged != Some(true)
    }
}

impl ProviderCredential {
    /// Whether the credential is being deleted and all its objects keep their accounts.
    #[must_use]
    pub fn releases_all(&self) -> bool {
        self.metadata.deletion_timestamp.is_some() && self.spec.deletion_policy == Some(UserDeletionPolicy::Orphan)
    }
}

impl Default for ProviderCredentialStatus {
    fn default() -> Self {
        Self {
            observed_generation: unseen(),
            conditions: Vec::new(),
            mode: None,
            provider: None,
            account: None,
            users: None,
            groups: None,
            last_sweep_time: None,
            rate_limited_until: None,
            held_removals: None,
            recent_removals: None,
            last_handled_reconcile_at: None,
        }
    }
}
