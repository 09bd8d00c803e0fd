//! What a cgroup has used: parsers of the kernel's files, which are pure, and one reader for each version. Files that
//! this kernel does not have leave their field at 0 or empty.
//!
//! Uses `record` and `file` of this room. Called by `container`, which adds what is not a matter of cgroups.

mod parse;
mod types;
mod v1;
mod v2;

use std::path::Path;

use rustix::io::Errno;

use super::file;
use super::record::Record;
use crate::error::{Context, Result};
pub(crate) use parse::interfaces as parse_interfaces;
pub use types::{
    BandwidthMonitor, BlkioEntry, BlkioStats, CacheMonitor, CpuStats, CpuUsage, CpusetStats, HugetlbStats,
    IntelRdtStats, MemoryStats, MemoryUsage, MiscStats, NetworkInterface, PidsStats, Pressure, PressureLine, Stats,
    Throttling,
};

/// See [`super::Cgroup::stats`].
pub(super) fn read(record: &Record) -> Result<Stats> {
    let mut stats = Stats::default();
    for (controller, read) in v1::READERS {
        if let Some(v1) = record.v1(controller) {
            read(&v1.directory, &mut stats)?;
        }
    }
    let Some(v2) = record.v2() else { return Ok(stats) };
    let directory = v2.directory.as_path();
    for (controller, read) in v2::READERS {
        if record.v1(controller.v1).is_none() && directory.join(controller.file).exists() {
            read(directory, &mut stats)?;
        }
    }
    // The core counts pressure, without any controller.
    v2::pressure(directory, &mut stats)?;
    Ok(stats)
}

/// The content of `name`; `None` where this kernel or this cgroup has no such file, or no longer.
fn content(directory: &Path, name: &str) -> Result<Option<String>> {
    let path = directory.join(name);
    match file::read(&path) {
        Ok(text) => Ok(Some(text)),
        Err(Errno::NOENT | Errno::NODEV | Errno::OPNOTSUPP) => Ok(None),
        Err(errno) => Err(errno).context(|| format!("read {}", path.display())),
    }
}

/// The one number in `name`, 0 where there is no such file.
fn value(directory: &Path, name: &str) -> Result<u64> {
    Ok(content(directory, name)?.as_deref().map_or(0, parse::number))
}

/// The numbers of a list like `0-3,7` in `name`.
fn set(directory: &Path, name: &str) -> Result<Vec<u16>> {
    Ok(content(directory, name)?.as_deref().map(parse::set).unwrap_or_default())
}

/// The numbers by name in `name`.
fn table(directory: &Path, name: &str) -> Result<std::collections::BTreeMap<String, u64>> {
    Ok(content(directory, name)?.as_deref().map(parse::table).unwrap_or_default())
}

/// The controller pids has the same files in both versions.
fn pids(directory: &Path, stats: &mut Stats) -> Result<()> {
    stats.pids.current = value(directory, "pids.current")?;
    let limit = content(directory, "pids.max")?;
    stats.pids.limit = limit.filter(|text| text.trim() != "max").as_deref().map_or(0, parse::number);
    Ok(())
}

/// Sizes of huge pages that `directory` has files for, as those name them: `2MB`.
fn page_sizes(directory: &Path, suffix: &str) -> Result<Vec<String>> {
    let what = || format!("list cgroup {}", directory.display());
    let entries = match std::fs::read_dir(directory) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.context(what)?,
    };
    let mut sizes = Vec::new();
    for entry in entries {
        let name = entry.context(what)?.file_name();
        let size = name.to_str().and_then(|name| name.strip_prefix("hugetlb.")?.strip_suffix(suffix));
        sizes.extend(size.filter(|size| !size.contains('.')).map(str::to_owned));
    }
    sizes.sort_unstable();
    Ok(sizes)
}
