//! Reads the body of `GET /v1/hello`: what an entrypoint tells another about itself. Nothing in it
//! is believed yet.

use planner::records::{FORMAT, Hello};

/// Reads a body; on failure says in one line what is wrong with it. A state or format of a later
/// version is a failure: someone is alive there of whom nothing else is known.
pub(super) fn read(body: &[u8]) -> Result<Hello, String> {
    let value: serde_json::Value =
        serde_json::from_slice(body).map_err(|error| format!("its hello is not JSON: {error}"))?;
    match value.get("format").and_then(serde_json::Value::as_u64) {
        Some(format) if format == u64::from(FORMAT) => {}
        Some(format) => {
            return Err(format!(
                "its hello has format {format}, this program reads {FORMAT}"
            ));
        }
        None => return Err("its hello names no format".into()),
    }
    serde_json::from_value(value).map_err(|error| format!("its hello is incomplete: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use planner::records::State;
    use proptest::prelude::*;

    const MEMBER: &str = r#"{"format":1,"service":"vectors","store_id":"s-1","task":"t-1",
        "uri":"http://127.0.1.1:6335/","state":"member","aside":false,"peers":[7,8],
        "generation":{"number":1,"token":"abc"},"later":true}"#;

    #[test]
    fn a_member_is_read_and_written_again() {
        let hello = read(MEMBER.as_bytes()).unwrap();
        assert_eq!(hello.state, State::Member);
        assert_eq!(hello.generation.as_ref().unwrap().number, 1);
        let again = serde_json::to_vec(&hello).unwrap();
        assert_eq!(read(&again).unwrap(), hello);
    }

    #[test]
    fn nulls_are_read() {
        let body = MEMBER
            .replace(r#""s-1""#, "null")
            .replace(r#"{"number":1,"token":"abc"}"#, "null");
        let hello = read(body.as_bytes()).unwrap();
        assert_eq!((hello.store_id, hello.generation), (None, None));
    }

    #[test]
    fn other_formats_states_and_cut_bodies_say_what_is_wrong() {
        let newer = MEMBER.replace(r#""format":1"#, r#""format":2"#);
        assert!(read(newer.as_bytes()).unwrap_err().contains("format 2"));
        assert!(read(b"{}").unwrap_err().contains("no format"));
        assert!(read(b"<html>").unwrap_err().contains("not JSON"));
        let unknown = MEMBER.replace(r#""member""#, r#""hibernating""#);
        assert!(
            read(unknown.as_bytes())
                .unwrap_err()
                .contains("hibernating")
        );
        let error = read(br#"{"format":1,"service":"vectors"}"#).unwrap_err();
        assert!(error.contains("missing field"), "{error}");
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
