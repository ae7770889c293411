//! Payload indexes: in which form they are asked for, kept and printed (upstream segment
//! data_types/index.rs, types.rs, json_path/). Nothing is found by them here.

use serde_json::{Map, Value, json};

use super::error::ApiError;

/// What every type may have, and what some have besides. Those marked are printed when unset.
const COMMON: [&str; 3] = ["on_disk", "memory", "enable_hnsw"];
const TEXT: [&str; 8] = [
    "tokenizer",
    "min_token_len",
    "max_token_len",
    "lowercase",
    "ascii_folding",
    "phrase_matching",
    "stopwords",
    "stemmer",
];
/// Fields that are no switch.
const NO_SWITCH: [&str; 6] = [
    "memory",
    "tokenizer",
    "min_token_len",
    "max_token_len",
    "stopwords",
    "stemmer",
];

/// What a type knows besides what all know, and what it prints even when nobody set it.
fn fields(data_type: &str) -> Option<(&'static [&'static str], Value)> {
    Some(match data_type {
        "keyword" => (&["is_tenant", "prefix"], json!({})),
        "integer" => (
            &["lookup", "range", "is_principal"],
            json!({"lookup": null, "range": null, "is_principal": null}),
        ),
        "float" => (&["is_principal"], json!({"is_principal": null})),
        "datetime" => (&["is_principal"], json!({"is_principal": null})),
        "uuid" => (&["is_tenant"], json!({})),
        "text" => (&TEXT, json!({"tokenizer": "word"})),
        "geo" | "bool" => (&[], json!({})),
        _ => return None,
    })
}

/// `field_schema` as it is kept: a type, or an object with one.
pub fn schema(given: &Value) -> Result<Value, ApiError> {
    let read = match given {
        Value::String(data_type) => fields(data_type).map(|_| given.clone()),
        Value::Object(params) => with_params(params),
        _ => None,
    };
    read.ok_or_else(|| {
        ApiError::bad_request(
            "Format error in JSON body: data did not match any variant of untagged enum \
             PayloadFieldSchema",
        )
    })
}

fn with_params(given: &Map<String, Value>) -> Option<Value> {
    let data_type = given.get("type")?.as_str()?;
    let (own, mut kept) = fields(data_type)?;
    let kept_fields = kept.as_object_mut()?;
    kept_fields.insert("type".into(), data_type.into());
    for name in own.iter().chain(&COMMON) {
        match given.get(*name).filter(|value| !value.is_null()) {
            None => {}
            Some(value) if value.is_boolean() || NO_SWITCH.contains(name) => {
                kept_fields.insert((*name).into(), value.clone());
            }
            Some(_) => return None,
        }
    }
    Some(kept)
}

/// An index as the description of its collection shows it.
pub fn shown<'a>(field: &str, schema: &Value, points: impl Iterator<Item = &'a Value>) -> Value {
    let data_type = schema.get("type").unwrap_or(schema);
    let path = path(field).unwrap_or_default();
    let has = |point: &&Value| {
        let value = path
            .iter()
            .try_fold(point.get("payload")?, |at, key| at.get(key))?;
        let fits = |value: &Value| fits(data_type.as_str().unwrap_or_default(), value);
        let found = match value {
            Value::Array(values) => values.iter().any(fits),
            value => fits(value),
        };
        found.then_some(())
    };
    let points = points.filter(|point| has(point).is_some()).count();
    let mut shown = json!({"data_type": data_type, "points": points});
    if let (Some(shown), true) = (shown.as_object_mut(), schema.is_object()) {
        shown.insert("params".into(), schema.clone());
    }
    shown
}

fn fits(data_type: &str, value: &Value) -> bool {
    match data_type {
        "integer" => value.is_i64() || value.is_u64(),
        "float" => value.is_number(),
        "bool" => value.is_boolean(),
        "geo" => value.get("lon").is_some() && value.get("lat").is_some(),
        _ => value.is_string(),
    }
}

/// The keys of a path such as `a.b` or `"a b".c`; none when it is no path. Places in arrays are not
/// modelled.
pub fn path(field: &str) -> Option<Vec<String>> {
    let mut keys = Vec::new();
    let mut rest = field;
    loop {
        let (key, after) = match rest.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"')?,
            None => {
                let in_key = |c: char| c.is_alphanumeric() || c == '_' || c == '-';
                let end = rest.find(|c| !in_key(c)).unwrap_or(rest.len());
                rest.split_at_checked(end)
                    .filter(|(key, _)| !key.is_empty())?
            }
        };
        keys.push(key.to_owned());
        if after.is_empty() {
            return Some(keys);
        }
        rest = after.strip_prefix('.')?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_keys_between_dots() {
        let keys = |field: &str| path(field).map(|keys| keys.join("|"));
        assert_eq!(keys("a").as_deref(), Some("a"));
        assert_eq!(keys("a-1.\"b c\".d").as_deref(), Some("a-1|b c|d"));
        for bad in ["", ".", "a.", "a b", "\"a", "a..b"] {
            assert_eq!(keys(bad), None, "{bad}");
        }
    }

    #[test]
    fn unset_parameters_are_printed_as_upstream_does() {
        let kept = schema(&json!({"type": "integer", "range": false, "sparkle": 1})).unwrap();
        let wanted = json!({
            "type": "integer", "lookup": null, "range": false, "is_principal": null,
        });
        assert_eq!(kept, wanted);
        assert_eq!(schema(&json!("keyword")).unwrap(), json!("keyword"));
        for bad in [
            json!("word"),
            json!({}),
            json!(7),
            json!({"type": "geo", "on_disk": 1}),
        ] {
            schema(&bad).unwrap_err();
        }
    }

    #[test]
    fn points_with_a_fitting_value_are_counted() {
        let points = [
            json!({"payload": {"a": {"b": "x"}}}),
            json!({"payload": {"a": {"b": [1, "y"]}}}),
            json!({"payload": {"a": {"b": 7}}}),
            json!({"id": 1}),
        ];
        let shown = shown("a.b", &json!("keyword"), points.iter());
        assert_eq!(shown, json!({"data_type": "keyword", "points": 2}));
    }
}
