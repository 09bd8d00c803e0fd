//! `update`: limits change while the container is there. What they are based on is the configuration stored with the
//! container; the result is stored again.

use serde_json::Value;

use super::{Container, UpdateOptions, intel_rdt, liveness};
use crate::bundle::parse_resources;
use crate::bundle::resources::ResourcesConfig;
use crate::cgroup::{Cgroup, Change};
use crate::error::{Context as _, Error, Kind, Result};
use crate::host::HostFacts;
use crate::plan::intel_rdt::schemata;
use crate::plan::resources::CgroupPlan;
use crate::pointer;
use crate::state::Status;

const POINTER: &str = "/linux/resources";

pub(super) fn update(container: &Container, options: &UpdateOptions) -> Result<()> {
    let (named, change) = parse(&options.resources)?;
    let lines = schemata(options.l3_cache_schema.as_deref(), options.mem_bw_schema.as_deref())?;

    let _lock = container.directory.lock()?;
    let mut record = container.record()?;
    match liveness::status(&container.directory, Some(&record))? {
        Status::Stopped => return Err(Error::new(Kind::Status, "container not running")),
        Status::Creating => return Err(Error::new(Kind::Status, "cannot update a container that is being created")),
        Status::Created | Status::Running | Status::Paused => {}
    }
    let config = container.config()?;
    let linux = config.linux.unwrap_or_default();
    let before = linux.resources.unwrap_or_default();
    let mut after = before.clone();
    after.merge(change);

    let facts = HostFacts::gather(container.runtime.rootless, false)?;
    let path = linux.cgroups_path.as_deref();
    let plan = |resources| CgroupPlan::new(path, Some(resources), container.id(), record.cgroup.manager, &facts);
    let (old, known) = plan(&before)?;
    let (new, mut warnings) = plan(&after)?;
    warnings.retain(|warning| !known.contains(warning));

    let mut cgroup = Cgroup::from_record(&record.cgroup);
    let change = Change { before: &old.resources, after: &new.resources };
    let asked_for = |at: &str| at.strip_prefix(POINTER).is_some_and(|at| named.pointer(at).is_some());
    let (undo, told) = cgroup.update(&change, asked_for)?;
    warnings.extend(told);

    record.cgroup = cgroup.record().clone();
    let finish = || {
        match &record.intel_rdt {
            _ if lines.is_empty() => {}
            Some(group) => group.update(&intel_rdt::root()?, &lines)?,
            None => return Err(no_class()),
        }
        let stored = container.directory.load_config()?;
        container.directory.replace_config(&with_resources(&stored, &after)?)?;
        container.directory.save(&record)
    };
    finish().map_err(|error| undo.revert(error))?;
    warnings.iter().for_each(container.runtime.on_warning);
    Ok(())
}

/// The resources as they were given, and as they are understood.
fn parse(raw: &[u8]) -> Result<(Value, ResourcesConfig)> {
    if raw.is_empty() {
        return Ok((Value::Null, ResourcesConfig::default()));
    }
    let what = || "parse resources";
    let change = parse_resources(raw).context(what)?;
    let named =
        serde_json::from_slice(raw).map_err(|error| Error::new(Kind::Config, error.to_string()).context(what()))?;
    Ok((named, change))
}

fn no_class() -> Error {
    Error::new(Kind::Unsupported, "the container was created without a class of service to update")
        .at("/linux/intelRdt")
        .hint("its configuration needs linux.intelRdt")
}

/// The stored configuration with other resources; everything else in it stays.
fn with_resources(stored: &[u8], resources: &ResourcesConfig) -> Result<Vec<u8>> {
    let failed = |error: serde_json::Error| Error::new(Kind::System, format!("change the stored config.json: {error}"));
    let mut config: Value = serde_json::from_slice(stored).map_err(failed)?;
    let resources = serde_json::to_value(resources).map_err(failed)?;
    let Some(top) = config.as_object_mut() else {
        return Err(Error::new(Kind::System, "change the stored config.json: it is no object"));
    };
    let linux = top.entry("linux").or_insert(Value::Null);
    if linux.is_null() {
        *linux = Value::Object(serde_json::Map::new());
    }
    match linux.as_object_mut() {
        Some(linux) => linux.insert("resources".to_owned(), resources),
        None => return Err(Error::config(pointer::join("", "linux"), "linux is no object")),
    };
    serde_json::to_vec(&config).map_err(failed)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn with_resources_replaces_them_and_keeps_the_rest() {
        let resources: ResourcesConfig = serde_json::from_value(json!({"pids": {"limit": 5}})).unwrap();
        for (stored, expected) in [
            (
                json!({"a": 1, "linux": {"b": 2, "resources": {"pids": {"limit": 4}}}}),
                json!({"a": 1, "linux": {"b": 2, "resources": {"pids": {"limit": 5}}}}),
            ),
            (json!({"linux": null}), json!({"linux": {"resources": {"pids": {"limit": 5}}}})),
            (json!({}), json!({"linux": {"resources": {"pids": {"limit": 5}}}})),
        ] {
            let changed = with_resources(stored.to_string().as_bytes(), &resources).unwrap();
            assert_eq!(serde_json::from_slice::<Value>(&changed).unwrap(), expected);
        }
        assert!(with_resources(b"[]", &resources).is_err());
    }

    #[test]
    fn parse_names_the_place_of_what_is_wrong() {
        assert_eq!(parse(br#"{"pids":{"limit":"x"}}"#).unwrap_err().pointer(), Some("/pids/limit"));
        assert!(parse(b"nonsense").unwrap_err().to_string().contains("not JSON"));
        assert_eq!(parse(b"").unwrap().1, ResourcesConfig::default());
    }
}
