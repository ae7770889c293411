//! Addresses: one private corner of 127.0.0.0/8 for each rehearsal.
//! Owns: which addresses are taken. Must not: keep anything bound.

use std::fs::{File, OpenOptions};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::Mutex;

use anyhow::{Context, Result, bail};
use nix::fcntl::{Flock, FlockArg};

use crate::lock;

/// Addresses of tasks in one third octet, from .11 on.
const HOSTS: u16 = 240;
/// Third octets of one zone.
const BLOCKS: u8 = 16;

/// A locked range 127.R.0.0/16. Held until dropped, so that rehearsals can run side by side.
#[derive(Debug)]
pub struct Network {
    second: u8,
    used: Mutex<[u16; 8]>,
    _lock: Flock<File>,
}

impl Network {
    /// Takes the first free range.
    ///
    /// # Errors
    /// When all ranges are taken or the lock directory cannot be made.
    pub fn claim() -> Result<Self> {
        let folder = std::env::temp_dir().join("qdrant-rehearsal-networks");
        std::fs::create_dir_all(&folder).with_context(|| format!("make {}", folder.display()))?;
        for second in 64..=250u8 {
            let path = folder.join(second.to_string());
            let Ok(file) = OpenOptions::new()
                .create(true)
                .truncate(false)
                .write(true)
                .open(&path)
            else {
                continue; // another user's file
            };
            if let Ok(lock) = Flock::lock(file, FlockArg::LockExclusiveNonblock) {
                let network = Self {
                    second,
                    used: Mutex::new([0; 8]),
                    _lock: lock,
                };
                // The servers of the rehearsal before may end a moment after it has let go of its range.
                let servers = [network.metadata(), network.agent(), network.api()];
                if servers.iter().all(|at| TcpListener::bind(at).is_ok()) {
                    return Ok(network);
                }
            }
        }
        bail!(
            "every range 127.64.0.0/16 to 127.250.0.0/16 is taken: see {}",
            folder.display()
        )
    }

    /// Where the DNS server listens.
    pub fn dns(&self) -> SocketAddr {
        (self.address(0, 2), 5353).into()
    }

    /// Where the task metadata server listens.
    pub fn metadata(&self) -> SocketAddr {
        (self.address(0, 170), 8051).into()
    }

    /// Where the agent endpoint of all tasks listens.
    pub fn agent(&self) -> SocketAddr {
        (self.address(0, 170), 8052).into()
    }

    /// Where the ECS API listens.
    pub fn api(&self) -> SocketAddr {
        (self.address(0, 171), 8053).into()
    }

    /// A fresh address in a zone's subnet, a /20; `None` when the subnet is full.
    pub fn fresh(&self, zone: usize) -> Option<Ipv4Addr> {
        let mut used = lock(&self.used);
        let last = used.get_mut(zone)?;
        let (block, host) = (*last / HOSTS, *last % HOSTS);
        let block = u8::try_from(block).ok().filter(|block| *block < BLOCKS)?;
        let subnet = u8::try_from(zone + 1).ok()?.checked_mul(BLOCKS)? + block;
        *last += 1;
        let host = u8::try_from(host).ok()?;
        Some(self.address(subnet, 11 + host))
    }

    /// An address of this range that no task ever gets.
    pub fn stranger(&self) -> Ipv4Addr {
        self.address(240, 7)
    }

    fn address(&self, third: u8, fourth: u8) -> Ipv4Addr {
        Ipv4Addr::new(127, self.second, third, fourth)
    }
}
