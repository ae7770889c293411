//! The body of `GET /v1/hello`: what an entrypoint tells another about itself. Raw: nothing in it is
//! believed yet.

use serde::{Deserialize, Serialize};

/// The version of the body that this program writes and reads.
pub const HELLO_FORMAT: u64 = 1;

/// What a task says about itself. Unknown fields are ignored, so that a later version may add some.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RawHello {
    /// Version of the body, [`HELLO_FORMAT`].
    pub format: u64,
    /// Logical name of the service the task belongs to.
    pub service: String,
    /// Identity of the store it sees; none while it could not read one.
    #[serde(default)]
    pub store_id: Option<String>,
    /// Its task id.
    pub task: String,
    /// Its own address, as it knows it.
    pub address: String,
    /// The URI under which its Qdrant is, or would be, a peer.
    pub uri: String,
    /// What it is doing with its data.
    pub state: HelloState,
    /// The generation its data belongs to, or that it claims.
    #[serde(default)]
    pub generation: Option<RawGeneration>,
}

/// A generation as a task names it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RawGeneration {
    /// Its number, from 1.
    pub number: u64,
    /// Its token.
    pub token: String,
}

/// The state a task says it is in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub enum HelloState {
    /// No data and nothing begun.
    Empty,
    /// It holds a claim that is not formed yet.
    Claiming,
    /// Its Qdrant is a member of a formed generation.
    Member,
    /// It has data, and no running member.
    HoldsData,
    /// A word of a later version: someone alive, of whom nothing else is known.
    Other(String),
}

impl From<String> for HelloState {
    fn from(text: String) -> Self {
        match text.as_str() {
            "empty" => Self::Empty,
            "claiming" => Self::Claiming,
            "member" => Self::Member,
            "holds_data" => Self::HoldsData,
            _ => Self::Other(text),
        }
    }
}

impl From<HelloState> for String {
    fn from(state: HelloState) -> Self {
        match state {
            HelloState::Empty => "empty".into(),
            HelloState::Claiming => "claiming".into(),
            HelloState::Member => "member".into(),
            HelloState::HoldsData => "holds_data".into(),
            HelloState::Other(text) => text,
        }
    }
}

/// Reads a body; on failure says in one line what is wrong with it.
pub(super) fn read(body: &[u8]) -> Result<RawHello, String> {
    let value: serde_json::Value =
        serde_json::from_slice(body).map_err(|error| format!("its hello is not JSON: {error}"))?;
    match value.get("format").and_then(serde_json::Value::as_u64) {
        Some(HELLO_FORMAT) => {}
        Some(format) => {
            return Err(format!(
                "its hello has format {format}, this program reads {HELLO_FORMAT}"
            ));
        }
        None => return Err("its hello names no format".into()),
    }
    serde_json::from_value(value).map_err(|error| format!("its hello is incomplete: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MEMBER: &str = r#"{"format":1,"service":"vectors","store_id":"s-1","task":"t-1",
        "address":"127.0.1.1","uri":"http://127.0.1.1:6335/","state":"member",
        "generation":{"number":1,"token":"abc"},"later":true}"#;

    #[test]
    fn a_member_is_read_and_written_again() {
        let hello = read(MEMBER.as_bytes()).unwrap();
        assert_eq!(hello.state, HelloState::Member);
        assert_eq!(hello.generation.as_ref().unwrap().number, 1);
        let again = serde_json::to_vec(&hello).unwrap();
        assert_eq!(read(&again).unwrap(), hello);
    }

    #[test]
    fn nulls_and_unknown_states_are_read() {
        let body = MEMBER
            .replace(r#""s-1""#, "null")
            .replace(r#"{"number":1,"token":"abc"}"#, "null")
            .replace("member", "hibernating");
        let hello = read(body.as_bytes()).unwrap();
        assert_eq!(hello.state, HelloState::Other("hibernating".into()));
        assert_eq!((hello.store_id, hello.generation), (None, None));
    }

    #[test]
    fn other_formats_and_cut_bodies_say_what_is_wrong() {
        let newer = MEMBER.replace(r#""format":1"#, r#""format":2"#);
        assert!(read(newer.as_bytes()).unwrap_err().contains("format 2"));
        assert!(read(b"{}").unwrap_err().contains("no format"));
        assert!(read(b"<html>").unwrap_err().contains("not JSON"));
        let error = read(br#"{"format":1,"service":"vectors"}"#).unwrap_err();
        assert!(error.contains("task"), "{error}");
        for end in 0..MEMBER.len() {
            assert!(read(&MEMBER.as_bytes()[..end]).is_err(), "cut at {end}");
        }
    }

    proptest! {
        #[test]
        fn no_body_breaks_the_reader(body in proptest::collection::vec(any::<u8>(), 0..400)) {
            let _ = read(&body);
        }
    }
}
