//! JSON Patch as Plaspy takes it: an array of `add`, `replace` and `remove`. It knows neither users nor groups.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use crate::vendors::http::Refusal;
use crate::vendors::schema::{Schema, Shape, required};

const OPERATION: Schema = Schema {
    fields: &[required("op", Shape::OneOf(&["add", "replace", "remove"])), required("path", Shape::SomeText)],
    server_made: &[],
};

/// Changes an object by the body's operations and returns the names of the changed top-level fields.
///
/// `target` must match `schema` before and matches it afterwards; operations cannot reach fields outside the schema.
pub fn apply(schema: &Schema, target: &mut Map<String, Value>, body: &Value) -> Result<BTreeSet<String>, Refusal> {
    let operations = body.as_array().filter(|operations| !operations.is_empty());
    let Some(operations) = operations else {
        let message = "Invalid patch operation: expected an array that is not empty";
        return Err(Refusal::malformed_as(400, message));
    };
    let mut whole = Value::Object(std::mem::take(target));
    let mut touched = BTreeSet::new();
    for operation in operations {
        touched.insert(step(schema, &mut whole, operation)?);
    }
    if let Value::Object(fields) = whole {
        *target = fields;
    }
    schema.whole(target)?;
    Ok(touched)
}

fn step(schema: &Schema, target: &mut Value, operation: &Value) -> Result<String, Refusal> {
    let Some(fields) = operation.as_object() else {
        return Err(malformed("expected objects"));
    };
    let mut known = fields.clone();
    let value = known.remove("value");
    OPERATION.whole(&known)?;
    let kind = fields["op"].as_str().unwrap_or_default();
    if kind != "remove" && value.is_none() {
        return Err(malformed("value: required"));
    }
    let path = pointer(fields["path"].as_str().unwrap_or_default())?;
    let (Some(field), Some((last, parents))) = (path.first(), path.split_last()) else {
        return Err(malformed("path: expected a field"));
    };
    if schema.server_made.contains(&field.as_str()) {
        return Err(malformed(&format!("{field}: read only, made by the server")));
    }
    if !schema.fields.iter().any(|known| known.name == field) {
        return Err(malformed(&format!("{field}: unknown field")));
    }
    let parent = parents.iter().try_fold(target, |value, part| value.get_mut(part.as_str()));
    let done = match parent {
        Some(Value::Object(object)) => in_object(object, kind, last, value),
        Some(Value::Array(items)) => in_list(items, kind, last, value),
        _ => None,
    };
    done.ok_or_else(|| {
        let path = &fields["path"];
        Refusal::new(400, format!("Invalid patch operation: nothing at {path}"))
    })?;
    Ok(field.clone())
}

fn in_object(object: &mut Map<String, Value>, kind: &str, name: &str, value: Option<Value>) -> Option<()> {
    match (kind, value) {
        ("add", Some(value)) => {
            object.insert(name.to_owned(), value);
        }
        ("replace", Some(value)) => *object.get_mut(name)? = value,
        _ => {
            object.remove(name)?;
        }
    }
    Some(())
}

fn in_list(items: &mut Vec<Value>, kind: &str, place: &str, value: Option<Value>) -> Option<()> {
    let index = match place {
        "-" => items.len(),
        place => place.parse().ok()?,
    };
    match (kind, value) {
        ("add", Some(value)) if index <= items.len() => items.insert(index, value),
        ("replace", Some(value)) => *items.get_mut(index)? = value,
        ("remove", _) if index < items.len() => {
            items.remove(index);
        }
        _ => return None,
    }
    Some(())
}

/// The parts of a JSON pointer (RFC 6901).
fn pointer(text: &str) -> Result<Vec<String>, Refusal> {
    let Some(inner) = text.strip_prefix('/') else {
        return Err(malformed("path: expected a JSON pointer"));
    };
    let unescape = |part: &str| part.replace("~1", "/").replace("~0", "~");
    Ok(inner.split('/').map(unescape).collect())
}

fn malformed(message: &str) -> Refusal {
    Refusal::malformed_as(400, format!("Invalid patch operation: {message}"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::vendors::schema::optional;

    const SCHEMA: Schema = Schema {
        fields: &[
            required("name", Shape::SomeText),
            optional("tags", Shape::MapOf(&Shape::Text)),
            optional("privileges", Shape::List(&Shape::Text)),
        ],
        server_made: &["creation"],
    };

    fn patched(body: &Value) -> Result<Value, Refusal> {
        let row = json!({"name": "Ada", "tags": {"a/b": "1"}, "privileges": ["read"]});
        let mut row = row.as_object().unwrap().clone();
        apply(&SCHEMA, &mut row, body).map(|_| Value::Object(row))
    }

    #[test]
    fn operations_reach_into_objects_and_lists() {
        let done = patched(&json!([
            {"op": "replace", "path": "/name", "value": "Grace"},
            {"op": "remove", "path": "/tags/a~1b"},
            {"op": "add", "path": "/privileges/-", "value": "write"},
        ]));
        let wanted = json!({"name": "Grace", "tags": {}, "privileges": ["read", "write"]});
        assert_eq!(done, Ok(wanted));
    }

    #[test]
    fn a_missing_value_is_neither_replaced_nor_removed() {
        for kind in ["replace", "remove"] {
            let body = json!([{"op": kind, "path": "/tags/x", "value": "1"}]);
            let refusal = patched(&body).unwrap_err();
            assert!(!refusal.malformed && refusal.status == 400, "{refusal:?}");
        }
    }

    #[test]
    fn a_merge_patch_unknown_fields_and_wrong_types_are_malformed() {
        for body in [
            json!({"name": "Grace"}),
            json!([]),
            json!([{"op": "add", "path": "/nmae", "value": "Grace"}]),
            json!([{"op": "add", "path": "/creation", "value": "now"}]),
            json!([{"op": "replace", "path": "/name", "value": 1}]),
            json!([{"op": "remove", "path": "/name"}]),
            json!([{"op": "test", "path": "/name", "value": "Ada"}]),
        ] {
            assert!(patched(&body).unwrap_err().malformed, "{body}");
        }
    }
}
