//! What a collection is created with, from the form in which it is asked for to the one in which
//! Qdrant prints it. As in Qdrant, a field that nobody knows is dropped without a word, and one that
//! is null is as configured, which is here as in the configuration that Qdrant ships with (upstream
//! toc/create_collection.rs, operations/config_diff.rs, config/config.yaml).

use serde_json::{Map, Value, json};

use super::error::ApiError;
use super::model::Collection;

impl Collection {
    /// `config` of the description.
    pub fn config(&self) -> Value {
        let mut config = match &self.settings {
            Value::Object(settings) => settings.clone(),
            _ => Map::new(),
        };
        config.insert("params".into(), self.params.clone());
        Value::Object(config)
    }

    /// The same as telemetry prints it.
    pub fn config_with_uuid(&self) -> Value {
        let mut config = self.config();
        if let Some(fields) = config.as_object_mut() {
            // In the form of Qdrant's, which are random as well.
            let uuid = uuid::Uuid::from_u64_pair(self.uuid, self.uuid.rotate_left(32));
            fields.insert("uuid".into(), uuid.to_string().into());
        }
        config
    }

    /// Merges fields into the collection's own metadata; null takes one away (upstream
    /// collection/collection_ops.rs, `update_metadata`).
    pub fn merge_metadata(&mut self, changes: &Value) {
        let (Some(changes), Some(settings)) = (changes.as_object(), self.settings.as_object_mut())
        else {
            return;
        };
        let there = settings.entry("metadata").or_insert_with(|| json!({}));
        let Some(there) = there.as_object_mut() else {
            return;
        };
        for (name, value) in changes {
            match value.is_null() {
                true => there.remove(name),
                false => there.insert(name.clone(), value.clone()),
            };
        }
    }
}

/// Everything of `config` but `params`.
pub fn settings(request: &Value) -> Result<Value, ApiError> {
    let hnsw = section(request, &["hnsw_config"])?;
    let optimizers = section(request, &["optimizers_config", "optimizer_config"])?;
    let wal = section(request, &["wal_config"])?;
    let mut settings = json!({
        "hnsw_config": updated(
            json!({
                "m": 16, "ef_construct": 100, "full_scan_threshold": 10000,
                "max_indexing_threads": 0, "on_disk": false,
            }),
            &["memory", "payload_m", "inline_storage"],
            hnsw,
        ),
        "optimizer_config": updated(
            json!({
                "deleted_threshold": 0.2, "vacuum_min_vector_number": 1000,
                "default_segment_number": 0, "max_segment_size": null, "memmap_threshold": null,
                "indexing_threshold": 10000, "flush_interval_sec": 5,
                "max_optimization_threads": null, "prevent_unoptimized": null,
            }),
            &[],
            optimizers,
        ),
        "wal_config": updated(
            json!({"wal_capacity_mb": 32, "wal_segments_ahead": 0, "wal_retain_closed": 1}),
            &[],
            wal,
        ),
        "quantization_config": section(request, &["quantization_config", "quantization"])?,
    });
    let threads = settings.pointer_mut("/optimizer_config/max_optimization_threads");
    if let Some(threads) = threads.filter(|threads| **threads == "auto") {
        *threads = Value::Null;
    }
    if let Some(fields) = settings.as_object_mut() {
        if let Some(strict) = section(request, &["strict_mode_config"])? {
            fields.insert("strict_mode_config".into(), Value::Object(set(strict)));
        }
        if let Some(metadata) = section(request, &["metadata"])? {
            fields.insert("metadata".into(), Value::Object(metadata.clone()));
        }
    }
    Ok(settings)
}

/// What of `params` is printed as it was asked for.
pub fn as_given(request: &Value, params: &mut Map<String, Value>) -> Result<(), ApiError> {
    let vectors = section(request, &["vectors"])?.cloned();
    params.insert("vectors".into(), Value::Object(vectors.unwrap_or_default()));
    for name in ["sparse_vectors", "payload"] {
        if let Some(given) = section(request, &[name])? {
            params.insert(name.into(), Value::Object(set(given)));
        }
    }
    let on_disk = match request.get("on_disk_payload") {
        None | Some(Value::Null) => true,
        Some(Value::Bool(given)) => *given,
        Some(other) => return Err(malformed("on_disk_payload", other)),
    };
    params.insert("on_disk_payload".into(), on_disk.into());
    if let Some(method) = request.get("sharding_method").filter(|m| !m.is_null()) {
        params.insert("sharding_method".into(), method.clone());
    }
    Ok(())
}

/// The object under the first of these names that is there.
fn section<'a>(
    request: &'a Value,
    names: &[&str],
) -> Result<Option<&'a Map<String, Value>>, ApiError> {
    let given = names
        .iter()
        .find_map(|name| Some((*name, request.get(*name)?)));
    match given {
        None | Some((_, Value::Null)) => Ok(None),
        Some((_, Value::Object(fields))) => Ok(Some(fields)),
        Some((name, other)) => Err(malformed(name, other)),
    }
}

fn updated(mut printed: Value, unset: &[&str], given: Option<&Map<String, Value>>) -> Value {
    if let (Some(printed), Some(given)) = (printed.as_object_mut(), given) {
        for (name, value) in set(given) {
            if printed.contains_key(&name) || unset.contains(&name.as_str()) {
                printed.insert(name, value);
            }
        }
    }
    printed
}

fn set(given: &Map<String, Value>) -> Map<String, Value> {
    let set = given.iter().filter(|(_, value)| !value.is_null());
    set.map(|(name, value)| (name.clone(), value.clone()))
        .collect()
}

fn malformed(name: &str, value: &Value) -> ApiError {
    ApiError::bad_request(format!("Format error in JSON body: {name}: {value}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_given_replaces_what_is_configured() {
        let request = json!({
            "hnsw_config": {"m": 32, "payload_m": 8, "sparkle": 1, "on_disk": null},
            "optimizers_config": {"max_optimization_threads": "auto", "flush_interval_sec": 9},
            "metadata": {"k": null},
        });
        let settings = settings(&request).unwrap();
        let hnsw = json!({
            "m": 32, "ef_construct": 100, "full_scan_threshold": 10000,
            "max_indexing_threads": 0, "on_disk": false, "payload_m": 8,
        });
        assert_eq!(settings["hnsw_config"], hnsw);
        let optimizers = &settings["optimizer_config"];
        assert_eq!(optimizers["max_optimization_threads"], Value::Null);
        assert_eq!(optimizers["flush_interval_sec"], 9);
        assert_eq!(settings["metadata"], json!({"k": null}));
        assert_eq!(settings.get("strict_mode_config"), None);
    }
}
