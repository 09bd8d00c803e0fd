//! Plans against files in tests/data/golden. `UPDATE_GOLDEN=1 cargo test golden` writes them anew: read the difference.

use std::env;
use std::fmt::Write;

use super::*;

fn check(name: &str, config: &str, facts: &HostFacts) {
    let config = parse_config(&fs::read(data(config)).unwrap()).unwrap();
    let (plan, warnings) = plan(&config, facts).unwrap();
    compare(name, &plan, &warnings);
}

fn compare(name: &str, plan: &impl std::fmt::Debug, warnings: &[Warning]) {
    let mut text = format!("{plan:#?}\n");
    for warning in warnings {
        writeln!(text, "warning: {warning}").unwrap();
    }
    let path = data(&format!("golden/{name}.txt"));
    if env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&path, &text).unwrap();
    }
    let golden = fs::read_to_string(&path).unwrap();
    let differs = golden.lines().zip(text.lines()).position(|(golden, new)| golden != new);
    if let Some(line) = differs {
        panic!("{name}.txt line {}:\n- {:?}\n+ {:?}", line + 1, golden.lines().nth(line), text.lines().nth(line));
    }
    assert_eq!(golden.len(), text.len(), "{name}.txt");
}

#[test]
fn golden_specification_default_is_as_recorded() {
    check("default", "plan/default.json", &root());
}

#[test]
fn golden_docker_default_is_as_recorded() {
    check("docker", "configs/docker-config-seccomp12-memory-blockIO-hooks-m10.json", &root());
}

#[test]
fn golden_rootless_is_as_recorded() {
    check("rootless", "plan/rootless.json", &user());
}

#[test]
fn golden_rootless_with_subordinate_ids_is_as_recorded() {
    check("rootless-subordinate-ids", "plan/rootless-subordinate-ids.json", &user());
}

#[test]
fn golden_user_namespace_is_as_recorded() {
    check("user-namespace", "plan/user-namespace.json", &root());
}

#[test]
fn golden_joined_namespaces_are_as_recorded() {
    check("joined", "plan/joined.json", &root());
}

#[test]
fn golden_time_offsets_are_as_recorded() {
    check("time-offsets", "plan/time-offsets.json", &root());
}

#[test]
fn golden_every_property_is_as_recorded() {
    check("every-property", "plan/every-property.json", &root());
}

#[test]
fn golden_exec_is_as_recorded() {
    let config = parse(&read("plan/every-property.json")).unwrap();
    let raw = fs::read(data("configs/podman-process-tty-m0.json")).unwrap();
    let process = &parse_process(&raw).unwrap();
    let request =
        ExecRequest { id: "test", init_pid: 42, process, pointer: "", no_new_keyring: false, console: Console::Socket };
    let (plan, warnings) = ExecPlan::new(&config, &root(), &request).unwrap();
    compare("exec", &plan, &warnings);
}
