//! An operator's request for no changes, in Qdrant's key map, so that every steward sees it.
//!
//! It names who asked and why, and ends by itself: a pause that is forgotten would cost copies. Its
//! end is a wall-clock time; a clock that is wrong by minutes moves it by minutes.

use std::time::Duration;

use jiff::Timestamp;
use planner::heal::view::Pause;
use planner::records::FORMAT;
use qdrant_api::Client;
use serde::{Deserialize, Serialize};

/// Where it is kept.
pub const PAUSE_KEY: &str = "entrypoint.pause";
/// Nobody needs a longer one without asking again.
pub const LONGEST: Duration = Duration::from_secs(7 * 24 * 3600);

/// The body of `POST /v1/pause`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// Who asks.
    pub owner: String,
    /// What for.
    pub reason: String,
    /// For how long, in seconds.
    pub seconds: u64,
}

/// A pause as it is on record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Record {
    format: u32,
    owner: String,
    reason: String,
    until: Timestamp,
}

/// Why a pause could not be set or ended.
#[derive(Debug, thiserror::Error)]
pub enum PauseError {
    /// What is asked for makes no sense.
    #[error("{0}")]
    Bad(&'static str),
    /// The key map was not written.
    #[error("write the key {PAUSE_KEY} into Qdrant's key map")]
    Qdrant(#[from] Box<qdrant_api::Error>),
    /// The record could not be written as JSON.
    #[error("write the pause as JSON")]
    Encode(#[from] serde_json::Error),
}

/// Sets a pause, or replaces the one that is set.
pub async fn set(client: &Client, request: Request) -> Result<Timestamp, PauseError> {
    if request.owner.trim().is_empty() || request.reason.trim().is_empty() {
        return Err(PauseError::Bad("a pause needs an owner and a reason"));
    }
    if request.seconds == 0 || request.seconds > LONGEST.as_secs() {
        return Err(PauseError::Bad("a pause lasts from a second to seven days"));
    }
    let until = Timestamp::now()
        .checked_add(Duration::from_secs(request.seconds))
        .map_err(|_| PauseError::Bad("a pause cannot end that late"))?;
    let record = Record {
        format: FORMAT,
        owner: request.owner,
        reason: request.reason,
        until,
    };
    let value = serde_json::to_value(record)?;
    client
        .put_metadata_key(PAUSE_KEY, &value, true)
        .await
        .map_err(Box::new)?;
    Ok(until)
}

/// Ends the pause, if there is one.
pub async fn end(client: &Client) -> Result<(), PauseError> {
    client
        .delete_metadata_key(PAUSE_KEY, true)
        .await
        .map_err(Box::new)?;
    Ok(())
}

/// The pause in force. One that cannot be read is in force: somebody has asked for something.
pub async fn read(client: &Client) -> Result<Option<Pause>, Box<qdrant_api::Error>> {
    let value = client.metadata_key(PAUSE_KEY).await?;
    Ok(value.and_then(|value| in_force(value, Timestamp::now())))
}

fn in_force(value: serde_json::Value, now: Timestamp) -> Option<Pause> {
    if value.is_null() {
        return None;
    }
    match serde_json::from_value::<Record>(value) {
        Ok(record) if record.until <= now => None,
        Ok(record) => Some(Pause {
            owner: record.owner,
            reason: format!("{} (until {})", record.reason, record.until),
        }),
        Err(error) => Some(Pause {
            owner: "unknown".to_owned(),
            reason: format!(
                "the key {PAUSE_KEY} cannot be read ({error}): end it with `entrypoint resume`"
            ),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn a_pause_holds_until_its_end() {
        let record = Record {
            format: FORMAT,
            owner: "on call".to_owned(),
            reason: "a restore".to_owned(),
            until: at(100),
        };
        let value = serde_json::to_value(record).unwrap();
        let pause = in_force(value.clone(), at(99)).unwrap();
        assert_eq!(pause.owner, "on call");
        assert!(pause.reason.starts_with("a restore (until 1970"));
        assert_eq!(in_force(value, at(100)), None);
    }

    #[test]
    fn what_cannot_be_read_holds_and_says_how_to_end_it() {
        for value in [json!("yes"), json!({"owner": "x"}), json!([])] {
            let pause = in_force(value, at(0)).unwrap();
            assert!(pause.reason.contains("entrypoint resume"), "{pause:?}");
        }
        assert_eq!(in_force(json!(null), at(0)), None);
    }
}
