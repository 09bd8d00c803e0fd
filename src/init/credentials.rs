//! Who the program is: ids, groups, capabilities (capabilities(7), credentials(7)).
//!
//! The order that works, which init keeps: the bounding set while CAP_SETPCAP is effective; groups and ids with
//! "keep capabilities" set, so that leaving root does not clear the permitted set; then the three sets in one call,
//! for which the inheritable set must already be within the old permitted; the ambient set last, since it may only
//! hold what is both permitted and inheritable.
//!
//! The system calls are rustix's, which makes them for the calling thread. libc's set*id run through every thread of
//! the process, by a list that a cloned child does not have right. The crate `caps` sets one of the three sets a
//! call, and between two such calls inheritable may exceed permitted, which the kernel refuses; `plan` uses its names.

use std::os::fd::BorrowedFd;

use nix::errno::Errno;
use rustix::fs::{FileType, Gid, Uid};
use rustix::thread::{self, CapabilitySet, CapabilitySets};

use crate::error::{Context, Error, Result, Warning};
use crate::fs::Procfs;
use crate::plan::capabilities::{Capabilities, names};
use crate::plan::process::ProcessPlan;
use crate::pointer;

/// Removes from the bounding set whatever `bounding` lacks, up to `last_capability`, the highest that the kernel
/// knows.
pub(crate) fn drop_bounding(bounding: u64, last_capability: u8) -> Result<()> {
    for number in (0..=last_capability).filter(|number| bounding & bit(*number) == 0) {
        let capability = CapabilitySet::from_bits_retain(bit(number));
        match thread::remove_capability_from_bounding_set(capability) {
            Ok(()) => {}
            // Without CAP_SETPCAP the kernel refuses even to remove what is not there.
            Err(rustix::io::Errno::PERM) if thread::capability_is_in_bounding_set(capability) == Ok(false) => {}
            Err(errno) => {
                return Err(errno).context(|| format!("drop capability {number} from the bounding set"));
            }
        }
    }
    Ok(())
}

/// Becomes user and group 0 of the user namespace, as far as it maps them: what is made from now on is theirs.
pub(crate) fn become_root() -> Result<()> {
    match thread::set_thread_res_gid(Gid::ROOT, Gid::ROOT, Gid::ROOT) {
        // Not mapped: this process has the capabilities of the namespace all the same.
        Err(rustix::io::Errno::INVAL) => {}
        result => result.context(|| "become group 0 of the user namespace")?,
    }
    match thread::set_thread_res_uid(Uid::ROOT, Uid::ROOT, Uid::ROOT) {
        Err(rustix::io::Errno::INVAL) => Ok(()),
        result => result.context(|| "become user 0 of the user namespace"),
    }
}

/// setgroups(2), setresgid(2), setresuid(2). The permitted set survives; the effective set is empty afterwards
/// when this leaves root, until [`raise_effective`] or [`set_capabilities`].
pub(crate) fn switch_user(process: &ProcessPlan) -> Result<()> {
    if process.uid != 0 {
        thread::set_keep_capabilities(true).context(|| "keep capabilities across setresuid")?;
    }
    set_groups(process)?;
    let (uid, gid) = (Uid::from_raw(process.uid), Gid::from_raw(process.gid));
    let user = pointer::join(&process.pointer, "user");
    thread::set_thread_res_gid(gid, gid, gid)
        .context(|| format!("set the group id {}", process.gid))
        .map_err(|error| unmapped_hint(error).at(pointer::join(&user, "gid")))?;
    thread::set_thread_res_uid(uid, uid, uid)
        .context(|| format!("set the user id {}", process.uid))
        .map_err(|error| unmapped_hint(error).at(pointer::join(&user, "uid")))
}

fn set_groups(process: &ProcessPlan) -> Result<()> {
    if process.keep_groups {
        return Ok(());
    }
    let groups: Vec<Gid> = process.additional_gids.iter().map(|gid| Gid::from_raw(*gid)).collect();
    match thread::set_thread_groups(&groups) {
        // A user namespace made by an unprivileged user has given up setgroups for its mapping of groups
        // (user_namespaces(7)); then the caller's groups stay, unless others were asked for.
        Err(rustix::io::Errno::PERM) if groups.is_empty() && setgroups_is_denied() => Ok(()),
        result => result
            .context(|| format!("set the supplementary groups {:?}", process.additional_gids))
            .map_err(|error| unmapped_hint(error).at(format!("{}/user/additionalGids", process.pointer))),
    }
}

fn setgroups_is_denied() -> bool {
    Procfs::open().and_then(|proc| proc.read(c"self/setgroups", 16)).is_ok_and(|text| text.starts_with(b"deny"))
}

fn unmapped_hint(error: Error) -> Error {
    error.hint_on(Errno::EINVAL, "the id has no mapping in the container's user namespace")
}

/// Makes effective what is permitted, after [`switch_user`] to `uid`: only leaving root has emptied the effective set.
pub(crate) fn raise_effective(uid: u32) -> Result<()> {
    if uid == 0 {
        return Ok(());
    }
    let own = thread::capabilities(None).context(|| "read the capabilities")?;
    thread::set_capabilities(None, CapabilitySets { effective: own.permitted, ..own })
        .context(|| "make the permitted capabilities effective")
}

/// The effective, permitted, inheritable and ambient sets. What this process does not have itself cannot be granted:
/// the specification wants a warning for that, not a failure (config.md#linux-process).
pub(crate) fn set_capabilities(process_pointer: &str, wanted: &Capabilities) -> Result<Option<Warning>> {
    let mut granted = *wanted;
    match capset(&granted) {
        Err(rustix::io::Errno::PERM) => {
            let own = thread::capabilities(None).context(|| "read the capabilities")?;
            granted = within(wanted, own.permitted.bits(), own.inheritable.bits());
            capset(&granted)
        }
        result => result,
    }
    .context(|| "set the capabilities")
    .map_err(|error| error.at(pointer::join(process_pointer, "capabilities")))?;
    // capset(2) has removed from the ambient set what is not in both.
    if granted.permitted & granted.inheritable != 0 {
        thread::clear_ambient_capability_set().context(|| "clear the ambient capabilities")?;
    }
    // The kernel raises only what is in both.
    granted.ambient = wanted.ambient & granted.permitted & granted.inheritable;
    for number in (0..64).filter(|number| granted.ambient & bit(*number) != 0) {
        thread::configure_capability_in_ambient_set(CapabilitySet::from_bits_retain(bit(number)), true)
            .context(|| format!("raise the ambient capability {number}"))
            .map_err(|error| error.at(pointer::join(process_pointer, "capabilities")))?;
    }
    Ok(missing(process_pointer, wanted, &granted))
}

fn capset(sets: &Capabilities) -> rustix::io::Result<()> {
    let sets = CapabilitySets {
        effective: CapabilitySet::from_bits_retain(sets.effective),
        permitted: CapabilitySet::from_bits_retain(sets.permitted),
        inheritable: CapabilitySet::from_bits_retain(sets.inheritable),
    };
    thread::set_capabilities(None, sets)
}

/// What capset(2) allows somebody who has `permitted` and `inheritable`, and whose bounding set is the wanted one: what it
/// lacks cannot become inheritable.
fn within(wanted: &Capabilities, permitted: u64, inheritable: u64) -> Capabilities {
    let granted = wanted.permitted & permitted;
    Capabilities {
        permitted: granted,
        effective: wanted.effective & granted,
        inheritable: wanted.inheritable & (permitted & wanted.bounding | inheritable),
        ..*wanted
    }
}

fn missing(process_pointer: &str, wanted: &Capabilities, granted: &Capabilities) -> Option<Warning> {
    let lost = [
        ("effective", wanted.effective & !granted.effective),
        ("permitted", wanted.permitted & !granted.permitted),
        ("inheritable", wanted.inheritable & !granted.inheritable),
        ("ambient", wanted.ambient & !granted.ambient),
    ];
    let lost: Vec<String> = lost
        .iter()
        .filter(|(_, set)| *set != 0)
        .map(|(name, set)| format!("{name} {}", names(*set).join(",")))
        .collect();
    if lost.is_empty() {
        return None;
    }
    let message = format!("capabilities that cannot be granted: {}, ignoring", lost.join("; "));
    Some(Warning::config(pointer::join(process_pointer, "capabilities"), message))
}

fn bit(number: u8) -> u64 {
    1_u64.checked_shl(u32::from(number)).unwrap_or_default()
}

/// Gives the standard streams to the container's user, so that the program can open /dev/stdout and the like again. A
/// refusal (another user namespace's pipe, a read-only mount) changes nothing for the program's open descriptors.
pub(crate) fn own_standard_streams(uid: u32) -> Result<()> {
    use rustix::stdio::{stderr, stdin, stdout};
    for (stream, name) in [(stdin(), "input"), (stdout(), "output"), (stderr(), "error")] {
        own_stream(stream, uid).context(|| format!("give standard {name} to user {uid}"))?;
    }
    Ok(())
}

fn own_stream(stream: BorrowedFd<'_>, uid: u32) -> rustix::io::Result<()> {
    use rustix::io::Errno;
    // A stream may be closed.
    let Ok(status) = rustix::fs::fstat(stream) else { return Ok(()) };
    // /dev/null and its like are everybody's.
    let is_device = FileType::from_raw_mode(status.st_mode) == FileType::CharacterDevice;
    if status.st_uid == uid || (is_device && !rustix::termios::isatty(stream)) {
        return Ok(());
    }
    match rustix::fs::fchown(stream, Some(Uid::from_raw(uid)), None) {
        Err(Errno::PERM | Errno::INVAL | Errno::ROFS) => Ok(()),
        result => result,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn within_takes_only_what_is_there() {
        let wanted =
            Capabilities { bounding: 0b10, effective: 0b111, permitted: 0b110, inheritable: 0b1011, ambient: 0b1 };
        let granted = within(&wanted, 0b011, 0b1000);
        assert_eq!((granted.effective, granted.permitted, granted.inheritable), (0b010, 0b010, 0b1010));
    }

    #[test]
    fn missing_names_sets_and_capabilities() {
        let wanted = Capabilities { permitted: 1 | 1 << 50, ambient: 1 << 5, ..Capabilities::default() };
        let warning = missing("/process", &wanted, &Capabilities::default()).unwrap();
        assert_eq!(
            warning.to_string(),
            "capabilities that cannot be granted: permitted CAP_CHOWN,50; ambient CAP_KILL, ignoring \
             (config /process/capabilities)"
        );
        assert_eq!(missing("/process", &wanted, &wanted), None);
    }
}

/// Credentials belong to a thread: each test changes those of a thread of its own.
#[cfg(test)]
mod privileged {
    use super::*;
    use crate::sys::test_thread::{in_thread, status};
    use std::os::fd::AsFd;

    const CHOWN: u64 = 1;
    const KILL: u64 = 1 << 5;
    const NET_BIND: u64 = 1 << 10;

    fn last_capability() -> u8 {
        std::fs::read_to_string("/proc/sys/kernel/cap_last_cap").unwrap().trim().parse().unwrap()
    }

    fn set(field: &str) -> u64 {
        u64::from_str_radix(&status(field), 16).unwrap()
    }

    fn apply(process: &ProcessPlan) -> Option<Warning> {
        drop_bounding(process.capabilities.bounding, last_capability()).unwrap();
        switch_user(process).unwrap();
        set_capabilities("/process", &process.capabilities).unwrap()
    }

    #[test]
    fn credentials_of_another_user_with_ambient_are_exactly_as_wanted() {
        in_thread(|| {
            let process = ProcessPlan {
                uid: 1234,
                gid: 4321,
                additional_gids: vec![7, 9],
                capabilities: Capabilities {
                    bounding: CHOWN | KILL | NET_BIND,
                    effective: KILL,
                    permitted: KILL | NET_BIND,
                    inheritable: NET_BIND,
                    ambient: NET_BIND,
                },
                ..ProcessPlan::default()
            };
            assert_eq!(apply(&process), None);
            assert_eq!(status("Uid"), "1234\t1234\t1234\t1234");
            assert_eq!(status("Gid"), "4321\t4321\t4321\t4321");
            assert_eq!(status("Groups"), "7 9");
            assert_eq!((set("CapBnd"), set("CapEff")), (CHOWN | KILL | NET_BIND, KILL));
            assert_eq!((set("CapPrm"), set("CapInh"), set("CapAmb")), (KILL | NET_BIND, NET_BIND, NET_BIND));
        });
    }

    #[test]
    fn credentials_without_capabilities_have_none_and_no_groups() {
        in_thread(|| {
            assert_eq!(apply(&ProcessPlan { uid: 5, gid: 6, ..ProcessPlan::default() }), None);
            for field in ["CapBnd", "CapEff", "CapPrm", "CapInh", "CapAmb"] {
                assert_eq!(set(field), 0, "{field}");
            }
            assert_eq!(status("Groups"), "");
        });
    }

    #[test]
    fn root_without_capabilities_has_none() {
        in_thread(|| {
            assert_eq!(apply(&ProcessPlan::default()), None);
            assert_eq!((status("Uid").as_str(), set("CapEff"), set("CapPrm")), ("0\t0\t0\t0", 0, 0));
        });
    }

    #[test]
    fn own_stream_takes_pipes_and_files_and_leaves_devices() {
        let (pipe, _end) = rustix::pipe::pipe().unwrap();
        own_stream(pipe.as_fd(), 77).unwrap();
        assert_eq!(rustix::fs::fstat(&pipe).unwrap().st_uid, 77);
        let memory = rustix::fs::memfd_create("file", rustix::fs::MemfdFlags::CLOEXEC).unwrap();
        own_stream(memory.as_fd(), 77).unwrap();
        assert_eq!(rustix::fs::fstat(&memory).unwrap().st_uid, 77);
        let null = std::fs::File::open("/dev/null").unwrap();
        own_stream(null.as_fd(), 77).unwrap();
        assert_ne!(rustix::fs::fstat(&null).unwrap().st_uid, 77);
    }

    #[test]
    fn keep_groups_leaves_them() {
        in_thread(|| {
            thread::set_thread_groups(&[Gid::from_raw(11), Gid::from_raw(12)]).unwrap();
            apply(&ProcessPlan { uid: 5, gid: 6, keep_groups: true, ..ProcessPlan::default() });
            assert_eq!(status("Groups"), "11 12");
        });
    }

    #[test]
    fn capabilities_that_the_runtime_lacks_are_a_warning() {
        in_thread(|| {
            let own = Capabilities { permitted: KILL, effective: KILL, ..Capabilities::default() };
            set_capabilities("/process", &own).unwrap();
            let all = KILL | CHOWN;
            let wanted = Capabilities { bounding: all, effective: all, permitted: all, inheritable: all, ambient: all };
            let warning = set_capabilities("/process", &wanted).unwrap().unwrap().to_string();
            assert!(warning.contains("permitted CAP_CHOWN;"), "{warning}");
            assert_eq!((set("CapPrm"), set("CapEff"), set("CapInh"), set("CapAmb")), (KILL, KILL, KILL, KILL));
        });
    }

    #[test]
    fn drop_bounding_unprivileged_fails_unless_there_is_nothing_to_drop() {
        in_thread(|| {
            drop_bounding(KILL, last_capability()).unwrap();
            set_capabilities("/process", &Capabilities::default()).unwrap();
            assert_eq!(drop_bounding(KILL | CHOWN, last_capability()), Ok(()));
            let error = drop_bounding(0, last_capability()).unwrap_err();
            assert_eq!(error.raw_errno(), Some(libc::EPERM));
        });
    }

    #[test]
    fn switch_user_refused_groups_are_an_error_where_the_namespace_allows_setgroups() {
        in_thread(|| {
            set_capabilities("/process", &Capabilities::default()).unwrap();
            let process = ProcessPlan { pointer: "/process".to_owned(), ..ProcessPlan::default() };
            let error = switch_user(&process).unwrap_err();
            assert_eq!(error.pointer(), Some("/process/user/additionalGids"));
        });
    }
}
