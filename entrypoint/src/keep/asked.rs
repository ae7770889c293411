//! A request for a set by hand, in Qdrant's key map: any task takes it, and the keeper of whoever leads
//! finds it. There is one at a time.
//!
//! What speaks against a set is said to who asks, at once. The key map has no compare-and-set: of two who
//! ask at the same moment one finds the other's request in the place of its own, and is told so.

use axum::http::StatusCode;
use planner::heal::names::CollectionName;
use planner::ids::Token;
use planner::keep::by_hand::{HOLDS, Request, age};
use planner::keep::records::{Asked, Scope};
use planner::keep::time::Utc;
use planner::records::FORMAT;
use qdrant_api::Client;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::now;
use crate::config::{Config, Heal, Sets};
use crate::steward::{COMMIT_TIMEOUT, pause};

/// Where it is kept.
pub const TAKE_KEY: &str = "entrypoint.take";
/// What is longer is no name; it would stand in every record of the set.
const LONGEST_NAME: usize = 200;

/// The body of `POST /v1/sets`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wish {
    /// The one collection that is wanted; otherwise all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub collection: Option<CollectionName>,
    /// Who asks.
    pub owner: String,
}

/// A request as it is on record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// Format of this record.
    pub format: u32,
    /// Unlike that of any other request.
    pub token: Token,
    /// Who asks.
    pub by: String,
    /// For what.
    pub scope: Scope,
    /// Since when, by the clock of the task that took it.
    pub at: Utc,
}

/// What the key map says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OnRecord {
    /// Nobody asks for anything.
    Nothing,
    /// Somebody does.
    Request(Request),
    /// What is there is not believed; for people.
    Refused(String),
}

/// Why a request was not taken.
#[derive(Debug, thiserror::Error)]
pub enum NotTaken {
    /// What is asked for makes no sense.
    #[error("{0}")]
    Bad(&'static str),
    /// No set would be made.
    #[error("{0}")]
    Off(&'static str),
    /// An operator wants no changes.
    #[error("paused by {owner}: {reason}; `entrypoint resume` ends it")]
    Paused {
        /// Who.
        owner: String,
        /// What for.
        reason: String,
    },
    /// There is nothing to take.
    #[error("there is no collection, and of nothing no set is made")]
    Empty,
    /// The one that is wanted is not there.
    #[error("there is no collection {0}")]
    NoCollection(CollectionName),
    /// Somebody else has asked, and it is not done yet.
    #[error("{by} has asked for {} already, at {at}, and that set is not begun yet", what(.scope))]
    Pending {
        /// Who.
        by: String,
        /// For what.
        scope: Scope,
        /// When.
        at: Utc,
    },
    /// What stands in the key map is not ours to replace.
    #[error("{0}")]
    Refused(String),
    /// The wall clock is of no use.
    #[error("the wall clock says no time that a set could be named after")]
    Clock,
    /// The key map was not read or written.
    #[error("ask Qdrant about the key {TAKE_KEY}")]
    Qdrant(#[from] Box<qdrant_api::Error>),
    /// The record could not be written as JSON.
    #[error("write the request as JSON")]
    Encode(#[from] serde_json::Error),
}

impl NotTaken {
    /// As the control port says it.
    pub(crate) fn code(&self) -> StatusCode {
        match self {
            Self::Bad(_) => StatusCode::BAD_REQUEST,
            Self::NoCollection(_) => StatusCode::NOT_FOUND,
            Self::Off(_)
            | Self::Paused { .. }
            | Self::Empty
            | Self::Pending { .. }
            | Self::Refused(_) => StatusCode::CONFLICT,
            Self::Clock | Self::Qdrant(_) | Self::Encode(_) => StatusCode::SERVICE_UNAVAILABLE,
        }
    }
}

/// What a request is for, in words.
pub(super) fn what(scope: &Scope) -> String {
    match scope {
        Scope::All => "a set of all collections".to_owned(),
        Scope::One(name) => format!("a set of collection {name}"),
    }
}

/// Takes requests for the control port.
#[derive(Clone)]
pub struct Asking {
    qdrant: Client,
    off: Option<&'static str>,
}

impl Asking {
    /// One that asks our own Qdrant.
    pub fn new(config: &Config, qdrant: Client) -> Self {
        let off = match (config.sets, config.heal) {
            (Sets::Off, _) => Some("no sets are made: ENTRYPOINT_SETS is off"),
            (_, Heal::DryRun) => Some("no sets are made: nothing is changed with dry-run"),
            (Sets::Every(_), _) => None,
        };
        Self { qdrant, off }
    }

    /// Puts a request on record.
    ///
    /// # Errors
    /// Nothing would come of it, or another one stands there, or it is not known whether it was written.
    pub async fn take(&self, wish: Wish) -> Result<Record, NotTaken> {
        let by = wish.owner.trim();
        if by.is_empty() {
            return Err(NotTaken::Bad("a set by hand needs an owner"));
        }
        if by.len() > LONGEST_NAME {
            return Err(NotTaken::Bad("the owner of a set has 200 letters at most"));
        }
        if let Some(why) = self.off {
            return Err(NotTaken::Off(why));
        }
        let at = now().ok_or(NotTaken::Clock)?;
        if let Some(pause) = pause::read(&self.qdrant).await? {
            return Err(NotTaken::Paused {
                owner: pause.owner,
                reason: pause.reason,
            });
        }
        let there = self.qdrant.collections().await.map_err(Box::new)?;
        let scope = match wish.collection {
            None if there.is_empty() => return Err(NotTaken::Empty),
            None => Scope::All,
            Some(name) if there.contains(&name.0) => Scope::One(name),
            Some(name) => return Err(NotTaken::NoCollection(name)),
        };
        may_replace(read(&self.qdrant).await?, at)?;
        let record = Record {
            format: FORMAT,
            token: Token(uuid::Uuid::new_v4().simple().to_string()),
            by: by.to_owned(),
            scope,
            at,
        };
        let value = serde_json::to_value(&record)?;
        self.qdrant
            .with_timeout(COMMIT_TIMEOUT)
            .put_metadata_key(TAKE_KEY, &value, true)
            .await
            .map_err(Box::new)?;
        match read(&self.qdrant).await? {
            OnRecord::Request(other) if other.asked.token != record.token => Err(pending(other)),
            // The keeper may have answered it already.
            _ => Ok(record),
        }
    }

    /// The request that waits.
    ///
    /// # Errors
    /// It could not be read.
    pub async fn waiting(&self) -> Result<Option<Record>, NotTaken> {
        match read(&self.qdrant).await? {
            OnRecord::Nothing => Ok(None),
            OnRecord::Request(request) => Ok(Some(request.into())),
            OnRecord::Refused(why) => Err(NotTaken::Refused(why)),
        }
    }
}

fn may_replace(there: OnRecord, now: Utc) -> Result<(), NotTaken> {
    match there {
        OnRecord::Request(request) if age(request.at, now) < HOLDS => Err(pending(request)),
        OnRecord::Refused(why) => Err(NotTaken::Refused(why)),
        OnRecord::Nothing | OnRecord::Request(_) => Ok(()),
    }
}

fn pending(request: Request) -> NotTaken {
    NotTaken::Pending {
        by: request.asked.by,
        scope: request.scope,
        at: request.at,
    }
}

impl From<Request> for Record {
    fn from(request: Request) -> Self {
        Self {
            format: FORMAT,
            token: request.asked.token,
            by: request.asked.by,
            scope: request.scope,
            at: request.at,
        }
    }
}

/// What is on record, as our own Qdrant knows it.
pub(super) async fn read(client: &Client) -> Result<OnRecord, Box<qdrant_api::Error>> {
    let value = client.metadata_key(TAKE_KEY).await?;
    Ok(value.map_or(OnRecord::Nothing, believed))
}

/// Takes this request, and no other, out of the key map.
pub(super) async fn end(client: &Client, token: &Token) -> Result<(), Box<qdrant_api::Error>> {
    match read(client).await? {
        OnRecord::Request(there) if there.asked.token == *token => {}
        _ => return Ok(()),
    }
    let client = client.with_timeout(COMMIT_TIMEOUT);
    Ok(client.delete_metadata_key(TAKE_KEY, true).await?)
}

fn believed(value: Value) -> OnRecord {
    if value.is_null() {
        return OnRecord::Nothing;
    }
    let refused = |why: String| {
        OnRecord::Refused(format!(
            "the key {TAKE_KEY} in Qdrant's key map is not read: {why}; delete it, \
             or use a version of the image that reads it"
        ))
    };
    // First, so that a newer record is called newer and not broken.
    let format = value.get("format").and_then(Value::as_u64);
    if format.is_some_and(|format| format > u64::from(FORMAT)) {
        return refused(format!("it is newer than format {FORMAT}"));
    }
    match serde_json::from_value::<Record>(value) {
        Ok(record) if record.format == FORMAT => OnRecord::Request(Request {
            asked: Asked {
                token: record.token,
                by: record.by,
            },
            scope: record.scope,
            at: record.at,
        }),
        Ok(record) => refused(format!("there was never a format {}", record.format)),
        Err(error) => refused(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::json;

    use super::*;

    fn record() -> Value {
        json!({"format": 1, "token": "word", "by": "on call", "scope": {"one": "notes"},
            "at": "2026-02-28T09:20:07Z"})
    }

    fn request() -> Request {
        match believed(record()) {
            OnRecord::Request(request) => request,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_is_written_is_read() {
        let request = request();
        assert_eq!(request.asked.by, "on call");
        assert_eq!(request.scope, Scope::One("notes".into()));
        let again = serde_json::to_value(Record::from(request)).unwrap();
        assert_eq!(again, record());
        assert_eq!(believed(json!(null)), OnRecord::Nothing);
    }

    #[test]
    fn what_is_newer_or_not_ours_is_refused_and_stays() {
        let newer = json!({"format": 2, "who": "knows"});
        let mut more = record();
        more["urgent"] = json!(true);
        let mut zero = record();
        zero["format"] = json!(0);
        for (value, says) in [
            (newer, "newer"),
            (more, "urgent"),
            (zero, "never a format 0"),
            (json!("yes"), "not read"),
            (json!({}), "not read"),
        ] {
            let OnRecord::Refused(why) = believed(value.clone()) else {
                panic!("{value} is believed");
            };
            assert!(why.contains(says) && why.contains(TAKE_KEY), "{why}");
            let at = request().at;
            let refused = may_replace(believed(value), at).unwrap_err();
            assert_eq!(refused.code(), StatusCode::CONFLICT);
        }
    }

    #[test]
    fn one_at_a_time_for_a_quarter_of_an_hour() {
        let at = request().at;
        let there = || OnRecord::Request(request());
        let later = |seconds| at.plus(Duration::from_secs(seconds));
        for now in [at, later(899), at.minus(Duration::from_secs(899))] {
            let refused = may_replace(there(), now).unwrap_err();
            assert_eq!(refused.code(), StatusCode::CONFLICT);
            let said = refused.to_string();
            for part in ["on call", "collection notes", "2026-02-28T09:20:07Z"] {
                assert!(said.contains(part), "{said}");
            }
        }
        for now in [later(900), at.minus(Duration::from_secs(900))] {
            assert!(may_replace(there(), now).is_ok());
        }
        assert!(may_replace(OnRecord::Nothing, at).is_ok());
    }
}
