//! One thread for calls that may hang for ever, and the deadline of each; knows nothing of what is
//! called.
//!
//! A call is given up, never its thread, and no thread is ever added: while a call hangs, every
//! further one is answered at once. When it returns, the thread takes the next one. The thread is
//! detached: the end of the process does not wait for it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::time::timeout;

use super::{Op, StoreError};

/// Store calls need little; default stacks would count in the budget of PID 1.
pub(crate) const STACK: usize = 256 * 1024;

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

/// One call as asked for.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    pub(super) op: Op,
    pub(super) path: String,
    pub(super) began: Instant,
    deadline: Duration,
}

impl Call {
    /// A call that is asked for now.
    pub(crate) fn new(op: Op, path: &str, deadline: Duration) -> Self {
        Self {
            op,
            path: path.to_owned(),
            began: Instant::now(),
            deadline,
        }
    }

    pub(super) fn left(&self) -> Duration {
        self.deadline.saturating_sub(self.began.elapsed())
    }

    pub(super) fn no_answer(self) -> StoreError {
        StoreError::NoAnswer {
            op: self.op,
            path: self.path,
            after: self.began.elapsed(),
        }
    }

    pub(super) fn crashed(self) -> StoreError {
        StoreError::Crashed {
            op: self.op,
            path: self.path,
        }
    }

    /// Not begun, because of the call that is in the way, or because the deadline passed.
    fn not_begun(self, hung: Option<Stuck>) -> StoreError {
        match hung {
            Some(hung) => StoreError::Busy {
                op: self.op,
                path: self.path,
                hung: hung.op,
                since: hung.since,
            },
            None => self.no_answer(),
        }
    }

    async fn answered<T>(
        self,
        mut answer: oneshot::Receiver<Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        match timeout(self.left(), &mut answer).await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err(self.crashed()),
            Err(_) => Err(self.no_answer()),
        }
    }

    fn stuck(&self) -> Stuck {
        Stuck {
            op: self.op,
            path: self.path.clone(),
            since: self.began.elapsed(),
        }
    }
}

type Job<S> = Box<dyn FnOnce(&S) + Send>;

/// One thread and the right to use it, which the call that runs holds until it returns. The thread
/// ends when this is dropped and the call that runs has returned.
pub(crate) struct Lane<S: ?Sized> {
    jobs: mpsc::Sender<Job<S>>,
    turn: Arc<Semaphore>,
    running: Arc<Mutex<Option<Call>>>,
}

impl<S: Send + Sync + ?Sized + 'static> Lane<S> {
    /// Starts the thread.
    ///
    /// # Errors
    /// [`StoreError::Thread`].
    pub(crate) fn start(name: &str, store: Arc<S>) -> Result<Self, StoreError> {
        let (jobs, queue) = mpsc::channel::<Job<S>>();
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

    /// Does `work`, which writes nothing, and gives its answer within the deadline.
    ///
    /// # Errors
    /// Those of `work`, [`StoreError::NoAnswer`] after the deadline, and [`StoreError::Busy`] when
    /// an earlier call hangs.
    pub(crate) async fn read<T: Send + 'static>(
        &self,
        call: Call,
        work: impl FnOnce(&S) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        match self.begin(&call, work).await {
            Ok(answer) => call.answered(answer).await,
            Err(hung) => Err(call.not_begun(hung)),
        }
    }

    /// As [`Lane::read`], for what writes.
    ///
    /// # Errors
    /// The same, and [`StoreError::Unclear`] when it had begun and did not answer.
    pub(crate) async fn write<T: Send + 'static>(
        &self,
        call: Call,
        work: impl FnOnce(&S) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (op, path) = (call.op, call.path.clone());
        match self.begin(&call, work).await {
            Ok(answer) => call.answered(answer).await.map_err(|error| match error {
                silent @ StoreError::NoAnswer { .. } => StoreError::Unclear {
                    op,
                    path,
                    source: Box::new(silent),
                },
                other => other,
            }),
            Err(hung) => Err(call.not_begun(hung)),
        }
    }

    /// Waits for the turn and hands `work` to the thread. `Err`: not begun, because of the call
    /// that is in the way, or because the deadline passed in a queue of calls that do answer.
    pub(super) async fn begin<T: Send + 'static>(
        &self,
        call: &Call,
        work: impl FnOnce(&S) -> Result<T, StoreError> + Send + 'static,
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
        let job: Job<S> = Box::new(move |store| {
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
        running.as_ref().map(Call::stuck)
    }

    /// The call that is past its deadline now.
    pub(crate) fn stuck(&self) -> Option<Stuck> {
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        let late = running.as_ref().filter(|call| call.left().is_zero());
        late.map(Call::stuck)
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
