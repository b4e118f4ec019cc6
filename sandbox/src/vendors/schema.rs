//! Strict checks of bodies: every field is known and of its type, and none is missing. It does not check values.

use serde_json::{Map, Value};

use super::http::{Problem, Refusal};

/// The form of a field's value.
#[derive(Clone, Copy, Debug)]
pub enum Shape {
    /// A string.
    Text,
    /// A string that is not empty.
    SomeText,
    /// A string or null.
    TextOrNull,
    /// True or false.
    Bool,
    /// A whole number.
    Integer,
    /// One of these strings.
    OneOf(&'static [&'static str]),
    /// A list whose entries all have this form.
    List(&'static Shape),
    /// An object with any keys, values of the same shape.
    MapOf(&'static Shape),
    /// An object of this schema, with all it requires.
    Object(&'static Schema),
    /// Any object.
    Open,
}

/// One field of a schema.
#[derive(Clone, Copy, Debug)]
pub struct Field {
    /// Its key.
    pub name: &'static str,
    /// The form of its value.
    pub shape: Shape,
    /// Whether a create needs it.
    pub required: bool,
}

/// A field that a create needs.
pub const fn required(name: &'static str, shape: Shape) -> Field {
    Field { name, shape, required: true }
}

/// A field that may be left out.
pub const fn optional(name: &'static str, shape: Shape) -> Field {
    Field { name, shape, required: false }
}

/// The fields of a body.
#[derive(Clone, Copy, Debug)]
pub struct Schema {
    /// The fields that a client may send.
    pub fields: &'static [Field],
    /// Fields that the vendor shows but does not accept.
    pub server_made: &'static [&'static str],
}

impl Schema {
    /// Checks a body that must be complete.
    pub fn whole(&self, body: &Map<String, Value>) -> Result<(), Refusal> {
        let mut problems = Vec::new();
        self.inspect("", body, true, &mut problems);
        settle(problems)
    }

    /// Checks a body that changes some fields, at least one.
    pub fn part(&self, body: &Map<String, Value>) -> Result<(), Refusal> {
        if body.is_empty() {
            return Err(Refusal::malformed_as(400, "body changes nothing"));
        }
        let mut problems = Vec::new();
        self.inspect("", body, false, &mut problems);
        settle(problems)
    }

    fn inspect(&self, at: &str, body: &Map<String, Value>, whole: bool, problems: &mut Vec<Problem>) {
        for (name, value) in body {
            let path = join(at, name);
            match self.fields.iter().find(|field| field.name == name) {
                Some(field) => fits(&path, value, field.shape, problems),
                None if self.server_made.contains(&name.as_str()) => {
                    problems.push(problem(path, "read only, made by the server"));
                }
                None => problems.push(problem(path, "unknown field")),
            }
        }
        for field in self.fields {
            if whole && field.required && !body.contains_key(field.name) {
                problems.push(problem(join(at, field.name), "required"));
            }
        }
    }
}

fn settle(problems: Vec<Problem>) -> Result<(), Refusal> {
    if problems.is_empty() { Ok(()) } else { Err(Refusal::malformed(problems)) }
}

fn fits(path: &str, value: &Value, shape: Shape, problems: &mut Vec<Problem>) {
    let expected = match (shape, value) {
        (Shape::Text | Shape::TextOrNull, Value::String(_))
        | (Shape::TextOrNull, Value::Null)
        | (Shape::Bool, Value::Bool(_))
        | (Shape::Open, Value::Object(_)) => return,
        (Shape::SomeText, Value::String(text)) if !text.is_empty() => return,
        (Shape::Integer, Value::Number(number)) if number.is_i64() => return,
        (Shape::OneOf(words), Value::String(text)) if words.contains(&text.as_str()) => return,
        (Shape::List(item), Value::Array(items)) => {
            for (index, each) in items.iter().enumerate() {
                fits(&format!("{path}[{index}]"), each, *item, problems);
            }
            return;
        }
        (Shape::MapOf(item), Value::Object(entries)) => {
            for (name, each) in entries {
                fits(&join(path, name), each, *item, problems);
            }
            return;
        }
        (Shape::Object(schema), Value::Object(object)) => {
            return schema.inspect(path, object, true, problems);
        }
        (wanted, _) => describe(wanted),
    };
    problems.push(problem(path.to_owned(), &expected));
}

fn describe(shape: Shape) -> String {
    match shape {
        Shape::Text => "expected a string".to_owned(),
        Shape::SomeText => "expected a string that is not empty".to_owned(),
        Shape::TextOrNull => "expected a string or null".to_owned(),
        Shape::Bool => "expected a boolean".to_owned(),
        Shape::Integer => "expected an integer".to_owned(),
        Shape::OneOf(words) => format!("expected one of {}", words.join(", ")),
        Shape::List(_) => "expected a list".to_owned(),
        Shape::MapOf(_) | Shape::Object(_) | Shape::Open => "expected an object".to_owned(),
    }
}

fn join(at: &str, name: &str) -> String {
    if at.is_empty() { name.to_owned() } else { format!("{at}.{name}") }
}

fn problem(field: String, message: &str) -> Problem {
    Problem { field, message: message.to_owned() }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const SCHEMA: Schema = Schema {
        fields: &[required("name", Shape::SomeText), optional("groups", Shape::List(&Shape::Integer))],
        server_made: &["id"],
    };

    fn problems(body: &Value) -> Vec<String> {
        let body = body.as_object().unwrap();
        SCHEMA
            .whole(body)
            .err()
            .map(|refusal| refusal.fields)
            .unwrap_or_default()
            .into_iter()
            .map(|problem| format!("{} {}", problem.field, problem.message))
            .collect()
    }

    #[test]
    fn every_wrong_field_is_named() {
        let told = problems(&json!({"id": 1, "nmae": "x", "groups": [1, "2"]}));
        assert_eq!(
            told,
            [
                "groups[1] expected an integer",
                "id read only, made by the server",
                "nmae unknown field",
                "name required"
            ]
        );
    }

    #[test]
    fn a_good_body_passes() {
        assert!(problems(&json!({"name": "x", "groups": [1, 2]})).is_empty());
    }
}
