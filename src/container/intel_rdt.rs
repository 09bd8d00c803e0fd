//! Intel RDT (config-linux.md#intelrdt): a class of service, and a monitoring group, as directories of resctrl. Done by
//! the parent; everything is below a [`root`] that the caller found.

use std::fs;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::cgroup::stats::{BandwidthMonitor, CacheMonitor, IntelRdtStats};
use crate::error::{Context, Error, Kind, Result, Warning};
use crate::fs::{MountLine, read_mount_table};
use crate::plan::IntelRdt;

const POINTER: &str = "/linux/intelRdt";

/// Where resctrl is mounted, by the text of /proc/self/mountinfo (proc_pid_mountinfo(5)).
fn mount_point(mountinfo: &str) -> Option<PathBuf> {
    mountinfo.lines().filter_map(MountLine::parse).find(|mount| mount.fs_type == "resctrl").map(|mount| mount.point())
}

/// Where resctrl is mounted.
pub(crate) fn root() -> Result<PathBuf> {
    mount_point(&read_mount_table()?).ok_or_else(|| {
        Error::new(Kind::Unsupported, "resctrl is not mounted")
            .at(POINTER)
            .hint("mount -t resctrl resctrl /sys/fs/resctrl")
    })
}

/// The directories of one container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Group {
    class: PathBuf,
    /// The class did not exist before, so it goes with the container.
    made_class: bool,
    monitoring: Option<PathBuf>,
}

impl Group {
    /// Makes, or finds, the class of service of container `id` below `root`, and writes its schemata. What it made is
    /// removed again if it fails.
    pub(crate) fn create(root: &Path, id: &str, rdt: &IntelRdt) -> Result<Group> {
        let class = root.join(rdt.clos_id.as_deref().unwrap_or(id));
        let made_class = make_class(&class, rdt)?;
        let mut group = Group { class, made_class, monitoring: None };
        match group.fill(root, id, rdt) {
            Ok(()) => Ok(group),
            Err(error) => {
                // The cause matters more than what cleaning up met.
                let _ = group.remove();
                Err(error)
            }
        }
    }

    fn fill(&mut self, root: &Path, id: &str, rdt: &IntelRdt) -> Result<()> {
        if self.made_class {
            write_schemata(root, &self.class, &rdt.schemata)?;
        } else {
            compare_schemata(&self.class, &rdt.schemata)?;
        }
        if rdt.enable_monitoring {
            let path = self.class.join("mon_groups").join(id);
            fs::create_dir(&path)
                .context(|| format!("make the monitoring group {}", path.display()))
                .map_err(|error| error.at(POINTER))?;
            self.monitoring = Some(path);
        }
        Ok(())
    }

    /// Replaces schemata of the class, below `root`. What a line that failed leaves behind is put back.
    pub(crate) fn update(&self, root: &Path, lines: &[String]) -> Result<()> {
        let path = self.class.join("schemata");
        let before = fs::read_to_string(&path).context(|| format!("read {}", path.display()))?;
        write_schemata(root, &self.class, lines).map_err(|error| {
            let old: Vec<String> = before.lines().map(|line| line.trim().to_owned()).collect();
            match write_schemata(root, &self.class, &old) {
                Ok(()) => error,
                Err(lost) => error.hint(format!("the old schemata could not be put back: {lost}")),
            }
        })
    }

    /// The schemata of the class and of the host, and what was counted for the monitoring group, else for the class.
    pub(crate) fn stats(&self, root: &Path) -> Result<IntelRdtStats> {
        let schema = |directory: &Path, prefix: &str| {
            let text = fs::read_to_string(directory.join("schemata")).unwrap_or_default();
            let line = text.lines().map(str::trim).find(|line| line.starts_with(prefix));
            line.unwrap_or_default().to_owned()
        };
        let mut stats = IntelRdtStats {
            l3_cache_schema_root: schema(root, "L3"),
            l3_cache_schema: schema(&self.class, "L3"),
            mem_bw_schema_root: schema(root, "MB:"),
            mem_bw_schema: schema(&self.class, "MB:"),
            ..IntelRdtStats::default()
        };
        let data = self.monitoring.as_ref().unwrap_or(&self.class).join("mon_data");
        let entries = match fs::read_dir(&data) {
            // A machine without monitoring.
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(stats),
            entries => entries.context(|| format!("list {}", data.display()))?,
        };
        let mut caches: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
        caches.sort_unstable();
        for cache in caches {
            let number = |name: &str| fs::read_to_string(cache.join(name)).ok()?.trim().parse::<u64>().ok();
            stats.cmt_stats.extend(number("llc_occupancy").map(|llc_occupancy| CacheMonitor { llc_occupancy }));
            stats.mbm_stats.extend(number("mbm_total_bytes").map(|mbm_total_bytes| BandwidthMonitor {
                mbm_total_bytes,
                mbm_local_bytes: number("mbm_local_bytes").unwrap_or_default(),
            }));
        }
        Ok(stats)
    }

    /// Puts the process `pid`, which has one thread, into the class and the monitoring group.
    pub(crate) fn join(&self, pid: i32) -> Result<()> {
        // The class first: a task can only be in a monitoring group of its own class.
        for directory in [Some(&self.class), self.monitoring.as_ref()].into_iter().flatten() {
            let tasks = directory.join("tasks");
            write(&tasks, &pid.to_string())
                .context(|| format!("put process {pid} into {}", tasks.display()))
                .map_err(|error| error.at(POINTER))?;
        }
        Ok(())
    }

    /// Removes what was made for the container. What cannot be removed is a warning; what is gone already is nothing.
    pub(crate) fn remove(&self) -> Vec<Warning> {
        // Removing a class removes its monitoring groups.
        let directory = if self.made_class { Some(&self.class) } else { self.monitoring.as_ref() };
        let Some(directory) = directory else { return Vec::new() };
        match fs::remove_dir(directory) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                let result: Result<()> = Err(error).context(|| format!("remove {}", directory.display()));
                result.err().iter().map(Warning::ignored).collect()
            }
            _ => Vec::new(),
        }
    }
}

/// True if the directory was made, false if it was there and may be shared.
fn make_class(class: &Path, rdt: &IntelRdt) -> Result<bool> {
    let must_exist = rdt.explicit && rdt.schemata.is_empty();
    let result = if must_exist { fs::metadata(class).map(|_| false) } else { fs::create_dir(class).map(|()| true) };
    match result {
        Err(error) if error.kind() == ErrorKind::AlreadyExists && rdt.explicit => Ok(false),
        Err(error) if must_exist && error.kind() == ErrorKind::NotFound => {
            let message =
                format!("the class of service {} does not exist, and no schema is given to make it", class.display());
            Err(Error::config(format!("{POINTER}/closID"), message))
        }
        result => result
            .context(|| format!("make the class of service {}", class.display()))
            .map_err(|error| error.at(POINTER)),
    }
}

fn write_schemata(root: &Path, class: &Path, lines: &[String]) -> Result<()> {
    let path = class.join("schemata");
    for line in lines {
        // One line a write: the kernel stops at the first that it does not like, and says why elsewhere.
        write(&path, &format!("{line}\n")).map_err(|error| {
            let reason = fs::read_to_string(root.join("info/last_cmd_status")).unwrap_or_default();
            let reason = reason.trim();
            let reason = if reason.is_empty() || reason == "ok" { String::new() } else { format!(" ({reason})") };
            error.context(format!("write {line:?} to {}{reason}", path.display())).at(POINTER)
        })?;
    }
    Ok(())
}

/// A class that somebody else made must be what the configuration asks for.
fn compare_schemata(class: &Path, lines: &[String]) -> Result<()> {
    if lines.is_empty() {
        return Ok(());
    }
    let path = class.join("schemata");
    let existing = fs::read_to_string(&path).context(|| format!("read {}", path.display()))?;
    match lines.iter().find(|line| !schema_is_in_force(&existing, line)) {
        None => Ok(()),
        Some(line) => {
            let message = format!("{} exists, and its schemata are not {line:?}", class.display());
            Err(Error::new(Kind::Config, message).at(format!("{POINTER}/closID")))
        }
    }
}

/// Whether every `id=value` of `wanted` (`L3:0=7f0;1=1f`) is in the text of a schemata file, which pads with blanks
/// and zeros.
fn schema_is_in_force(existing: &str, wanted: &str) -> bool {
    let Some((resource, values)) = split_schema(wanted) else { return false };
    let existing: Vec<(String, String)> = existing
        .lines()
        .filter_map(split_schema)
        .filter(|(name, _)| *name == resource)
        .flat_map(|(_, values)| values)
        .collect();
    values.iter().all(|value| existing.contains(value))
}

fn split_schema(line: &str) -> Option<(&str, Vec<(String, String)>)> {
    let (resource, values) = line.split_once(':')?;
    let values = values.split(';').filter_map(|value| value.split_once('='));
    let values = values.map(|(id, value)| (plain(id), plain(value))).collect();
    Some((resource.trim(), values))
}

fn plain(number: &str) -> String {
    let number = number.trim().to_ascii_lowercase();
    let digits = number.trim_start_matches("0x").trim_start_matches('0');
    if digits.is_empty() { "0".to_owned() } else { digits.to_owned() }
}

/// One write to a file of resctrl, which makes the files of a directory itself; a fake tree in tests does not.
fn write(path: &Path, text: &str) -> Result<()> {
    let file = fs::File::options().write(true).create(cfg!(test)).truncate(false).open(path);
    file.and_then(|mut file| file.write_all(text.as_bytes())).context(|| "write")
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Tree(PathBuf);

    impl Tree {
        fn new(name: &str) -> Self {
            let root = std::env::temp_dir().join(format!("coracle-resctrl-{name}-{}", std::process::id()));
            fs::create_dir_all(&root).unwrap();
            Tree(root)
        }

        fn class(&self, name: &str, schemata: &str) -> PathBuf {
            let class = self.0.join(name);
            fs::create_dir_all(class.join("mon_groups")).unwrap();
            fs::write(class.join("schemata"), schemata).unwrap();
            class
        }
    }

    impl Drop for Tree {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn rdt(clos_id: Option<&str>, schemata: &[&str]) -> IntelRdt {
        IntelRdt {
            clos_id: clos_id.map(str::to_owned),
            explicit: clos_id.is_some(),
            schemata: schemata.iter().map(|line| (*line).to_owned()).collect(),
            enable_monitoring: false,
        }
    }

    #[test]
    fn create_without_class_makes_one_named_after_the_container() {
        let tree = Tree::new("own");
        let group = Group::create(&tree.0, "web", &rdt(None, &["L3:0=7f0;1=1f"])).unwrap();
        assert!(group.made_class);
        group.join(42).unwrap();
        assert_eq!(fs::read_to_string(tree.0.join("web/schemata")).unwrap(), "L3:0=7f0;1=1f\n");
        assert_eq!(fs::read_to_string(tree.0.join("web/tasks")).unwrap(), "42");
    }

    #[test]
    fn create_explicit_class_without_schema_must_exist() {
        let tree = Tree::new("explicit");
        let error = Group::create(&tree.0, "web", &rdt(Some("gold"), &[])).unwrap_err();
        assert_eq!((error.kind(), error.pointer()), (Kind::Config, Some("/linux/intelRdt/closID")));
        tree.class("gold", "L3:0=fff\n");
        let group = Group::create(&tree.0, "web", &rdt(Some("gold"), &[])).unwrap();
        assert!(!group.made_class);
        assert!(group.remove().is_empty());
        assert!(tree.0.join("gold").exists());
    }

    #[test]
    fn create_existing_class_with_other_schemata_fails_and_changes_nothing() {
        let tree = Tree::new("differs");
        let class = tree.class("gold", "    MB:0= 20;1=100\n    L3:0=0ff;1=00f\n");
        assert!(Group::create(&tree.0, "web", &rdt(Some("gold"), &["L3:0=ff;1=0xF", "MB:1=100"])).is_ok());
        let error = Group::create(&tree.0, "web", &rdt(Some("gold"), &["L3:0=7f"])).unwrap_err();
        assert_eq!(error.kind(), Kind::Config);
        assert!(fs::read_to_string(class.join("schemata")).unwrap().contains("0ff"));
    }

    #[test]
    fn create_own_class_that_exists_fails() {
        let tree = Tree::new("taken");
        tree.class("web", "");
        let error = Group::create(&tree.0, "web", &rdt(None, &["L3:0=1"])).unwrap_err();
        assert_eq!(error.raw_errno(), Some(libc::EEXIST));
        assert!(tree.0.join("web").exists());
    }

    #[test]
    fn monitoring_group_is_made_joined_and_removed() {
        let tree = Tree::new("monitoring");
        let class = tree.class("gold", "");
        let config = IntelRdt { enable_monitoring: true, ..rdt(Some("gold"), &[]) };
        let group = Group::create(&tree.0, "web", &config).unwrap();
        group.join(7).unwrap();
        assert_eq!(fs::read_to_string(class.join("mon_groups/web/tasks")).unwrap(), "7");
        fs::remove_file(class.join("mon_groups/web/tasks")).unwrap();
        assert!(group.remove().is_empty());
        assert!(!class.join("mon_groups/web").exists() && class.exists());
        assert!(group.remove().is_empty());
    }

    #[test]
    fn create_failure_removes_the_class_it_made() {
        let tree = Tree::new("undo");
        // A fresh class of a fake tree has no mon_groups directory.
        let config = IntelRdt { enable_monitoring: true, ..rdt(None, &[]) };
        let error = Group::create(&tree.0, "web", &config).unwrap_err();
        assert_eq!(error.pointer(), Some("/linux/intelRdt"));
        assert!(!tree.0.join("web").exists());
    }

    #[test]
    fn update_writes_the_lines_into_the_class() {
        let tree = Tree::new("update");
        let group = Group::create(&tree.0, "web", &rdt(None, &["L3:0=f"])).unwrap();
        group.update(&tree.0, &["L3:0=3".to_owned()]).unwrap();
        assert!(fs::read_to_string(tree.0.join("web/schemata")).unwrap().starts_with("L3:0=3\n"));
        fs::remove_file(tree.0.join("web/schemata")).unwrap();
        assert_eq!(group.update(&tree.0, &[]).unwrap_err().raw_errno(), Some(libc::ENOENT));
    }

    #[test]
    fn stats_are_schemata_and_counts_of_every_cache() {
        let tree = Tree::new("stats");
        fs::write(tree.0.join("schemata"), "MB:0=100\n    L3:0=fff;1=fff\n").unwrap();
        let group = Group::create(&tree.0, "web", &rdt(None, &["L3:0=f"])).unwrap();
        assert_eq!(group.stats(&tree.0).unwrap().cmt_stats, []);
        for (cache, occupancy) in [("mon_L3_01", "7\n"), ("mon_L3_00", "5\n")] {
            let directory = tree.0.join("web/mon_data").join(cache);
            fs::create_dir_all(&directory).unwrap();
            fs::write(directory.join("llc_occupancy"), occupancy).unwrap();
            fs::write(directory.join("mbm_total_bytes"), "9\n").unwrap();
            fs::write(directory.join("mbm_local_bytes"), "Unavailable\n").unwrap();
        }
        let stats = group.stats(&tree.0).unwrap();
        assert_eq!((stats.l3_cache_schema_root.as_str(), stats.l3_cache_schema.as_str()), ("L3:0=fff;1=fff", "L3:0=f"));
        assert_eq!((stats.mem_bw_schema_root.as_str(), stats.mem_bw_schema.as_str()), ("MB:0=100", ""));
        assert_eq!(stats.cmt_stats.iter().map(|cache| cache.llc_occupancy).collect::<Vec<_>>(), [5, 7]);
        assert_eq!(stats.mbm_stats.len(), 2);
        assert_eq!((stats.mbm_stats[0].mbm_total_bytes, stats.mbm_stats[0].mbm_local_bytes), (9, 0));
    }

    #[test]
    fn mount_point_is_found_by_type() {
        let mountinfo =
            "22 1 0:20 / /sys rw - sysfs resctrl rw\n30 22 0:9 / /sys/fs/resctrl rw shared:1 - resctrl x rw\n";
        assert_eq!(mount_point(mountinfo), Some(PathBuf::from("/sys/fs/resctrl")));
        assert_eq!(mount_point("22 1 0:20 / /sys rw - sysfs sysfs rw\n"), None);
    }
}
