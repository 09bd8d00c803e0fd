//! One value in one control file, and the one writer of all of them. [`super::apply`] makes the list.

use std::borrow::Cow;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::io::Errno;

use super::file;
use super::record::{Hierarchy, Record};
use crate::error::{Context, Error, Kind, Result, Warning};

/// What the translators make: `value` goes into `file` of the hierarchy with `controller`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Setting {
    pub controller: Cow<'static, str>,
    pub file: Cow<'static, str>,
    pub value: String,
    /// What in config.json asked for it.
    pub pointer: String,
    pub missing: Missing,
}

/// What a kernel without the file means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Missing {
    /// The limit cannot hold: an error.
    Fail,
    /// Nothing would change.
    Ignore,
    /// The kernel may have the same under another name.
    Instead { file: Cow<'static, str>, value: String },
}

/// The settings of a set of resources, in the order of writing, and what cannot be said but does not matter enough.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Translation {
    pub settings: Vec<Setting>,
    pub warnings: Vec<Warning>,
}

impl Translation {
    /// Adds a setting; `place` is below /linux/resources.
    pub fn set(
        &mut self,
        controller: &'static str,
        file: impl Into<Cow<'static, str>>,
        value: impl ToString,
        place: &str,
    ) -> &mut Setting {
        self.settings.push(Setting {
            controller: Cow::Borrowed(controller),
            file: file.into(),
            value: value.to_string(),
            pointer: pointer(place),
            missing: Missing::Fail,
        });
        let last = self.settings.len() - 1;
        &mut self.settings[last]
    }

    /// Warns that `place` below /linux/resources was ignored, and why.
    pub fn warn(&mut self, place: &str, reason: &str) {
        self.warnings.push(Warning::config(pointer(place), format!("{reason}, ignoring")));
    }
}

/// The JSON pointer of `place` below /linux/resources.
pub(super) fn pointer(place: &str) -> String {
    format!("/linux/resources{place}")
}

/// Controllers that only v1 has.
const OF_V1: [&str; 2] = ["net_cls", "net_prio"];

/// The hierarchy that `setting` belongs to. v1 and v2 name files differently, so the first controller that
/// matches is the right one. A v2 hierarchy of which no controller is known may have any of v2.
pub(super) fn hierarchy_of<'a>(record: &'a Record, setting: &Setting) -> Option<&'a Hierarchy> {
    let unified = || {
        record.v2().filter(|v2| {
            setting.controller == "cgroup"
                || v2.controllers.is_empty() && !OF_V1.contains(&&*setting.controller)
                || v2.controllers.iter().any(|c| *c == setting.controller)
        })
    };
    record.v1(&setting.controller).or_else(unified)
}

/// Writes every setting. One that the kernel calls invalid is tried once more after the others of its
/// controller: a limit may have to move before another can (memory and swap, quota and burst).
pub(super) fn write_all(record: &Record, settings: Vec<Setting>) -> Result<()> {
    let mut writer = Writer::default();
    let mut deferred: Vec<(PathBuf, Setting)> = Vec::new();
    for setting in settings {
        let Some(hierarchy) = hierarchy_of(record, &setting) else {
            if setting.missing == Missing::Ignore {
                continue;
            }
            return Err(Error::new(
                Kind::Unsupported,
                format!("set {}: no hierarchy has the {} controller", setting.file, setting.controller),
            )
            .at(setting.pointer));
        };
        match writer.write(&hierarchy.directory, &setting) {
            Err(Errno::INVAL) => deferred.push((hierarchy.directory.clone(), setting)),
            result => check(result, &hierarchy.directory, &setting)?,
        }
    }
    for (directory, setting) in deferred {
        check(writer.write(&directory, &setting), &directory, &setting)?;
    }
    Ok(())
}

/// Keeps the last file open: rules and rates for several devices go to the same one.
#[derive(Default)]
pub(super) struct Writer {
    open: Option<(PathBuf, OwnedFd)>,
}

impl Writer {
    fn write(&mut self, directory: &Path, setting: &Setting) -> Result<(), Errno> {
        match (self.write_line(&directory.join(&*setting.file), &setting.value), &setting.missing) {
            (Err(Errno::NOENT), Missing::Ignore) => Ok(()),
            (Err(Errno::NOENT), Missing::Instead { file, value }) => self.write_line(&directory.join(&**file), value),
            (result, _) => result,
        }
    }

    /// Writes one line into `path`.
    pub fn write_line(&mut self, path: &Path, line: &str) -> Result<(), Errno> {
        match &self.open {
            Some((open, fd)) if open == path => file::write_to(fd, line),
            _ => {
                let fd = file::open_write(path)?;
                let result = file::write_to(&fd, line);
                self.open = Some((path.to_owned(), fd));
                result
            }
        }
    }
}

fn check(result: Result<(), Errno>, directory: &Path, setting: &Setting) -> Result<()> {
    let Setting { controller, file, value, pointer, .. } = setting;
    match result {
        Ok(()) => Ok(()),
        Err(errno) => {
            let failed =
                Err::<(), _>(errno).context(|| format!("write {value:?} to {file} of {}", directory.display()));
            failed.map_err(|error| {
                let error = error.at(pointer.clone());
                match errno {
                    Errno::NOENT => error.kind_of(Kind::Unsupported).hint(format!(
                        "the kernel has no such file, or the {controller} controller is not enabled there"
                    )),
                    Errno::BUSY if controller == "memory" => error.hint("more is in use than the new limit"),
                    _ => error,
                }
            })
        }
    }
}
