//! The store for async code. Owns two threads, one that reads and one that writes, and the
//! deadline of every call; knows nothing of files or records.
//!
//! An EFS mount is hard: when it cannot be reached, a system call on it sleeps for ever and its
//! thread cannot be ended. So at most these two are stuck, and everything else is answered without
//! touching the store (see [`super::lane`]).

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::timeout;

use super::lane::{Call, Lane, Stuck};
use super::{Created, Key, Op, Prefix, Store, StoreError};

/// A cheap-to-clone, async view of a [`Store`] in which every call ends within the deadline.
///
/// Reading calls share one thread and writing calls another; each kind is done one at a time, in
/// the order asked. A future that is dropped early gives up the answer, not the call: a write that
/// had begun goes on. The threads end when the last clone is dropped.
#[derive(Clone)]
pub struct StoreHandle {
    shared: Arc<Shared>,
}

struct Shared {
    place: String,
    deadline: Duration,
    reader: Lane<dyn Store>,
    writer: Lane<dyn Store>,
}

/// How a write stands after its deadline or before.
#[derive(Debug)]
#[must_use]
pub enum Write<T> {
    /// It ended, with this.
    Written(T),
    /// It did not answer yet and may still take effect, at any time. Until it is decided every
    /// further write is answered [`StoreError::StillPending`].
    Pending(PendingWrite<T>),
}

/// A write without an answer. Dropping it forgets the answer but does not stop the write.
#[derive(Debug)]
pub struct PendingWrite<T> {
    call: Call,
    answer: oneshot::Receiver<Result<T, StoreError>>,
}

impl StoreHandle {
    /// Starts the threads for `store`; every call will be answered within about `deadline`.
    ///
    /// # Errors
    /// [`StoreError::Thread`].
    pub fn start(store: Arc<dyn Store>, deadline: Duration) -> Result<Self, StoreError> {
        let shared = Shared {
            place: store.describe(),
            deadline,
            reader: Lane::start("store-read", Arc::clone(&store))?,
            writer: Lane::start("store-write", store)?,
        };
        Ok(Self {
            shared: Arc::new(shared),
        })
    }

    /// Where the store is ([`Store::describe`]).
    #[must_use]
    pub fn describe(&self) -> &str {
        &self.shared.place
    }

    /// How long one call may take.
    #[must_use]
    pub fn deadline(&self) -> Duration {
        self.shared.deadline
    }

    /// The calls that are past their deadline now: none, one or two.
    #[must_use]
    pub fn stuck(&self) -> Vec<Stuck> {
        [&self.shared.reader, &self.shared.writer]
            .into_iter()
            .filter_map(Lane::stuck)
            .collect()
    }

    /// [`Store::read`].
    ///
    /// # Errors
    /// Those of the store, [`StoreError::NoAnswer`] after the deadline, and [`StoreError::Busy`]
    /// when an earlier reading call hangs.
    pub async fn read(&self, key: &Key) -> Result<Option<Vec<u8>>, StoreError> {
        let call = self.call(Op::Read, key.as_str());
        let key = key.clone();
        self.shared
            .reader
            .read(call, move |store| store.read(&key))
            .await
    }

    /// [`Store::list`].
    ///
    /// # Errors
    /// As [`StoreHandle::read`].
    pub async fn list(&self, prefix: &Prefix) -> Result<Vec<Key>, StoreError> {
        let call = self.call(Op::List, &prefix.to_string());
        let prefix = prefix.clone();
        self.shared
            .reader
            .read(call, move |store| store.list(&prefix))
            .await
    }

    /// [`Store::folders`].
    ///
    /// # Errors
    /// As [`StoreHandle::read`].
    pub async fn folders(&self, prefix: &Prefix) -> Result<Vec<String>, StoreError> {
        let call = self.call(Op::List, &prefix.to_string());
        let prefix = prefix.clone();
        self.shared
            .reader
            .read(call, move |store| store.folders(&prefix))
            .await
    }

    /// [`Store::create`].
    ///
    /// # Errors
    /// Those of the store ([`StoreError::is_unclear`] tells whether it may have taken effect), and
    /// [`StoreError::StillPending`], not begun, when an earlier write has no answer.
    pub async fn create(&self, key: &Key, value: Vec<u8>) -> Result<Write<Created>, StoreError> {
        let call = self.call(Op::Create, key.as_str());
        let key = key.clone();
        self.send(call, move |store| store.create(&key, &value))
            .await
    }

    /// [`Store::put`].
    ///
    /// # Errors
    /// As [`StoreHandle::create`].
    pub async fn put(&self, key: &Key, value: Vec<u8>) -> Result<Write<()>, StoreError> {
        let call = self.call(Op::Put, key.as_str());
        let key = key.clone();
        self.send(call, move |store| store.put(&key, &value)).await
    }

    /// [`Store::remove`].
    ///
    /// # Errors
    /// As [`StoreHandle::create`].
    pub async fn remove(&self, key: &Key) -> Result<Write<bool>, StoreError> {
        let call = self.call(Op::Remove, key.as_str());
        let key = key.clone();
        self.send(call, move |store| store.remove(&key)).await
    }

    fn call(&self, op: Op, path: &str) -> Call {
        Call::new(op, path, self.shared.deadline)
    }

    async fn send<T: Send + 'static>(
        &self,
        call: Call,
        work: impl FnOnce(&(dyn Store + 'static)) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<Write<T>, StoreError> {
        match self.shared.writer.begin(&call, work).await {
            Ok(answer) => {
                let left = call.left();
                PendingWrite { call, answer }.wait(left).await
            }
            Err(Some(Stuck {
                op: hung, since, ..
            })) => Err(StoreError::StillPending {
                op: call.op,
                path: call.path,
                hung,
                since,
            }),
            Err(None) => Err(call.no_answer()),
        }
    }
}

impl<T> PendingWrite<T> {
    /// What is being done.
    #[must_use]
    pub fn op(&self) -> Op {
        self.call.op
    }

    /// The key.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.call.path
    }

    /// How long ago it was asked for.
    #[must_use]
    pub fn age(&self) -> Duration {
        self.call.began.elapsed()
    }

    /// Whether it has ended, without waiting.
    ///
    /// # Errors
    /// Those of the write itself.
    pub fn poll(mut self) -> Result<Write<T>, StoreError> {
        match self.answer.try_recv() {
            Ok(result) => result.map(Write::Written),
            Err(oneshot::error::TryRecvError::Empty) => Ok(Write::Pending(self)),
            Err(oneshot::error::TryRecvError::Closed) => Err(self.call.crashed()),
        }
    }

    /// Waits up to `limit` for its end.
    ///
    /// # Errors
    /// Those of the write itself.
    pub async fn wait(mut self, limit: Duration) -> Result<Write<T>, StoreError> {
        match timeout(limit, &mut self.answer).await {
            Ok(Ok(result)) => result.map(Write::Written),
            Ok(Err(_)) => Err(self.call.crashed()),
            Err(_) => Ok(Write::Pending(self)),
        }
    }
}

#[cfg(test)]
mod tests;
