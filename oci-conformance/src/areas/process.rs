//! process: arguments, environment, directory, descriptors, and what a process is born with.

use serde_json::{Value, json};

use crate::config;
use crate::container::End;
use crate::lab::Lab;
use crate::needs::Need;
use crate::suite::{Test, core};
use crate::verdict::{Failure, Verdict, ensure, equal};

pub const TESTS: &[Test] = &[
    core("process.arguments_are_exact", &["R-start-runs"], arguments),
    core("process.environment_is_exact", &["R-start-runs"], environment),
    core("process.environment_may_be_odd", &["R-start-runs"], odd_environment),
    core("process.program_is_found_by_path", &["R-start-runs"], by_path),
    core("process.cwd_is_set", &["R-start-runs"], cwd),
    core("process.cwd_of_a_user_is_entered", &["R-start-runs"], cwd_of_user),
    core("process.exit_code_is_kept", &["R-start-program"], exit_code),
    core("process.stdio_is_the_callers", &["R-start-runs"], stdio),
    core("process.no_descriptor_leaks", &["R-start-runs"], descriptors),
    core("process.is_pid_one", &["R-start-runs"], pid_one),
    core("process.signals_are_default", &["R-start-runs"], signals),
    core("process.no_new_privileges_true", &["R-start-runs"], |lab| no_new_privileges(lab, true)),
    core("process.no_new_privileges_false", &["R-start-runs"], |lab| no_new_privileges(lab, false)),
    core("process.oom_score_is_set", &["C-oom-set"], oom_set),
    core("process.oom_score_is_left", &["C-oom-unset"], oom_unset),
    core("process.console_size_without_terminal_is_ignored", &["C-console-size"], console_size),
    core("process.hostname_is_set", &["R-create-applies"], hostname),
    core("process.hostname_of_host_is_kept", &["R-create-applies"], hostname_of_host),
    core("process.domainname_is_set", &["R-create-applies"], domainname).needs(&[Need::Root, Need::Spec(1)]),
    core("process.personality_linux32", &["R-start-runs"], personality),
    core("process.personality_of_nothing_is_refused", &["C-valid"], |lab| {
        lab.refuses(&config::with("/linux/personality", json!({"domain": "BSD"})))
    }),
    core("process.apparmor_profile_that_is_not_there_is_refused", &["R-create-property"], |lab| {
        // Where there is no AppArmor at all a container that runs unconfined would be worse than none.
        lab.refuses(&config::with("/process/apparmorProfile", json!("no-such-profile")))
    }),
    core("process.apparmor_profile_is_applied", &["R-create-applies"], apparmor).needs(&[Need::Root, Need::AppArmor]),
    core("process.selinux_label_that_cannot_be_is_refused", &["R-create-property"], |lab| {
        lab.refuses(&config::with("/process/selinuxLabel", json!("no:such:label:s0")))
    }),
];

fn arguments(lab: &Lab) -> Verdict {
    let list = ["facts", "with space", "", "ünïcode", "--dash", "quote\"'$x"];
    let said = lab.ask(&config::base(), &list)?;
    let mut wanted = vec!["/probe"];
    wanted.extend(list);
    equal("arguments", &said["facts"]["arguments"], &json!(wanted))
}

fn environment(lab: &Lab) -> Verdict {
    let list = json!(["PATH=/bin", "ONE=1", "EMPTY=", "EQUALS=a=b", "SPACE=a b"]);
    let facts = lab.facts(&config::with("/process/env", list))?;
    let found: Vec<&str> = facts["environment"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    for wanted in ["PATH=/bin", "ONE=1", "EMPTY=", "EQUALS=a=b", "SPACE=a b"] {
        ensure(found.contains(&wanted), || format!("{wanted} is not in {found:?}"))?;
    }
    // HOME is added by many runtimes, for shells; what else is not listed comes from the host.
    let more: Vec<_> = found
        .iter()
        .filter(|entry| {
            !["PATH", "ONE", "EMPTY", "EQUALS", "SPACE", "HOME"].contains(&entry.split('=').next().unwrap_or(""))
        })
        .collect();
    ensure(more.is_empty(), || format!("the environment has more: {more:?}"))
}

fn odd_environment(lab: &Lab) -> Verdict {
    let long = format!("LONG={}", "x".repeat(60_000));
    let facts = lab.facts(&config::with("/process/env", json!(["PATH=/bin", "lower.dot-dash=1", long])))?;
    let found = facts["environment"].as_array().cloned().unwrap_or_default();
    ensure(found.contains(&json!(long)), || "the long variable is not there".into())?;
    ensure(found.contains(&json!("lower.dot-dash=1")), || "the odd name is not there".into())
}

fn by_path(lab: &Lab) -> Verdict {
    let mut config = config::with("/process/env", json!(["PATH=/nowhere:/etc:/bin"]));
    config["process"]["args"] = json!(["probe", "create:/mark"]);
    let container = lab.container("a", &config)?;
    std::fs::hard_link(container.root().join("probe"), container.root().join("etc/probe"))?;
    container.create()?;
    container.start()?;
    container.wait()?;
    container.delete()?;
    ensure(container.root().join("mark").exists(), || "the program did not run".into())
}

fn cwd(lab: &Lab) -> Verdict {
    let facts = lab.facts(&config::with("/process/cwd", json!("/deep/er")))?;
    equal("cwd", &facts["cwd"], &json!("/deep/er"))
}

fn cwd_of_user(lab: &Lab) -> Verdict {
    use std::os::unix::fs::PermissionsExt;
    let mut config = config::with("/process/cwd", json!("/place"));
    config["process"]["user"] = json!({"uid": 1000, "gid": 1000});
    let said = lab.ask_in("a", &config, &["facts"], |root| {
        std::os::unix::fs::chown(root.join("place"), Some(1000), Some(1000))?;
        Ok(std::fs::set_permissions(root.join("place"), std::fs::Permissions::from_mode(0o700))?)
    })?;
    equal("cwd", &said["facts"]["cwd"], &json!("/place"))
}

fn exit_code(lab: &Lab) -> Verdict {
    for code in [0, 1, 77, 200] {
        let container = lab.container(&format!("c{code}"), &config::probing(&[&format!("exit:{code}")]))?;
        container.create()?;
        container.start()?;
        equal("end", container.wait()?, End::Code(code))?;
        container.delete()?;
    }
    Ok(())
}

fn stdio(lab: &Lab) -> Verdict {
    let container = lab.container("a", &config::probing(&["facts"]))?;
    container.create()?;
    container.start()?;
    container.wait()?;
    let said: Value = serde_json::from_str(&container.output()?)?;
    let open = &said["facts"]["descriptors"];
    equal("standard input", &open["0"], &json!("/dev/null"))?;
    for (number, ending) in [("1", ".stdout"), ("2", ".stderr")] {
        let target = open[number].as_str().unwrap_or_default();
        ensure(target.ends_with(ending), || format!("descriptor {number} is {target:?}"))?;
    }
    container.delete()
}

fn descriptors(lab: &Lab) -> Verdict {
    let facts = lab.facts(&config::base())?;
    let open = facts["descriptors"].as_object().cloned().unwrap_or_default();
    // The probe's own look at /proc/self/fd has one more open, which is gone when its link is read.
    let more: Vec<_> = open.iter().filter(|(number, _)| !["0", "1", "2"].contains(&number.as_str())).collect();
    ensure(more.is_empty() && open.len() == 3, || format!("open descriptors: {open:?}"))
}

fn pid_one(lab: &Lab) -> Verdict {
    let facts = lab.facts(&config::base())?;
    equal("pid", &facts["pid"], &json!(1))?;
    equal("parent", &facts["parent"], &json!(0))
}

fn signals(lab: &Lab) -> Verdict {
    let facts = lab.facts(&config::base())?;
    equal("blocked signals", &facts["status"]["SigBlk"], &json!("0000000000000000"))?;
    // The probe itself has ignored SIGPIPE (13) meanwhile, as every program in Rust does.
    let ignored = u64::from_str_radix(facts["status"]["SigIgn"].as_str().unwrap_or("x"), 16).unwrap_or(u64::MAX);
    equal("ignored signals", ignored & !(1 << 12), 0)?;
    equal("SIGPIPE is ignored", &facts["pipe_was_ignored"], &json!(false))
}

fn no_new_privileges(lab: &Lab, wanted: bool) -> Verdict {
    let facts = lab.facts(&config::with("/process/noNewPrivileges", json!(wanted)))?;
    equal("no_new_privs", &facts["no_new_privileges"], &json!(wanted))
}

fn oom_set(lab: &Lab) -> Verdict {
    for value in ["100", "1000"] {
        let number: i32 = value.parse().unwrap_or(0);
        let mut config = config::with("/process/oomScoreAdj", json!(number));
        config::set_actions(&mut config, &["facts"]);
        let said = lab.ask_in(value, &config, &["facts"], |_| Ok(()))?;
        equal("oom_score_adj", &said["facts"]["oom_score_adj"], &json!(value))?;
    }
    Ok(())
}

fn oom_unset(lab: &Lab) -> Verdict {
    // The runtime inherits our value.
    std::fs::write("/proc/self/oom_score_adj", "123")?;
    let facts = lab.facts(&config::base())?;
    equal("oom_score_adj", &facts["oom_score_adj"], &json!("123"))
}

fn console_size(lab: &Lab) -> Verdict {
    let facts = lab.facts(&config::with("/process/consoleSize", json!({"height": 10, "width": 20})))?;
    equal("terminal", &facts["terminal"], &Value::Null)
}

fn hostname(lab: &Lab) -> Verdict {
    let facts = lab.facts(&config::with("/hostname", json!("name-of-container")))?;
    equal("host name", &facts["hostname"], &json!("name-of-container"))?;
    let own = nix::unistd::gethostname().unwrap_or_default();
    ensure(own != "name-of-container", || "the host's own name was changed".into())
}

fn hostname_of_host(lab: &Lab) -> Verdict {
    let mut config = config::base();
    config::without_namespace(&mut config, "uts");
    config.as_object_mut().ok_or("no object")?.remove("hostname");
    let facts = lab.facts(&config)?;
    let own = nix::unistd::gethostname().unwrap_or_default();
    equal("host name", &facts["hostname"], &json!(own.to_string_lossy()))
}

fn domainname(lab: &Lab) -> Verdict {
    let facts = lab.facts(&config::with("/domainname", json!("example.test")))?;
    equal("domain name", &facts["domainname"], &json!("example.test"))
}

fn personality(lab: &Lab) -> Verdict {
    let facts = lab.facts(&config::with("/linux/personality", json!({"domain": "LINUX32"})))?;
    equal("personality", &facts["personality"], &json!(8))
}

/// A profile that is loaded for the test and allows nearly everything.
#[derive(Debug)]
struct Profile(std::path::PathBuf);

impl Profile {
    fn new(lab: &Lab) -> Result<Self, Failure> {
        let path = lab.path("profile");
        let rules = "file, capability, network, mount, umount, pivot_root, signal, ptrace, unix, dbus,";
        let flags = "flags=(attach_disconnected,mediate_deleted)";
        std::fs::write(&path, format!("profile {} {flags} {{ {rules} deny /etc/secret r, }}\n", lab.tag))?;
        let loaded = Self(path);
        loaded.parser("--replace")?;
        Ok(loaded)
    }

    fn parser(&self, what: &str) -> Verdict {
        let output =
            std::process::Command::new("apparmor_parser").args([what, "--skip-cache"]).arg(&self.0).output()?;
        ensure(output.status.success(), || format!("apparmor_parser: {}", String::from_utf8_lossy(&output.stderr)))
    }
}

impl Drop for Profile {
    fn drop(&mut self) {
        let _ = self.parser("--remove");
    }
}

fn apparmor(lab: &Lab) -> Verdict {
    let profile = Profile::new(lab)?;
    let config = config::with("/process/apparmorProfile", json!(lab.tag));
    let said = lab.ask_in("a", &config, &["facts", "read:/etc/secret"], |root| {
        Ok(std::fs::write(root.join("etc/secret"), "secret")?)
    })?;
    // Where the runtime has a profile itself, the kernel stacks the two: `one//&other (mode)`.
    let label = said["facts"]["attr/current"].as_str().unwrap_or_default();
    let mut profiles = label.split(' ').next().unwrap_or_default().split("//&");
    ensure(profiles.any(|name| name == lab.tag), || format!("the label is {label:?}"))?;
    equal("reading what it denies", said["read:/etc/secret"]["errno"].as_i64(), Some(13))?;
    drop(profile);
    Ok(())
}
