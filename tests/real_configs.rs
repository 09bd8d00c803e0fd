//! The configurations that real engines sent (`data/configs`), each run to its end. Only what names the engine's own
//! machine is changed: the root file system, bind sources, hooks, namespaces by path, and limits that need
//! CAP_SYS_RESOURCE.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod harness;

use std::fs;
use std::path::Path;

use harness::{Bundle, Lab, json};
use serde_json::Value;

/// The configuration at `path`, for this machine.
fn adapt(path: &Path, lab: &Lab, here: &Value) -> Value {
    let mut config: Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    config["root"]["path"] = here["root"]["path"].clone();
    config["linux"]["cgroupsPath"] = here["linux"]["cgroupsPath"].clone();
    config.as_object_mut().unwrap().remove("hooks");
    let process = config["process"].as_object_mut().unwrap();
    process.insert("terminal".into(), json!(false));
    process.insert("cwd".into(), json!("/"));
    process.insert("args".into(), json!(["sh", "-c", "echo ran as $(id -u) with $(grep Seccomp: /proc/self/status)"]));
    for name in ["apparmorProfile", "oomScoreAdj", "rlimits"] {
        process.remove(name);
    }
    for namespace in config["linux"]["namespaces"].as_array_mut().unwrap() {
        namespace.as_object_mut().unwrap().remove("path");
    }
    let file = lab.path("bound");
    fs::write(&file, "").unwrap();
    for mount in config["mounts"].as_array_mut().unwrap() {
        let source = mount["source"].as_str().unwrap_or_default().to_owned();
        if mount["destination"] == "/dev/shm" && mount["type"] == "bind" {
            mount["source"] = json!("/dev/shm");
        } else if source.starts_with('/') && !Path::new(&source).exists() {
            mount["source"] = json!(file);
        }
    }
    config
}

/// As an engine does, for a user namespace whose root may not write to the image.
fn make_mountpoints(bundle: &Bundle, config: &Value) {
    for mount in config["mounts"].as_array().unwrap() {
        let destination = mount["destination"].as_str().unwrap().trim_start_matches('/');
        let place = bundle.root(destination);
        if ["dev", "proc", "sys"].iter().any(|name| destination.starts_with(name)) || place.exists() {
            continue;
        }
        fs::create_dir_all(place.parent().unwrap()).unwrap();
        if mount["type"] == "bind" { fs::write(place, "").unwrap() } else { fs::create_dir(place).unwrap() }
    }
}

#[test]
fn every_configuration_of_an_engine_runs() {
    let lab = Lab::new();
    let mut failures = Vec::new();
    let mut count = 0;
    for entry in fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/configs")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        if !name.contains("-config-") {
            continue;
        }
        let bundle = lab.bundle(|_| ());
        let here: Value = serde_json::from_slice(&fs::read(bundle.path.join("config.json")).unwrap()).unwrap();
        let config = adapt(&path, &lab, &here);
        bundle.write_config(&config.to_string());
        make_mountpoints(&bundle, &config);
        let filter = if config["linux"]["seccomp"].is_object() { 2 } else { 0 };
        let expected = format!("ran as {} with Seccomp: {filter}\n", config["process"]["user"]["uid"]);
        let done = lab.run(&bundle);
        if done.code() != 0 || done.stdout.replace('\t', " ") != expected || !done.stderr.is_empty() {
            failures.push(format!("{name}: {done:#?}"));
        }
        count += 1;
    }
    assert_eq!(count, 38);
    assert!(failures.is_empty(), "{failures:#?}");
}
