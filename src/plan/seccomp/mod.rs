//! linux.seccomp compiled to a classic BPF program (config-linux.md#seccomp, seccomp(2)).
//!
//! ```text
//! SeccompConfig ──rules──▶ decisions per architecture: sorted ranges of call numbers
//!               ──program─▶ one tree of comparisons per architecture, native first ──▶ Filter
//! ```
//!
//! What a profile means is what libseccomp, driven by runc, makes of it:
//! - For one call, the first rule without conditions decides, wherever it stands; without one, the first rule whose
//!   conditions all hold; else the default action. Rules with the default action are as if absent.
//! - Several conditions on one argument are alternatives, otherwise all must hold. 32-bit architectures, and x32,
//!   compare the low 32 bits.
//! - A call of an architecture that is neither native nor listed kills the thread.
//! - On listed architectures, calls above the highest number that the profile names get ENOSYS, because the
//!   profile cannot have known them and C libraries fall back on ENOSYS only; not under a default of ALLOW, LOG or TRACE.
//! - Where socketcall(2) and ipc(2) exist, a rule for one of their calls holds for them too. Arguments of such a call
//!   lie in memory, which no filter sees: a condition on the first is dropped, the others compare registers. The first
//!   tells the call by the bits that the kernel reads: 32, for ipc(2) 16.
//!
//! # Differences from libseccomp 2.5 and runc
//!
//! contrib/checks/seccomp compares the decisions on every number up to 1023, of each architecture of x86, with and without the bit of
//! x32, for the engines' profiles and random ones. Where they differ, and why:
//! - Overlapping conditional rules with different actions are taken in the profile's order (there: an order of its own,
//!   or an error).
//! - accept, send, recv, semop and semtimedop hold for the multiplexers as well, and a call is told by what the kernel reads
//!   of the first argument (there: not, and by all 64 bits, so that a program would evade a rule through socketcall(2), or
//!   through ipc(2) with a version in the upper half).
//! - The tables are those of the Linux that heads each file of `syscalls` (there: of libseccomp's release): a newer call is known
//!   here, and map_shadow_stack of x32 is too.
//! - Without x32 among the architectures, numbers from 0x4000_0000 on are killed, all but -1, which a tracer sets to skip a call.
//!   runc answers those without the bit of x32 (0x8000_0000 to 0xbfff_ffff) with ENOSYS; no such call exists.
//! - libseccomp 2.5.4 drops the load of the number in front of some shared blocks of conditions, and then decides by the
//!   architecture: fewer than one random profile in a hundred, none of an engine.
//! - errnoRet and defaultErrnoRet for an action that takes none, and listenerMetadata without a path, are errors, as
//!   the specification demands (runc ignores both).
//! - crun gives calls newer than the profile the default action.
//! - An architecture of other machines has no effect (there: it gets a table, which no call of this machine ever meets), and an empty
//!   name is an unknown one (runc: an error).
//! - NOTIFY is refused for write, as runc does, whose hand-over writes, so that a profile is good for both or for neither; and
//!   for sendmsg, which carries the listener out of init here, while nobody could answer yet. With conditions, too: they
//!   could hold for init's own call. It cannot be the default action for the same reason.
//!
//! # Numbers
//!
//! contrib/syscalls/generate.py writes the tables from the headers of a released kernel (the first line of each names it):
//! x86_64 with x86 and x32, aarch64 with arm, riscv64, ppc64le, s390x, loongarch64. A name in no table of the family has no
//! effect and is noted for the debug log.
//!
//! Uses `bundle`, `pointer` and `error`, and seccompiler's `sock_filter`. `plan` calls it; `features` reads the lists of words.

mod program;
mod rules;
mod syscalls;
#[cfg(any(test, fuzzing))]
pub(crate) mod tests;
mod words;

use std::ffi::CString;
use std::fmt;

use seccompiler::sock_filter;

pub(crate) use words::{ACTIONS, ARCHITECTURES, FLAGS, OPERATORS};

use crate::bundle::Config;
use crate::bundle::seccomp::SeccompConfig;
use crate::error::{Error, Result, Warning};
use crate::pointer::{index, join};
use rules::Rules;
use syscalls::{Family, NATIVE};

/// The path of a UNIX socket is at most this long, in bytes (unix(7), without the final NUL).
const SOCKET_PATH_MAX: usize = 107;

/// Calls that may not notify: what hands the listener over in this runtime (sendmsg) and in runc (write).
const HAND_OVER: [&str; 2] = ["sendmsg", "write"];

/// A compiled filter, ready to load.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Filter {
    /// 1 to 4096 instructions.
    pub program: Vec<sock_filter>,
    /// SECCOMP_FILTER_FLAG_*. A profile without the list gets SPEC_ALLOW (the same as runc: the kernel's own
    /// mitigations of speculation stay as they are for processes without a filter), one with an empty list none.
    pub flags: u64,
    /// Present if a rule notifies; `flags` then has NEW_LISTENER.
    pub notify: Option<Notify>,
    /// What had no effect and needs none: unknown calls, architectures of other machines. For the debug log.
    pub ignored: Vec<Warning>,
}

impl fmt::Debug for Filter {
    /// The program by its length: hundreds of instructions tell a reader nothing.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Filter")
            .field("instructions", &self.program.len())
            .field("flags", &self.flags)
            .field("notify", &self.notify)
            .field("ignored", &self.ignored)
            .finish()
    }
}

/// The filter of a configuration, for every process of the container.
pub(crate) fn of_config(config: &Config) -> Result<(Option<Filter>, Vec<Warning>)> {
    let Some(profile) = config.linux.as_ref().and_then(|linux| linux.seccomp.as_ref()) else {
        return Ok((None, Vec::new()));
    };
    let receiver = config.annotations.value("run.oci.seccomp.receiver").map(String::as_str);
    Filter::new(profile, "/linux/seccomp", receiver)
}

/// Where the listener of a filter with NOTIFY goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Notify {
    /// A UNIX stream socket, at most 107 bytes; relative to the bundle.
    pub listener_path: CString,
    /// Sent along in the container process state.
    pub listener_metadata: Option<String>,
}

impl Filter {
    /// Compiles the section at `pointer`. `receiver` is the annotation run.oci.seccomp.receiver, which stands in for
    /// an absent listenerPath. `None` if the section asks for nothing.
    ///
    /// Errors: words that do not exist, values out of range, contradictions, and a program beyond the kernel's
    /// 4096 instructions.
    pub fn new(
        config: &SeccompConfig,
        pointer: &str,
        receiver: Option<&str>,
    ) -> Result<(Option<Filter>, Vec<Warning>)> {
        Self::for_family(NATIVE, config, pointer, receiver)
    }

    fn for_family(
        family: &'static Family,
        config: &SeccompConfig,
        pointer: &str,
        receiver: Option<&str>,
    ) -> Result<(Option<Filter>, Vec<Warning>)> {
        let mut warnings = Vec::new();
        let mut ignored = Vec::new();
        let Some(default) = default_action(config, pointer)? else {
            warnings.push(Warning::config(pointer, "seccomp has no default action and no rules, ignoring"));
            return Ok((None, warnings));
        };
        let mut rules = Rules::new(family, default);
        architectures(config, pointer, &mut rules, &mut warnings, &mut ignored)?;
        for (i, rule) in config.syscalls.iter().flatten().enumerate() {
            let at = || index(&join(pointer, "syscalls"), i);
            if rule.names.is_empty() {
                warnings.push(Warning::config(join(&at(), "names"), "rule without system calls, ignoring"));
            }
            rules.add(rule, &at, &mut ignored)?;
        }
        let notify = notify(config, pointer, receiver, &rules)?;
        let flags = flags(config, pointer, notify.is_some(), &mut warnings)?;
        let program = program::assemble(&mut rules);
        if program.len() > libc::BPF_MAXINSNS as usize {
            let message =
                format!("the filter takes {} instructions, the kernel takes {}", program.len(), libc::BPF_MAXINSNS);
            return Err(Error::config(pointer.to_owned(), message));
        }
        Ok((Some(Filter { program, flags, notify, ignored }), warnings))
    }
}

/// The default action; `None` if the section is empty, as engines send it for "no seccomp".
fn default_action(config: &SeccompConfig, pointer: &str) -> Result<Option<u32>> {
    let at_action = || join(pointer, "defaultAction");
    let word = match config.default_action.as_deref() {
        Some(word) if !word.is_empty() => word,
        _ if config.syscalls.as_ref().is_none_or(Vec::is_empty) => return Ok(None),
        _ => return Err(Error::config(at_action(), "seccomp has rules but no default action")),
    };
    let action = words::action(word, config.default_errno_ret, at_action, || join(pointer, "defaultErrnoRet"))?;
    if action == words::RET_USER_NOTIF {
        return Err(Error::config(
            at_action(),
            "SCMP_ACT_NOTIFY cannot be the default: the listener could not be handed over",
        ));
    }
    Ok(Some(action))
}

/// Activates the listed architectures.
fn architectures(
    config: &SeccompConfig,
    pointer: &str,
    rules: &mut Rules,
    warnings: &mut Vec<Warning>,
    ignored: &mut Vec<Warning>,
) -> Result<()> {
    for (i, word) in config.architectures.iter().flatten().enumerate() {
        if rules.activate(word) {
            continue;
        }
        let at = || index(&join(pointer, "architectures"), i);
        if rules.family().without_table.contains(&word.as_str()) {
            warnings.push(Warning::config(at(), format!("no table of system calls for {word}: its calls are killed")));
        } else if ARCHITECTURES.contains(&word.as_str()) {
            ignored.push(Warning::config(at(), format!("this machine never runs {word}, ignoring")));
        } else {
            return Err(Error::config(at(), format!("unknown seccomp architecture {word:?}")));
        }
    }
    Ok(())
}

fn notify(config: &SeccompConfig, pointer: &str, receiver: Option<&str>, rules: &Rules) -> Result<Option<Notify>> {
    let present = |text: Option<&str>| text.filter(|text| !text.is_empty()).map(str::to_owned);
    let configured = present(config.listener_path.as_deref());
    let metadata = present(config.listener_metadata.as_deref());
    let Some(path) = configured.or_else(|| present(receiver)) else {
        if metadata.is_some() {
            return Err(Error::config(join(pointer, "listenerMetadata"), "listenerMetadata without listenerPath"));
        }
        return match rules.notifies() {
            false => Ok(None),
            true => Err(Error::config(
                join(pointer, "listenerPath"),
                "SCMP_ACT_NOTIFY is used, but listenerPath is not set",
            )),
        };
    };
    if !rules.notifies() {
        return Ok(None);
    }
    let at_path = || join(pointer, "listenerPath");
    if path.len() > SOCKET_PATH_MAX {
        let message = format!("path of a socket is {} bytes long, the kernel takes {SOCKET_PATH_MAX}", path.len());
        return Err(Error::config(at_path(), message));
    }
    match CString::new(path) {
        Ok(listener_path) => Ok(Some(Notify { listener_path, listener_metadata: metadata })),
        Err(error) => Err(Error::config(at_path(), format!("path of a socket: {error}"))),
    }
}

fn flags(config: &SeccompConfig, pointer: &str, notifies: bool, warnings: &mut Vec<Warning>) -> Result<u64> {
    let mut flags = if config.flags.is_none() { words::FLAG_SPEC_ALLOW } else { 0 };
    for (i, word) in config.flags.iter().flatten().enumerate() {
        let at = || index(&join(pointer, "flags"), i);
        match FLAGS.iter().find(|(known, _)| known == word) {
            Some((_, words::FLAG_WAIT_KILLABLE_RECV)) if !notifies => {
                warnings.push(Warning::config(at(), format!("{word} has no effect without SCMP_ACT_NOTIFY, ignoring")));
            }
            Some((_, flag)) => flags |= flag,
            None => return Err(Error::config(at(), format!("unknown seccomp flag {word:?}"))),
        }
    }
    if notifies {
        flags |= words::FLAG_NEW_LISTENER;
        if flags & words::FLAG_TSYNC != 0 {
            flags |= words::FLAG_TSYNC_ESRCH;
        }
    }
    Ok(flags)
}
