//! The handle through which the scheduler registers tasks and scenarios change what DNS says.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hickory_server::proto::rr::Name;
use tokio::time::Instant;

use super::RegistryError;
use super::behaviour::{Behaviour, Counts};
use super::zone::{Question, Reply, Zone};

/// The registrations of one service. Clones share one state; every call takes effect at once (what
/// clients see of it is the [`Behaviour`]'s business).
#[derive(Clone)]
pub struct Registry {
    zone: Arc<Mutex<Zone>>,
    service: Name,
    port: u16,
    begun: Instant,
}

impl Registry {
    /// A registry of a service with this absolute DNS name. `port` is written into SRV records;
    /// `seed` decides the random choice among more than 8 tasks.
    ///
    /// # Errors
    /// A name that is no DNS name.
    pub fn new(service: &str, port: u16, seed: u64) -> Result<Self, RegistryError> {
        let refuse = |why: String| RegistryError::Service {
            name: service.to_owned(),
            why,
        };
        let mut name = Name::from_ascii(service).map_err(|error| refuse(error.to_string()))?;
        name.set_fqdn(true);
        if name.is_root() {
            return Err(refuse("it is empty".into()));
        }
        let name = name.to_lowercase();
        Ok(Self {
            zone: Arc::new(Mutex::new(Zone::new(name.to_string(), seed))),
            service: name,
            port,
            begun: Instant::now(),
        })
    }

    /// Registers a task. A task that is registered already moves to the new address.
    ///
    /// # Errors
    /// A task id that is no DNS label.
    pub fn register(&self, task: &str, address: IpAddr) -> Result<(), RegistryError> {
        let label = (1..=63).contains(&task.len())
            && task.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        if !label {
            return Err(RegistryError::Task {
                task: task.to_owned(),
            });
        }
        self.zone().register(task, address, self.now());
        Ok(())
    }

    /// Takes a task out; false when it was not registered.
    pub fn deregister(&self, task: &str) -> bool {
        self.zone().deregister(task, self.now())
    }

    /// What is registered now, by task id, whatever clients see of it.
    pub fn registered(&self) -> BTreeMap<String, IpAddr> {
        self.zone().registered()
    }

    /// Changes the behaviour of all views, and what views opened later begin with. The closure runs
    /// once per view, and must not call this registry.
    pub fn change(&self, mut change: impl FnMut(&mut Behaviour)) {
        self.zone().change(self.now(), &mut change);
    }

    /// Changes the behaviour of one view, which needs no server yet.
    pub fn change_view(&self, view: &str, mut change: impl FnMut(&mut Behaviour)) {
        self.zone().change_view(view, self.now(), &mut change);
    }

    /// The behaviour of a view.
    pub fn behaviour(&self, view: &str) -> Behaviour {
        self.zone().behaviour(view).clone()
    }

    /// Forgets all cached answers.
    pub fn clear_caches(&self) {
        self.zone().clear_caches();
    }

    /// Questions and answers of all views together.
    pub fn counts(&self) -> Counts {
        self.zone().counts(None)
    }

    /// Questions and answers of one view.
    pub fn view_counts(&self, view: &str) -> Counts {
        self.zone().counts(Some(view))
    }

    pub(super) fn answer(&self, view: &str, question: Question) -> (Reply, Behaviour) {
        let mut zone = self.zone();
        let reply = zone.answer(view, question, self.now());
        let behaviour = zone.behaviour(view).clone();
        (reply, behaviour)
    }

    pub(super) fn service(&self) -> &Name {
        &self.service
    }

    pub(super) fn port(&self) -> u16 {
        self.port
    }

    fn now(&self) -> Duration {
        self.begun.elapsed()
    }

    fn zone(&self) -> MutexGuard<'_, Zone> {
        self.zone.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
