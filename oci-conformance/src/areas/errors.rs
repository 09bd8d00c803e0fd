//! Configurations that cannot be, and the state afterwards: as if nothing had been tried.

use serde_json::{Value, json};

use crate::config;
use crate::lab::Lab;
use crate::needs::Need;
use crate::suite::{Test, core};
use crate::verdict::{Verdict, ensure, equal};

pub const TESTS: &[Test] = &[
    core("errors.config_is_absent", &["R-env-error", "R-error-clean"], absent),
    core("errors.config_is_no_json", &["C-valid", "R-error-clean"], no_json),
    core("errors.config_is_of_wrong_types", &["C-valid", "R-error-clean"], wrong_types),
    core("errors.root_does_not_exist", &["R-env-error", "R-error-clean"], |lab| {
        lab.create_refuses(&config::with("/root/path", json!("nowhere")))
    }),
    core("errors.root_is_a_file", &["R-env-error", "R-error-clean"], |lab| {
        lab.create_refuses(&config::with("/root/path", json!("config.json")))
    }),
    core("errors.bind_source_does_not_exist", &["R-env-error", "R-create-property", "R-error-clean"], |lab| {
        let mount = json!({"destination": "/data", "type": "none", "source": lab.text("nowhere"), "options": ["bind"]});
        lab.create_refuses(&config::with_mount(mount))
    }),
    core("errors.file_system_does_not_exist", &["C-valid", "R-create-property", "R-error-clean"], |lab| {
        let mount = json!({"destination": "/data", "type": "no-such-type", "source": "none"});
        lab.create_refuses(&config::with_mount(mount))
    }),
    core("errors.namespace_kind_is_unknown", &["C-valid", "R-error-clean"], |lab| {
        let mut config = config::base();
        config::push(&mut config, "/linux/namespaces", json!({"type": "nonsense"}));
        lab.create_refuses(&config)
    }),
    core("errors.sysctl_does_not_exist", &["R-create-property", "R-error-clean"], |lab| {
        lab.refuses(&config::with("/linux/sysctl", json!({"net.ipv4.no_such_thing": "1"})))
    }),
    core("errors.sysctl_of_the_host_is_refused", &["R-create-property", "R-error-clean"], |lab| {
        lab.refuses(&config::with("/linux/sysctl", json!({"kernel.panic": "0"})))
    }),
    core("errors.intel_rdt_without_resctrl_is_refused", &["L-rdt-absent", "R-error-clean"], |lab| {
        lab.create_refuses(&config::with("/linux/intelRdt", json!({"closID": "some", "l3CacheSchema": "L3:0=f"})))
    })
    .needs(&[Need::Root, Need::NoResctrl]),
    core("errors.program_does_not_exist", &["R-env-error"], |lab| {
        lab.refuses(&config::with("/process/args", json!(["/nowhere"])))
    }),
    core("errors.program_is_not_executable", &["R-env-error"], not_executable),
    core("errors.arguments_are_empty", &["C-valid"], |lab| lab.refuses(&config::with("/process/args", json!([])))),
    core("errors.cwd_is_relative", &["C-valid"], |lab| lab.refuses(&config::with("/process/cwd", json!("tmp")))),
    core("errors.hook_does_not_exist", &["R-create-runtime-fail", "R-error-clean"], |lab| {
        lab.create_refuses(&config::with("/hooks/createRuntime", json!([{"path": "/nowhere"}])))
    }),
    core("errors.late_failure_leaves_nothing", &["R-error-clean", "R-create-property"], late),
    core("errors.failed_create_can_be_repeated", &["R-error-clean"], repeated),
    core("errors.failed_start_runs_nothing", &["R-error-clean"], failed_start),
    core("errors.unknown_property_is_ignored", &["C-unknown"], unknown_property),
    core("errors.unknown_annotation_is_ignored", &["C-annotation-unknown"], |lab| {
        runs(lab, &config::with("/annotations", json!({"com.example.unheard-of": "x"})))
    }),
    core("errors.warning_does_not_stop", &["R-warning", "C-capability-goes-on"], |lab| {
        runs(lab, &config::with_capability("CAP_UNHEARD_OF"))
    }),
    core("errors.unknown_capability_is_logged", &["C-capability-warning"], capability_logged),
];

/// The configuration is accepted and its program runs.
pub fn runs(lab: &Lab, config: &Value) -> Verdict {
    lab.ask(config, &["create:/tmp/x"]).map(|_| ())
}

fn absent(lab: &Lab) -> Verdict {
    let container = lab.container("a", &config::base())?;
    std::fs::remove_file(container.bundle.join("config.json"))?;
    ensure(!container.try_create()?.ok(), || "create succeeds".into())?;
    lab.nothing_of(&container)
}

fn no_json(lab: &Lab) -> Verdict {
    let container = lab.container("a", &config::base())?;
    for text in ["", "{", "[]", "{\"ociVersion\": \"1.0.2\""] {
        std::fs::write(container.bundle.join("config.json"), text)?;
        ensure(!container.try_create()?.ok(), || format!("create accepts {text:?}"))?;
        lab.nothing_of(&container)?;
    }
    Ok(())
}

fn wrong_types(lab: &Lab) -> Verdict {
    let places = [
        ("/process/args", json!("/probe")),
        ("/process/user/uid", json!("root")),
        ("/root", json!("rootfs")),
        ("/mounts", json!({"destination": "/x"})),
        ("/linux/namespaces", json!("pid")),
        ("/process/cwd", json!(["/"])),
    ];
    for (place, value) in places {
        lab.refuses(&config::with(place, value)).map_err(|failure| format!("{place}: {}", failure.0))?;
    }
    Ok(())
}

fn not_executable(lab: &Lab) -> Verdict {
    let container = lab.container("a", &config::with("/process/args", json!(["/etc/text"])))?;
    std::fs::write(container.root().join("etc/text"), "text")?;
    if container.try_create()?.ok() {
        container.must_fail(&["start", &container.id])?;
        container.clear();
    }
    Ok(())
}

/// The last of many mounts cannot be made: all others, the cgroup and the process must go.
fn late(lab: &Lab) -> Verdict {
    let mut config = config::base();
    std::fs::create_dir_all(lab.path("source"))?;
    for number in 0..10 {
        let place = format!("/data/{number}");
        let mount = json!({"destination": place, "type": "none", "source": lab.text("source"), "options": ["bind"]});
        config::push(&mut config, "/mounts", mount);
    }
    config::push(&mut config, "/mounts", json!({"destination": "/data/x", "type": "no-such-type", "source": "none"}));
    lab.create_refuses(&config)
}

fn repeated(lab: &Lab) -> Verdict {
    let good = config::probing(&["create:/mark"]);
    let mut bad = good.clone();
    config::push(&mut bad, "/mounts", json!({"destination": "/data", "type": "no-such-type", "source": "none"}));
    let container = lab.container("a", &bad)?;
    for _ in 0..3 {
        ensure(!container.try_create()?.ok(), || "create succeeds".into())?;
    }
    std::fs::write(container.bundle.join("config.json"), good.to_string())?;
    container.create()?;
    container.start()?;
    container.wait()?;
    ensure(container.root().join("mark").exists(), || "the program did not run".into())?;
    container.delete()
}

/// A start that is refused because of a second one must not run the program again.
fn failed_start(lab: &Lab) -> Verdict {
    let container = lab.container("a", &config::probing(&["mkdir:/once", "create:/mark", "wait"]))?;
    container.create()?;
    container.start()?;
    container.wait_for("mark")?;
    std::fs::remove_file(container.root().join("mark"))?;
    container.must_fail(&["start", &container.id])?;
    std::thread::sleep(std::time::Duration::from_millis(100));
    ensure(!container.root().join("mark").exists(), || "the program ran twice".into())?;
    equal("status", container.status()?, "running")?;
    container.stop()?;
    container.delete()
}

fn unknown_property(lab: &Lab) -> Verdict {
    let mut config = config::base();
    for place in
        ["/x-unknown", "/process/x-unknown", "/root/x-unknown", "/linux/x-unknown", "/linux/resources/x-unknown"]
    {
        config::set(&mut config, place, json!({"member": [1, "two"]}));
    }
    config::set(&mut config, "/mounts/0/x-unknown", json!(true));
    runs(lab, &config)
}

fn capability_logged(lab: &Lab) -> Verdict {
    let container = lab.container("a", &config::with_capability("CAP_UNHEARD_OF"))?;
    let log = lab.text("log");
    let mut command = lab.command(&["--debug", "--log", &log, "create", "--bundle"]);
    command.arg(&container.bundle).arg(&container.id);
    let answer = container.try_create_with(command)?;
    ensure(answer.ok(), || format!("create failed: {}", answer.stderr))?;
    container.clear();
    let said = format!("{}{}", answer.stderr, std::fs::read_to_string(&log).unwrap_or_default());
    ensure(said.contains("CAP_UNHEARD_OF"), || "neither the log nor the standard error names the capability".into())
}
