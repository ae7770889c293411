//! Runs other programs and turns what went wrong into one line. Does not know what they are for.

use std::ffi::OsStr;
use std::process::{Command, Output, Stdio};

use anyhow::{Context as _, bail};

/// The cargo that started us, so that the same toolchain is used.
pub fn cargo() -> Command {
    Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

/// git, for a repository that is named: whoever runs this from a hook has git look at theirs.
pub fn git() -> Command {
    let mut git = Command::new("git");
    for name in ["GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"] {
        git.env_remove(name);
    }
    git
}

/// Runs to the end and gives standard output, trimmed.
///
/// # Errors
/// The program cannot be started, or ends with another status than 0; then with what it wrote to standard error.
pub fn output(command: &mut Command) -> anyhow::Result<String> {
    Ok(String::from_utf8_lossy(&bytes(command)?).trim().to_owned())
}

/// Runs to the end and gives standard output as it is.
///
/// # Errors
/// As [`output`].
pub fn bytes(command: &mut Command) -> anyhow::Result<Vec<u8>> {
    let done = ended(command)?;
    if !done.status.success() {
        bail!(
            "`{}` ended with {}: {}",
            shown(command),
            done.status,
            one_line(&done.stderr)
        );
    }
    Ok(done.stdout)
}

/// Runs to the end, however it ends.
///
/// # Errors
/// The program cannot be started.
pub fn ended(command: &mut Command) -> anyhow::Result<Output> {
    command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("start `{}`", shown(command)))
}

/// One line, whatever the program made of it.
pub fn one_line(said: &[u8]) -> String {
    let said = String::from_utf8_lossy(said);
    let lines: Vec<&str> = said
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect();
    lines.join("; ")
}

/// The command as one would type it, cut to a readable length.
pub fn shown(command: &Command) -> String {
    let words: Vec<_> = std::iter::once(command.get_program())
        .chain(command.get_args())
        .map(OsStr::to_string_lossy)
        .collect();
    words.join(" ").chars().take(160).collect()
}
