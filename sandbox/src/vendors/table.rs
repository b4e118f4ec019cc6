//! Rows of users or groups, found by id or natural key. It does not know what the rows mean.

use std::collections::{BTreeMap, HashMap};

use serde_json::Value;

/// Rows in the order they were made.
#[derive(Clone, Debug)]
pub struct Table {
    keys: &'static [&'static str],
    rows: BTreeMap<u64, Value>,
    by_id: HashMap<String, u64>,
    by_key: HashMap<String, Vec<u64>>,
    next: u64,
}

impl Table {
    /// An empty table whose rows are also found by these fields, ignoring ASCII case.
    pub fn new(keys: &'static [&'static str]) -> Self {
        Self { keys, rows: BTreeMap::new(), by_id: HashMap::new(), by_key: HashMap::new(), next: 0 }
    }

    /// Stores a row under its `id`, in the place of one that has the same.
    pub fn put(&mut self, row: Value) -> String {
        let id = text(&row["id"]);
        let place = if let Some(place) = self.by_id.get(&id).copied() {
            self.forget_keys(place);
            place
        } else {
            self.next += 1;
            self.next
        };
        self.by_id.insert(id.clone(), place);
        for key in keys_of(self.keys, &row) {
            self.by_key.entry(key).or_default().push(place);
        }
        self.rows.insert(place, row);
        id
    }

    /// The row with this id.
    pub fn get(&self, id: &str) -> Option<&Value> {
        self.rows.get(self.by_id.get(id)?)
    }

    /// Removes the row with this id.
    pub fn remove(&mut self, id: &str) -> Option<Value> {
        let place = self.by_id.remove(id)?;
        self.forget_keys(place);
        self.rows.remove(&place)
    }

    /// All rows.
    pub fn iter(&self) -> impl Iterator<Item = &Value> {
        self.rows.values()
    }

    /// The rows with this natural key.
    pub fn with_key(&self, key: &str) -> impl Iterator<Item = &Value> {
        self.by_key.get(&key.to_ascii_lowercase()).into_iter().flatten().filter_map(|place| self.rows.get(place))
    }

    /// The row with this id, or the first with this natural key.
    pub fn find(&self, key_or_id: &str) -> Option<&Value> {
        self.get(key_or_id).or_else(|| self.with_key(key_or_id).next())
    }

    /// Whether another row than `id` has this natural key.
    pub fn taken(&self, key: &str, id: &str) -> bool {
        self.with_key(key).any(|row| text(&row["id"]) != id)
    }

    fn forget_keys(&mut self, place: u64) {
        let Some(row) = self.rows.get(&place) else {
            return;
        };
        for key in keys_of(self.keys, row) {
            if let Some(places) = self.by_key.get_mut(&key) {
                places.retain(|each| *each != place);
            }
        }
    }
}

/// `rows` in an order that differs from page to page, as of a database that was asked for none.
pub fn unordered<T>(mut rows: Vec<T>, page: usize) -> Vec<T> {
    let places = rows.len().max(1);
    rows.rotate_left(page * 3 % places);
    rows
}

fn keys_of(keys: &[&str], row: &Value) -> Vec<String> {
    let mut found: Vec<String> =
        keys.iter().filter_map(|key| row[*key].as_str()).map(str::to_ascii_lowercase).collect();
    found.sort_unstable();
    found.dedup();
    found
}

/// A value as plain text: strings without quotes, anything else as JSON.
pub fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_renamed_row_is_found_by_its_new_key_only() {
        let mut table = Table::new(&["username", "email"]);
        table.put(json!({"id": 7, "username": "a@example.com", "email": "a@example.com"}));
        table.put(json!({"id": 7, "username": "b@example.com", "email": "b@example.com"}));
        assert!(table.find("a@example.com").is_none());
        assert_eq!(table.find("B@example.com"), table.get("7"));
        assert_eq!(table.iter().count(), 1);
        assert!(table.taken("b@example.com", "8"));
        assert!(!table.taken("b@example.com", "7"));
    }
}
