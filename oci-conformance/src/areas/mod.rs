//! The tests, area by area.

mod cgroups;
mod console;
mod devices;
mod errors;
mod extensions;
mod features;
mod hooks;
mod lifecycle;
mod mounts;
mod namespaces;
mod network;
mod options;
mod paths;
mod process;
mod root;
mod scheduling;
mod seccomp;
mod state;
mod user;

use crate::suite::Test;

/// Every test, in the order in which a report shows them.
pub fn all() -> Vec<Test> {
    [
        lifecycle::TESTS,
        state::TESTS,
        errors::TESTS,
        root::TESTS,
        process::TESTS,
        user::TESTS,
        scheduling::TESTS,
        mounts::TESTS,
        options::TESTS,
        devices::TESTS,
        namespaces::TESTS,
        network::TESTS,
        paths::TESTS,
        hooks::TESTS,
        console::TESTS,
        cgroups::TESTS,
        seccomp::TESTS,
        features::TESTS,
        extensions::TESTS,
    ]
    .concat()
}
