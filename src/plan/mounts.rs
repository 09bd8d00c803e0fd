//! Mounts (config.md#mounts): each entry taken apart into what the kernel's calls need.

use std::ffi::{CString, OsString};
use std::path::{Path, PathBuf};

use oci_spec::runtime::Mount;

use super::ids::{IdMapping, checked, mappings};
use super::mount_options::{Attributes, Word, attr, flag, word};
use super::text::{c_string, number, path_text};
use crate::error::{Error, Result, Warning};
use crate::pointer;

/// One entry of `mounts`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct MountPlan {
    /// Position in `mounts`, for messages: `/mounts/INDEX`.
    pub index: usize,
    /// Absolute inside the container (a relative one was made absolute, with a warning).
    pub destination: PathBuf,
    /// What is mounted.
    pub source: MountSource,
    /// MOUNT_ATTR_* to set on the new mount (mount_setattr(2)).
    pub attr_set: u64,
    /// MOUNT_ATTR_* to clear; for a bind mount also what the source had and the words negate.
    pub attr_clear: u64,
    /// The same with AT_RECURSIVE: the r* words.
    pub recursive_attr_set: u64,
    pub recursive_attr_clear: u64,
    /// Super block flags as MS_* (MS_SYNCHRONOUS, MS_DIRSYNC, MS_MANDLOCK, MS_LAZYTIME, MS_I_VERSION, MS_RDONLY,
    /// MS_SILENT); bits cleared explicitly (`async`, `norelatime`…) are simply absent.
    pub super_flags: u64,
    /// Propagation changes in order: MS_PRIVATE and so on, with MS_REC where the word was recursive.
    pub propagation: Vec<u64>,
    /// File-system parameters, in order; none for a bind mount: the words that are no flags (`mode=755`, `size=64k`, `newinstance`).
    pub data: Vec<String>,
    /// `tmpcopyup`: a tmpfs starts with what the image has at the destination.
    pub copy_up: bool,
    /// An id-mapped mount.
    pub idmap: Option<IdmapPlan>,
    /// `copy-symlink`: a source that is a symbolic link is recreated, not followed.
    pub copy_symlink: bool,
    /// `src-nofollow`: a symbolic link as source is mounted itself.
    pub source_nofollow: bool,
    /// `dest-nofollow`: the last component of the destination is not followed.
    pub destination_nofollow: bool,
}

/// What is mounted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum MountSource {
    /// `bind` or `rbind`: a path of the host (already made absolute against the bundle).
    Bind { path: CString, recursive: bool },
    /// A file system made anew.
    New { fs_type: CString, source: CString },
    /// `type: cgroup`/`cgroup2`: which shape it takes depends on the host's layout (see `host`).
    Cgroup { v2: bool, source: CString },
    /// `remount` without bind: changes the options of what is mounted at the destination.
    Remount { bind: bool },
    /// An entry whose only words are propagation flags: applied to what is mounted at the destination.
    #[default]
    PropagationOnly,
}

/// Mapping of an id-mapped mount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct IdmapPlan {
    /// `ridmap`.
    pub recursive: bool,
    /// Empty: the container's own user namespace gives the mapping.
    pub uid_mappings: Vec<IdMapping>,
    pub gid_mappings: Vec<IdMapping>,
}

/// Checks entry `index` of `mounts`. Relative sources of bind mounts are relative to the bundle.
pub(super) fn plan(
    mount: &Mount,
    index: usize,
    bundle_dir: &Path,
    own_user_namespace: bool,
    warnings: &mut Vec<Warning>,
) -> Result<MountPlan> {
    let at = |field: &str| format!("/mounts/{index}/{field}");
    let destination = destination(mount, index, warnings)?;
    let mut words = Words::default();
    for (i, option) in mount.options().iter().flatten().enumerate() {
        words.apply(option, || pointer::index(&at("options"), i))?;
    }
    let kind = mount.typ().as_deref().unwrap_or_default();
    let source = source(mount, &words, index, bundle_dir)?;
    let is_bind = matches!(source, MountSource::Bind { .. });
    if is_bind && !words.data.is_empty() {
        let message = format!("parameters of a bind mount: {}, ignoring", words.data.join(","));
        warnings.push(Warning::config(at("options"), message));
        words.data.clear();
    }
    if words.copy_up && (is_bind || kind != "tmpfs") {
        return Err(Error::config(at("options"), "tmpcopyup is for tmpfs"));
    }
    let new_super = matches!(source, MountSource::New { .. } | MountSource::Remount { bind: false });
    if new_super && words.attributes.set & attr::RDONLY != 0 {
        words.super_flags |= flag::RDONLY;
    }
    let idmap = idmap(mount, &words, &source, index, own_user_namespace)?;
    Ok(MountPlan {
        index,
        destination,
        source,
        attr_set: words.attributes.set,
        attr_clear: words.attributes.clear,
        recursive_attr_set: words.recursive.set,
        recursive_attr_clear: words.recursive.clear,
        super_flags: words.super_flags,
        propagation: words.propagation,
        data: words.data,
        copy_up: words.copy_up,
        idmap,
        copy_symlink: words.copy_symlink,
        source_nofollow: words.source_nofollow,
        destination_nofollow: words.destination_nofollow,
    })
}

fn destination(mount: &Mount, index: usize, warnings: &mut Vec<Warning>) -> Result<PathBuf> {
    let at = || format!("/mounts/{index}/destination");
    let destination = path_text(mount.destination(), at)?;
    if destination.is_empty() {
        return Err(Error::config(at(), "destination is empty"));
    }
    c_string(destination, at)?;
    if destination.starts_with('/') {
        return Ok(mount.destination().clone());
    }
    let absolute = Path::new("/").join(destination);
    warnings.push(Warning::config(at(), format!("destination {destination:?} is taken as {}", absolute.display())));
    Ok(absolute)
}

/// The options of one mount, as far as they have been read.
#[derive(Default)]
struct Words {
    attributes: Attributes,
    recursive: Attributes,
    super_flags: u64,
    propagation: Vec<u64>,
    data: Vec<String>,
    bind: bool,
    recursive_bind: bool,
    remount: bool,
    copy_up: bool,
    idmap: bool,
    recursive_idmap: bool,
    /// `idmap=uids=…;gids=…`.
    inline_idmap: Option<(Vec<IdMapping>, Vec<IdMapping>)>,
    copy_symlink: bool,
    source_nofollow: bool,
    destination_nofollow: bool,
}

impl Words {
    fn apply(&mut self, option: &str, at: impl Fn() -> String) -> Result<()> {
        let Some(word) = word(option) else {
            if let Some((word @ ("idmap" | "ridmap"), ids)) = option.split_once('=') {
                self.recursive_idmap |= word == "ridmap";
                self.idmap = true;
                self.inline_idmap = Some(inline_idmap(ids, at)?);
                return Ok(());
            }
            c_string(option, at)?;
            if !option.is_empty() {
                self.data.push(option.to_owned());
            }
            return Ok(());
        };
        match word {
            Word::Set(bits) => self.attributes.set(bits),
            Word::Clear(bits) => self.attributes.clear(bits),
            Word::Atime(mode) => self.attributes.atime(mode),
            Word::NoAtime(mode) => self.attributes.no_atime(mode),
            Word::RecursiveSet(bits) => self.recursive.set(bits),
            Word::RecursiveClear(bits) => self.recursive.clear(bits),
            Word::RecursiveAtime(mode) => self.recursive.atime(mode),
            Word::RecursiveNoAtime(mode) => self.recursive.no_atime(mode),
            Word::Super(bits) => self.super_flags |= bits,
            Word::NoSuper(bits) => self.super_flags &= !bits,
            Word::Propagation(flags) => self.propagation.push(flags),
            Word::Bind => self.bind = true,
            Word::RecursiveBind => self.recursive_bind = true,
            Word::Remount => self.remount = true,
            Word::CopyUp => self.copy_up = true,
            Word::Idmap => self.idmap = true,
            Word::RecursiveIdmap => (self.idmap, self.recursive_idmap) = (true, true),
            Word::CopySymlink => self.copy_symlink = true,
            Word::SourceNofollow => self.source_nofollow = true,
            Word::DestinationNofollow => self.destination_nofollow = true,
            Word::Ignored => {}
        }
        Ok(())
    }
}

fn source(mount: &Mount, words: &Words, index: usize, bundle_dir: &Path) -> Result<MountSource> {
    let at = |field: &str| format!("/mounts/{index}/{field}");
    let kind = mount.typ().as_deref().unwrap_or_default();
    let source = match mount.source() {
        Some(source) => path_text(source, || at("source"))?,
        None => "",
    };
    // config.md#mounts wants the word in the options; the type alone is what people write by hand.
    let bind = words.bind || words.recursive_bind || kind == "bind";
    if words.remount {
        return Ok(MountSource::Remount { bind });
    }
    if bind {
        if source.is_empty() {
            return Err(Error::config(at("source"), "a bind mount without a source"));
        }
        let path =
            path_text(&bundle_dir.join(source), || at("source")).and_then(|path| c_string(path, || at("source")))?;
        return Ok(MountSource::Bind { path, recursive: words.recursive_bind });
    }
    match kind {
        "" | "none" if source.is_empty() || source == "none" => match words.propagation.as_slice() {
            [] => Err(Error::config(at("type"), "no file system type")),
            _ => Ok(MountSource::PropagationOnly),
        },
        "" | "none" => Err(Error::config(at("type"), "no file system type")),
        kind => {
            let source = c_string(if source.is_empty() { kind } else { source }, || at("source"))?;
            Ok(match kind {
                "cgroup" | "cgroup2" => MountSource::Cgroup { v2: kind == "cgroup2", source },
                kind => MountSource::New { fs_type: c_string(kind, || at("type"))?, source },
            })
        }
    }
}

fn idmap(
    mount: &Mount,
    words: &Words,
    source: &MountSource,
    index: usize,
    own_user_namespace: bool,
) -> Result<Option<IdmapPlan>> {
    let at = |field: &str| format!("/mounts/{index}/{field}");
    let list = |list: &Option<Vec<_>>, field: &str| mappings(list.as_deref().unwrap_or_default(), &at(field));
    let mut uid_mappings = list(mount.uid_mappings(), "uidMappings")?;
    let mut gid_mappings = list(mount.gid_mappings(), "gidMappings")?;
    match (uid_mappings.is_empty(), gid_mappings.is_empty()) {
        (false, true) => return Err(Error::config(at("gidMappings"), "uidMappings without gidMappings")),
        (true, false) => return Err(Error::config(at("uidMappings"), "gidMappings without uidMappings")),
        (true, true) if !words.idmap => return Ok(None),
        _ => {}
    }
    if let Some((uids, gids)) = &words.inline_idmap {
        if !uid_mappings.is_empty() {
            return Err(Error::config(at("options"), "an idmap with mappings, beside uidMappings"));
        }
        (uid_mappings, gid_mappings) = (uids.clone(), gids.clone());
    }
    if uid_mappings.is_empty() && !own_user_namespace {
        return Err(Error::config(at("options"), "an idmap without mappings and without a user namespace"));
    }
    if matches!(source, MountSource::Remount { .. } | MountSource::PropagationOnly | MountSource::Cgroup { .. }) {
        return Err(Error::config(at("options"), "an idmap needs a new mount"));
    }
    Ok(Some(IdmapPlan { recursive: words.recursive_idmap, uid_mappings, gid_mappings }))
}

/// The short form of other runtimes: `uids=INSIDE-OUTSIDE-SIZE[#…];gids=…`.
fn inline_idmap(text: &str, at: impl Fn() -> String) -> Result<(Vec<IdMapping>, Vec<IdMapping>)> {
    let refuse = || Error::config(at(), format!("idmap {text:?} is not uids=INSIDE-OUTSIDE-SIZE[#…];gids=…"));
    let one = |entry: &str| {
        let mut numbers = entry.split('-').map(|text| number(text).and_then(|n| u32::try_from(n).ok()));
        match (numbers.next()??, numbers.next()??, numbers.next()??, numbers.next()) {
            (container_id, host_id, size, None) => Some(IdMapping { container_id, host_id, size }),
            _ => None,
        }
    };
    let parse = |list: &str| {
        let list: Option<Vec<IdMapping>> = list.split('#').map(one).collect();
        checked(&list.ok_or_else(refuse)?, &at())
    };
    let (mut uids, mut gids) = (None, None);
    for part in text.split(';') {
        match part.split_once('=') {
            Some(("uids", list)) => uids = Some(parse(list)?),
            Some(("gids", list)) => gids = Some(parse(list)?),
            _ => return Err(refuse()),
        }
    }
    uids.zip(gids).ok_or_else(refuse)
}

/// One device node (config-linux.md#devices, #default-devices).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DevicePlan {
    /// Position in `linux.devices`; `None` for a default device.
    pub index: Option<usize>,
    /// Absolute inside the container.
    pub path: OsString,
    pub kind: DeviceKind,
    pub major: u32,
    pub minor: u32,
    /// Permission bits.
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
}

/// Type of a device node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DeviceKind {
    Char,
    Block,
    Fifo,
}
