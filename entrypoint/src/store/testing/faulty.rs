//! A store with faults: it passes calls on to a real one, except where a test has said otherwise.

use std::collections::VecDeque;
use std::io;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use crate::store::{
    BlobReader, BlobStore, BlobWriter, Created, Key, Leftover, Listed, Op, Prefix, Store,
    StoreError, Stored,
};

/// How long a test waits for a gate before it fails with the state it saw.
const PATIENCE: Duration = Duration::from_secs(20);

/// What goes wrong with one call.
#[derive(Debug, Clone)]
pub(crate) enum Fault {
    /// Nothing: the fault that follows is for a later call.
    Pass,
    /// It fails and nothing happened.
    ErrorBefore,
    /// It happens, and the answer is an error.
    ErrorAfter,
    /// It happens later than asked.
    Delay(Duration),
    /// It hangs until the gate opens, then happens and answers.
    Hang(Gate),
    /// It answers with an error at once, and happens when the gate opens (writes only).
    LandsLate(Gate),
    /// There is no space left.
    Full,
    /// It panics.
    Panic,
}

/// Something that calls wait at.
#[derive(Debug, Clone, Default)]
pub(crate) struct Gate(Arc<(Mutex<GateState>, Condvar)>);

#[derive(Debug, Default)]
struct GateState {
    open: bool,
    arrived: usize,
    passed: usize,
}

impl Gate {
    /// Lets everything through, now and later.
    pub(crate) fn open(&self) {
        self.0.0.lock().unwrap().open = true;
        self.0.1.notify_all();
    }

    /// Returns when a call waits at the gate (or has passed it).
    pub(crate) fn wait_for_arrival(&self) {
        self.wait_until("a call arrives", |state| state.arrived > 0);
    }

    /// Returns when a late write has happened.
    pub(crate) fn wait_for_passage(&self) {
        self.wait_until("a call is through", |state| state.passed > 0);
    }

    fn wait_until(&self, what: &str, done: impl Fn(&GateState) -> bool) {
        let state = self.0.0.lock().unwrap();
        let (state, late) = self
            .0
            .1
            .wait_timeout_while(state, PATIENCE, |s| !done(s))
            .unwrap();
        assert!(
            !late.timed_out(),
            "waited in vain until {what}; last: {state:?}"
        );
    }

    fn pass(&self) {
        let mut state = self.0.0.lock().unwrap();
        state.arrived += 1;
        self.0.1.notify_all();
        drop(self.0.1.wait_while(state, |state| !state.open).unwrap());
    }

    fn passed(&self) {
        self.0.0.lock().unwrap().passed += 1;
        self.0.1.notify_all();
    }
}

/// The decorator. Faults are used up in the order given, each by the next call of its kind. Of blobs
/// each piece that is written is a call, and the opening of one that is read; the pieces that are read
/// of shards have faults of their own.
#[derive(Clone)]
pub(crate) struct FaultyStore {
    real: Arc<dyn BlobStore>,
    state: Arc<State>,
}

struct State {
    faults: Mutex<VecDeque<(Op, Fault)>>,
    pieces: Mutex<VecDeque<Fault>>,
    read_only: AtomicBool,
    inside: AtomicUsize,
    most_inside: AtomicUsize,
}

impl FaultyStore {
    pub(crate) fn new(real: Arc<dyn BlobStore>) -> Arc<Self> {
        let state = State {
            faults: Mutex::default(),
            pieces: Mutex::default(),
            read_only: AtomicBool::new(false),
            inside: AtomicUsize::new(0),
            most_inside: AtomicUsize::new(0),
        };
        Arc::new(Self {
            real,
            state: Arc::new(state),
        })
    }

    /// The next call of kind `op` that has no fault yet suffers `fault`.
    pub(crate) fn inject(&self, op: Op, fault: Fault) {
        self.state.faults.lock().unwrap().push_back((op, fault));
    }

    /// The next piece that is read of a shard and has no fault yet suffers `fault`.
    pub(crate) fn inject_piece(&self, fault: Fault) {
        self.state.pieces.lock().unwrap().push_back(fault);
    }

    /// Refuses all writes, or no longer.
    pub(crate) fn set_read_only(&self, yes: bool) {
        self.state.read_only.store(yes, Ordering::SeqCst);
    }

    /// The largest number of calls that were under way at one moment.
    pub(crate) fn most_inside(&self) -> usize {
        self.state.most_inside.load(Ordering::SeqCst)
    }

    fn fault_for(&self, op: Op) -> Option<Fault> {
        let mut faults = self.state.faults.lock().unwrap();
        let at = faults.iter().position(|(of, _)| *of == op)?;
        faults.remove(at).map(|(_, fault)| fault)
    }

    fn run<T>(
        &self,
        op: Op,
        path: &str,
        call: impl FnOnce(&dyn BlobStore) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.run_with(|| self.fault_for(op), op, path, call)
    }

    fn run_with<T>(
        &self,
        fault: impl FnOnce() -> Option<Fault>,
        op: Op,
        path: &str,
        call: impl FnOnce(&dyn BlobStore) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let now = self.state.inside.fetch_add(1, Ordering::SeqCst) + 1;
        self.state.most_inside.fetch_max(now, Ordering::SeqCst);
        let _leave = Leave(&self.state.inside);
        let writes = matches!(
            op,
            Op::Create | Op::Put | Op::Remove | Op::Write | Op::Publish
        );
        if writes && self.state.read_only.load(Ordering::SeqCst) {
            return Err(StoreError::ReadOnly {
                op,
                path: path.to_owned(),
            });
        }
        let broken = || StoreError::Io {
            op,
            path: path.to_owned(),
            source: io::Error::other("injected"),
        };
        let unclear = || broken().after_sending(op);
        match fault() {
            None | Some(Fault::Pass) => call(self.real.as_ref()),
            Some(Fault::Full) => Err(StoreError::Full {
                op,
                path: path.to_owned(),
            }),
            Some(Fault::ErrorBefore) => Err(broken()),
            Some(Fault::ErrorAfter) => {
                let _ = call(self.real.as_ref());
                Err(if writes { unclear() } else { broken() })
            }
            Some(Fault::Delay(by)) => {
                std::thread::sleep(by);
                call(self.real.as_ref())
            }
            Some(Fault::Hang(gate)) => {
                gate.pass();
                let result = call(self.real.as_ref());
                gate.passed();
                result
            }
            Some(Fault::LandsLate(gate)) => {
                let real = Arc::clone(&self.real);
                std::thread::spawn(move || {
                    gate.pass();
                    let _ = call(real.as_ref());
                    gate.passed();
                });
                Err(unclear())
            }
            Some(Fault::Panic) => panic!("injected"),
        }
    }
}

struct Leave<'a>(&'a AtomicUsize);

impl Drop for Leave<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Store for FaultyStore {
    fn describe(&self) -> String {
        format!("faulty {}", self.real.describe())
    }

    fn read(&self, key: &Key) -> Result<Option<Vec<u8>>, StoreError> {
        let owned = key.clone();
        self.run(Op::Read, key.as_str(), move |real| real.read(&owned))
    }

    fn create(&self, key: &Key, value: &[u8]) -> Result<Created, StoreError> {
        let (owned, value) = (key.clone(), value.to_vec());
        self.run(Op::Create, key.as_str(), move |real| {
            real.create(&owned, &value)
        })
    }

    fn put(&self, key: &Key, value: &[u8]) -> Result<(), StoreError> {
        let (owned, value) = (key.clone(), value.to_vec());
        self.run(Op::Put, key.as_str(), move |real| real.put(&owned, &value))
    }

    fn list(&self, prefix: &Prefix) -> Result<Vec<Key>, StoreError> {
        let owned = prefix.clone();
        self.run(Op::List, prefix.as_str(), move |real| real.list(&owned))
    }

    fn folders(&self, prefix: &Prefix) -> Result<Vec<String>, StoreError> {
        let owned = prefix.clone();
        self.run(Op::List, prefix.as_str(), move |real| real.folders(&owned))
    }

    fn remove(&self, key: &Key) -> Result<bool, StoreError> {
        let owned = key.clone();
        self.run(Op::Remove, key.as_str(), move |real| real.remove(&owned))
    }
}

impl BlobStore for FaultyStore {
    fn begin(&self, key: &Key) -> Result<Box<dyn BlobWriter>, StoreError> {
        let owned = key.clone();
        let real = self.run(Op::Write, key.as_str(), move |real| real.begin(&owned))?;
        Ok(Box::new(FaultyWriter {
            real: Some(real),
            key: key.clone(),
            store: self.clone(),
        }))
    }

    fn blob(&self, key: &Key) -> Result<Option<Box<dyn BlobReader>>, StoreError> {
        let owned = key.clone();
        let real = self.run(Op::Read, key.as_str(), move |real| real.blob(&owned))?;
        Ok(real.map(|real| {
            Box::new(FaultyReader {
                size: real.size(),
                real: Some(real),
                key: key.clone(),
                store: self.clone(),
            }) as Box<dyn BlobReader>
        }))
    }

    fn blobs(
        &self,
        prefix: &Prefix,
        each: &mut dyn FnMut(Listed) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        let owned = prefix.clone();
        let found = self.run(Op::List, prefix.as_str(), move |real| {
            let mut found = Vec::new();
            let collect = &mut |listed| {
                found.push(listed);
                ControlFlow::Continue(())
            };
            real.blobs(&owned, collect)?;
            Ok(found)
        })?;
        let _ = found.into_iter().try_for_each(each);
        Ok(())
    }

    fn settle(&self, key: &Key) -> Result<(), StoreError> {
        let owned = key.clone();
        self.run(Op::Publish, key.as_str(), move |real| real.settle(&owned))
    }

    fn prune(&self, prefix: &Prefix) {
        self.real.prune(prefix);
    }

    fn remove_blob(&self, key: &Key) -> Result<bool, StoreError> {
        let owned = key.clone();
        self.run(Op::Remove, key.as_str(), move |real| {
            real.remove_blob(&owned)
        })
    }

    fn leftovers(&self, prefix: &Prefix) -> Result<Vec<Leftover>, StoreError> {
        let owned = prefix.clone();
        self.run(Op::List, prefix.as_str(), move |real| {
            real.leftovers(&owned)
        })
    }

    fn remove_leftover(&self, leftover: &Leftover, older: Duration) -> Result<bool, StoreError> {
        let owned = leftover.clone();
        self.run(Op::Remove, leftover.key.as_str(), move |real| {
            real.remove_leftover(&owned, older)
        })
    }
}

struct FaultyReader {
    size: u64,
    /// Gone when a fault has taken it.
    real: Option<Box<dyn BlobReader>>,
    key: Key,
    store: FaultyStore,
}

impl BlobReader for FaultyReader {
    fn size(&self) -> u64 {
        self.size
    }

    fn read(&mut self, buffer: &mut [u8]) -> Result<usize, StoreError> {
        let mut real = self.real.take().expect("read from after an error");
        let mut bytes = vec![0; buffer.len()];
        let is_shard = self.key.as_str().ends_with(".shard");
        let fault = || {
            let mut faults = self.store.state.pieces.lock().unwrap();
            is_shard.then(|| faults.pop_front()).flatten()
        };
        let read = self
            .store
            .run_with(fault, Op::Read, self.key.as_str(), move |_| {
                let length = real.read(&mut bytes)?;
                bytes.truncate(length);
                Ok((real, bytes))
            });
        let (real, bytes) = read?;
        buffer[..bytes.len()].copy_from_slice(&bytes);
        self.real = Some(real);
        Ok(bytes.len())
    }
}

struct FaultyWriter {
    /// Gone when a fault has taken it.
    real: Option<Box<dyn BlobWriter>>,
    key: Key,
    store: FaultyStore,
}

impl FaultyWriter {
    fn take(&mut self) -> Box<dyn BlobWriter> {
        self.real.take().expect("written to after an error")
    }
}

impl BlobWriter for FaultyWriter {
    fn write(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        let (mut real, bytes) = (self.take(), bytes.to_vec());
        let written = self.store.run(Op::Write, self.key.as_str(), move |_| {
            real.write(&bytes)?;
            Ok(real)
        });
        self.real = Some(written?);
        Ok(())
    }

    fn finish(mut self: Box<Self>) -> Result<Stored, StoreError> {
        let real = self.take();
        self.store
            .run(Op::Publish, self.key.as_str(), move |_| real.finish())
    }
}
