//! The command line. Without a command it runs the task; with Qdrant's own flags it passes
//! everything through.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::{Parser, Subcommand};
use planner::heal::names::CollectionName;
use planner::keep::ids::SetId;

use crate::child::passthrough;
use crate::config::{Config, ProcessEnv, render_check, render_markdown};
use crate::steward::pause;
use crate::{keep, query, serve};

/// `sysexits.h`: the configuration is wrong.
pub const EX_CONFIG: u8 = 64;
/// `sysexits.h`: something that the system should provide is missing.
pub const EX_UNAVAILABLE: u8 = 69;

/// Identical, empty, short-lived tasks become one Qdrant cluster.
///
/// Everything is configured by environment variables: see `check-config`. Started with Qdrant's
/// own flags (--uri, --bootstrap, …) it supervises Qdrant and does nothing else.
#[derive(Debug, Parser)]
#[command(name = "entrypoint", version)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run this task (the default).
    Run,
    /// The container health check: exit 0 while the loop of PID 1 is alive.
    Health,
    /// Print what this task says of itself.
    Status {
        /// As JSON, not as a table.
        #[arg(long)]
        json: bool,
    },
    /// Print what the steward of this cluster would do next, and why everything else waits.
    Plan {
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Ask the steward for no changes, in the whole cluster.
    Pause {
        /// Who asks.
        #[arg(long)]
        owner: String,
        /// What for.
        #[arg(long)]
        reason: String,
        /// For how long: 30m, 2h; at most seven days.
        #[arg(long = "for", value_parser = humantime::parse_duration)]
        duration: std::time::Duration,
    },
    /// End a pause.
    Resume,
    /// What is in the store of snapshots.
    Snapshots {
        #[command(subcommand)]
        command: Snapshots,
    },
    /// Bring collections back out of a set, beside what is served; or decide while the cluster waits for
    /// the restore of everything.
    Restore(Restore),
    /// Check the configuration, print what is in effect, and exit.
    CheckConfig {
        /// Print the reference of all variables instead.
        #[arg(long)]
        markdown: bool,
    },
}

#[derive(Debug, Subcommand)]
enum Snapshots {
    /// Every set, and why it is kept or goes. Changes nothing.
    List,
    /// Read the files of the sets again: sizes, hashes, archives. Changes nothing.
    Check {
        /// A copy of the store instead of the store itself.
        directory: Option<PathBuf>,
        /// This set alone.
        #[arg(long)]
        set: Option<SetId>,
    },
    /// Ask for a set now, through any task of the cluster.
    Take {
        /// This collection alone; otherwise all.
        #[arg(long)]
        collection: Option<String>,
        /// Who asks; otherwise the name of the user.
        #[arg(long)]
        owner: Option<String>,
        /// Wait until there is one, at most 40 minutes.
        #[arg(long)]
        wait: bool,
    },
    /// What the next deletion would take, and why. Changes nothing.
    Prune {
        /// There is nothing else: the steward deletes by itself.
        #[arg(long)]
        dry_run: bool,
    },
    /// Keep a set until its pin is taken away.
    Pin {
        /// The set.
        set: SetId,
        /// Why.
        #[arg(long)]
        reason: String,
        /// Who; otherwise the name of the user.
        #[arg(long)]
        owner: Option<String>,
    },
    /// Take the pin of a set away.
    Unpin {
        /// The set.
        set: SetId,
    },
}

#[derive(Debug, clap::Args)]
struct Restore {
    /// Which set: its name, or `latest`, the newest that has what is wanted.
    #[arg(long, value_parser = set_or_latest, default_value = "latest")]
    set: SetOrLatest,
    /// Only this collection.
    #[arg(long)]
    collection: Option<String>,
    /// What it is to be called.
    #[arg(long = "as", requires = "collection")]
    new_name: Option<String>,
    /// In the end the aliases of the collection that is there lead to the restored one.
    #[arg(long, requires = "new_name", conflicts_with = "replace")]
    switch: bool,
    /// In the end the collections that are there are DELETED, and their names lead to the restored ones.
    #[arg(long)]
    replace: bool,
    /// Print what would be done, and do nothing.
    #[arg(long)]
    dry_run: bool,
    /// Wait until it is done.
    #[arg(long)]
    wait: bool,
    /// What is missing stays lost: while everything is restored the cluster then serves what it has, and else what
    /// earlier sets have and nobody saw end is on record as ended.
    #[arg(long, conflicts_with_all = ["collection", "replace"])]
    accept_loss: bool,
    /// End the restore by hand that is under way, and delete what was made of it.
    #[arg(long, conflicts_with_all = ["collection", "replace", "accept_loss", "dry_run", "wait"])]
    call_off: bool,
    /// Who asks; otherwise the name of the user.
    #[arg(long)]
    owner: Option<String>,
}

/// A set by its name, or the newest.
#[derive(Clone, Copy, Debug)]
enum SetOrLatest {
    Set(SetId),
    Latest,
}

fn set_or_latest(text: &str) -> Result<SetOrLatest, String> {
    if text == "latest" {
        return Ok(SetOrLatest::Latest);
    }
    let set = text.parse::<SetId>();
    set.map(SetOrLatest::Set).map_err(|error| error.to_string())
}

impl Restore {
    async fn run(self, config: &Config) -> u8 {
        let owner = self.owner.unwrap_or_else(user);
        if self.call_off {
            return keep::restore::call_off(config, &owner).await;
        }
        let ask = keep::restore_request::Ask {
            owner,
            set: match self.set {
                SetOrLatest::Set(set) => Some(set),
                SetOrLatest::Latest => None,
            },
            collection: self.collection.map(CollectionName),
            new_name: self.new_name.map(CollectionName),
            switch: self.switch,
            replace: self.replace,
            accept_loss: self.accept_loss,
            dry_run: self.dry_run,
        };
        keep::restore::restore(config, &ask, self.wait).await
    }
}

/// Who asks, when that is not said.
fn user() -> String {
    let names = ["USER", "LOGNAME"].map(std::env::var).into_iter().flatten();
    let mut names = names.filter(|name| !name.trim().is_empty());
    names.next().unwrap_or_else(|| "operator".to_owned())
}

/// Runs the program; `args` without its name. Returns the exit code.
pub fn main(args: Vec<OsString>) -> u8 {
    let runtime = match tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("entrypoint: cannot start: {error}");
            return EX_UNAVAILABLE;
        }
    };
    let code = if let Some(through) = passthrough::detect(&args, |name| std::env::var_os(name)) {
        crate::log::start_for_passthrough();
        let program = std::env::var_os("ENTRYPOINT_QDRANT_BIN")
            .map_or_else(|| PathBuf::from(serve::QDRANT_BIN), PathBuf::from);
        let code = runtime.block_on(passthrough::run(through, program, |name| {
            std::env::var_os(name)
        }));
        u8::try_from(code.rem_euclid(256)).unwrap_or(u8::MAX)
    } else {
        let argv = std::iter::once(OsString::from("entrypoint")).chain(args);
        match Cli::try_parse_from(argv) {
            Ok(cli) => command(&runtime, cli.command.unwrap_or(Command::Run)),
            Err(error) => {
                let help = !error.use_stderr();
                // The terminal is gone when this fails.
                let _ = error.print();
                if help { 0 } else { EX_CONFIG }
            }
        }
    };
    // A store call that hangs for ever must not keep the process.
    runtime.shutdown_background();
    code
}

fn command(runtime: &tokio::runtime::Runtime, command: Command) -> u8 {
    if let Command::CheckConfig { markdown: true } = command {
        print!("{}", render_markdown());
        return 0;
    }
    if let Command::Health = command
        && passthrough::is_what_pid_one_does(Path::new("/proc/1/cmdline"), |name| {
            std::env::var_os(name)
        })
    {
        // There is no control port, and whether Qdrant is well is left to who asks Qdrant.
        return 0;
    }
    let config = match Config::from_env(&ProcessEnv) {
        Ok(config) => config,
        Err(errors) => {
            for error in errors {
                eprintln!("entrypoint: {error}");
            }
            return EX_CONFIG;
        }
    };
    match command {
        Command::Run => match passthrough::variable_set(|name| std::env::var_os(name)) {
            // Without a command it means pass-through; with `run` the two contradict each other.
            Some(name) => {
                eprintln!(
                    "entrypoint: {name} is set, and `run` chooses Qdrant's address and bootstrap itself: remove {name}, or leave `run` out to pass everything through"
                );
                EX_CONFIG
            }
            None => runtime.block_on(serve::run(config)),
        },
        Command::Health => runtime.block_on(query::health(&config)),
        Command::Status { json } => runtime.block_on(query::status(&config, json)),
        Command::Pause {
            owner,
            reason,
            duration,
        } => {
            let request = pause::Request {
                owner,
                reason,
                seconds: duration.as_secs(),
            };
            runtime.block_on(query::pause(&config, &request))
        }
        Command::Resume => runtime.block_on(query::resume(&config)),
        Command::Snapshots { command } => runtime.block_on(async {
            match command {
                Snapshots::List => keep::command::list(&config).await,
                Snapshots::Check { directory, set } => {
                    keep::command::checked(&config, directory, set).await
                }
                Snapshots::Take {
                    collection,
                    owner,
                    wait,
                } => {
                    let wish = keep::asked::Wish {
                        collection: collection.map(CollectionName),
                        owner: owner.unwrap_or_else(user),
                    };
                    keep::take::take(&config, &wish, wait).await
                }
                Snapshots::Prune { dry_run } => keep::command::prune(&config, dry_run).await,
                Snapshots::Pin { set, reason, owner } => {
                    let owner = owner.unwrap_or_else(user);
                    keep::pins::pin(&config, &keep::pins::Wish { set, owner, reason }).await
                }
                Snapshots::Unpin { set } => keep::pins::unpin(&config, set).await,
            }
        }),
        Command::Plan { json } => runtime.block_on(query::plan(&config, json)),
        Command::Restore(restore) => runtime.block_on(restore.run(&config)),
        Command::CheckConfig { .. } => {
            print!("{}", render_check(&config));
            0
        }
    }
}
