//! maskedPaths, readonlyPaths and sysctl.

use serde_json::{Value, json};

use crate::config;
use crate::lab::Lab;
use crate::suite::{Test, core};
use crate::verdict::{Failure, Verdict, ensure, equal};

pub const TESTS: &[Test] = &[
    core("masks.file_reads_empty", &["R-create-applies"], masked_file),
    core("masks.directory_is_empty", &["R-create-applies"], masked_directory),
    core("masks.directory_is_not_writable", &["R-create-applies"], masked_directory_writing),
    core("masks.proc_file_reads_empty", &["R-create-applies"], masked_proc),
    core("masks.missing_path_is_ignored", &["R-create-applies"], |lab| {
        super::errors::runs(lab, &config::with("/linux/maskedPaths", json!(["/not/there", "/proc/no-such-file"])))
    }),
    core("readonly.file_refuses_writing", &["R-create-applies"], readonly_file),
    core("readonly.directory_refuses_writing", &["R-create-applies"], readonly_directory),
    core("readonly.proc_sys_refuses_writing", &["R-create-applies"], readonly_proc),
    core("readonly.missing_path_is_ignored", &["R-create-applies"], |lab| {
        super::errors::runs(lab, &config::with("/linux/readonlyPaths", json!(["/not/there"])))
    }),
    core("readonly.mounts_below_are_kept", &["R-create-applies"], readonly_below),
    core("sysctl.network_value_is_set", &["R-create-applies"], sysctl_network),
    core("sysctl.ipc_value_is_set", &["R-create-applies"], sysctl_ipc),
    core("sysctl.slashes_separate_as_well", &["R-create-applies"], sysctl_slashes),
    core("sysctl.host_is_untouched", &["R-create-applies"], sysctl_host),
    core("sysctl.without_namespace_is_refused", &["R-create-property"], sysctl_without),
];

fn ask(lab: &Lab, place: &str, paths: Value, actions: &[&str]) -> Result<Value, Failure> {
    lab.ask_in("a", &config::with(place, paths), actions, |root| {
        std::fs::write(root.join("etc/secret"), "secret")?;
        std::fs::create_dir(root.join("etc/folder"))?;
        Ok(std::fs::write(root.join("etc/folder/inner"), "secret")?)
    })
}

fn masked_file(lab: &Lab) -> Verdict {
    let said = ask(lab, "/linux/maskedPaths", json!(["/etc/secret"]), &["read:/etc/secret"])?;
    let text = said["read:/etc/secret"]["text"].as_str().unwrap_or_default();
    ensure(text.is_empty(), || format!("the masked file reads {text:?}"))
}

fn masked_directory(lab: &Lab) -> Verdict {
    let said = ask(lab, "/linux/maskedPaths", json!(["/etc/folder"]), &["list:/etc/folder", "read:/etc/folder/inner"])?;
    let names = said["list:/etc/folder"]["names"].as_array().cloned().unwrap_or_default();
    ensure(names.is_empty(), || format!("the masked directory has {names:?}"))?;
    ensure(said["read:/etc/folder/inner"]["errno"].is_i64(), || "a file in it can be read".into())
}

fn masked_directory_writing(lab: &Lab) -> Verdict {
    let said = ask(lab, "/linux/maskedPaths", json!(["/etc/folder"]), &["create:/etc/folder/new"])?;
    ensure(said["create:/etc/folder/new"]["errno"].is_i64(), || "a file can be made in it".into())
}

fn masked_proc(lab: &Lab) -> Verdict {
    let said = ask(
        lab,
        "/linux/maskedPaths",
        json!(["/proc/version", "/proc/acpi"]),
        &["read:/proc/version", "read:/proc/cpuinfo"],
    )?;
    let text = said["read:/proc/version"]["text"].as_str().unwrap_or_default();
    ensure(text.is_empty(), || format!("/proc/version reads {text:?}"))?;
    ensure(said["read:/proc/cpuinfo"]["text"].as_str().is_some_and(|text| !text.is_empty()), || {
        "another file is masked too".into()
    })
}

const READ_ONLY: Option<i64> = Some(30);

fn readonly_file(lab: &Lab) -> Verdict {
    let said = ask(
        lab,
        "/linux/readonlyPaths",
        json!(["/etc/secret"]),
        &["write:/etc/secret:x", "read:/etc/secret", "create:/etc/other"],
    )?;
    equal("writing", said["write:/etc/secret:x"]["errno"].as_i64(), READ_ONLY)?;
    equal("reading", &said["read:/etc/secret"]["text"], &json!("secret"))?;
    equal("a file beside", said["create:/etc/other"]["errno"].as_i64(), None)
}

fn readonly_directory(lab: &Lab) -> Verdict {
    let said = ask(
        lab,
        "/linux/readonlyPaths",
        json!(["/etc/folder"]),
        &["create:/etc/folder/new", "write:/etc/folder/inner:x"],
    )?;
    equal("a new file", said["create:/etc/folder/new"]["errno"].as_i64(), READ_ONLY)?;
    equal("an old one", said["write:/etc/folder/inner:x"]["errno"].as_i64(), READ_ONLY)
}

fn readonly_proc(lab: &Lab) -> Verdict {
    let action = "write:/proc/sys/net/ipv4/ip_forward:1";
    let said = ask(lab, "/linux/readonlyPaths", json!(["/proc/sys"]), &[action, "read:/proc/sys/kernel/ostype"])?;
    equal("writing", said[action]["errno"].as_i64(), READ_ONLY)?;
    equal("reading", &said["read:/proc/sys/kernel/ostype"]["text"], &json!("Linux\n"))
}

/// A mount below a read-only path is still there, with its files.
fn readonly_below(lab: &Lab) -> Verdict {
    let mut config = config::with("/linux/readonlyPaths", json!(["/etc"]));
    let mount = json!({"destination": "/etc/below", "type": "none", "source": super::mounts::source(lab, "below")?, "options": ["bind"]});
    config::push(&mut config, "/mounts", mount);
    let said = lab.ask(&config, &["read:/etc/below/in-below"])?;
    equal("a file of the mount below", &said["read:/etc/below/in-below"]["text"], &json!("below"))
}

fn sysctl_network(lab: &Lab) -> Verdict {
    let action = "read:/proc/sys/net/ipv4/ip_forward";
    let said = lab.ask(&config::with("/linux/sysctl", json!({"net.ipv4.ip_forward": "1"})), &[action])?;
    equal("value", &said[action]["text"], &json!("1\n"))
}

fn sysctl_ipc(lab: &Lab) -> Verdict {
    let action = "read:/proc/sys/kernel/shm_rmid_forced";
    let said = lab.ask(&config::with("/linux/sysctl", json!({"kernel.shm_rmid_forced": "1"})), &[action])?;
    equal("value", &said[action]["text"], &json!("1\n"))
}

fn sysctl_slashes(lab: &Lab) -> Verdict {
    let action = "read:/proc/sys/net/ipv4/ip_forward";
    let said = lab.ask(&config::with("/linux/sysctl", json!({"net/ipv4/ip_forward": "1"})), &[action])?;
    equal("value", &said[action]["text"], &json!("1\n"))
}

fn sysctl_host(lab: &Lab) -> Verdict {
    let path = "/proc/sys/kernel/msgmax";
    let before = std::fs::read_to_string(path)?;
    let said =
        lab.ask(&config::with("/linux/sysctl", json!({"kernel.msgmax": "8191"})), &["read:/proc/sys/kernel/msgmax"])?;
    equal("value inside", &said["read:/proc/sys/kernel/msgmax"]["text"], &json!("8191\n"))?;
    equal("the host's value", std::fs::read_to_string(path)?, before)
}

fn sysctl_without(lab: &Lab) -> Verdict {
    let mut config = config::with("/linux/sysctl", json!({"net.ipv4.ip_forward": "1"}));
    config::without_namespace(&mut config, "network");
    config["mounts"].as_array_mut().ok_or("no mounts")?.retain(|mount| mount["destination"] != "/sys");
    lab.refuses(&config)
}
