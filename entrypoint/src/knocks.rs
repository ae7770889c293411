//! Who waits at the door. A task that waits for the steward says so, with its address, when it asks for
//! a hello; where Qdrant leads, that ends the pause between two rounds and names whom to ask, so
//! that nobody waits for a beat, and a newcomer is found without DNS or store.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

/// So many addresses are remembered. Each is asked in every round.
const LIMIT: usize = 64;
/// Whoever has not knocked for so long does not wait any more.
const MEMORY: Duration = Duration::from_secs(10);

/// The knocks at one control port.
#[derive(Clone, Debug, Default)]
pub struct Knocks {
    inner: Arc<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    heard: Mutex<BTreeMap<IpAddr, Instant>>,
    news: Notify,
}

impl Knocks {
    /// Somebody at this address waits.
    pub fn knock(&self, address: IpAddr) {
        let now = Instant::now();
        let mut heard = self.heard();
        heard.retain(|_, at| now.duration_since(*at) < MEMORY);
        if heard.len() < LIMIT || heard.contains_key(&address) {
            heard.insert(address, now);
            self.inner.news.notify_one();
        }
    }

    /// Who knocked lately.
    pub fn waiting(&self) -> Vec<IpAddr> {
        let now = Instant::now();
        let heard = self.heard();
        let lately = heard.iter();
        let lately = lately.filter(|(_, at)| now.duration_since(**at) < MEMORY);
        lately.map(|(address, _)| *address).collect()
    }

    /// Waits for a knock; one that came since the last wait ends it at once.
    pub async fn next(&self) {
        self.inner.news.notified().await;
    }

    fn heard(&self) -> std::sync::MutexGuard<'_, BTreeMap<IpAddr, Instant>> {
        self.inner
            .heard
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_knock_is_remembered_and_wakes() {
        let knocks = Knocks::default();
        assert!(knocks.waiting().is_empty());
        let address: IpAddr = "10.0.0.7".parse().unwrap();
        knocks.knock(address);
        knocks.next().await;
        assert_eq!(knocks.waiting(), [address]);
    }

    #[test]
    fn there_is_room_for_so_many() {
        let knocks = Knocks::default();
        for n in 0..=255 {
            knocks.knock(IpAddr::from([10, 0, 0, n]));
        }
        assert_eq!(knocks.waiting().len(), LIMIT);
    }
}
