//! coracle, an OCI low-level container runtime: it turns a bundle (config.json and a root file system) into an
//! isolated process.
//!
//! The program `coracle` is a thin command line over this library. A program of its own looks like this:
//!
//! ```no_run
//! use coracle::{Bundle, CreateOptions, Runtime};
//!
//! fn main() -> coracle::Result<()> {
//!     // The executable that enters a container must be one that the container cannot write.
//!     coracle::seal()?;
//!     let runtime = Runtime::new("/run/example").on_warning(|warning| eprintln!("{warning}"));
//!     let bundle = Bundle::load("/var/lib/bundles/web")?;
//!     let container = runtime.create("web", bundle, &CreateOptions::default())?;
//!     container.start()?;
//!     println!("{:?}", container.state()?.status);
//!     container.delete(true)
//! }
//! ```
//!
//! `create`, `run` and `exec` fork: they refuse a process with more threads than one. A threaded program sets
//! [`Runtime::helper`], and these three operations run the `coracle` program instead.
//!
//! # One direction of flow
//!
//! ```text
//! argv ──cli──▶ options
//! bundle directory ──Bundle::load──▶ Config ──Plan::new(config, &HostFacts, &PlanOptions)──▶ Plan + warnings   (pure)
//! Plan ──container::create──▶ state directory · cgroup · descriptors ──spawn──▶ child {pid, pidfd, sync}
//!       parent: id maps · offsets · net devices · hooks · limits ◀──sync──▶ init::run(InitPlan, InitFds) ──▶ execve
//!       parent ──store──▶ state.json      (the status is derived from the kernel, never trusted from disk)
//! ```
//!
//! * The types of the configuration live in `bundle`, `plan` and `features` only. The child gets an `InitPlan`:
//!   owned, validated, C strings ready. After `Plan` nobody reads configuration again; what comes after
//!   `create` reads the configuration that was stored then, never `config.json` of the bundle.
//! * What only the host can tell is `HostFacts`, gathered once, so that planning is tested without root.
//! * Init's order is a plain list of calls: `init::prepare`, and behind the start gate `init::launch`. The sets
//!   are closed, so they are enums.
//! * What changes the host is undone on failure, in reverse order, by guards.
//!
//! # The process model
//!
//! One clone3(2) for the common case. The runtime has one thread, and `sys::clone` checks that it has, so the
//! child may run ordinary Rust.
//!
//! | user namespace | pid / time namespace | way |
//! |---|---|---|
//! | none | pid new or none | direct: clone3(NEWPID), on cgroup2 with CLONE_INTO_CGROUP; the child unshares the rest at once |
//! | none | pid joined | direct: the parent's setns(pid), clone3, setns back |
//! | none | time new | direct: the parent unshares time, writes the offsets, clones, goes back |
//! | new | pid new or none | direct: clone3(NEWUSER, NEWPID), the parent writes the maps, the child unshares the rest |
//! | new | time new | an intermediate; the parent writes the offsets |
//! | new, others joined by path | any | an intermediate joins those first, with the rights of the host |
//! | joined | pid or time new | an intermediate outside of the cgroup clones init with CLONE_PARENT |
//! | any, rootless | pid joined | an intermediate |
//! | none, by root of a user namespace | pid joined or time new | an intermediate: there is no way back to its own |
//!
//! * The kernel takes as long for a network namespace as for nine cgroups. So the child makes its namespaces while the parent
//!   makes the cgroups of v1, whose `tasks` files come to the child with the word to go on. It was born in that of v2.
//! * NEWNET in the clone that makes the user namespace would leave sysfs owned by nobody; NEWTIME in a clone
//!   freezes the offsets; that is why those are unshared afterwards.
//! * `run` tells init beforehand to go on when it is ready, unless somebody waits for a container that is created and not
//!   started: a hook, a pid file, a terminal.
//! * The cgroup namespace is unshared by init once it sits in its cgroup.
//! * `exec` is the same machinery: it joins by the pidfd of init, with one setns(2) where the kernel has it.
//! * No process executes this program again after it joined a container's user namespace, and a process that
//!   is on its way into a container is not dumpable. (An unprivileged runtime's child is, until its id maps are
//!   written: /proc would not let the runtime write them.)
//! * The executable itself is sealed: see `container::seal`.
//!
//! What parent and child say to each other is drawn at the head of `sync`; the start gate at the head of
//! `sync::gate`.
//!
//! # Rooms
//!
//! Each may use the rooms below it, never one above.
//!
//! ```text
//! main.rs cli/          the command line; uses only what this library exports
//! container/            parent side: create spawn start exec signal delete store hooks console foreground …
//! init/                 child side: mod.rs is THE sequence; intermediate join rootfs mount devices masks pivot …
//! sync/                 frames, the protocol, the start gate
//! cgroup/  features     control groups, by files or by systemd · what this build can do, in the words of plan
//! dbus/                 calls to a service on a bus, its signals
//! fs/                   resolution inside a root, private procfs, the mount table
//! plan/                 pure: what every room above reads
//! bundle/  host         the configuration's types · facts of the host
//! sys/                  the only unsafe code
//! error state pointer timings   what all of them speak
//! ```
//!
//! # Fallbacks
//!
//! The floor is Linux 5.4. A newer call has a sibling function for kernels (or outer filters) without it:
//!
//! | feature | since | without it |
//! |---|---|---|
//! | clone3 | 5.3 | clone, and the move into cgroup2 by `cgroup.procs` |
//! | CLONE_INTO_CGROUP | 5.7 | `cgroup.procs` |
//! | setns with a pidfd | 5.8 | one descriptor for each namespace |
//! | close_range | 5.9, CLOEXEC 5.11 | the listing of /proc/self/fd |
//! | openat2 | 5.6 | a walk, component by component |
//! | open_tree, move_mount, fsopen | 5.2 | mount through /proc/self/fd |
//! | mount_setattr | 5.12 | remount through /proc/self/fd; recursive and id-mapped attributes are refused |
//! | time namespaces | 5.6 | refused |
//!
//! # Decisions
//!
//! * **Not position independent**: relocating a static PIE costs 20 to 100 µs at every start and dirties the
//!   pages that hold pointers, which every waiting init would keep as private memory. The parser of hostile
//!   bytes is memory-safe Rust; the ASLR of the executable is the price.
//! * **The program's entry and heap** are its own (`src/sys/start.rs`, `src/sys/heap.rs`, parts of `main`): the standard
//!   library's start and an allocator with a lock cost 25 system calls and a twentieth of the time, twice started and for
//!   one thread.
//! * **oci-spec** types are used where they are right; the configuration's own types replace those that refuse
//!   good documents or lose order (capabilities, scheduler, pids, huge pages, RDT, seccomp names, …).
//! * **seccompiler** provides the instruction type and compiles nothing here: it has one action, one
//!   architecture and no flags for each filter.
//! * **D-Bus** is spoken by a client of its own (`dbus`): one thread, ten calls, one signal. What a library costs is
//!   measured in contrib/dependencies.md. Root speaks to systemd itself rather than to the bus.
//! * **systemd's scope** is started around init, which waits for its Go meanwhile, and the limits are written as files as
//!   well: systemd rounds some and has no property for others, but keeps those that it knows when it is reloaded.
//! * **Warnings** are returned, not printed: the library never writes to stdout or stderr.

mod bundle;
pub(crate) mod cgroup;
mod container;
pub(crate) mod dbus;
mod error;
mod features;
pub(crate) mod fs;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
pub(crate) mod host;
pub(crate) mod init;
pub(crate) mod plan;
pub(crate) mod pointer;
mod state;
pub(crate) mod sync;
pub(crate) mod sys;
mod time;
mod timings;

pub use bundle::Bundle;
pub use cgroup::stats::{
    BandwidthMonitor, BlkioEntry, BlkioStats, CacheMonitor, CpuStats, CpuUsage, CpusetStats, HugetlbStats,
    IntelRdtStats, MemoryStats, MemoryUsage, MiscStats, NetworkInterface, PidsStats, Pressure, PressureLine, Stats,
    Throttling,
};
pub use container::seal::{seal, seal_with};
pub use container::{
    CgroupManager, Container, CreateOptions, Event, Events, ExecOptions, RunOptions, Runtime, UpdateOptions,
};
pub use error::{Error, Kind, Result, Warning};
pub use features::{
    CgroupFeatures, Enabled, Features, IntelRdtFeatures, LinuxFeatures, MemoryPolicyFeatures, MountExtensions,
    OCI_VERSION, OCI_VERSION_MIN, SeccompFeatures, features,
};
pub use state::{State, Status};
pub use time::rfc3339;
pub use timings::write_timings;

/// The example in README compiles.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
