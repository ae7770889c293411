//! How fast files of sets are read for a proof: no faster than a rate, and not at all while a set is made.

use std::time::{Duration, Instant};

use tokio::sync::watch as channel;

use crate::keep::taker::Call;

/// Bytes in a second. A proof is in no hurry, and the store has a throughput that all tasks share.
const RATE: u64 = 32 << 20;
/// What was not used is not made up for beyond this.
const BURST: Duration = Duration::from_millis(100);

/// Holds up who reads.
#[derive(Debug)]
pub struct Gate {
    /// Whether a set is being made; `None`: nothing holds anybody up.
    calls: Option<channel::Receiver<Option<Call>>>,
    /// When the next piece may pass.
    next: Instant,
}

impl Gate {
    /// One that lets everything pass.
    #[must_use]
    pub fn open() -> Self {
        Self {
            calls: None,
            next: Instant::now(),
        }
    }

    /// One that waits while there is a call.
    #[must_use]
    pub fn slow(calls: channel::Receiver<Option<Call>>) -> Self {
        Self {
            calls: Some(calls),
            next: Instant::now(),
        }
    }

    /// Waits until so many bytes more may have been read.
    pub async fn pass(&mut self, bytes: usize) {
        let Some(calls) = &mut self.calls else { return };
        // When the rounds have ended nobody makes a set here.
        let _ = calls.wait_for(Option::is_none).await;
        let now = Instant::now();
        let took = Duration::from_secs_f64(bytes as f64 / RATE as f64);
        self.next = self.next.max(now.checked_sub(BURST).unwrap_or(now)) + took;
        if let Some(wait) = self.next.checked_duration_since(now) {
            tokio::time::sleep(wait).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use planner::ids::{GenerationId, PeerId};

    use super::*;

    #[tokio::test]
    async fn no_faster_than_the_rate() {
        let (_calls, heard) = channel::channel(None);
        let mut gate = Gate::slow(heard);
        let began = Instant::now();
        for _ in 0..64 {
            gate.pass(256 * 1024).await;
        }
        let took = began.elapsed();
        assert!(took >= Duration::from_millis(390), "{took:?}");
    }

    #[tokio::test]
    async fn nothing_passes_while_a_set_is_made() {
        let call = Call {
            set: "20260228T091500Z".parse().unwrap(),
            generation: GenerationId {
                number: 1,
                token: "t".into(),
            },
            peer: PeerId(1),
        };
        let (calls, heard) = channel::channel(Some(call));
        let mut gate = Gate::slow(heard);
        let held = tokio::time::timeout(Duration::from_millis(50), gate.pass(1)).await;
        assert!(held.is_err());
        calls.send_replace(None);
        gate.pass(1).await;
    }
}
