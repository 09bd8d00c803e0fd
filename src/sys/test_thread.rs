//! For tests of what belongs to a thread in Linux: credentials, scheduling, namespaces.

/// Runs `test` in a thread of its own, which takes all changes with it.
pub(crate) fn in_thread(test: impl FnOnce() + Send) {
    std::thread::scope(|scope| {
        if let Err(panic) = scope.spawn(test).join() {
            std::panic::resume_unwind(panic);
        }
    });
}

/// A field of the calling thread's status (proc_pid_status(5)).
pub(crate) fn status(field: &str) -> String {
    let text = std::fs::read_to_string("/proc/thread-self/status").unwrap();
    let value = text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    value.unwrap().trim().to_owned()
}
