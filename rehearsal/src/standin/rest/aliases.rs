//! `/aliases`: other names of collections.

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::response::Response;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Api, Timeout, body, timed};
use crate::standin::aliases::AliasChange;
use crate::standin::data;
use crate::standin::model::Op;
use crate::standin::node::META_OP_WAIT;
use crate::standin::raft::message::Payload;

#[derive(Debug, Deserialize)]
struct Changes {
    actions: Vec<AliasChange>,
}

pub(super) async fn list(State(api): State<Api>) -> Response {
    timed(async { Ok(shown(&api, |_| true)) }).await
}

/// Whether the collection exists plays no part, and an alias is none.
pub(super) async fn of(State(api): State<Api>, Path(name): Path<String>) -> Response {
    timed(async { Ok(shown(&api, |collection| collection == name)) }).await
}

fn shown(api: &Api, wanted: impl Fn(&str) -> bool) -> Value {
    let aliases: Vec<Value> = api.node.read(|inner| {
        let all = inner.model.aliases.iter();
        let of = all.filter(|(_, collection)| wanted(collection));
        let show = |(alias, collection): (&String, &String)| {
            json!({"alias_name": alias, "collection_name": collection})
        };
        of.map(show).collect()
    });
    json!({"aliases": aliases})
}

/// Waits for all peers when somebody may use a name that is new (upstream dispatcher.rs).
pub(super) async fn change(
    State(api): State<Api>,
    Query(timeout): Query<Timeout>,
    Json(request): Json<Value>,
) -> Response {
    timed(async {
        let timeout = timeout.get()?;
        let Changes { actions } = body(request)?;
        let gone = |change: &AliasChange| matches!(change, AliasChange::Delete { .. });
        let news = !actions.iter().all(gone);
        let op = Payload::Op(Op::ChangeAliases { changes: actions });
        api.node.propose_and_wait(op, timeout).await?;
        if news {
            data::sync_peers(&api.node, timeout.unwrap_or(META_OP_WAIT)).await;
        }
        Ok(true)
    })
    .await
}
