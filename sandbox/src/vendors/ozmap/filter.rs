//! The filter of `OZmap`: a list of `{property, operator, value}`, all of which must hold (SDK, `APIFilter.ts`).

use serde_json::Value;

use crate::vendors::http::{Refusal, Request};
use crate::vendors::schema::{Schema, Shape, required};
use crate::vendors::table::text;

/// The operators of `FilterOperator.ts` that the simulator knows.
const OPERATORS: &[&str] = &["=", "!=", "like", "in", "notin", "exists"];

const CONDITION: Schema = Schema {
    fields: &[required("property", Shape::SomeText), required("operator", Shape::OneOf(OPERATORS))],
    server_made: &[],
};

/// Conditions on rows.
#[derive(Debug, Default)]
pub struct Filter(Vec<Value>);

impl Filter {
    /// The filter in the address; without one everything is admitted.
    pub fn of(request: &Request) -> Result<Self, Refusal> {
        let Some(text) = request.query.get("filter") else {
            return Ok(Self::default());
        };
        let conditions: Vec<Value> =
            serde_json::from_str(text).map_err(|error| Refusal::malformed_as(400, format!("filter: {error}")))?;
        for condition in &conditions {
            let Some(fields) = condition.as_object() else {
                return Err(Refusal::malformed_as(400, "filter: expected objects"));
            };
            let mut fields = fields.clone();
            if fields.remove("value").is_none() {
                return Err(Refusal::malformed_as(400, "filter: value: required"));
            }
            CONDITION.whole(&fields)?;
        }
        Ok(Self(conditions))
    }

    /// Whether every condition holds for the row.
    pub fn admits(&self, row: &Value) -> bool {
        self.0.iter().all(|condition| {
            let property = condition["property"].as_str().unwrap_or_default();
            let found = property.split('.').fold(row, |value, part| &value[part]);
            let wanted = &condition["value"];
            match condition["operator"].as_str().unwrap_or_default() {
                "=" => found == wanted,
                "!=" => found != wanted,
                "like" => text(found).to_lowercase().contains(&text(wanted).to_lowercase()),
                "in" => is_among(found, wanted),
                "notin" => !is_among(found, wanted),
                _ => wanted.as_bool() == Some(!found.is_null()),
            }
        })
    }
}

fn is_among(found: &Value, wanted: &Value) -> bool {
    wanted.as_array().is_some_and(|all| all.contains(found))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::json;

    use super::*;

    fn filter(text: &str) -> Result<Filter, Refusal> {
        Filter::of(&Request { query: BTreeMap::from([("filter".to_owned(), text.to_owned())]), ..Request::default() })
    }

    #[test]
    fn equality_is_exact() {
        let filter = filter(r#"[{"property":"username","operator":"=","value":"ada"}]"#).unwrap();
        assert!(filter.admits(&json!({"username": "ada"})));
        assert!(!filter.admits(&json!({"username": "Ada"})));
    }

    #[test]
    fn a_filter_must_be_a_list_of_conditions() {
        for text in ["{}", "[1]", r#"[{"property":"a","value":1}]"#, "username"] {
            assert!(filter(text).unwrap_err().malformed, "{text}");
        }
    }
}
