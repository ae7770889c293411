//! Delivery of Raft messages to one peer: in order, in batches, one attempt each.

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use tokio::sync::mpsc;

use super::client;
use super::node::Node;
use super::raft::message::Message;

/// `cluster.consensus.message_timeout_ticks` of 100 ms.
const TIMEOUT: Duration = Duration::from_secs(1);
/// `cluster.consensus.max_message_queue_size`.
const QUEUE: usize = 100;

/// Failed deliveries to one address since the last success.
#[derive(Clone, Debug, Serialize)]
pub struct Failure {
    count: u64,
    latest_error: String,
    latest_error_timestamp: jiff::Timestamp,
}

/// Start the deliverer for a peer. It ends when the sender is dropped and its queue is empty.
pub fn spawn(node: &Arc<Node>, to: u64) -> mpsc::Sender<(String, Message)> {
    let (sender, mut queue) = mpsc::channel::<(String, Message)>(QUEUE);
    let node = Arc::clone(node);
    tokio::spawn(async move {
        let mut batch = Vec::new();
        while queue.recv_many(&mut batch, QUEUE).await > 0 {
            let mut uri = batch.last().map(|(uri, _)| uri.clone()).unwrap_or_default();
            if uri.is_empty() || uri == "/" {
                uri = who_is(&node, to).await.unwrap_or_default();
            }
            let messages: Vec<Message> = batch.drain(..).map(|(_, message)| message).collect();
            if !uri.is_empty() {
                deliver(&node, &uri, &messages).await;
            }
        }
    });
    sender
}

/// The address of an unknown peer, asked of the peer we joined through.
async fn who_is(node: &Node, id: u64) -> Option<String> {
    let bootstrap = node.settings.bootstrap.as_ref()?.to_string();
    client::post(node, &bootstrap, "whois", &id, TIMEOUT)
        .await
        .ok()
}

async fn deliver(node: &Arc<Node>, uri: &str, messages: &[Message]) {
    let sent: Result<(), _> = client::post(node, uri, "raft", messages, TIMEOUT).await;
    node.change(|inner| match sent {
        Ok(()) => {
            inner.failures.remove(uri);
        }
        Err(why) => {
            let now = jiff::Timestamp::now();
            let failure = inner.failures.entry(uri.to_owned()).or_insert(Failure {
                count: 0,
                latest_error: String::new(),
                latest_error_timestamp: now,
            });
            failure.count += 1;
            failure.latest_error = why.to_string();
            failure.latest_error_timestamp = now;
        }
    });
}
