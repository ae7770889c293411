//! How much of a busy processor a thread gets. Owns the one system call for it.

/// As everything else.
pub const ORDINARY: i32 = 0;
/// Only what nobody else wants.
pub const LAST: i32 = 19;
/// About a tenth of a busy processor beside a thread of ordinary priority, and all of an idle one: what is
/// made for later gives way to what somebody waits for, and comes on all the same.
pub const LATER: i32 = 10;

/// Gives the calling thread this niceness, and every thread and process that it starts from then on.
/// To lower one's own is always allowed, so there is nothing to be told. Async-signal-safe.
pub fn lower(niceness: i32) {
    // SAFETY: a plain system call on numbers; its error changes nothing else. Of a process with several
    // threads Linux means the calling thread by 0: setpriority(2), under C library/kernel differences.
    #[allow(unsafe_code, reason = "the crate nix does not offer this call")]
    unsafe {
        nix::libc::setpriority(nix::libc::PRIO_PROCESS as _, 0, niceness);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The niceness of the calling thread, as the kernel shows it.
    fn niceness() -> i32 {
        let text = std::fs::read_to_string("/proc/thread-self/stat").unwrap();
        let (_, after_name) = text.rsplit_once(") ").unwrap();
        after_name.split(' ').nth(16).unwrap().parse().unwrap()
    }

    #[test]
    fn only_the_calling_thread_gives_way() {
        let before = niceness();
        let lowered = std::thread::spawn(|| {
            lower(LAST);
            niceness()
        });
        assert_eq!(lowered.join().unwrap(), LAST);
        assert_eq!(niceness(), before);
    }
}
