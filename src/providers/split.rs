//! Splits the body of a listing into its rows while it arrives, so that no listing is in memory as a whole. It decodes nothing: rows
//! and rest are decoded as JSON afterwards, which finds every fault within them.

use super::json::BOM;

/// The largest row, in bytes: a Pegasus group shows the ids of its vehicles, some 20,000 in this size.
pub const LARGEST_ROW: usize = 256 * 1024;
/// The largest rest of a listing beside its rows, in bytes.
const LARGEST_REST: usize = 64 * 1024;

/// Why a body is not split.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It is not JSON, or it ends early.
    NotJson,
    /// A row is larger than `LARGEST_ROW`.
    LargeRow,
    /// The rest is larger than `LARGEST_REST`.
    LargeRest,
}

/// Where the next byte belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// To the rest, before the list.
    Before,
    /// To the list: the first row begins, or the list ends.
    First,
    /// To the list: another row begins.
    Next,
    /// To a row.
    Row,
    /// To the list: a comma follows, or the list ends.
    After,
    /// To the rest, behind the list.
    Behind,
}

/// A body of which a part has arrived.
pub struct Splitter {
    list: &'static str,
    place: Place,
    rest: Vec<u8>,
    row: Vec<u8>,
    /// The number of open brackets.
    depth: usize,
    /// The number of open brackets between rows.
    list_depth: usize,
    is_text: bool,
    is_escaped: bool,
    /// Where the last text of the rest begins.
    text_at: usize,
    /// The last name in the outermost object, if its value follows.
    name: Option<String>,
}

impl Splitter {
    /// A body whose rows are in the list under the name `list` of its object, or which is a list itself.
    #[must_use]
    pub fn new(list: &'static str) -> Self {
        Self {
            list,
            place: Place::Before,
            rest: Vec::new(),
            row: Vec::new(),
            depth: 0,
            list_depth: 0,
            is_text: false,
            is_escaped: false,
            text_at: 0,
            name: None,
        }
    }

    /// Takes the next bytes from `bytes`, up to the end of a row, and returns that row; `None`: all bytes were taken.
    ///
    /// Errors: rows that are not separated by commas, and parts that are too large.
    pub fn next_row(&mut self, bytes: &mut &[u8]) -> Result<Option<Vec<u8>>, Fault> {
        while let Some((byte, others)) = bytes.split_first() {
            // The byte behind a number belongs to the list.
            let is_taken = self.take(*byte)?;
            if is_taken {
                *bytes = others;
            }
            if self.place == Place::After && !self.row.is_empty() {
                return Ok(Some(std::mem::take(&mut self.row)));
            }
        }
        Ok(None)
    }

    /// The bytes that are held now.
    #[must_use]
    pub fn held(&self) -> usize {
        self.rest.len() + self.row.len()
    }

    /// The body with an empty list in place of its rows.
    ///
    /// Errors: the body ended early.
    pub fn finish(self) -> Result<Vec<u8>, Fault> {
        let is_whole = self.depth == 0 && !self.is_text && matches!(self.place, Place::Before | Place::Behind);
        if is_whole { Ok(self.rest) } else { Err(Fault::NotJson) }
    }

    /// Takes one byte; false: it ended a row without belonging to it.
    fn take(&mut self, byte: u8) -> Result<bool, Fault> {
        match (self.place, byte) {
            (Place::Before | Place::Behind, _) => self.take_rest(byte)?,
            (Place::Row, _) => return self.take_row(byte),
            (_, b' ' | b'\t' | b'\r' | b'\n') => {}
            (Place::First | Place::After, b']') => self.end_list(),
            (Place::After, b',') => self.place = Place::Next,
            (Place::After, _) | (Place::Next, b']' | b',') | (Place::First, b',') => return Err(Fault::NotJson),
            (Place::First | Place::Next, _) => {
                self.place = Place::Row;
                return self.take_row(byte);
            }
        }
        Ok(true)
    }

    fn take_row(&mut self, byte: u8) -> Result<bool, Fault> {
        let is_between = self.depth == self.list_depth && !self.is_text;
        if is_between && matches!(byte, b',' | b']') {
            self.place = Place::After;
            return Ok(false);
        }
        self.row.push(byte);
        if self.row.len() > LARGEST_ROW {
            return Err(Fault::LargeRow);
        }
        self.count(byte)?;
        let is_closed = matches!(byte, b'}' | b']') && !self.is_text && self.depth == self.list_depth;
        if is_closed {
            self.place = Place::After;
        }
        Ok(true)
    }

    fn take_rest(&mut self, byte: u8) -> Result<(), Fault> {
        let (was_text, depth) = (self.is_text, self.depth);
        self.rest.push(byte);
        if self.rest == BOM {
            self.rest.clear();
            return Ok(());
        }
        if self.rest.len() > LARGEST_REST {
            return Err(Fault::LargeRest);
        }
        self.count(byte)?;
        match (was_text, byte) {
            (false, b'"') => self.text_at = self.rest.len(),
            (false, b'[') if self.begins_list(depth) => self.begin_list(),
            (false, b',') => self.name = None,
            (true, b'"') if !self.is_text && depth == 1 && self.name.is_none() => {
                let text = &self.rest[self.text_at..self.rest.len() - 1];
                self.name = Some(String::from_utf8_lossy(text).into_owned());
            }
            _ => {}
        }
        Ok(())
    }

    /// Follows brackets and texts.
    fn count(&mut self, byte: u8) -> Result<(), Fault> {
        if self.is_text {
            self.is_text = self.is_escaped || byte != b'"';
            self.is_escaped = byte == b'\\' && !self.is_escaped;
            return Ok(());
        }
        match byte {
            b'"' => self.is_text = true,
            b'[' | b'{' => self.depth += 1,
            b']' | b'}' => self.depth = self.depth.checked_sub(1).ok_or(Fault::NotJson)?,
            _ => {}
        }
        Ok(())
    }

    /// Whether a list that begins with `depth` brackets open has the rows. A second list of the same name is part of the rest.
    fn begins_list(&self, depth: usize) -> bool {
        let is_whole_body = depth == 0 && self.rest.trim_ascii() == b"[";
        let is_named = depth == 1 && self.name.as_deref() == Some(self.list);
        self.place == Place::Before && (is_whole_body || is_named)
    }

    fn begin_list(&mut self) {
        self.list_depth = self.depth;
        self.place = Place::First;
    }

    fn end_list(&mut self) {
        self.rest.push(b']');
        self.depth -= 1;
        self.place = Place::Behind;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;
    use serde_json::{Value, json};

    use super::*;

    /// The rows and the rest of `body`, which arrives in pieces of `size` bytes.
    fn split(body: &[u8], size: usize) -> Result<(Vec<Vec<u8>>, Vec<u8>), Fault> {
        let (mut splitter, mut rows) = (Splitter::new("rows"), Vec::new());
        for mut piece in body.chunks(size) {
            while let Some(row) = splitter.next_row(&mut piece)? {
                rows.push(row);
            }
        }
        Ok((rows, splitter.finish()?))
    }

    fn texts(body: &str, size: usize) -> Option<(Vec<String>, String)> {
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        let (rows, rest) = split(body.as_bytes(), size).ok()?;
        Some((rows.into_iter().map(text).collect(), text(rest)))
    }

    #[rstest]
    #[case::named(r#"{"a": ["rows"], "rows": [ {"b": "]}\""} , {"c": [1]}], "total": 2}"#, &[r#"{"b": "]}\""}"#, r#"{"c": [1]}"#], r#"{"a": ["rows"], "rows": [], "total": 2}"#)]
    #[case::list(r#" [{"b": 1},{"c": 2}] "#, &[r#"{"b": 1}"#, r#"{"c": 2}"#], " [] ")]
    #[case::nothing("[]", &[], "[]")]
    #[case::numbers("[0,1 ]", &["0", "1 "], "[]")]
    #[case::inner_list(r#"{"other": {"rows": [1]}, "rows": ["a"]}"#, &[r#""a""#], r#"{"other": {"rows": [1]}, "rows": []}"#)]
    #[case::a_value_of_that_name(r#"{"a": "rows", "b": [1]}"#, &[], r#"{"a": "rows", "b": [1]}"#)]
    #[case::no_list(r#"{"rows": null}"#, &[], r#"{"rows": null}"#)]
    #[case::twice(r#"{"rows": [1], "rows": [2]}"#, &["1"], r#"{"rows": [], "rows": [2]}"#)]
    #[case::marked("\u{feff}[1]", &["1"], "[]")]
    fn rows_and_rest_are_told_apart_however_they_arrive(
        #[case] body: &str,
        #[case] rows: &[&str],
        #[case] rest: &str,
        #[values(1, 2, 1000)] size: usize,
    ) {
        let (split, left) = texts(body, size).unwrap();
        assert_eq!((split.iter().map(String::as_str).collect::<Vec<_>>(), &*left), (rows.to_vec(), rest));
    }

    #[rstest]
    #[case::ends_in_a_row(r#"{"rows": [{"a": 1}, {"b""#)]
    #[case::ends_in_the_list(r#"{"rows": [{"a": 1}"#)]
    #[case::ends_behind_the_list(r#"{"rows": [{"a": 1}]"#)]
    #[case::no_comma(r#"[{"a": 1} {"b": 2}]"#)]
    #[case::two_commas(r#"[{"a": 1},,{"b": 2}]"#)]
    #[case::comma_at_the_end(r#"[{"a": 1},]"#)]
    #[case::comma_first(r#"[,{"a": 1}]"#)]
    #[case::closed_twice("[]]")]
    fn a_list_that_is_not_whole_is_no_list(#[case] body: &str) {
        assert_eq!(split(body.as_bytes(), 7), Err(Fault::NotJson));
    }

    #[rstest]
    #[case::row(format!("[\"{}\"]", "x".repeat(LARGEST_ROW)), Fault::LargeRow)]
    #[case::deep_row("[".repeat(LARGEST_ROW + 2), Fault::LargeRow)]
    #[case::rest(format!("{{\"a\": \"{}\"}}", "x".repeat(LARGEST_REST)), Fault::LargeRest)]
    #[case::blanks(" ".repeat(LARGEST_REST + 1), Fault::LargeRest)]
    fn no_part_grows_without_end(#[case] body: String, #[case] fault: Fault) {
        assert_eq!(split(body.as_bytes(), 4096), Err(fault));
    }

    proptest! {
        #[test]
        fn splitting_loses_nothing(texts in prop::collection::vec(".{0,8}", 0..6), size in 1..20_usize) {
            let rows: Vec<Value> = texts.iter().map(|text| json!({text: [text, {"rows": [1]}]})).collect();
            let body = json!({"next": texts.first(), "rows": rows, "total": rows.len()});
            let (split, rest) = split(body.to_string().as_bytes(), size).unwrap();
            let split: Vec<Value> = split.iter().map(|row| serde_json::from_slice(row).unwrap()).collect();
            prop_assert_eq!(split, rows);
            let rest: Value = serde_json::from_slice(&rest).unwrap();
            prop_assert_eq!(rest["rows"].as_array().map(Vec::len), Some(0));
        }

        #[test]
        fn any_bytes_are_survived(body in prop::collection::vec(any::<u8>(), 0..200), size in 1..20_usize) {
            let _ = split(&body, size);
        }
    }
}
