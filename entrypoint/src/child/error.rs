//! Why a child could not be started.

use nix::errno::Errno;
use std::{
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
};
use thiserror::Error;

/// Starting a program failed. Each is one line: what, where, what to do.
#[derive(Debug, Error)]
pub enum SpawnError {
    /// The program is not there.
    #[error("start {}: no such file; set ENTRYPOINT_QDRANT_BIN to the path of the Qdrant binary", program.display())]
    Missing {
        /// What was to be started.
        program: PathBuf,
    },
    /// The program is there, what it needs to be loaded is not.
    #[error("start {}: its loader or interpreter is missing; the binary was built for another base image (libc), use one built for this one", program.display())]
    NoLoader {
        /// What was to be started.
        program: PathBuf,
    },
    /// We may not execute it.
    #[error("start {}: permission denied; it must be an executable file (chmod 755) on a file system mounted without noexec, reachable by uid {uid}", program.display())]
    NotExecutable {
        /// What was to be started.
        program: PathBuf,
        /// As whom we tried.
        uid: u32,
    },
    /// It is no program, or one for another machine.
    #[error("start {}: not a program for this machine ({}); use the binary for this CPU architecture", program.display(), std::env::consts::ARCH)]
    WrongFormat {
        /// What was to be started.
        program: PathBuf,
    },
    /// Its working directory cannot be entered.
    #[error("start {}: working directory {} is missing or cannot be entered", program.display(), cwd.display())]
    WorkingDirectory {
        /// What was to be started.
        program: PathBuf,
        /// Where.
        cwd: PathBuf,
    },
    /// The system refused for another reason (memory, process limit, a NUL byte in an argument, …).
    #[error("start {}", program.display())]
    System {
        /// What was to be started.
        program: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The thread that was to be its parent could not be started, or died before the child began.
    #[error("start {}: no thread to be its parent", program.display())]
    Thread {
        /// What was to be started.
        program: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

/// Class, byte order and machine are found in the first bytes of an ELF file (elf(5)).
const ELF_HEADER: usize = 20;

impl SpawnError {
    /// Refuses what the kernel would not run. Without this, `execvp` hands such a file to /bin/sh, and
    /// a Qdrant for another CPU ends as a shell's syntax error.
    pub(super) fn precheck(program: &Path, cwd: Option<&Path>) -> Result<(), Self> {
        let there = cwd.unwrap_or(Path::new("")).join(program);
        // What cannot be read may still be executed; exec will tell.
        let (Some(it), Some(us)) = (head(&there), head(Path::new("/proc/self/exe"))) else {
            return Ok(());
        };
        let same = |part: std::ops::Range<usize>| {
            it.get(part.clone())
                .is_some_and(|bytes| Some(bytes) == us.get(part))
        };
        if it.starts_with(b"#!") || (same(0..6) && same(18..ELF_HEADER)) {
            return Ok(());
        }
        Err(Self::WrongFormat {
            program: program.to_path_buf(),
        })
    }

    /// Tells the cause of a failed fork/exec, looking at the file system where the error number
    /// alone leaves it open.
    pub(super) fn of(program: &Path, cwd: Option<&Path>, source: io::Error) -> Self {
        let program = program.to_path_buf();
        let errno = source.raw_os_error().map(Errno::from_raw);
        if let (Some(cwd), Some(Errno::ENOENT | Errno::EACCES | Errno::ENOTDIR)) = (cwd, errno)
            && std::fs::read_dir(cwd.join(".")).is_err()
        {
            return Self::WorkingDirectory {
                program,
                cwd: cwd.to_path_buf(),
            };
        }
        match errno {
            Some(Errno::ENOENT) if cwd.unwrap_or(Path::new("")).join(&program).exists() => {
                Self::NoLoader { program }
            }
            Some(Errno::ENOENT | Errno::ENOTDIR) => Self::Missing { program },
            Some(Errno::EACCES | Errno::EPERM) => Self::NotExecutable {
                program,
                uid: nix::unistd::geteuid().as_raw(),
            },
            Some(Errno::ENOEXEC) => Self::WrongFormat { program },
            _ => Self::System { program, source },
        }
    }

    /// The code a shell exits with in this case: 127 when the program is missing, else 126.
    #[must_use]
    pub fn exit_code(&self) -> i32 {
        match self {
            Self::Missing { .. } | Self::NoLoader { .. } => 127,
            _ => 126,
        }
    }
}

fn head(path: &Path) -> Option<Vec<u8>> {
    let file = File::open(path)
        .ok()
        .filter(|f| f.metadata().is_ok_and(|m| m.is_file()))?;
    let mut head = Vec::new();
    file.take(ELF_HEADER as u64).read_to_end(&mut head).ok()?;
    Some(head)
}
