//! Keeping protection against an endpoint that follows a script, on a clock that runs when nobody
//! has anything to do.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use planner::protection::{Freedom, Holding};
use tokio::time::sleep;

use super::*;

const PROTECT: Wish = Wish::Protect(Holding::Peer);
const FREE: Wish = Wish::Free(Freedom::Released);
/// Long enough for any pause after a refusal.
const WHILE: Duration = LONGEST_PAUSE;

type Answer = Result<(), ProtectionError>;

/// Answers from a script, then with the last one for ever; keeps what was asked.
#[derive(Clone, Default)]
struct Script {
    answers: Arc<Mutex<VecDeque<Answer>>>,
    asked: Arc<Mutex<Vec<bool>>>,
}

impl Script {
    fn then(&self, answer: Answer) {
        *self.answers.lock().unwrap() = [answer].into();
    }

    fn ask(&self, on: bool) -> Option<Answer> {
        self.asked.lock().unwrap().push(on);
        let mut answers = self.answers.lock().unwrap();
        match answers.len() {
            0 | 1 => answers.front().cloned(),
            _ => answers.pop_front(),
        }
    }

    fn asked(&self) -> Vec<bool> {
        self.asked.lock().unwrap().clone()
    }
}

impl Asks for Script {
    async fn protect(&self, _minutes: u32) -> Answer {
        self.ask(true).unwrap_or(Ok(()))
    }

    async fn release(&self) -> Answer {
        self.ask(false).unwrap_or(Ok(()))
    }
}

fn keep(answers: impl IntoIterator<Item = Answer>) -> (Keeper, Script) {
    let script = Script::default();
    script.answers.lock().unwrap().extend(answers);
    (Keeper::start(script.clone(), 10), script)
}

fn no(code: &str) -> Answer {
    Err(ProtectionError::Refused {
        code: code.to_owned(),
        detail: String::new(),
    })
}

fn silence() -> Answer {
    Err(ProtectionError::Unreachable("a time-out".to_owned()))
}

fn minutes(count: u64) -> Duration {
    Duration::from_secs(60 * count)
}

#[tokio::test(start_paused = true)]
async fn nothing_is_asked_before_there_is_something_to_protect() {
    let (keeper, script) = keep([]);
    sleep(minutes(60)).await;
    keeper.wish(Wish::Free(Freedom::Empty));
    sleep(minutes(60)).await;
    assert!(script.asked().is_empty());
    assert_eq!(keeper.protection(), Protection::Off);
}

#[tokio::test(start_paused = true)]
async fn it_is_renewed_at_a_third_of_its_time_and_given_back_once() {
    let (keeper, script) = keep([]);
    keeper.wish(PROTECT);
    sleep(minutes(61)).await;
    assert_eq!(keeper.protection(), Protection::Held);
    assert_eq!(script.asked(), [true; 19]);
    keeper.wish(FREE);
    sleep(minutes(60)).await;
    assert_eq!(script.asked()[19..], [false]);
    assert_eq!(keeper.protection(), Protection::Off);
}

#[tokio::test(start_paused = true)]
async fn a_refusal_is_tried_again_and_an_alarm_when_it_lasts() {
    let (keeper, script) = keep([no("AccessDeniedException")]);
    keeper.wish(PROTECT);
    sleep(Duration::from_secs(1)).await;
    assert_eq!(
        (keeper.protection(), keeper.alarm()),
        (Protection::Refused, None)
    );
    sleep(WHILE).await;
    let alarm = keeper.alarm().unwrap();
    assert!(
        alarm.contains("AccessDeniedException") && alarm.contains("UpdateTaskProtection"),
        "{alarm}"
    );
    script.then(Ok(()));
    sleep(WHILE).await;
    assert_eq!(
        (keeper.protection(), keeper.alarm()),
        (Protection::Held, None)
    );
}

#[tokio::test(start_paused = true)]
async fn what_was_confirmed_holds_until_its_end_by_our_clock() {
    let (keeper, script) = keep([Ok(()), silence()]);
    keeper.wish(PROTECT);
    sleep(minutes(10) - MARGIN - Duration::from_secs(1)).await;
    assert!(script.asked().len() > 5, "it was asked for again");
    assert_eq!(
        (keeper.protection(), keeper.alarm()),
        (Protection::Held, None)
    );
    sleep(Duration::from_secs(2)).await;
    assert_eq!(keeper.protection(), Protection::Refused);
    assert!(keeper.alarm().is_some());
}

#[tokio::test(start_paused = true)]
async fn blocked_three_times_in_a_row_is_blocked() {
    let twice = [
        no("DEPLOYMENT_BLOCKED"),
        no("DEPLOYMENT_BLOCKED"),
        silence(),
        no("DEPLOYMENT_BLOCKED"),
    ];
    let (keeper, _) = keep(twice);
    keeper.wish(PROTECT);
    // Two, a silence, and from then on every time.
    sleep(Duration::from_secs(2 + 4 + 1)).await;
    assert_eq!(keeper.protection(), Protection::Refused);
    sleep(WHILE * 4).await;
    assert_eq!(keeper.protection(), Protection::Blocked);
    assert_eq!(keeper.alarm(), None, "a deployment is no fault");
}

#[tokio::test(start_paused = true)]
async fn it_is_given_back_also_when_the_answer_was_lost() {
    let (keeper, script) = keep([silence()]);
    keeper.wish(PROTECT);
    sleep(Duration::from_secs(1)).await;
    script.then(Ok(()));
    keeper.wish(FREE);
    sleep(WHILE).await;
    assert_eq!(script.asked(), [true, false]);
    // What was refused was never given.
    let (keeper, script) = keep([no("TASK_NOT_VALID")]);
    keeper.wish(PROTECT);
    sleep(Duration::from_secs(1)).await;
    keeper.wish(FREE);
    sleep(minutes(60)).await;
    assert_eq!(script.asked(), [true]);
    assert_eq!(keeper.protection(), Protection::Off);
}

#[tokio::test(start_paused = true)]
async fn giving_back_in_vain_ends_when_protection_would_have() {
    let (keeper, script) = keep([Ok(()), no("ThrottlingException")]);
    keeper.wish(PROTECT);
    sleep(Duration::from_secs(1)).await;
    keeper.wish(FREE);
    sleep(minutes(5)).await;
    assert_eq!(
        keeper.protection(),
        Protection::Held,
        "ECS may still hold it"
    );
    sleep(minutes(6)).await;
    let asked = script.asked().len();
    sleep(minutes(60)).await;
    assert_eq!(script.asked().len(), asked);
    assert_eq!(keeper.protection(), Protection::Off);
}
