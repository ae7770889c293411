//! `/collections/{name}/points/query`, as far as it searches exactly among named points with a dense
//! vector (upstream src/actix/api/query_api.rs). Every point that has such a vector is found, the nearest
//! first, with the version of the copy that answered.

use axum::Json;
use axum::extract::{Path, State};
use axum::response::Response;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Api, body, timed};
use crate::standin::data::read;
use crate::standin::data::remote::PointId;
use crate::standin::error::ApiError;
use crate::standin::keys::Selector;

/// What is asked for.
#[derive(Debug, Deserialize)]
struct Query {
    query: Vec<f64>,
    using: Option<String>,
    filter: Filter,
    limit: Option<usize>,
    shard_key: Option<Selector>,
}

#[derive(Debug, Deserialize)]
struct Filter {
    must: [HasId; 1],
}

#[derive(Debug, Deserialize)]
struct HasId {
    has_id: Vec<PointId>,
}

pub(super) async fn query(
    State(api): State<Api>,
    Path(name): Path<String>,
    Json(request): Json<Value>,
) -> Response {
    let name = api.real(name);
    timed(async {
        let Query {
            query,
            using,
            filter: Filter {
                must: [HasId { has_id }],
            },
            limit,
            shard_key,
        } = body(request)?;
        let using = using.unwrap_or_default();
        let distance = api.node.read(|inner| {
            let collection = inner.model.collection(&name)?;
            let vectors = collection.params.get("vectors");
            let vectors = match using.as_str() {
                "" => vectors,
                using => vectors.and_then(|named| named.get(using)),
            };
            let distance = vectors.and_then(|of| of.get("distance")?.as_str());
            let unknown =
                || ApiError::bad_input(format!("Not existing vector name error: {using}"));
            distance.map(str::to_owned).ok_or_else(unknown)
        })?;
        let found = read::versioned(&api.node, &name, has_id, shard_key.as_ref()).await?;
        let mut scored = Vec::new();
        for (point, version) in found {
            let vector = point.get("vector");
            let vector = match using.as_str() {
                "" => vector,
                using => vector.and_then(|named| named.get(using)),
            };
            let vector = vector.and_then(Value::as_array);
            let vector: Option<Vec<f64>> =
                vector.and_then(|v| v.iter().map(Value::as_f64).collect());
            if let Some(vector) = vector.filter(|vector| vector.len() == query.len()) {
                let score = score(&distance, &query, &vector);
                scored.push((
                    score,
                    json!({
                        "id": point.get("id"), "version": version, "score": score,
                    }),
                ));
            }
        }
        let small_is_near = ["Euclid", "Manhattan"].contains(&distance.as_str());
        scored.sort_by(|a, b| match small_is_near {
            true => a.0.total_cmp(&b.0),
            false => b.0.total_cmp(&a.0),
        });
        let points = scored.into_iter().take(limit.unwrap_or(10));
        Ok(json!({"points": points.map(|(_, point)| point).collect::<Vec<_>>()}))
    })
    .await
}

fn score(distance: &str, a: &[f64], b: &[f64]) -> f64 {
    let pairs = || a.iter().zip(b);
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(x, y)| x * y).sum::<f64>();
    match distance {
        "Euclid" => pairs().map(|(x, y)| (x - y).powi(2)).sum::<f64>().sqrt(),
        "Manhattan" => pairs().map(|(x, y)| (x - y).abs()).sum(),
        "Cosine" => match (dot(a, a) * dot(b, b)).sqrt() {
            0.0 => 0.0,
            lengths => dot(a, b) / lengths,
        },
        _ => dot(a, b),
    }
}
