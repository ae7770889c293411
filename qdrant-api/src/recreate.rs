//! From the description of a collection to the requests that make an equal one. Pure, but for the
//! two requests at the end.
//!
//! What Qdrant prints and what it takes are not the same: the parameters lie one level higher, the
//! optimizers have another name and say "auto" where null is printed, and how reads fan out can only
//! be set afterwards (lib/storage/src/content_manager/collection_meta_ops.rs:112-204,
//! lib/collection/src/operations/types.rs:171-185, lib/collection/src/config.rs:88-142,
//! lib/collection/src/operations/config_diff.rs). Fields that it does not know Qdrant drops without a
//! word, so those are refused here.

use reqwest::Method;
use serde_json::{Map, Value, json};

use crate::request::Request;
use crate::shards::waiting;
use crate::{Client, Description, Error};

/// Parameters that creation takes under the same name.
const PARAMS: [&str; 8] = [
    "vectors",
    "sparse_vectors",
    "shard_number",
    "sharding_method",
    "replication_factor",
    "write_consistency_factor",
    "on_disk_payload",
    "payload",
];
/// Parameters that only a change of an existing collection takes.
const CHANGED: [&str; 2] = ["read_fan_out_factor", "read_fan_out_delay_ms"];
/// Sections that creation takes under the same name.
const SECTIONS: [&str; 5] = [
    "hnsw_config",
    "wal_config",
    "quantization_config",
    "strict_mode_config",
    "metadata",
];

/// What makes a collection like one that was described. Indexes and shard keys are not part of it.
///
/// What the described collection left open, the nodes that make it decide by their own
/// configuration.
#[derive(Debug, Clone, PartialEq)]
pub struct Recreation {
    /// The body of `PUT /collections/{c}`. May be changed before it is used, for example to have
    /// other replicas.
    pub create: Value,
    /// The body of `PATCH /collections/{c}` that follows, when there is anything to say.
    pub change: Option<Value>,
}

/// Why a description cannot be turned into a request.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CannotRecreate {
    /// It has what this program does not know how to ask for.
    #[error("the collection cannot be made again, as nothing is known of {}", fields.join(", "))]
    Unknown {
        /// Paths below `config`.
        fields: Vec<String>,
    },
    /// It lacks something, or has it in another form.
    #[error("the collection cannot be made again, as its description has no usable {field}")]
    Unusable {
        /// The path below `config`.
        field: String,
    },
}

impl Recreation {
    /// Reads `config` as `GET /collections/{c}` or telemetry print it.
    ///
    /// # Errors
    /// [`CannotRecreate`], with everything that is unknown.
    pub fn of(config: &Value) -> Result<Self, CannotRecreate> {
        let config = object(Some(config), "config")?;
        let params = object(config.get("params"), "params")?;
        let mut create = Map::new();
        let mut change = Map::new();
        let mut unknown = Vec::new();
        for (name, value) in set(params) {
            let into = match name.as_str() {
                name if PARAMS.contains(&name) => &mut create,
                name if CHANGED.contains(&name) => &mut change,
                _ => {
                    unknown.push(format!("params.{name}"));
                    continue;
                }
            };
            into.insert(name.clone(), value.clone());
        }
        for (name, value) in set(config) {
            match name.as_str() {
                // The uuid is given anew to every collection.
                "params" | "uuid" => {}
                "optimizer_config" => {
                    let optimizers = optimizers(object(Some(value), name)?);
                    create.insert("optimizers_config".into(), optimizers);
                }
                name if SECTIONS.contains(&name) => {
                    let section = object(Some(value), name)?;
                    create.insert(name.into(), Value::Object(section.clone()));
                }
                _ => unknown.push(name.clone()),
            }
        }
        if !unknown.is_empty() {
            return Err(CannotRecreate::Unknown { fields: unknown });
        }
        for needed in ["shard_number", "replication_factor"] {
            if !create.get(needed).is_some_and(Value::is_u64) {
                let field = format!("params.{needed}");
                return Err(CannotRecreate::Unusable { field });
            }
        }
        object(create.get("vectors"), "params.vectors")?;
        Ok(Self {
            create: Value::Object(create),
            change: (!change.is_empty()).then(|| json!({"params": change})),
        })
    }
}

impl Description {
    /// What makes a collection like this one, without its indexes.
    ///
    /// # Errors
    /// [`CannotRecreate`], with everything that is unknown.
    pub fn recreation(&self) -> Result<Recreation, CannotRecreate> {
        Recreation::of(&self.config)
    }
}

/// Without a limit of threads null is printed, which creation would read as "as configured".
fn optimizers(printed: &Map<String, Value>) -> Value {
    let mut taken: Map<String, Value> = set(printed)
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    taken
        .entry("max_optimization_threads")
        .or_insert_with(|| json!("auto"));
    Value::Object(taken)
}

/// The fields that are not null; null is how Qdrant prints and reads what was left open.
fn set(fields: &Map<String, Value>) -> impl Iterator<Item = (&String, &Value)> {
    fields.iter().filter(|(_, value)| !value.is_null())
}

fn object<'a>(
    value: Option<&'a Value>,
    field: &str,
) -> Result<&'a Map<String, Value>, CannotRecreate> {
    let field = || CannotRecreate::Unusable {
        field: field.to_owned(),
    };
    value.and_then(Value::as_object).ok_or_else(field)
}

impl Client {
    /// Creates `collection` like one that was described: the body may have anything that Qdrant
    /// takes. Qdrant waits for every replica to become active, `timeout_secs` at most, and then
    /// reports success all the same.
    ///
    /// # Errors
    /// [`Error`]; 409 when it exists already, 400 when an alias has the name, 500 without a quorum.
    /// When the second of two requests fails the collection is there and lacks what that one says.
    pub async fn create_collection_from(
        &self,
        collection: &str,
        with: &Recreation,
        timeout_secs: u64,
    ) -> Result<(), Error> {
        let segments = ["collections", collection];
        let create = Request::new(Method::PUT, &segments).json(&with.create);
        self.ask_done(waiting(create, timeout_secs)).await?;
        let Some(change) = &with.change else {
            return Ok(());
        };
        let change = Request::new(Method::PATCH, &segments).json(change);
        self.ask_done(waiting(change, timeout_secs)).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As Qdrant 1.19.0 prints a collection that sets a little of everything.
    fn printed() -> Value {
        serde_json::from_str(include_str!("../tests/golden/config.json")).unwrap()
    }

    #[test]
    fn everything_that_is_printed_is_asked_for() {
        let wanted: Value =
            serde_json::from_str(include_str!("../tests/golden/recreation.json")).unwrap();
        let made = Recreation::of(&printed()).unwrap();
        assert_eq!(made.create, wanted["create"]);
        assert_eq!(made.change.as_ref(), wanted.get("change"));
    }

    #[test]
    fn what_was_left_open_stays_open() {
        let config = json!({
            "params": {
                "vectors": {}, "shard_number": 1, "replication_factor": 1,
                "write_consistency_factor": 1, "on_disk_payload": true,
            },
            "optimizer_config": {"max_segment_size": null, "max_optimization_threads": null},
            "wal_config": null,
            "quantization_config": null,
            "uuid": "9a8a4b0e-7a3c-4f5e-9d5b-0d2f6c1f7a11",
        });
        let made = Recreation::of(&config).unwrap();
        assert_eq!(
            made.create,
            json!({
                "vectors": {}, "shard_number": 1, "replication_factor": 1,
                "write_consistency_factor": 1, "on_disk_payload": true,
                "optimizers_config": {"max_optimization_threads": "auto"},
            })
        );
        assert_eq!(made.change, None);
    }

    #[test]
    fn what_nobody_knows_is_named_and_not_dropped() {
        let mut config = printed();
        config["params"]["sparkle"] = json!(3);
        config["tier_config"] = json!({"cold": true});
        config["later"] = Value::Null;
        let refused = Recreation::of(&config).unwrap_err();
        assert_eq!(
            refused.to_string(),
            "the collection cannot be made again, as nothing is known of params.sparkle, \
             tier_config"
        );
    }

    #[test]
    fn a_description_that_lacks_something_is_refused() {
        for (path, field) in [
            ("/params", "params"),
            ("/params/vectors", "params.vectors"),
            ("/params/shard_number", "params.shard_number"),
            ("/params/replication_factor", "params.replication_factor"),
            ("/hnsw_config", "hnsw_config"),
        ] {
            let mut config = printed();
            *config.pointer_mut(path).unwrap() = json!(-7);
            let refused = Recreation::of(&config).unwrap_err();
            let field = field.to_owned();
            assert_eq!(refused, CannotRecreate::Unusable { field });
        }
        assert!(Recreation::of(&json!([])).is_err());
    }
}
