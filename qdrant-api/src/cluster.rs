//! `GET /cluster` typed, and the calls that change the set of peers. Decides nothing about them.
//!
//! Upstream: lib/storage/src/types.rs:188-287 (shape), src/actix/api/cluster_api.rs (calls).

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use reqwest::Method;
use serde::Deserialize;
use serde_json::Value;

use crate::lenient;
use crate::request::Request;
use crate::{Client, Error};

/// What one node says about its cluster. A local view: nothing in it was agreed on for the answer.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(try_from = "Raw")]
pub enum Cluster {
    /// The node runs without a cluster.
    Disabled,
    /// The node is part of a cluster, or about to be.
    Enabled(ClusterInfo),
}

/// The view of a node that runs with a cluster.
#[derive(Debug, Clone, PartialEq)]
pub struct ClusterInfo {
    /// The id of the node itself.
    pub peer_id: u64,
    /// The address book: every peer, dead or alive, voter or learner.
    pub peers: BTreeMap<u64, PeerUri>,
    /// Where the node stands in consensus.
    pub raft: RaftInfo,
    /// Whether the node takes part in consensus at all.
    pub consensus_thread: ConsensusThread,
    /// Failures to send to a peer, by its uri, since the last success. Never cleared when a peer
    /// is removed, and mostly empty on a follower, which sends only to the leader.
    pub message_send_failures: BTreeMap<String, SendFailures>,
}

/// Where a node stands in consensus.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct RaftInfo {
    /// The current term.
    pub term: u64,
    /// The index of the last committed entry this node knows of.
    pub commit: u64,
    /// Entries that are committed but not yet applied here.
    pub pending_operations: u64,
    /// The leader as this node believes; `None` when it knows of none (Qdrant says null or 0).
    #[serde(default, deserialize_with = "leader")]
    pub leader: Option<u64>,
    /// The role of this node, `None` before consensus has started. An isolated leader stays
    /// `Leader` for ever.
    #[serde(default)]
    pub role: Option<Role>,
    /// Whether this node votes. Says nothing about the others.
    pub is_voter: bool,
}

/// The role of a node in consensus.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(from = "Value")]
pub enum Role {
    /// Follows a leader.
    Follower,
    /// Asks for votes.
    Candidate,
    /// Leads.
    Leader,
    /// Asks whether asking for votes makes sense.
    PreCandidate,
    /// Something this client does not know.
    Unknown(String),
}

/// The state of the thread that runs consensus.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(from = "Value")]
pub enum ConsensusThread {
    /// It runs.
    Working,
    /// It ended: this node was removed from the cluster.
    Stopped,
    /// It ended with this error; Qdrant 1.19 starts it again by itself.
    StoppedWithErr(String),
    /// Nothing was said (then the text is empty), or something this client does not know.
    Unknown(String),
}

/// The uri of a peer as the address book has it.
///
/// Qdrant prints it with a trailing slash, and prints `/` for a peer whose address it does not
/// know (the removed first peer, src/tonic/api/raft_api.rs:154-166).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerUri(String);

/// Failures to send consensus messages to one uri since the last success.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct SendFailures {
    /// How many in a row.
    pub count: u64,
    /// The last error in Qdrant's words.
    #[serde(default)]
    pub latest_error: Option<String>,
    /// When that was, RFC 3339 on the node's clock.
    #[serde(default)]
    pub latest_error_timestamp: Option<String>,
}

impl ClusterInfo {
    /// True when this node is a leader that has committed its own entry into the address book.
    ///
    /// This is when a first node can take others in (src/consensus.rs:594-597). It does not prove
    /// that consensus still works: an isolated leader goes on saying the same.
    #[must_use]
    pub fn leads_itself(&self) -> bool {
        self.raft.leader == Some(self.peer_id)
            && self.raft.commit >= 2
            && self.peers.contains_key(&self.peer_id)
    }

    /// The peer at `uri`, a trailing slash aside. `None` when `uri` is no address.
    #[must_use]
    pub fn peer_by_uri(&self, uri: &str) -> Option<u64> {
        self.peers
            .iter()
            .find(|(_, peer)| peer.is(uri))
            .map(|(id, _)| *id)
    }
}

impl PeerUri {
    /// Takes the uri as it is written.
    #[must_use]
    pub fn new(uri: impl Into<String>) -> Self {
        Self(uri.into())
    }

    /// The uri without its trailing slash, `None` when it is no address (empty or `/`).
    #[must_use]
    pub fn address(&self) -> Option<&str> {
        address(&self.0)
    }

    /// True when both are the same address, a trailing slash and letter case aside (host names and
    /// schemes have no case, and these uris hold nothing else). Never true of something that is
    /// not an address.
    #[must_use]
    pub fn is(&self, uri: &str) -> bool {
        match (self.address(), address(uri)) {
            (Some(ours), Some(theirs)) => ours.eq_ignore_ascii_case(theirs),
            _ => false,
        }
    }
}

/// `uri` without its trailing slash, if anything is left.
fn address(uri: &str) -> Option<&str> {
    Some(uri.strip_suffix('/').unwrap_or(uri)).filter(|rest| !rest.is_empty())
}

impl fmt::Display for PeerUri {
    /// The uri as Qdrant writes it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Client {
    /// `GET /cluster`.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn cluster(&self) -> Result<Cluster, Error> {
        self.ask(Request::new(Method::GET, &["cluster"])).await
    }

    /// Removes a peer from the cluster and waits up to `timeout_secs` (at least 1) for this node
    /// to have applied that; the call may take the client's timeout on top.
    ///
    /// Qdrant checks almost nothing here (src/actix/api/cluster_api.rs:75-111): an unknown id is a
    /// success, a living peer deletes its data, the last voter can be removed, and with `force`
    /// every replica on the peer is dropped even if it is the last copy. Callers must know better.
    ///
    /// # Errors
    /// [`Error`]; status 400 without `force` while the peer holds replicas, 405 when the node runs
    /// without a cluster, 500 when the removal was not applied in time and may still come.
    pub async fn remove_peer(
        &self,
        peer_id: u64,
        force: bool,
        timeout_secs: u64,
    ) -> Result<(), Error> {
        let timeout_secs = timeout_secs.max(1);
        let request = Request::new(Method::DELETE, &["cluster", "peer", &peer_id.to_string()])
            .query("force", force)
            .query("timeout", timeout_secs)
            .extra_time(Duration::from_secs(timeout_secs));
        self.ask_done(request).await
    }

    /// Asks this node to fetch consensus state anew from the leader. Repairs lagging metadata
    /// only, never data. Success means only that it was asked for: a leader, or a node without one,
    /// drops the request.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn recover(&self) -> Result<(), Error> {
        self.ask_done(Request::new(Method::POST, &["cluster", "recover"]))
            .await
    }
}

/// The answer as it is written. Not a tagged enum of serde: that would buffer the map and then
/// fail to read its keys as numbers.
#[derive(Deserialize)]
struct Raw {
    status: String,
    peer_id: Option<u64>,
    peers: Option<BTreeMap<u64, RawPeer>>,
    raft_info: Option<RaftInfo>,
    consensus_thread_status: Option<ConsensusThread>,
    message_send_failures: Option<BTreeMap<String, SendFailures>>,
}

#[derive(Deserialize)]
struct RawPeer {
    uri: String,
}

impl TryFrom<Raw> for Cluster {
    type Error = String;

    fn try_from(raw: Raw) -> Result<Self, String> {
        match raw.status.as_str() {
            "disabled" => return Ok(Self::Disabled),
            "enabled" => {}
            other => {
                return Err(format!(
                    "unknown cluster status {:?}",
                    lenient::shorten(other)
                ));
            }
        }
        let missing = |field: &str| format!("the cluster is enabled but {field} is missing");
        let peers = raw.peers.ok_or_else(|| missing("peers"))?;
        Ok(Self::Enabled(ClusterInfo {
            peer_id: raw.peer_id.ok_or_else(|| missing("peer_id"))?,
            peers: peers
                .into_iter()
                .map(|(id, peer)| (id, PeerUri(peer.uri)))
                .collect(),
            raft: raw.raft_info.ok_or_else(|| missing("raft_info"))?,
            consensus_thread: raw
                .consensus_thread_status
                .unwrap_or_else(|| ConsensusThread::Unknown(String::new())),
            message_send_failures: raw.message_send_failures.unwrap_or_default(),
        }))
    }
}

/// Qdrant says null before consensus has started and 0 when no leader is known.
fn leader<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    Ok(Option::<u64>::deserialize(deserializer)?.filter(|leader| *leader != 0))
}

impl From<Value> for Role {
    fn from(value: Value) -> Self {
        match value.as_str() {
            Some("Follower") => Self::Follower,
            Some("Candidate") => Self::Candidate,
            Some("Leader") => Self::Leader,
            Some("PreCandidate") => Self::PreCandidate,
            _ => Self::Unknown(lenient::unknown(&value)),
        }
    }
}

impl From<Value> for ConsensusThread {
    fn from(value: Value) -> Self {
        match value.get("consensus_thread_status").and_then(Value::as_str) {
            Some("working") => Self::Working,
            Some("stopped") => Self::Stopped,
            Some("stopped_with_err") => {
                Self::StoppedWithErr(value.get("err").map(lenient::unknown).unwrap_or_default())
            }
            _ => Self::Unknown(lenient::unknown(&value)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info(leader: &str, commit: u64, peers: &str) -> ClusterInfo {
        let body = format!(
            r#"{{"status":"enabled","peer_id":7,"peers":{peers},
                "raft_info":{{"term":1,"commit":{commit},"pending_operations":0,
                    "leader":{leader},"role":"Leader","is_voter":true}}}}"#
        );
        match serde_json::from_str(&body).unwrap() {
            Cluster::Enabled(info) => info,
            Cluster::Disabled => panic!("enabled was written"),
        }
    }

    #[test]
    fn a_first_node_leads_itself_only_with_everything_in_place() {
        let me = r#"{"7":{"uri":"http://127.0.1.1:6335/"}}"#;
        assert!(info("7", 2, me).leads_itself());
        assert!(!info("7", 1, me).leads_itself());
        assert!(!info("8", 2, me).leads_itself());
        assert!(!info("7", 2, "{}").leads_itself());
    }

    #[test]
    fn no_leader_is_null_or_zero_or_missing() {
        for leader in ["null", "0"] {
            let info = info(leader, 2, r#"{"7":{"uri":"http://127.0.1.1:6335/"}}"#);
            assert_eq!(info.raft.leader, None, "{leader}");
            assert!(!info.leads_itself(), "{leader}");
        }
    }

    #[test]
    fn peers_are_found_with_and_without_the_slash_but_never_by_no_address() {
        let info = info(
            "7",
            2,
            r#"{"7":{"uri":"http://127.0.1.1:6335/"},"9":{"uri":"/"}}"#,
        );
        assert_eq!(info.peer_by_uri("http://127.0.1.1:6335"), Some(7));
        assert_eq!(info.peer_by_uri("http://127.0.1.1:6335/"), Some(7));
        assert_eq!(info.peer_by_uri("http://127.0.1.1:633"), None);
        assert_eq!(info.peer_by_uri("/"), None);
        assert_eq!(info.peer_by_uri(""), None);
        assert_eq!(info.peers[&9].address(), None);
    }

    #[test]
    fn the_consensus_thread_may_say_anything() {
        let thread = |text: &str| serde_json::from_str::<ConsensusThread>(text).unwrap();
        let working =
            r#"{"consensus_thread_status":"working","last_update":"2026-11-22T00:00:00Z"}"#;
        assert_eq!(thread(working), ConsensusThread::Working);
        assert_eq!(
            thread(r#"{"consensus_thread_status":"stopped"}"#),
            ConsensusThread::Stopped
        );
        assert_eq!(
            thread(r#"{"consensus_thread_status":"stopped_with_err","err":"oh"}"#),
            ConsensusThread::StoppedWithErr("oh".into())
        );
        assert_eq!(thread("7"), ConsensusThread::Unknown("7".into()));
        assert_eq!(
            info("7", 2, "{}").consensus_thread,
            ConsensusThread::Unknown(String::new())
        );
    }

    #[test]
    fn an_enabled_cluster_without_its_facts_is_an_error() {
        for body in [
            r#"{"status":"enabled"}"#,
            r#"{"status":"sideways"}"#,
            r#"{"peer_id":7}"#,
            r#"{"status":"enabled","peer_id":7,"raft_info":{"term":1,"commit":1,"pending_operations":0,"is_voter":true}}"#,
            r#"{"status":"enabled","peer_id":7,"peers":{},"raft_info":{"term":1,"commit":1,"pending_operations":0}}"#,
        ] {
            assert!(serde_json::from_str::<Cluster>(body).is_err(), "{body}");
        }
    }
}
