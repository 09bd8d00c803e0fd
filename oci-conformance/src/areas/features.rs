//! The features document, where a runtime has one: what it lists must be true.

use rustix::thread::CapabilitySet;
use serde_json::{Map, Value, json};

use crate::config;
use crate::lab::Lab;
use crate::needs::Need;
use crate::suite::{Test, core};
use crate::verdict::{Failure, Verdict, ensure, equal};

const NEEDS: &[Need] = &[Need::Root, Need::Features];

pub const TESTS: &[Test] = &[
    core("features.version_min_is_accepted", &["F-version-min"], |lab| version(lab, "ociVersionMin")).needs(NEEDS),
    core("features.version_max_is_accepted", &["F-version-max"], |lab| version(lab, "ociVersionMax")).needs(NEEDS),
    core("features.versions_are_in_order", &["F-version-order"], in_order).needs(NEEDS),
    core("features.has_only_defined_properties", &["F-defined"], defined).needs(NEEDS),
    core("features.annotations_are_strings", &["F-annotations"], annotations).needs(NEEDS),
    core("features.hooks_are_supported", &["F-hooks"], hooks).needs(NEEDS),
    core("features.mount_options_are_recognised", &["F-options", "F-options-data"], options).needs(NEEDS),
    core("features.namespaces_are_recognised", &["F-namespaces"], namespaces).needs(NEEDS),
    core("features.capabilities_are_recognised", &["F-capabilities"], capabilities).needs(NEEDS),
    core("features.seccomp_actions_are_recognised", &["F-seccomp-actions"], |lab| {
        seccomp(
            lab,
            "actions",
            |word| json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["personality"], "action": word}]}),
        )
    })
    .needs(NEEDS),
    core("features.seccomp_operators_are_recognised", &["F-seccomp-operators"], |lab| {
        seccomp(lab, "operators", |word| {
            let args = json!([{"index": 0, "value": 1, "valueTwo": 1, "op": word}]);
            let rule = json!({"names": ["personality"], "action": "SCMP_ACT_ERRNO", "args": args});
            json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule]})
        })
    })
    .needs(NEEDS),
    core("features.seccomp_archs_are_recognised", &["F-seccomp-archs"], |lab| {
        seccomp(lab, "archs", |word| {
            let rule = json!({"names": ["personality"], "action": "SCMP_ACT_ERRNO"});
            json!({"defaultAction": "SCMP_ACT_ALLOW", "architectures": [word], "syscalls": [rule]})
        })
    })
    .needs(NEEDS),
    core("features.seccomp_known_flags_are_recognised", &["F-seccomp-known"], |lab| {
        seccomp(lab, "knownFlags", with_flag)
    })
    .needs(NEEDS),
    core("features.seccomp_supported_flags_work", &["F-seccomp-supported"], |lab| {
        seccomp(lab, "supportedFlags", with_flag)
    })
    .needs(NEEDS),
    core("features.idmap_is_told", &["F-idmap"], idmap).needs(NEEDS),
    core("features.memory_policy_modes_are_recognised", &["F-memory-modes"], memory_modes).needs(NEEDS),
    core("features.memory_policy_flags_are_recognised", &["F-memory-flags"], memory_flags).needs(NEEDS),
];

fn with_flag(word: &str) -> Value {
    json!({"defaultAction": "SCMP_ACT_ALLOW", "flags": [word],
           "syscalls": [{"names": ["personality"], "action": "SCMP_ACT_ERRNO"}]})
}

fn words(document: &Value, pointer: &str) -> Vec<String> {
    let list = document.pointer(pointer).and_then(Value::as_array).cloned().unwrap_or_default();
    list.iter().filter_map(Value::as_str).map(str::to_owned).collect()
}

/// Create takes the configuration; what is created goes at once.
fn accepted(lab: &Lab, name: &str, config: &Value) -> Verdict {
    let container = lab.container(name, config)?;
    let answer = container.try_create()?;
    container.clear();
    ensure(answer.ok(), || format!("{name}: create failed: {}", crate::container::last_line(&answer)))
}

/// Every word of a list in a configuration of its own; those that fail are told together.
fn each(lab: &Lab, list: &[String], config: impl Fn(&str) -> Value) -> Verdict {
    let mut wrong = Vec::new();
    for word in list {
        if let Err(failure) = accepted(lab, &word.to_lowercase(), &config(word)) {
            wrong.push(failure.0);
        }
    }
    ensure(wrong.is_empty(), || wrong.join("; "))
}

fn version(lab: &Lab, name: &str) -> Verdict {
    let document = lab.runtime.features()?;
    ensure(document[name].is_string(), || format!("{name} is {}", document[name]))?;
    super::errors::runs(lab, &config::with("/ociVersion", document[name].clone()))
}

fn numbers(version: &str) -> Vec<u32> {
    version.split(['-', '+']).next().unwrap_or_default().split('.').filter_map(|part| part.parse().ok()).collect()
}

fn in_order(lab: &Lab) -> Verdict {
    let document = lab.runtime.features()?;
    let [low, high] =
        ["ociVersionMin", "ociVersionMax"].map(|name| numbers(document[name].as_str().unwrap_or_default()));
    ensure(low.len() == 3 && high.len() == 3 && low <= high, || format!("{low:?} to {high:?}"))
}

fn only(object: &Value, names: &[&str], place: &str) -> Verdict {
    for name in object.as_object().unwrap_or(&Map::new()).keys() {
        ensure(names.contains(&name.as_str()), || format!("{place}/{name} is not defined"))?;
    }
    Ok(())
}

fn defined(lab: &Lab) -> Verdict {
    let document = lab.runtime.features()?;
    let top = [
        "ociVersionMin",
        "ociVersionMax",
        "hooks",
        "mountOptions",
        "linux",
        "annotations",
        "potentiallyUnsafeConfigAnnotations",
    ];
    only(&document, &top, "")?;
    let linux = [
        "namespaces",
        "capabilities",
        "cgroup",
        "seccomp",
        "apparmor",
        "selinux",
        "intelRdt",
        "memoryPolicy",
        "mountExtensions",
        "netDevices",
    ];
    only(&document["linux"], &linux, "/linux")?;
    let seccomp = ["enabled", "actions", "operators", "archs", "knownFlags", "supportedFlags"];
    only(&document["linux"]["seccomp"], &seccomp, "/linux/seccomp")?;
    only(&document["linux"]["cgroup"], &["v1", "v2", "systemd", "systemdUser", "rdma"], "/linux/cgroup")?;
    only(&document["linux"]["intelRdt"], &["enabled", "schemata", "monitoring"], "/linux/intelRdt")?;
    only(&document["linux"]["memoryPolicy"], &["modes", "flags"], "/linux/memoryPolicy")?;
    only(&document["linux"]["mountExtensions"], &["idmap"], "/linux/mountExtensions")
}

fn annotations(lab: &Lab) -> Verdict {
    let document = lab.runtime.features()?;
    let found = &document["annotations"];
    let right = found.is_null() || found.as_object().is_some_and(|map| map.values().all(Value::is_string));
    ensure(right, || format!("annotations: {found}"))
}

fn hooks(lab: &Lab) -> Verdict {
    let document = lab.runtime.features()?;
    for kind in words(&document, "/hooks") {
        let inside = kind == "startContainer";
        let log = if inside { "/hooks.log".to_owned() } else { lab.text(&format!("{kind}.log")) };
        let path = if inside { "/probe".to_owned() } else { lab.host_probe() };
        let mut config =
            config::with(&format!("/hooks/{kind}"), json!([{"path": path, "args": ["probe", "hook", log, kind]}]));
        config::set_actions(&mut config, &[]);
        let container = lab.container(&kind, &config)?;
        container.create()?;
        container.start()?;
        container.wait()?;
        container.delete()?;
        let log = if inside { container.root().join("hooks.log") } else { lab.path(&format!("{kind}.log")) };
        ensure(log.exists(), || format!("a {kind} hook does not run"))?;
    }
    Ok(())
}

/// A tmpfs refuses data that it does not know: a word that is listed but taken for data fails there. Words that need
/// something of their own are left to the tests of options.
fn options(lab: &Lab) -> Verdict {
    let document = lab.runtime.features()?;
    let special =
        ["bind", "rbind", "remount", "idmap", "ridmap", "tmpcopyup", "copy-symlink", "src-nofollow", "dest-nofollow"];
    let list = words(&document, "/mountOptions");
    let mut config = config::base();
    for (number, word) in list.iter().filter(|word| !special.contains(&word.as_str())).enumerate() {
        let mount =
            json!({"destination": format!("/data/{number}"), "type": "tmpfs", "source": "tmpfs", "options": [word]});
        config::push(&mut config, "/mounts", mount);
    }
    accepted(lab, "all", &config).or_else(|_| {
        let usual: Vec<String> = list.iter().filter(|word| !special.contains(&word.as_str())).cloned().collect();
        each(lab, &usual, |word| {
            config::with_mount(json!({"destination": "/data", "type": "tmpfs", "source": "tmpfs", "options": [word]}))
        })
    })
}

fn namespaces(lab: &Lab) -> Verdict {
    let document = lab.runtime.features()?;
    each(lab, &words(&document, "/linux/namespaces"), |kind| {
        let mut config = if kind == "user" { config::with_user_namespace(100_000) } else { config::base() };
        if !["pid", "network", "mount", "ipc", "uts", "user"].contains(&kind) {
            config::push(&mut config, "/linux/namespaces", json!({"type": kind}));
        }
        config
    })
}

fn capabilities(lab: &Lab) -> Verdict {
    let document = lab.runtime.features()?;
    let list = words(&document, "/linux/capabilities");
    ensure(!list.is_empty() || document["linux"]["capabilities"].is_null(), || "the list is empty".into())?;
    // What this process may not give is another question.
    let allowed = |name: &String| {
        let known = name.strip_prefix("CAP_").and_then(CapabilitySet::from_name);
        known.is_some_and(|capability| rustix::thread::capability_is_in_bounding_set(capability).unwrap_or(false))
    };
    let list: Vec<String> = list.into_iter().filter(allowed).collect();
    let sets = json!({"bounding": list, "permitted": list, "effective": list});
    let facts = lab.facts(&config::with("/process/capabilities", sets))?;
    let found = u64::from_str_radix(facts["status"]["CapBnd"].as_str().unwrap_or("x"), 16).unwrap_or(0);
    equal("capabilities in the bounding set", found.count_ones() as usize, list.len())
}

fn seccomp(lab: &Lab, list: &str, profile: impl Fn(&str) -> Value) -> Verdict {
    let document = lab.runtime.features()?;
    // A listener is more than a word; its own tests are among those of seccomp.
    let list: Vec<String> = words(&document, &format!("/linux/seccomp/{list}"))
        .into_iter()
        .filter(|word| !word.contains("NOTIFY"))
        .collect();
    let list: Vec<String> = list.into_iter().filter(|word| !word.contains("WAIT_KILLABLE")).collect();
    // Architectures that this machine cannot run may be refused for that; the word is known all the same.
    let family: &[&str] = if cfg!(target_arch = "x86_64") { &["_X86", "_X32"] } else { &["_ARM", "_AARCH64"] };
    let runs = |word: &String| !word.contains("_ARCH_") || family.iter().any(|part| word.contains(part));
    let list: Vec<String> = list.into_iter().filter(runs).collect();
    each(lab, &list, |word| config::with("/linux/seccomp", profile(word)))
}

fn idmap(lab: &Lab) -> Verdict {
    let document = lab.runtime.features()?;
    let told = document.pointer("/linux/mountExtensions/idmap/enabled").and_then(Value::as_bool);
    let mapping = json!([{"containerID": 0, "hostID": 5000, "size": 1000}]);
    let mount = json!({"destination": "/data", "type": "none", "source": super::mounts::source(lab, "mapped")?,
                       "options": ["rbind", "idmap"], "uidMappings": mapping, "gidMappings": mapping});
    let said: Result<Value, Failure> = lab.ask(&config::with_mount(mount), &["stat:/data/in-mapped"]);
    let works = said.is_ok_and(|said| said["stat:/data/in-mapped"]["uid"] == json!(5000));
    ensure(!works || told == Some(true), || format!("mappings of mounts work, but idmap.enabled is {told:?}"))
}

fn memory_modes(lab: &Lab) -> Verdict {
    let document = lab.runtime.features()?;
    each(lab, &words(&document, "/linux/memoryPolicy/modes"), |mode| {
        let mut policy = json!({"mode": mode});
        if !["MPOL_DEFAULT", "MPOL_LOCAL"].contains(&mode) {
            policy["nodes"] = json!("0");
        }
        config::with("/linux/memoryPolicy", policy)
    })
}

fn memory_flags(lab: &Lab) -> Verdict {
    let document = lab.runtime.features()?;
    each(lab, &words(&document, "/linux/memoryPolicy/flags"), |flag| {
        config::with("/linux/memoryPolicy", json!({"mode": "MPOL_BIND", "nodes": "0", "flags": [flag]}))
    })
}
