//! Asking the Qdrant of another peer: it listens on the same port as ours.

use std::net::{IpAddr, SocketAddr};

use planner::ids::PeerId;
use qdrant_api::{Client, ClusterInfo};

use crate::log::chain;
use crate::observe::host_of;

/// A client for the Qdrant of `peer`, as the address book has it; `client` asks our own.
///
/// # Errors
/// Why its address is not known; for people.
pub fn qdrant_of(client: &Client, info: &ClusterInfo, peer: PeerId) -> Result<Client, String> {
    if peer.0 == info.peer_id {
        return Ok(client.clone());
    }
    let port = client.base().port().ok_or("its address is not known")?;
    let host = host_of_peer(info, peer)?;
    let base = SocketAddr::new(host, port).try_into();
    let base = base.map_err(|error| chain(&error))?;
    Ok(client.at(base))
}

/// The host of `peer`, as the address book has it.
///
/// # Errors
/// Why it is not known; for people.
pub fn host_of_peer(info: &ClusterInfo, peer: PeerId) -> Result<IpAddr, String> {
    let uri = info.peers.get(&peer.0).and_then(|uri| uri.address());
    Ok(uri.and_then(host_of).ok_or("its address is not known")?)
}
