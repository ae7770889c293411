//! What the S3 client's errors mean for the store.

use std::error::Error as _;
use std::io;

use object_store::Error;

use crate::store::{Op, StoreError};

/// Where ECS serves the credentials of a task role (ECS Developer Guide, "Task IAM role").
const CREDENTIALS_HOST: &str = "//169.254.170.2/";
/// Longest reason that is passed on: what a server says is not ours to bound.
const LONGEST: usize = 400;
/// What S3 answers from another region (S3 API reference, "Error responses"), and the client's word for
/// an answer to HEAD, which has no code.
const ELSEWHERE: &[&str] = &[
    "<Code>AuthorizationHeaderMalformed</Code>",
    "<Code>PermanentRedirect</Code>",
    "<Code>IllegalLocationConstraintException</Code>",
    "incorrectly configured region",
];

/// Whether S3 says that the object does not exist, and not that the bucket does not.
pub(super) fn is_absent(error: &Error) -> bool {
    // The same status, told apart by the code in the answer (S3 API reference, "Error responses").
    // HEAD has none; whoever needs to know asks with GET.
    matches!(error, Error::NotFound { .. }) && !is_bucketless(error)
}

fn is_bucketless(error: &Error) -> bool {
    // A list reports it as an error of no kind.
    matches!(error, Error::NotFound { .. } | Error::Generic { .. })
        && chain(error).contains("<Code>NoSuchBucket</Code>")
}

/// Names an error of doing `op` at `path`.
pub(super) fn translate(op: Op, path: String, error: Error) -> StoreError {
    let text = chain(&error);
    let reason = Reason::of(&text, &error);
    match error {
        error if is_bucketless(&error) => StoreError::NoBucket { path },
        _ if ELSEWHERE.iter().any(|word| text.contains(word)) => StoreError::OtherRegion {
            path,
            source: Box::new(reason),
        },
        _ if text.contains(CREDENTIALS_HOST) => StoreError::NoCredentials {
            path,
            source: Box::new(reason),
        },
        Error::PermissionDenied { .. } | Error::Unauthenticated { .. } => StoreError::Permission {
            op,
            path,
            source: io::Error::other(reason),
        },
        _ => StoreError::Remote {
            op,
            path,
            source: Box::new(reason),
        },
    }
}

/// Why, in one line: the server's code and message where it gave them, else the last cause. The client's
/// own text repeats each cause in the one above it, and holds pages of XML.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Reason(String);

impl Reason {
    fn of(text: &str, error: &Error) -> Self {
        let said = match (tag(text, "Code"), tag(text, "Message")) {
            (Some(code), Some(message)) => format!("S3 says {code}: {message}"),
            (Some(code), None) => format!("S3 says {code}"),
            (None, _) => last(error),
        };
        let printable = |c: char| if c.is_control() { ' ' } else { c };
        Self(said.chars().map(printable).take(LONGEST).collect())
    }
}

/// What stands between `<name>` and `</name>` the first time.
fn tag<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(&format!("<{name}>"))?;
    Some(rest.split_once(&format!("</{name}>"))?.0)
}

/// The innermost cause.
fn last(error: &Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text = error.to_string();
        source = error.source();
    }
    text
}

/// All of an error's text, its sources included.
fn chain(error: &Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(&error.to_string());
        source = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log;

    fn named(text: &str) -> StoreError {
        let source = Box::new(io::Error::other(text.to_owned()));
        let error = Error::Generic {
            store: "S3",
            source,
        };
        translate(Op::Read, "s3://bucket/a".to_owned(), error)
    }

    #[test]
    fn an_answer_is_one_line_of_what_the_server_said() {
        let answer = "400: <?xml?>\n<Error>\n<Code>ExpiredToken</Code>\n<Message>The token has\
                      \nexpired.</Message><X>y</X></Error>";
        let line = log::chain(&named(answer));
        assert!(
            line.ends_with(": S3 says ExpiredToken: The token has expired."),
            "{line}"
        );
    }

    #[test]
    fn another_region_and_missing_credentials_have_names() {
        let answer = "<Code>AuthorizationHeaderMalformed</Code><Message>expecting eu</Message>";
        for text in [
            answer,
            "normally indicates an incorrectly configured region",
        ] {
            let error = named(text);
            assert!(matches!(error, StoreError::OtherRegion { .. }), "{error:?}");
        }
        let error = named("Error performing GET http://169.254.170.2/v2/x: timeout");
        assert!(
            matches!(error, StoreError::NoCredentials { .. }),
            "{error:?}"
        );
        let error = named("timeout");
        assert!(matches!(error, StoreError::Remote { .. }), "{error:?}");
    }
}
