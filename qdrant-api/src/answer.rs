//! From the bytes of a body to a value or the reason why not. Sends nothing.

use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::error::ErrorKind;
use crate::lenient::shorten;

/// How many bytes of a body are looked at for a message.
const LOOKED_AT: usize = 4096;

/// What Qdrant wraps around each result. `result` has to be there even when it is `null`, so that
/// a stranger's empty object does not read as "nothing found".
#[derive(Deserialize)]
struct Envelope<T: DeserializeOwned> {
    #[serde(deserialize_with = "T::deserialize")]
    result: T,
}

/// What Qdrant wraps around each error.
#[derive(Deserialize)]
struct ErrorEnvelope {
    status: ErrorStatus,
}

#[derive(Deserialize)]
struct ErrorStatus {
    error: String,
}

/// The `result` of a success.
pub(crate) fn parse<T: DeserializeOwned>(code: u16, body: &[u8]) -> Result<T, ErrorKind> {
    serde_json::from_slice::<Envelope<T>>(body)
        .map(|envelope| envelope.result)
        .map_err(|source| ErrorKind::Malformed {
            code,
            start: start_of(body),
            source,
        })
}

/// What an answer that is not a success means.
pub(crate) fn refusal(code: u16, body: &[u8]) -> ErrorKind {
    let message = message(body);
    match code {
        401 => ErrorKind::Unauthorized { message },
        403 => ErrorKind::Forbidden { message },
        _ => ErrorKind::Status { code, message },
    }
}

/// The message of an error body: Qdrant's own (src/actix/helpers.rs), or the start of whatever it
/// is: refusals of the key are plain text (src/actix/auth.rs:169).
fn message(body: &[u8]) -> String {
    match serde_json::from_slice::<ErrorEnvelope>(body) {
        Ok(envelope) => shorten(&envelope.status.error),
        Err(_) if body.is_empty() => "(no message)".to_owned(),
        Err(_) => start_of(body),
    }
}

/// The start of a body as text.
fn start_of(body: &[u8]) -> String {
    let start = body.get(..LOOKED_AT).unwrap_or(body);
    shorten(&String::from_utf8_lossy(start))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_result_is_not_a_null_result() {
        let parse = |body: &str| parse::<Option<u64>>(200, body.as_bytes());
        assert_eq!(
            parse(r#"{"result":null,"status":"ok","time":0.1}"#).unwrap(),
            None
        );
        assert_eq!(
            parse(r#"{"result":7,"status":"ok","time":0.1}"#).unwrap(),
            Some(7)
        );
        for body in ["{}", r#"{"status":"ok"}"#, "", "null", "[]"] {
            let kind = parse(body).unwrap_err();
            assert!(
                matches!(kind, ErrorKind::Malformed { .. }),
                "{body}: {kind:?}"
            );
        }
    }

    #[test]
    fn messages_come_from_the_error_or_from_the_text() {
        assert_eq!(
            message(br#"{"status":{"error":"no such thing"},"time":0.0}"#),
            "no such thing"
        );
        assert_eq!(message(b"Invalid API key or JWT"), "Invalid API key or JWT");
        assert_eq!(message(b""), "(no message)");
        assert_eq!(message(&[0xff, b'a']), "\u{fffd}a");
    }

    #[test]
    fn codes_become_kinds() {
        assert!(matches!(refusal(401, b""), ErrorKind::Unauthorized { .. }));
        assert!(matches!(refusal(403, b""), ErrorKind::Forbidden { .. }));
        assert!(matches!(
            refusal(405, b""),
            ErrorKind::Status { code: 405, .. }
        ));
    }
}
