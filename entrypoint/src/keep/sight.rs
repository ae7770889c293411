//! What who works on sets beside the steward sees of the cluster: its name, and itself in this life.

use std::time::Duration;

use planner::heal::view::ClusterView;
use planner::ids::{GenerationId, StoreId};
use qdrant_api::Client;
use tokio::sync::watch as channel;

use crate::log::chain;
use crate::status::Board;
use crate::steward::{Clocks, Post, survey};

/// The cluster that we are in, as our own round knows it.
///
/// # Errors
/// What is not known yet; for people.
pub fn place(board: &channel::Sender<Board>) -> Result<(StoreId, GenerationId), String> {
    let (store, generation) = {
        let status = &board.borrow().status;
        (status.store_id.clone(), status.generation.clone())
    };
    Ok((
        store.ok_or("the store has not said yet which cluster this is")?,
        generation.ok_or("this task belongs to no generation")?,
    ))
}

/// What the cluster is now, in this life of it. `client` asks our own Qdrant.
///
/// # Errors
/// We do not lead, it could not be read, or it has another life; for people.
pub async fn survey(
    client: &Client,
    board: &channel::Sender<Board>,
    posts: &channel::Receiver<Option<Post>>,
    life: &GenerationId,
) -> Result<ClusterView, String> {
    let post = posts.borrow().clone();
    let post = post.ok_or("another task's Qdrant leads")?;
    let surveyed = survey::survey(client, &post, &Clocks::default(), Duration::ZERO).await;
    let (view, _) = surveyed.map_err(|error| chain(&error))?;
    let generation = board.borrow().status.generation.clone();
    match generation.as_ref() == Some(life) {
        true => Ok(view),
        false => Err("the cluster has another life now".to_owned()),
    }
}
