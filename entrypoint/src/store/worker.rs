//! The store for async code. Owns two threads, one that reads and one that writes, and the
//! deadline of every call; knows nothing of files or records.
//!
//! An EFS mount is hard: when it cannot be reached, a system call on it sleeps for ever and its
//! thread cannot be ended. So a call is given up, never its thread, and no thread is ever added:
//! while a call hangs, at most these two are stuck, and everything else is answered without
//! touching the store. When the hung call returns, the thread takes the next one. The threads are
//! detached: the end of the process does not wait for them.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::time::timeout;

use super::{Created, Key, Op, Prefix, Store, StoreError};

/// Store calls need little; two default stacks would count in the budget of PID 1.
const STACK: usize = 256 * 1024;

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
    reader: Lane,
    writer: Lane,
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

/// A call that is past its deadline, for status and alarms.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stuck {
    /// What it does.
    pub op: Op,
    /// The key or prefix.
    pub path: String,
    /// How long it has been running.
    pub since: Duration,
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
        self.fetch(call, move |store| store.read(&key)).await
    }

    /// [`Store::list`].
    ///
    /// # Errors
    /// As [`StoreHandle::read`].
    pub async fn list(&self, prefix: &Prefix) -> Result<Vec<Key>, StoreError> {
        let call = self.call(Op::List, &prefix.to_string());
        let prefix = prefix.clone();
        self.fetch(call, move |store| store.list(&prefix)).await
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
        Call {
            op,
            path: path.to_owned(),
            began: Instant::now(),
            deadline: self.shared.deadline,
        }
    }

    async fn fetch<T: Send + 'static>(
        &self,
        call: Call,
        work: impl FnOnce(&dyn Store) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let mut answer = match self.shared.reader.begin(&call, work).await {
            Ok(answer) => answer,
            Err(Some(Stuck {
                op: hung, since, ..
            })) => {
                return Err(StoreError::Busy {
                    op: call.op,
                    path: call.path,
                    hung,
                    since,
                });
            }
            Err(None) => return Err(call.no_answer()),
        };
        match timeout(call.left(), &mut answer).await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err(call.crashed()),
            Err(_) => Err(call.no_answer()),
        }
    }

    async fn send<T: Send + 'static>(
        &self,
        call: Call,
        work: impl FnOnce(&dyn Store) -> Result<T, StoreError> + Send + 'static,
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

/// One call as asked for.
#[derive(Debug, Clone)]
struct Call {
    op: Op,
    path: String,
    began: Instant,
    deadline: Duration,
}

impl Call {
    fn left(&self) -> Duration {
        self.deadline.saturating_sub(self.began.elapsed())
    }

    fn no_answer(self) -> StoreError {
        StoreError::NoAnswer {
            op: self.op,
            path: self.path,
            after: self.began.elapsed(),
        }
    }

    fn crashed(self) -> StoreError {
        StoreError::Crashed {
            op: self.op,
            path: self.path,
        }
    }
}

type Job = Box<dyn FnOnce(&dyn Store) + Send>;

/// One thread and the right to use it, which the call that runs holds until it returns.
struct Lane {
    jobs: mpsc::Sender<Job>,
    turn: Arc<Semaphore>,
    running: Arc<Mutex<Option<Call>>>,
}

impl Lane {
    fn start(name: &str, store: Arc<dyn Store>) -> Result<Self, StoreError> {
        let (jobs, queue) = mpsc::channel::<Job>();
        std::thread::Builder::new()
            .name(name.to_owned())
            .stack_size(STACK)
            .spawn(move || queue.iter().for_each(|job| job(store.as_ref())))
            .map_err(|source| StoreError::Thread { source })?;
        Ok(Self {
            jobs,
            turn: Arc::new(Semaphore::new(1)),
            running: Arc::default(),
        })
    }

    /// Waits for the turn and hands `work` to the thread. `Err`: not begun, because of the call
    /// that is in the way, or because the deadline passed in a queue of calls that do answer.
    async fn begin<T: Send + 'static>(
        &self,
        call: &Call,
        work: impl FnOnce(&dyn Store) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<oneshot::Receiver<Result<T, StoreError>>, Option<Stuck>> {
        if let Some(stuck) = self.stuck() {
            return Err(Some(stuck));
        }
        let turn = match timeout(call.left(), Arc::clone(&self.turn).acquire_owned()).await {
            Ok(Ok(turn)) => turn,
            Ok(Err(_)) | Err(_) => return Err(self.in_the_way()),
        };
        let turn = Turn::take(turn, &self.running, call);
        let (tell, answer) = oneshot::channel();
        let (op, path) = (call.op, call.path.clone());
        let job: Job = Box::new(move |store| {
            let result = catch_unwind(AssertUnwindSafe(|| work(store)))
                .unwrap_or(Err(StoreError::Crashed { op, path }));
            // First the turn, so that whoever gets the answer can go on at once.
            drop(turn);
            // Nobody waits for it any more: then it was given up.
            let _ = tell.send(result);
        });
        // It cannot fail, for the thread lives as long as this sender; if it did, the dropped
        // `tell` would be reported as a crash.
        let _ = self.jobs.send(job);
        Ok(answer)
    }

    fn in_the_way(&self) -> Option<Stuck> {
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        running.as_ref().map(|call| Stuck {
            op: call.op,
            path: call.path.clone(),
            since: call.began.elapsed(),
        })
    }

    fn stuck(&self) -> Option<Stuck> {
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        running
            .as_ref()
            .filter(|call| call.left().is_zero())
            .map(|call| Stuck {
                op: call.op,
                path: call.path.clone(),
                since: call.began.elapsed(),
            })
    }
}

/// The right to use a lane; given back when dropped, whatever happened.
struct Turn {
    running: Arc<Mutex<Option<Call>>>,
    _permit: OwnedSemaphorePermit,
}

impl Turn {
    fn take(permit: OwnedSemaphorePermit, running: &Arc<Mutex<Option<Call>>>, call: &Call) -> Self {
        *running.lock().unwrap_or_else(PoisonError::into_inner) = Some(call.clone());
        Self {
            running: Arc::clone(running),
            _permit: permit,
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        *self.running.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

#[cfg(test)]
mod tests;
