//! Which set this task has a part in, or which proof, by the word of whoever leads. A leader that is not heard for a moment
//! ends nothing: a stream that is dropped begins anew, with all its bytes.

use std::time::{Duration, Instant};

use tokio::sync::watch as channel;

use super::taker::Call;

/// For so long a call holds without a word.
const HOLDS: Duration = Duration::from_secs(20);

/// The call as the rounds hear it.
#[derive(Debug)]
pub struct Calls<T = Call> {
    call: channel::Sender<Option<T>>,
    heard: Instant,
}

impl<T: PartialEq> Calls<T> {
    /// None yet.
    pub fn new() -> (Self, channel::Receiver<Option<T>>) {
        let (call, calls) = channel::channel(None);
        let heard = Instant::now();
        (Self { call, heard }, calls)
    }

    /// What a round has heard; `None`: of no set.
    pub fn hear(&mut self, call: Option<T>) {
        if call.is_some() {
            self.heard = Instant::now();
        } else if self.heard.elapsed() < HOLDS {
            return;
        }
        self.call.send_if_modified(|now| {
            let changed = *now != call;
            *now = call;
            changed
        });
    }

    /// This task takes part in nothing any more.
    pub fn end(&self) {
        self.call.send_if_modified(|now| now.take().is_some());
    }
}

#[cfg(test)]
mod tests {
    use planner::ids::{GenerationId, PeerId};
    use planner::keep::ids::SetId;

    use super::*;

    fn call(set: &str) -> Option<Call> {
        let set: SetId = set.parse().unwrap();
        Some(Call {
            set,
            generation: GenerationId {
                number: 1,
                token: "t".into(),
            },
            peer: PeerId(1),
        })
    }

    #[test]
    fn a_call_holds_without_a_word_and_ends_for_another_or_at_once() {
        let (mut calls, heard) = Calls::new();
        let (first, second) = (call("20260228T091500Z"), call("20260228T093000Z"));
        calls.hear(first.clone());
        calls.hear(None);
        assert_eq!(*heard.borrow(), first);
        calls.hear(second.clone());
        assert_eq!(*heard.borrow(), second);
        calls.end();
        assert_eq!(*heard.borrow(), None);
        calls.hear(first.clone());
        calls.heard = Instant::now().checked_sub(HOLDS).unwrap();
        calls.hear(None);
        assert_eq!(*heard.borrow(), None);
    }
}
