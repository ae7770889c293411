//! What the cluster says in Qdrant's replicated key map: whose it is, and what the steward orders.

use planner::records::{FORMAT, FORMED_KEY, Formed, ORDERS_KEY, Orders};
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

    use super::parse_orders;

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
}
