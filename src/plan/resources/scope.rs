//! The unit that systemd makes for a container: names and place, from linux.cgroupsPath in the form
//! `SLICE:PREFIX:NAME`.

use super::property::{self, Property};
use crate::bundle::shape::Map;
use crate::error::{Error, Kind, Result};
use crate::host::HostFacts;

/// A transient scope to be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Scope {
    /// The unit, ending in `.scope`.
    pub unit: String,
    /// Where it lies, ending in `.slice`.
    pub slice: String,
    /// The user's service manager, not the system's.
    pub user: bool,
    /// What `systemctl status` says; also how a unit is known again as this container's.
    pub description: String,
    /// A cgroup below the unit's for the processes: the container cannot touch the limits of the unit then.
    pub subgroup: Option<String>,
    /// What annotations ask for.
    pub properties: Vec<Property>,
}

const AT: &str = "/linux/cgroupsPath";
const SUBGROUP: &str = "run.oci.systemd.subgroup";

impl Scope {
    /// The scope of the container `id`.
    ///
    /// # Errors
    /// For a path that is neither absent, a name, nor `SLICE:PREFIX:NAME`, and for annotations that cannot be read.
    pub fn new(cgroups_path: Option<&str>, id: &str, annotations: &Map<String>, facts: &HostFacts) -> Result<Scope> {
        let (slice, name) = split(cgroups_path.unwrap_or_default(), id)?;
        let slice = match slice {
            "" if facts.rootless => "user.slice",
            "" => "system.slice",
            slice => slice,
        };
        check_slice(slice)?;
        let unit = format!("{}.scope", escape(&name));
        if unit.len() > LONGEST_UNIT {
            return Err(Error::config(AT, format!("unit {unit:?} has a name longer than {LONGEST_UNIT} bytes")));
        }
        Ok(Scope {
            unit,
            slice: slice.to_owned(),
            user: facts.rootless,
            description: format!("coracle container {id}"),
            subgroup: annotations.value(SUBGROUP).filter(|name| !name.is_empty()).map(|n| subgroup(n)).transpose()?,
            properties: property::properties(annotations)?,
        })
    }

    /// The cgroup below that of the service manager, without a leading slash: `a.slice/a-b.slice/name.scope`.
    pub fn path(&self) -> String {
        let mut path = String::new();
        if self.slice != "-.slice" {
            let stem = self.slice.trim_end_matches(".slice");
            for (end, _) in stem.match_indices('-').chain([(stem.len(), "")]) {
                path.push_str(stem.get(..end).unwrap_or_default());
                path.push_str(".slice/");
            }
        }
        path + &self.unit
    }
}

/// UNIT_NAME_MAX of systemd, and NAME_MAX for the directory.
const LONGEST_UNIT: usize = 255;

/// Slice, which may be empty, and name without its suffix.
fn split<'a>(path: &'a str, id: &str) -> Result<(&'a str, String)> {
    let refused = || {
        Error::config(AT, format!("cgroup path {path:?} has not the form SLICE:PREFIX:NAME, which systemd needs"))
            .hint("use --cgroup-manager cgroupfs for a path")
    };
    let (slice, name) = match path.split(':').collect::<Vec<_>>()[..] {
        [""] => return Ok(("", format!("coracle-{id}"))),
        [name] => ("", name.trim_end_matches(".scope").to_owned()),
        [slice, "", name] => (slice, name.to_owned()),
        [slice, prefix, name] => (slice, format!("{prefix}-{name}")),
        _ => return Err(refused()),
    };
    if path.contains('/') || name.is_empty() || name.ends_with('-') && path.ends_with(':') {
        return Err(refused());
    }
    if name.ends_with(".slice") {
        return Err(
            Error::new(Kind::Unsupported, format!("cgroup path {path:?}: a container cannot be a slice")).at(AT)
        );
    }
    Ok((slice, name))
}

/// systemd.slice(5): dashes say what lies in what.
fn check_slice(slice: &str) -> Result<()> {
    let refused = |why: &str| Err(Error::config(AT, format!("slice {slice:?} {why}")));
    let Some(stem) = slice.strip_suffix(".slice") else { return refused("does not end in .slice") };
    if stem == "-" {
        return Ok(());
    }
    if stem.split('-').any(str::is_empty) {
        return refused("has a part without a name");
    }
    match stem.chars().find(|&c| !is_unit_character(c)) {
        Some(c) => refused(&format!("has the character {c:?}")),
        None if slice.len() > LONGEST_UNIT => refused("is too long"),
        None => Ok(()),
    }
}

/// VALID_CHARS of systemd.unit(5), without the backslash, which begins an escape.
fn is_unit_character(c: char) -> bool {
    c.is_ascii_alphanumeric() || ":_.@-".contains(c)
}

/// As systemd-escape(1): what a unit's name cannot have becomes `\xNN`.
fn escape(name: &str) -> String {
    let mut escaped = String::new();
    for byte in name.bytes() {
        match char::from(byte) {
            c if is_unit_character(c) || c == '\\' => escaped.push(c),
            _ => escaped.push_str(&format!("\\x{byte:02x}")),
        }
    }
    escaped
}

/// A relative path that stays below the unit.
fn subgroup(path: &str) -> Result<String> {
    let odd = |part: &str| part.is_empty() || part == "." || part == ".." || part.chars().any(char::is_control);
    if path.split('/').any(odd) {
        return Err(Error::config(
            format!("/annotations/{SUBGROUP}"),
            format!("subgroup {path:?} is not a path below the unit"),
        ));
    }
    Ok(path.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bundle::parse_config;
    use crate::host::CgroupLayout;

    fn scope(path: Option<&str>, annotations: &str, rootless: bool) -> Result<Scope> {
        let facts = HostFacts {
            euid: 0,
            egid: 0,
            rootless,
            cgroup: CgroupLayout::Unified,
            last_capability: 40,
            effective_capabilities: 0,
            apparmor: false,
            selinux: false,
            ignored_signals: 0,
            umask: Some(0o022),
            in_user_namespace: false,
        };
        let config = format!(r#"{{"ociVersion":"1.0.0","annotations":{annotations}}}"#);
        Scope::new(path, "web+1", &parse_config(config.as_bytes()).unwrap().annotations, &facts)
    }

    #[test]
    fn new_gives_unit_and_place() {
        for (path, expected) in [
            (None, r"system.slice/coracle-web\x2b1.scope"),
            (Some(""), r"system.slice/coracle-web\x2b1.scope"),
            (Some("system.slice:docker:abc"), "system.slice/docker-abc.scope"),
            (Some("a-b-c.slice:crio:x"), "a.slice/a-b.slice/a-b-c.slice/crio-x.scope"),
            (Some("-.slice:p:x"), "p-x.scope"),
            (Some("machine.slice::x"), "machine.slice/x.scope"),
            (Some(":libpod:x"), "system.slice/libpod-x.scope"),
            (Some("web"), "system.slice/web.scope"),
            (Some("web.scope"), "system.slice/web.scope"),
            (
                Some("kubepods-pod1_2.slice:cri-containerd:0f"),
                "kubepods.slice/kubepods-pod1_2.slice/cri-containerd-0f.scope",
            ),
        ] {
            assert_eq!(scope(path, "{}", false).unwrap().path(), expected, "{path:?}");
        }
        assert_eq!(scope(Some("::x"), "{}", true).unwrap().path(), "user.slice/x.scope");
    }

    #[test]
    fn new_wrong_paths_are_refused_with_pointer() {
        for path in [
            "/a/b",
            "a/b",
            "a:b",
            "a:b:c:d",
            "a.slice:b:",
            "::",
            "a:b:c",
            "a--b.slice:p:n",
            "-a.slice:p:n",
            "a-.slice:p:n",
            ".slice:p:n",
            "a/b.slice:p:n",
            "a.slice:p/q:n",
            "a.slice:p:../n",
            "é.slice:p:n",
            "a.slice:p:b.slice",
        ] {
            let error = scope(Some(path), "{}", false).unwrap_err();
            assert_eq!(error.pointer(), Some(AT), "{path} {error}");
        }
        assert!(scope(Some(&format!("a.slice:p:{}", "x".repeat(250))), "{}", false).is_err());
    }

    #[test]
    fn new_reads_annotations() {
        let scope = scope(
            None,
            r#"{"run.oci.systemd.subgroup":"a/b","org.systemd.property.TimeoutStopSec":"3","other":"x"}"#,
            false,
        )
        .unwrap();
        assert_eq!(scope.subgroup.as_deref(), Some("a/b"));
        assert_eq!(scope.properties.len(), 1);
    }

    #[test]
    fn new_subgroups_that_lead_out_are_refused() {
        for path in ["..", "a/../..", "/a", "a//b", "a/", "."] {
            let annotations = serde_json::json!({ SUBGROUP: path }).to_string();
            assert!(scope(None, &annotations, false).is_err(), "{path}");
        }
        let empty = serde_json::json!({ SUBGROUP: "" }).to_string();
        assert_eq!(scope(None, &empty, false).unwrap().subgroup, None);
    }
}
