//! `/collections/{name}/index`: payload indexes. Each goes through consensus, and then to every
//! replica as a write does (upstream common/update.rs, `do_create_index`).

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::response::Response;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{Api, Timeout, body, timed};
use crate::standin::data::{read, write};
use crate::standin::error::ApiError;
use crate::standin::indexes;
use crate::standin::model::{Collection, Op};
use crate::standin::node::Node;
use crate::standin::raft::message::Payload;

/// `?wait=`.
#[derive(Debug, Deserialize)]
pub(super) struct Wait {
    #[serde(default)]
    wait: bool,
}

#[derive(Debug, Deserialize)]
struct Create {
    field_name: String,
    #[serde(alias = "field_type")]
    field_schema: Option<Value>,
}

pub(super) async fn create(
    State(api): State<Api>,
    Path(name): Path<String>,
    Query(Wait { wait }): Query<Wait>,
    Query(timeout): Query<Timeout>,
    Json(request): Json<Value>,
) -> Response {
    let name = api.real(name);
    timed(async {
        let Create {
            field_name: field,
            field_schema,
        } = body(request)?;
        check(&field)?;
        let schema = field_schema.as_ref().map(indexes::schema).transpose()?;
        api.node
            .read(|inner| inner.model.collection(&name).map(drop))?;
        let schema = schema.ok_or_else(|| {
            ApiError::bad_request(
                "Can't auto-detect field type, please specify `field_schema` in the request",
            )
        })?;
        let collection = name.clone();
        let op = Op::CreateIndex {
            collection,
            field,
            schema,
        };
        apply(&api, &name, op, (wait, timeout)).await
    })
    .await
}

pub(super) async fn delete(
    State(api): State<Api>,
    Path((name, field)): Path<(String, String)>,
    Query(Wait { wait }): Query<Wait>,
    Query(timeout): Query<Timeout>,
) -> Response {
    let name = api.real(name);
    timed(async {
        check(&field)?;
        let collection = name.clone();
        apply(
            &api,
            &name,
            Op::DropIndex { collection, field },
            (wait, timeout),
        )
        .await
    })
    .await
}

/// `payload_schema` of the description.
pub(super) async fn shown(
    node: &Arc<Node>,
    name: &str,
    collection: &Collection,
) -> Result<Value, ApiError> {
    let mut all = Map::new();
    if !collection.indexes.is_empty() {
        let points = read::scroll(node, name, None, None, usize::MAX).await?;
        for (field, schema) in &collection.indexes {
            let points = points.iter().map(|(_, point)| point);
            all.insert(field.clone(), indexes::shown(field, schema, points));
        }
    }
    Ok(Value::Object(all))
}

fn check(field: &str) -> Result<(), ApiError> {
    let bad = || format!("Format error in JSON body: Invalid json path: '{field}'");
    match indexes::path(field) {
        Some(_) => Ok(()),
        None => Err(ApiError::bad_request(bad())),
    }
}

async fn apply(
    api: &Api,
    name: &str,
    op: Op,
    (wait, timeout): (bool, Timeout),
) -> Result<Value, ApiError> {
    let timeout = timeout.get()?;
    api.node.propose_and_wait(Payload::Op(op), timeout).await?;
    let written = write::everywhere(&api.node, name, wait).await?;
    let status = if wait && written {
        "completed"
    } else {
        "acknowledged"
    };
    Ok(json!({"operation_id": written.then_some(0), "status": status}))
}
