//! Carries out one action of a plan, through our own Qdrant. Whether it may be done was asked just
//! now; Qdrant's own refusals are errors.

use std::collections::BTreeSet;
use std::time::Duration;

use planner::heal::action::Action;
use planner::heal::names::ShardId;
use planner::heal::view::ClusterView;
use planner::ids::PeerId;
use planner::records::{FORMAT, ORDERS_KEY, Orders};
use qdrant_api::{Client, Route};

use super::survey::{LOSSES_KEY, Loss};

/// How long Qdrant waits until a change is applied here.
const APPLY_SECS: u64 = 10;

/// Longer than Qdrant itself waits for a commit.
pub const COMMIT_TIMEOUT: Duration = Duration::from_secs(12);

/// Why an action was not carried out, as far as that is known.
#[derive(Debug, thiserror::Error)]
pub enum HandError {
    /// Qdrant refused, or did not answer in time: then it may still come.
    #[error(transparent)]
    Qdrant(#[from] Box<qdrant_api::Error>),
    /// A record could not be written as JSON.
    #[error("write a record as JSON")]
    Encode(#[from] serde_json::Error),
}

/// Asks Qdrant for this change; `view` is what the permission was given upon.
pub async fn carry_out(
    client: &Client,
    action: &Action,
    view: &ClusterView,
) -> Result<(), HandError> {
    let done = match action {
        Action::AbortTransfer { shard, from, to } => {
            let route = route(shard.shard, *from, *to);
            let aborted = client
                .abort_transfer(&shard.collection.0, route, APPLY_SECS)
                .await;
            match aborted {
                // Qdrant has ended it by itself meanwhile, which is all that was wanted.
                Err(error) if error.is_not_found() => Ok(()),
                aborted => aborted,
            }
        }
        Action::DropReplica { shard, peer } => {
            client
                .drop_replica(&shard.collection.0, shard.shard.0, peer.0, APPLY_SECS)
                .await
        }
        Action::RecordLoss { shards, .. } => {
            // The view holds those that are still lost.
            let all: BTreeSet<Loss> = view.losses.union(shards).map(Loss::of).collect();
            let value = serde_json::to_value(all)?;
            let client = client.with_timeout(COMMIT_TIMEOUT);
            client.put_metadata_key(LOSSES_KEY, &value, true).await
        }
        Action::RemovePeer { peer } | Action::RemoveGhost { peer } | Action::Release { peer } => {
            client.remove_peer(peer.0, false, APPLY_SECS).await
        }
        // Each copy on it is lost for good and on record, or lives elsewhere; Qdrant has no other way.
        Action::RemoveLostPeer { peer } | Action::ForgetUnlisted { peer } => {
            client.remove_peer(peer.0, true, APPLY_SECS).await
        }
        Action::Replicate { shard, from, to } => {
            let route = route(shard.shard, *from, *to);
            client
                .replicate_shard(&shard.collection.0, route, APPLY_SECS)
                .await
        }
        Action::MoveReplica { shard, from, to } => {
            let route = route(shard.shard, *from, *to);
            client
                .move_shard(&shard.collection.0, route, APPLY_SECS)
                .await
        }
        Action::Grant(grant) => {
            let orders = Orders {
                grant: Some(grant.clone()),
                ..view.service.orders.clone()
            };
            order(client, orders).await?
        }
        Action::Evacuate(leaving) | Action::LetGo(leaving) | Action::CallBack(leaving) => {
            let orders = Orders {
                leaving: Some(leaving.clone()),
                ..view.service.orders.clone()
            };
            order(client, orders).await?
        }
        Action::EndEvacuation(_) => {
            let orders = Orders {
                leaving: None,
                ..view.service.orders.clone()
            };
            order(client, orders).await?
        }
        Action::Withdraw(_) => {
            let orders = Orders {
                grant: None,
                ..view.service.orders.clone()
            };
            order(client, orders).await?
        }
        Action::RaiseFactor { collection, factor } => {
            client
                .set_replication_factor(&collection.0, *factor, APPLY_SECS)
                .await
        }
    };
    Ok(done.map_err(Box::new)?)
}

/// Writes the orders: one record, so that there is one permission and one leaver at a time whoever
/// writes. A steward that cannot commit cannot order.
async fn order(
    client: &Client,
    mut orders: Orders,
) -> Result<Result<(), qdrant_api::Error>, HandError> {
    orders.format = FORMAT;
    let value = serde_json::to_value(orders)?;
    let client = client.with_timeout(COMMIT_TIMEOUT);
    Ok(client.put_metadata_key(ORDERS_KEY, &value, true).await)
}

fn route(shard: ShardId, from: PeerId, to: PeerId) -> Route {
    Route {
        shard_id: shard.0,
        from: from.0,
        to: to.0,
    }
}
