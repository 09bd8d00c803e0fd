//! linux.intelRdt (config-linux.md#intelrdt) into the lines for resctrl.

use super::IntelRdt;
use crate::bundle::config;
use crate::error::{Error, Result};

/// Checks names and lines.
pub(super) fn plan(config: &config::IntelRdt) -> Result<IntelRdt> {
    let at = |field: &str| format!("/linux/intelRdt/{field}");
    let clos_id = config.clos_id.as_deref().filter(|id| !id.is_empty());
    if let Some(id) = clos_id {
        if matches!(id, "." | "..") || id.contains(['/', '\n']) {
            return Err(Error::config(at("closID"), format!("closID {id:?} is no name of a directory")));
        }
        // Directories of the kernel's own in the same place.
        if matches!(id, "info" | "mon_groups" | "mon_data") {
            return Err(Error::config(at("closID"), format!("closID {id:?} belongs to the kernel")));
        }
    }
    let mut schemata = schemata(config.l3_cache_schema.as_deref(), config.mem_bw_schema.as_deref())?;
    for (i, line) in config.schemata.iter().enumerate() {
        if line.contains('\n') || line.trim().is_empty() {
            return Err(Error::config(at(&format!("schemata/{i}")), format!("{line:?} is not one line")));
        }
        schemata.push(line.clone());
    }
    Ok(IntelRdt {
        clos_id: clos_id.map(str::to_owned),
        explicit: clos_id.is_some(),
        schemata,
        enable_monitoring: config.enable_monitoring || config.enable_cmt || config.enable_mbm,
    })
}

/// The lines of l3CacheSchema and memBwSchema.
pub(crate) fn schemata(l3_cache: Option<&str>, bandwidth: Option<&str>) -> Result<Vec<String>> {
    let l3 = l3_cache.filter(|schema| !schema.is_empty());
    let bandwidth = bandwidth.filter(|schema| !schema.is_empty());
    if let Some(schema) = bandwidth.filter(|schema| !schema.starts_with("MB:") || schema.contains('\n')) {
        return Err(Error::config(
            "/linux/intelRdt/memBwSchema",
            format!("{schema:?} is not one line that starts with MB:"),
        ));
    }
    let mut schemata = Vec::new();
    for line in l3.unwrap_or_default().lines().map(str::trim).filter(|line| !line.is_empty()) {
        // With both, the bandwidth is what memBwSchema says.
        if bandwidth.is_none() || !line.starts_with("MB:") {
            schemata.push(line.to_owned());
        }
    }
    schemata.extend(bandwidth.map(str::to_owned));
    Ok(schemata)
}
