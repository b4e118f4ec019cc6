//! Values that the vendor accepts and does not keep: they are noticed when a value is sent once more, said, and not sent without end.

use jiff::Timestamp;

use super::reconciliation::Reconciliation;
use crate::controller::cluster::managed::Managed;
use crate::plan::{Account, LastApplied, Step, not_kept, noted, notes_of, same_key, sent_by};

impl<K: Managed> Reconciliation<'_, K> {
    /// The account as the vendor shows it after `steps`, if these sent a value that the update before had sent too, or another name: then the
    /// vendor may not keep it. `None`: it is not read, or the read may lag behind the write, and then it leaves a doubt.
    pub async fn read_back(&mut self, id: &str, steps: &[Step]) -> Option<Account> {
        let sent = sent_by(steps);
        let before = self.connection.object_memory.note_sent(self.object.key(), sent.clone());
        let is_sent_again = sent.shares(&before);
        if !is_sent_again && self.identity.renaming.is_none() {
            return None;
        }
        let begun = Timestamp::now();
        let Ok(Some(shown)) = self.connection.provider.read(K::ACCOUNT_KIND, id).await else { return None };
        if !is_sent_again {
            // Only the new name is in question.
            let has_name = self.own_key(&shown).is_some_and(|name| same_key(name, self.desired.key()));
            return Some(shown).filter(|_| has_name);
        }
        let noted = self.noted(&shown);
        if self.connection.inventory().unsettled_until(K::ACCOUNT_KIND, id, begun).is_some() {
            self.connection.object_memory.note_doubts(self.object.key(), noted);
            return None;
        }
        self.connection.record_read(K::ACCOUNT_KIND, begun, &shown);
        self.identity.not_kept = noted.text();
        Some(shown)
    }

    /// Notes the values that `account` still shows as right after they were sent, although reads cannot lag so long; whether there are any.
    pub fn settle_doubts(&mut self, account: &Account) -> bool {
        let now = Timestamp::now();
        if self.connection.inventory().unsettled_until(K::ACCOUNT_KIND, &account.id, now).is_some() {
            return false;
        }
        let Some(doubts) = self.connection.object_memory.take_doubts(&self.object.key()) else { return false };
        let noted = self.noted(account);
        let is_confirmed = noted.shares(&doubts);
        if is_confirmed {
            self.identity.not_kept = noted.common(&doubts).text();
        }
        is_confirmed
    }

    /// What is to be noted of the values that `shown` shows otherwise than they were sent.
    fn noted(&self, shown: &Account) -> LastApplied {
        let (sent, added) = (self.known_sent(), self.known_groups());
        let table = self.connection.table(K::ACCOUNT_KIND);
        noted(table, &self.desired, shown, self.prior_state(&sent, &added, &LastApplied::default()))
    }

    /// Notes which values `account` shows otherwise than they were sent, for the verdict, and forgets those that it shows as sent.
    pub fn note_not_kept(&mut self, account: &Account) {
        let noted = self.identity.not_kept.as_deref().map(LastApplied::parse).unwrap_or_default();
        let (sent, added) = (self.known_sent(), self.known_groups());
        let table = self.connection.table(K::ACCOUNT_KIND);
        self.not_kept = not_kept(table, &self.desired, account, self.prior_state(&sent, &added, &noted));
        self.identity.not_kept = notes_of(&self.not_kept).text();
    }
}
