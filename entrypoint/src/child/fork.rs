//! What runs between fork and exec. Owns the `unsafe` of that, nothing else belongs here.

use nix::{
    errno::Errno,
    sys::{
        prctl,
        signal::{SigHandler, SigSet, Signal, signal},
    },
    unistd::{Pid, getppid},
};
use std::{io, os::unix::process::CommandExt, process::Command};

use crate::priority;

/// Makes the child lead its own process group, die with its parent, and start with no signal blocked
/// or ignored, however we were started ourselves (a `nohup` above us, for instance).
///
/// The parent is the calling *thread*: when it ends, the child is killed, even if the process lives
/// on. Spawn `command` from a thread that outlives the child. (The kernel drops the promise on exec of
/// a set-uid file or one with file capabilities; Qdrant's is neither.)
pub(super) fn prepare(command: &mut Command, yields: bool) {
    command.process_group(0);
    let parent = Pid::this();
    let between = move || {
        if yields {
            priority::lower(priority::LAST);
        }
        between_fork_and_exec(parent)
    };
    // SAFETY: in the forked copy of a process with several threads only async-signal-safe calls are
    // sound, no allocation and no lock. The closure owns two plain values; it makes plain system calls
    // (prctl, getppid, setpriority, sigaction, rt_sigprocmask) and turns error numbers into `io::Error`s, which does not
    // allocate.
    #[allow(
        unsafe_code,
        reason = "pre_exec is unsafe; the closure is async-signal-safe, see above"
    )]
    unsafe {
        command.pre_exec(between);
    }
}

fn between_fork_and_exec(parent: Pid) -> io::Result<()> {
    prctl::set_pdeathsig(Signal::SIGKILL)?;
    // The parent may have died before the line above took effect; then nobody would tell us.
    if getppid() != parent {
        return Err(Errno::ESRCH.into());
    }
    for s in Signal::iterator() {
        if matches!(s, Signal::SIGKILL | Signal::SIGSTOP) {
            continue;
        }
        // SAFETY: installs the default action, no handler of ours.
        #[allow(
            unsafe_code,
            reason = "nix marks it unsafe because of handlers; none is installed"
        )]
        unsafe {
            signal(s, SigHandler::SigDfl)?;
        }
    }
    SigSet::empty().thread_set_mask()?;
    Ok(())
}
