//! Values that the vendor accepted and does not show as they were sent: it keeps them in another form, or not at all.

use serde_json::Value;

use super::compare::Compare;
use super::field::Field;
use super::last_applied::LastApplied;
use super::model::{Account, Desired};
use super::steps::{Difference, PriorState, differences};

/// A value that the vendor accepted and does not show as it was sent.
#[derive(Clone, Debug, PartialEq)]
pub struct NotKept {
    /// The vendor's name of the field.
    pub field: String,
    /// What was sent.
    pub sent: Value,
    /// What the vendor shows.
    pub shown: Value,
}

impl NotKept {
    /// Whether the vendor shows the same text in another form: other blanks, letter case or punctuation.
    #[must_use]
    pub fn is_other_form(&self) -> bool {
        match (&self.sent, &self.shown) {
            (Value::String(sent), Value::String(shown)) => {
                let letters = letters(sent);
                !letters.is_empty() && letters == self::letters(shown)
            }
            _ => false,
        }
    }
}

/// The letters and digits of a text without regard to case and to how accents are encoded.
fn letters(text: &str) -> String {
    let composed = icu_normalizer::ComposingNormalizerBorrowed::new_nfkc().normalize(text);
    composed.chars().filter(|letter| letter.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

/// The differences between `desired` and `observed` that `noted` holds, so that they are not sent again.
#[must_use]
pub fn not_kept(table: &[Field], desired: &Desired, observed: &Account, known: PriorState<'_>) -> Vec<NotKept> {
    let differences = differences(table, desired, observed, known).into_iter();
    let noted =
        differences.filter(|Difference { field, wanted, there, .. }| known.not_kept.has_note(field, wanted, there));
    noted.map(|Difference { field, wanted, there, .. }| NotKept { field, sent: wanted, shown: there }).collect()
}

/// What is noted of values that `observed` shows otherwise than they were sent a moment ago.
#[must_use]
pub fn noted(table: &[Field], desired: &Desired, observed: &Account, known: PriorState<'_>) -> LastApplied {
    let differences = differences(table, desired, observed, known).into_iter();
    let shown = differences.filter(|difference| difference.compare != Some(Compare::Hidden));
    shown.fold(LastApplied::default(), |noted, Difference { field, wanted, there, .. }| {
        noted.with_note(&field, &wanted, &there)
    })
}

/// What is noted of `values`.
#[must_use]
pub fn notes_of(values: &[NotKept]) -> LastApplied {
    values
        .iter()
        .fold(LastApplied::default(), |notes, NotKept { field, sent, shown }| notes.with_note(field, sent, shown))
}
