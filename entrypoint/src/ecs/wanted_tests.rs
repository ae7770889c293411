//! How often ECS is asked, and for how long its answer counts.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use tokio::time::sleep;

use super::*;

const POLL: Duration = Duration::from_secs(15);

#[derive(Clone)]
struct Script {
    answer: Arc<Mutex<Result<WantedService, ApiError>>>,
    asked: Arc<AtomicUsize>,
}

impl Describes for Script {
    fn wanted(&self) -> Result<WantedService, ApiError> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        self.answer
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
            .clone()
    }
}

fn wants(tasks: u32) -> WantedService {
    WantedService {
        revision: "qdrant:1".to_owned(),
        tasks,
        full: false,
    }
}

fn start() -> (Wanted, Script) {
    let script = Script {
        answer: Arc::new(Mutex::new(Ok(wants(6)))),
        asked: Arc::default(),
    };
    (Wanted::start(script.clone(), POLL), script)
}

#[tokio::test(start_paused = true)]
async fn it_is_asked_often_by_who_leads_and_at_once_when_that_changes() {
    let (wanted, script) = start();
    sleep(POLL * 10).await;
    let asked = || script.asked.load(Ordering::SeqCst);
    assert_eq!(asked(), 3, "at 0, 4 and 8 pauses");
    assert_eq!(wanted.now(), Some(wants(6)));
    wanted.leads(true);
    sleep(POLL * 3 + POLL / 2).await;
    assert_eq!(asked(), 7, "at once, and three times");
}

#[tokio::test(start_paused = true)]
async fn an_old_answer_is_forgotten() {
    let (wanted, script) = start();
    wanted.leads(true);
    // Half a pause from every question on.
    sleep(POLL * 2 + POLL / 2).await;
    assert_eq!(wanted.now(), Some(wants(6)));
    *script.answer.lock().unwrap() = Err(ApiError::Refused("AccessDeniedException".to_owned()));
    sleep(POLL * 2).await;
    assert_eq!(wanted.now(), Some(wants(6)), "one or two may be missed");
    sleep(POLL * 2).await;
    assert_eq!(wanted.now(), None);
    *script.answer.lock().unwrap() = Ok(wants(0));
    sleep(POLL * 2).await;
    assert_eq!(wanted.now(), Some(wants(0)));
}
