//! Where Qdrant runs when nobody may reach it, or no client.

use std::ffi::OsString;
use std::net::{Ipv4Addr, TcpListener};

/// Three ports on loopback that nobody else has.
pub(super) struct Apart {
    pub(super) http: u16,
    grpc: u16,
    p2p: u16,
}

impl Apart {
    pub(super) fn find() -> std::io::Result<Self> {
        // All are held until the last is found, so that they differ.
        let bind = || TcpListener::bind((Ipv4Addr::LOCALHOST, 0));
        let (http, grpc, p2p) = (bind()?, bind()?, bind()?);
        Ok(Self {
            http: http.local_addr()?.port(),
            grpc: grpc.local_addr()?.port(),
            p2p: p2p.local_addr()?.port(),
        })
    }

    /// What is set for it, over whatever the user has set: the other containers of a task are on loopback
    /// too and may hold every key that the user gave out, so the keys are others as well.
    pub(super) fn env(&self, key: &str) -> Vec<(OsString, OsString)> {
        let pairs = [
            ("QDRANT__SERVICE__HOST", Ipv4Addr::LOCALHOST.to_string()),
            ("QDRANT__SERVICE__HTTP_PORT", self.http.to_string()),
            ("QDRANT__SERVICE__GRPC_PORT", self.grpc.to_string()),
            ("QDRANT__CLUSTER__P2P__PORT", self.p2p.to_string()),
            ("QDRANT__SERVICE__API_KEY", key.to_owned()),
            ("QDRANT__SERVICE__ALT_API_KEY", key.to_owned()),
            ("QDRANT__SERVICE__ENFORCE_INTERNAL_AUTH", "true".to_owned()),
        ];
        let pairs = pairs.into_iter();
        pairs
            .map(|(name, value)| (name.into(), value.into()))
            .collect()
    }
}

/// Two ports for clients, at any address, that nobody else has.
pub(super) struct Shut {
    pub(super) http: u16,
    grpc: u16,
}

impl Shut {
    pub(super) fn find() -> std::io::Result<Self> {
        // Qdrant listens for its peers at the address at which it listens for clients, so it cannot be
        // loopback.
        let bind = || TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0));
        let (http, grpc) = (bind()?, bind()?);
        Ok(Self {
            http: http.local_addr()?.port(),
            grpc: grpc.local_addr()?.port(),
        })
    }

    /// What is set for it. The keys stay: where a user has peers ask for them they must be the same everywhere.
    pub(super) fn env(&self) -> Vec<(OsString, OsString)> {
        let pairs = [
            ("QDRANT__SERVICE__HTTP_PORT", self.http.to_string()),
            ("QDRANT__SERVICE__GRPC_PORT", self.grpc.to_string()),
        ];
        let pairs = pairs.into_iter();
        pairs
            .map(|(name, value)| (name.into(), value.into()))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_port_is_given_twice_and_no_key_of_the_user_is_left() {
        let apart = Apart::find().unwrap();
        let ports = std::collections::BTreeSet::from([apart.http, apart.grpc, apart.p2p]);
        assert_eq!(ports.len(), 3);
        let env = apart.env("secret");
        for name in ["QDRANT__SERVICE__API_KEY", "QDRANT__SERVICE__ALT_API_KEY"] {
            let set = env.iter().find(|(key, _)| key == name).unwrap();
            assert_eq!(set.1, "secret");
        }
    }
}
