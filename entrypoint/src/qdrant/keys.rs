//! What the cluster says in Qdrant's replicated key map: whose it is, and what the steward orders.

use planner::records::{FORMAT, FORMED_KEY, Formed, ORDERS_KEY, Orders, RESTORE_KEY, Restore};
use qdrant_api::Client;

/// The formed record in a Qdrant's replicated key map: the proof by which a peer is believed.
pub async fn read_proof(client: &Client) -> Result<Option<Formed>, String> {
    let value = client
        .metadata_key(FORMED_KEY)
        .await
        .map_err(|error| crate::log::chain(&error))?;
    match value {
        None => Ok(None),
        Some(serde_json::Value::Null) => Ok(None),
        Some(value) => serde_json::from_value(value)
            .map(Some)
            .map_err(|error| format!("the key {FORMED_KEY} is not ours to read: {error}")),
    }
}

/// The steward's orders in a Qdrant's replicated key map; none when none were ever given. Those of a
/// newer format are not read: nobody acts on half of them.
pub async fn read_orders(client: &Client) -> Result<Orders, String> {
    let value = client
        .metadata_key(ORDERS_KEY)
        .await
        .map_err(|error| crate::log::chain(&error))?;
    parse_orders(value)
}

/// How far the restore has come, as a Qdrant's replicated key map says; `None` when nobody has begun it.
/// One of a newer format is not read: whether it is finished would be a guess.
pub async fn read_restore(client: &Client) -> Result<Option<Restore>, String> {
    let value = client
        .metadata_key(RESTORE_KEY)
        .await
        .map_err(|error| crate::log::chain(&error))?;
    parse_restore(value)
}

/// The same of what stands in the key map.
pub fn parse_restore(value: Option<serde_json::Value>) -> Result<Option<Restore>, String> {
    let value = match value {
        None | Some(serde_json::Value::Null) => return Ok(None),
        Some(value) => value,
    };
    // The format first: what is newer may look quite different.
    match value.get("format").and_then(serde_json::Value::as_u64) {
        Some(format) if format == u64::from(FORMAT) => {}
        Some(format) => return Err(format!("the key {RESTORE_KEY} has format {format}")),
        None => return Err(format!("the key {RESTORE_KEY} is not ours to read")),
    }
    serde_json::from_value(value)
        .map(Some)
        .map_err(|error| format!("the key {RESTORE_KEY} is not ours to read: {error}"))
}

fn parse_orders(value: Option<serde_json::Value>) -> Result<Orders, String> {
    let orders: Orders = match value {
        None | Some(serde_json::Value::Null) => return Ok(Orders::default()),
        Some(value) => serde_json::from_value(value)
            .map_err(|error| format!("the key {ORDERS_KEY} is not ours to read: {error}"))?,
    };
    match orders.format {
        FORMAT => Ok(orders),
        format => Err(format!("the key {ORDERS_KEY} has format {format}")),
    }
}

#[cfg(test)]
mod tests {
    use planner::records::Orders;
    use serde_json::json;

    use super::{parse_orders, parse_restore};

    #[test]
    fn orders_that_are_not_ours_or_newer_are_no_orders_and_say_why() {
        assert_eq!(parse_orders(None), Ok(Orders::default()));
        assert_eq!(parse_orders(Some(json!(null))), Ok(Orders::default()));
        assert!(parse_orders(Some(json!({"format": 1}))).is_ok());
        for (value, why) in [
            (json!("yes"), "not ours to read"),
            (json!([]), "not ours to read"),
            (json!({"grant": null}), "not ours to read"),
            (
                json!({"format": 1, "grant": {"kind": "fly", "task": "t"}}),
                "not ours to read",
            ),
            (json!({"format": 2, "grant": null}), "has format 2"),
        ] {
            let refused = parse_orders(Some(value.clone())).unwrap_err();
            assert!(refused.contains(why), "{value}: {refused}");
        }
    }

    #[test]
    fn a_restore_that_is_not_ours_or_newer_is_unknown_and_says_why() {
        assert_eq!(parse_restore(None), Ok(None));
        assert_eq!(parse_restore(Some(json!(null))), Ok(None));
        let generation = json!({"number": 2, "token": "two"});
        let finished = json!({"format": 1, "generation": generation, "finished": true});
        assert!(parse_restore(Some(finished)).is_ok_and(|r| r.is_some_and(|r| r.finished)));
        for (value, why) in [
            (json!(true), "not ours to read"),
            (json!([]), "not ours to read"),
            (json!({"finished": true}), "not ours to read"),
            (json!({"format": 1, "finished": true}), "not ours to read"),
            (
                json!({"format": 1, "generation": generation, "finished": "yes"}),
                "not ours to read",
            ),
            (
                json!({"format": 2, "generation": generation, "finished": true}),
                "has format 2",
            ),
            (
                json!({"format": 2, "finished": {"when": 1}}),
                "has format 2",
            ),
        ] {
            let refused = parse_restore(Some(value.clone())).unwrap_err();
            assert!(refused.contains(why), "{value}: {refused}");
        }
    }
}
