//! `cargo rehearse`: see [`rehearsal::cli`].
//!
//! One program, three roles, so that a fresh clone needs nothing but this binary: the rehearsal,
//! the guard of its children, and the stand-in Qdrant.

use std::ffi::OsString;
use std::process::ExitCode;

use clap::Parser;
use rehearsal::{cli, ecs::process, tools};

fn main() -> ExitCode {
    let args: Vec<OsString> = std::env::args_os().collect();
    let called = args
        .first()
        .map(std::path::Path::new)
        .and_then(|path| path.file_name());
    if called.is_some_and(|name| name == tools::STANDIN_NAME) {
        return tools::be_standin(args);
    }
    if let [_, command, rest @ ..] = args.as_slice()
        && command == process::GUARD
    {
        return report(process::become_guarded(rest).map(|()| ExitCode::FAILURE));
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build();
    match runtime {
        Ok(runtime) => {
            let result = runtime.block_on(cli::main(cli::Args::parse_from(args)));
            // Tasks that still wait for something must not hold up the exit.
            runtime.shutdown_background();
            report(result)
        }
        Err(error) => report(Err(error.into())),
    }
}

fn report(result: anyhow::Result<ExitCode>) -> ExitCode {
    result.unwrap_or_else(|error| {
        eprintln!("rehearse: {error:#}");
        ExitCode::from(2)
    })
}
