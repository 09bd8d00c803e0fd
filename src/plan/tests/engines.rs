//! What engines sent to the runtime (tests/data/configs), all of it.

use super::*;

fn files(part: &str) -> Vec<(String, Vec<u8>)> {
    let mut files: Vec<_> = fs::read_dir(data("configs"))
        .unwrap()
        .map(|entry| entry.unwrap())
        .map(|entry| (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap()))
        .filter(|(name, _)| name.contains(part))
        .collect();
    files.sort();
    files
}

#[test]
fn engines_configurations_are_planned() {
    let files = files("-config-");
    assert_eq!(files.len(), 38);
    for (name, raw) in files {
        let config = parse_config(&raw).unwrap_or_else(|error| panic!("{name}: {error}"));
        let (plan, warnings) = plan(&config, &root()).unwrap_or_else(|error| panic!("{name}: {error}"));
        // Buildah asks for ambient capabilities that nothing makes inheritable.
        let buildah = name == "podman-config-seccomp19-m9.json";
        assert_eq!(warnings.len(), usize::from(buildah), "{name}: {warnings:?}");
        let rootfs = plan.init.rootfs.unwrap();
        assert_eq!(rootfs.mounts.len(), config.mounts.len(), "{name}");
        assert!(rootfs.path.is_absolute(), "{name}");
    }
}

#[test]
fn engines_process_files_are_planned_into_every_container() {
    let processes = files("-process-");
    assert_eq!(processes.len(), 4);
    for (name, raw) in processes {
        let process = &parse_process(&raw).unwrap_or_else(|error| panic!("{name}: {error}"));
        let console = if process.terminal { Console::Foreground } else { Console::Nobody };
        for (container, raw) in files("-config-") {
            let config = parse_config(&raw).unwrap();
            let request = ExecRequest { id: "t", init_pid: 7, process, pointer: "", no_new_keyring: true, console };
            let (plan, warnings) = ExecPlan::new(&config, &root(), &request)
                .unwrap_or_else(|error| panic!("{name} into {container}: {error}"));
            assert_eq!(warnings, [], "{name} into {container}");
            assert_eq!(
                plan.spawn.clone_flags | plan.spawn.early_flags | plan.spawn.unshare_flags,
                0,
                "{name} into {container}"
            );
        }
    }
}

#[test]
fn machine_without_a_capability_warns_and_goes_on() {
    const SYS_RESOURCE: u64 = 1 << 24;
    let raw = fs::read(data("configs/docker-config-memory-blockIO-privileged-hooks-m10.json")).unwrap();
    let config = parse_config(&raw).unwrap();
    let poor = HostFacts { effective_capabilities: root().effective_capabilities & !SYS_RESOURCE, ..root() };
    let (plan, warnings) = plan(&config, &poor).unwrap();
    assert!(warnings.iter().all(|warning| warning.message.contains("CAP_SYS_RESOURCE")), "{warnings:?}");
    assert!(!warnings.is_empty());
    assert_eq!(plan.init.process.capabilities.bounding & SYS_RESOURCE, 0);
}
