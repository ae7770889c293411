//! A stand-in for Qdrant's cluster behaviour: started with Qdrant's flags and `QDRANT__…`
//! variables, it speaks the part of its REST API that an entrypoint relies on, and runs a real
//! replicated log between its own kind over the p2p port (not Qdrant's gRPC: the two do not mix).
//! It must not be gentler than Qdrant: what Qdrant refuses, loses or takes long over, so does it.
//! One conformance suite (`tests/conformance.rs`) holds it and the real binary to the same facts.

mod aliases;
mod client;
mod collection;
mod config;
mod data;
mod disk;
mod error;
mod health;
mod indexes;
mod join;
mod keys;
mod model;
mod node;
mod outbox;
mod p2p;
mod raft;
mod reinit;
mod rest;
mod serve;
mod settings;

use std::collections::BTreeMap;
use std::process::ExitCode;

use settings::Command;

/// Version that is claimed.
pub const VERSION: &str = "1.19.0-standin";

/// Run the stand-in with these flags (without the program's name) and this environment until it
/// is told to stop. Exit codes are Qdrant's: 0 stopped, 1 settings, 2 flags, 101 could not join.
pub fn main(args: impl IntoIterator<Item = String>, env: &BTreeMap<String, String>) -> ExitCode {
    let settings = match settings::parse(args, env) {
        Ok(Command::Run(settings)) => *settings,
        Ok(Command::Version) => {
            say(&format!("qdrant {VERSION}"));
            return ExitCode::SUCCESS;
        }
        Err(refused) => {
            complain(&refused.to_string());
            return ExitCode::from(refused.code);
        }
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let ended = match runtime {
        Ok(runtime) => {
            let ended = runtime.block_on(serve::run(settings));
            runtime.shutdown_background();
            ended
        }
        Err(why) => Err(serve::Fatal {
            code: 1,
            message: why.to_string(),
        }),
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(fatal) => {
            complain(&fatal.message);
            ExitCode::from(fatal.code)
        }
    }
}

/// One log line in Qdrant's form, on stdout.
fn log(level: &str, message: &str) {
    say(&format!(
        "{}  {level} standin: {message}",
        jiff::Timestamp::now()
    ));
}

fn say(line: &str) {
    use std::io::Write;
    // Nobody may read our output any more; that is no reason to stop.
    let _closed = writeln!(std::io::stdout().lock(), "{line}");
}

fn complain(line: &str) {
    use std::io::Write;
    let _closed = writeln!(std::io::stderr().lock(), "{line}");
}
