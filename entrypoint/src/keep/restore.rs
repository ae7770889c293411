//! `entrypoint restore`: asks this task for a restore, says what it comes to, and waits for it when that is
//! wanted.

use std::time::Duration;

use planner::ids::Token;
use planner::keep::restore_wish::{What, Wish};
use planner::records::{Job, JobState, PieceState, Progress as At, Restore, Then};
use reqwest::Response;
use serde::de::DeserializeOwned;

use super::restore_request::{Ask, Progress, Taken};
use crate::config::Config;
use crate::query;

const PAUSE: Duration = Duration::from_secs(1);

/// Asks, and waits when that is wanted, for as long as it takes. Exit code 0, or 1 when it was not taken,
/// or when nothing came of it.
pub async fn restore(config: &Config, ask: &Ask, wait: bool) -> u8 {
    end(asked(config, ask, wait).await)
}

/// Calls the restore by hand off that is under way. Exit code 0, or 1 when there is none.
pub async fn call_off(config: &Config, owner: &str) -> u8 {
    let called_off = async {
        let answer = query::call_off_restore(config, owner).await;
        let job: Job = read(answer.map_err(|error| format!("{error:#}"))?).await?;
        match job.state {
            JobState::Undoing(why) => {
                println!("{why}: what was made of set {} is deleted", job.set)
            }
            JobState::Failed(why) => println!("{why}"),
            other => println!("it was quicker: {other:?}"),
        }
        Ok(())
    };
    end(called_off.await)
}

fn end(done: Result<(), String>) -> u8 {
    match done {
        Ok(()) => 0,
        Err(why) => {
            eprintln!("entrypoint: restore: {}", why.trim_end());
            1
        }
    }
}

async fn asked(config: &Config, ask: &Ask, wait: bool) -> Result<(), String> {
    let answer = query::ask_for_restore(config, ask).await;
    let taken: Taken = read(answer.map_err(|error| format!("{error:#}"))?).await?;
    match &taken {
        Taken::Job(job) => job_lines(job).iter().for_each(|line| println!("{line}")),
        Taken::Wish(wish) => println!("{}", decided(wish)),
    }
    match (ask.dry_run, wait, taken) {
        (true, _, _) => println!("nothing was done: this was a dry run"),
        (false, true, Taken::Job(job)) => return waited(config, Some(&job.token)).await,
        (false, true, Taken::Wish(_)) => return waited(config, None).await,
        (false, false, _) => {}
    }
    Ok(())
}

async fn read<T: DeserializeOwned>(answer: Response) -> Result<T, String> {
    let good = answer.status().is_success();
    let text = answer.text().await.map_err(|error| error.to_string())?;
    match good {
        true => serde_json::from_str(&text).map_err(|error| format!("{text}: {error}")),
        false => Err(text),
    }
}

fn decided(wish: &Wish) -> String {
    let lost: Vec<_> = wish.lost.iter().map(ToString::to_string).collect();
    let lost = match lost.is_empty() {
        true => String::new(),
        false => format!("; this is LOST, or a part of it: {}", lost.join(", ")),
    };
    match wish.what {
        What::Use(set) => format!("everything is restored from set {set}{lost}"),
        What::AcceptLoss => {
            format!("what is missing is given up, and the cluster serves what it has{lost}")
        }
    }
}

/// What a job comes to, a line for each collection.
fn job_lines(job: &Job) -> Vec<String> {
    let mut lines = vec![format!("from set {}, by {}:", job.set, job.by)];
    for (name, piece) in &job.pieces {
        let from = &piece.from;
        let then = match &piece.then {
            Then::Nothing => String::new(),
            Then::Name => format!("; then the name {from} leads to it"),
            Then::Switch => format!("; then the aliases of {from} lead to it"),
            Then::Replace { .. } => {
                format!("; then the collection {from} is DELETED and its name leads to it")
            }
        };
        lines.push(format!("  {from} is restored as {name}{then}"));
    }
    lines
}

/// Follows the job with this token, or the restore of everything.
async fn waited(config: &Config, job: Option<&Token>) -> Result<(), String> {
    let mut said = String::new();
    loop {
        let now = match look(config).await {
            Ok(progress) => {
                let (line, over) = match job {
                    Some(token) => of_job(&progress, token),
                    None => of_everything(progress.everything.as_ref()),
                };
                if let Some(over) = over {
                    return over.map(|()| println!("{line}"));
                }
                let doing = query::fetch(config).await.map(|(_, status)| status.restore);
                match doing {
                    Ok(doing) if !doing.is_empty() => format!("{line}; {doing}"),
                    _ => line,
                }
            }
            // The task may be busy; the restore goes on without it.
            Err(why) => why,
        };
        if now != said {
            eprintln!("{now}");
            said = now;
        }
        tokio::time::sleep(PAUSE).await;
    }
}

async fn look(config: &Config) -> Result<Progress, String> {
    let answer = query::restores(config).await;
    read(answer.map_err(|error| format!("{error:#}"))?).await
}

type Over = Option<Result<(), String>>;

fn of_job(progress: &Progress, token: &Token) -> (String, Over) {
    let ours = progress.job.as_ref().filter(|job| job.token == *token);
    let Some(job) = ours else {
        let gone = "the record of this restore is gone from Qdrant's key map".to_owned();
        return (String::new(), Some(Err(gone)));
    };
    let done = job
        .pieces
        .values()
        .filter(|piece| matches!(piece.at, PieceState::Done { .. }))
        .count();
    let line = format!("{done} of {} collections are restored", job.pieces.len());
    match &job.state {
        JobState::Running | JobState::Naming => (line, None),
        JobState::Undoing(why) => (format!("it is undone: {why}"), None),
        JobState::Finished => (line, Some(Ok(()))),
        JobState::Failed(why) => (line, Some(Err(why.clone()))),
    }
}

fn of_everything(record: Option<&Restore>) -> (String, Over) {
    let Some(record) = record else {
        let gone = "the record of the restore is gone from Qdrant's key map".to_owned();
        return (String::new(), Some(Err(gone)));
    };
    let all = record.collections.len();
    let done = record
        .collections
        .values()
        .filter(|at| matches!(at, At::Done { .. }));
    let line = format!("{} of {all} collections are restored", done.count());
    (line, record.finished.then_some(Ok(())))
}
