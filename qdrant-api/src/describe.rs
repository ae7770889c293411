//! What a collection is, completely enough to be made again: its configuration as Qdrant prints it,
//! its payload indexes, its shard keys. Decides nothing about them; `recreate.rs` turns them round.
//!
//! Upstream: lib/collection/src/operations/types.rs:171-260, lib/segment/src/types.rs:454-477,
//! lib/segment/src/data_types/index.rs, src/common/update.rs:305-310,917-974.

use std::collections::BTreeMap;
use std::fmt;

use reqwest::Method;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::request::Request;
use crate::shards::waiting;
use crate::{Client, CollectionParams, Error, UpdateResult};

/// A collection as it was made, without what it holds. Two that are equal in this hold the same
/// points in the same way.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(try_from = "RawDescription")]
pub struct Description {
    /// `config` as Qdrant prints it, to be kept as it is.
    pub config: Value,
    /// The part of it that this project reads.
    pub params: CollectionParams,
    /// Payload indexes by the path of their field, as Qdrant writes such paths.
    pub indexes: BTreeMap<String, PayloadIndex>,
}

/// What a payload index was made with.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PayloadIndex {
    /// Its type, such as `keyword`.
    pub data_type: String,
    /// Its parameters, the type among them; none when it was made from the type alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub params: Option<Value>,
}

/// The key of a group of shards, with custom sharding.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(untagged)]
pub enum ShardKey {
    /// A number.
    Number(u64),
    /// A word.
    Keyword(String),
}

impl PayloadIndex {
    /// What makes an equal index: the `field_schema` of [`Client::create_index`].
    #[must_use]
    pub fn schema(&self) -> Value {
        let by_type = || Value::String(self.data_type.clone());
        self.params.clone().unwrap_or_else(by_type)
    }
}

impl Description {
    /// Where this collection and another one are not the same, as paths such as
    /// `config.hnsw_config.m`; empty when they are described equal.
    ///
    /// What creation does not know Qdrant drops without a word, so whoever makes a collection again
    /// should describe it afterwards and ask here. A field that is null counts as one that is not
    /// there. Numbers are compared as `f32`: a description that came from another node passed
    /// through one (lib/api/src/grpc/conversions.rs, `search_max_oversampling`).
    #[must_use]
    pub fn differences(&self, other: &Self) -> Vec<String> {
        let indexes = |of: &Self| {
            let schema = |(field, index): (&String, &PayloadIndex)| (field.clone(), index.schema());
            Value::Object(of.indexes.iter().map(schema).collect())
        };
        let mut found = Vec::new();
        differ("config", &self.config, &other.config, &mut found);
        let (ours, theirs) = (indexes(self), indexes(other));
        differ("payload_schema", &ours, &theirs, &mut found);
        // Given anew to each collection; telemetry prints it.
        found.retain(|path| path != "config.uuid");
        found
    }
}

fn differ(path: &str, ours: &Value, theirs: &Value, found: &mut Vec<String>) {
    let same = match (ours, theirs) {
        (Value::Object(a), Value::Object(b)) => {
            let mut names: Vec<&String> = a.keys().chain(b.keys()).collect();
            names.sort_unstable();
            names.dedup();
            for name in names {
                let of = |fields: &serde_json::Map<String, Value>| {
                    fields.get(name).cloned().unwrap_or_default()
                };
                differ(&format!("{path}.{name}"), &of(a), &of(b), found);
            }
            true
        }
        (Value::Number(a), Value::Number(b)) => {
            let narrow = |number: &serde_json::Number| number.as_f64().map(|wide| wide as f32);
            a == b || (a.is_f64() || b.is_f64()) && narrow(a) == narrow(b)
        }
        _ => ours == theirs,
    };
    if !same {
        found.push(path.to_owned());
    }
}

impl fmt::Display for ShardKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => write!(f, "{number}"),
            Self::Keyword(word) => write!(f, "{word:?}"),
        }
    }
}

impl Client {
    /// `GET /collections/{c}`: what `collection` was made with.
    ///
    /// The node asks one replica of every shard, its own ones first, and each that is dead costs
    /// time: ask it with a timeout. An index that is being built may not be listed yet, and one that
    /// only some segments have is. Of these the configuration alone is known to the node itself
    /// (`GET /telemetry?details_level=2`). The indexes are in telemetry from level 4 on, per segment
    /// and only of shards that the node holds, which costs more than this call on a healthy cluster.
    ///
    /// # Errors
    /// [`Error`]; 404 when there is no such collection, 500 when a shard has no replica that answers.
    pub async fn describe_collection(&self, collection: &str) -> Result<Description, Error> {
        self.ask(Request::new(Method::GET, &["collections", collection]))
            .await
    }

    /// `GET /collections/{c}/shards`: the keys of a collection with custom sharding, in no
    /// particular order; `None` with automatic sharding. The node asks nobody else.
    ///
    /// # Errors
    /// [`Error`]; 404 when there is no such collection.
    pub async fn shard_keys(&self, collection: &str) -> Result<Option<Vec<ShardKey>>, Error> {
        let segments = ["collections", collection, "shards"];
        let listing: Keys = self.ask(Request::new(Method::GET, &segments)).await?;
        let keys = listing.shard_keys;
        Ok(keys.map(|keys| keys.into_iter().map(|named| named.key).collect()))
    }

    /// `PUT /collections/{c}/index`: makes a payload index, or makes it anew when the field has one
    /// of another kind. `schema` is what [`PayloadIndex::schema`] gives. With `wait` the answer comes
    /// when every replica that takes writes has built it, which takes long in a large collection;
    /// make indexes before points are there.
    ///
    /// # Errors
    /// [`Error`]; 404 when there is no such collection, 400 for a schema or a path that Qdrant does
    /// not know, 500 without a quorum.
    pub async fn create_index(
        &self,
        collection: &str,
        field: &str,
        schema: &Value,
        wait: bool,
        timeout_secs: u64,
    ) -> Result<UpdateResult, Error> {
        let body = json!({"field_name": field, "field_schema": schema});
        let request = Request::new(Method::PUT, &["collections", collection, "index"]);
        let request = request.query("wait", wait).json(&body);
        self.ask(waiting(request, timeout_secs)).await
    }
}

#[derive(Deserialize)]
struct RawDescription {
    config: Value,
    payload_schema: BTreeMap<String, PayloadIndex>,
}

#[derive(Deserialize)]
struct Keys {
    /// Left out with automatic sharding.
    #[serde(default)]
    shard_keys: Option<Vec<Key>>,
}

#[derive(Deserialize)]
struct Key {
    key: ShardKey,
}

impl TryFrom<RawDescription> for Description {
    type Error = serde_json::Error;

    fn try_from(raw: RawDescription) -> Result<Self, Self::Error> {
        let params = raw.config.get("params").unwrap_or(&Value::Null);
        Ok(Self {
            params: CollectionParams::deserialize(params)?,
            config: raw.config,
            indexes: raw.payload_schema,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn described(config: &Value, schema: &Value) -> Description {
        serde_json::from_value(json!({"config": config, "payload_schema": schema})).unwrap()
    }

    fn params() -> Value {
        json!({"shard_number": 1, "replication_factor": 1, "write_consistency_factor": 1})
    }

    #[test]
    fn an_index_is_made_again_from_what_is_shown_of_it() {
        let integer = json!({"type": "integer", "lookup": true, "range": null});
        let schema = json!({
            "a": {"data_type": "keyword", "points": 3},
            "b.c[]": {"data_type": "integer", "params": integer, "points": 0},
        });
        let indexes = described(&json!({"params": params()}), &schema).indexes;
        assert_eq!(indexes["a"].schema(), json!("keyword"));
        assert_eq!(indexes["b.c[]"].schema(), integer);
    }

    #[test]
    fn a_description_without_its_indexes_is_none() {
        for body in [
            json!({"config": {"params": params()}}),
            json!({"payload_schema": {}}),
            json!({"config": {}, "payload_schema": {}}),
            json!({"config": {"params": params()}, "payload_schema": {"a": {"points": 1}}}),
        ] {
            let read = serde_json::from_value::<Description>(body.clone());
            assert!(read.is_err(), "{body}");
        }
    }

    #[test]
    fn differences_are_named() {
        let one = json!({
            "params": params(), "uuid": "x", "quantization_config": null,
            "strict_mode_config": {"search_max_oversampling": 2.1},
        });
        let mut other = json!({
            "params": params(), "uuid": "y",
            "strict_mode_config": {"search_max_oversampling": f64::from(2.1_f32)},
        });
        let shown = json!({"a": {"data_type": "keyword", "points": 3}});
        let none = json!({});
        assert!(
            described(&one, &none)
                .differences(&described(&other, &none))
                .is_empty()
        );
        other["params"]["shard_number"] = 2.into();
        other["metadata"] = json!({"k": 1});
        assert_eq!(
            described(&one, &shown).differences(&described(&other, &none)),
            [
                "config.metadata",
                "config.params.shard_number",
                "payload_schema.a"
            ]
        );
    }
}
