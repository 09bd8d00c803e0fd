//! The engines' own profiles, and the comparison with libseccomp (contrib/seccomp-reference).

use std::collections::HashSet;
use std::fs;
use std::path::Path;
use std::time::Instant;

use seccompiler::sock_filter;

use super::super::syscalls::{Family, X86};
use super::super::{Filter, SeccompConfig};
use super::evaluate::Profile;
use super::interpreter::{Call, check, run};

const PROFILES: [&str; 7] =
    ["containerd", "containerd-1.7", "docker", "docker-custom", "docker-userns", "podman", "podman-socket"];

fn load(name: &str) -> SeccompConfig {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/seccomp").join(format!("{name}.json"));
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

fn compile(config: &SeccompConfig) -> Vec<sock_filter> {
    Filter::for_family(&X86, config, "/linux/seccomp", None).unwrap().0.unwrap().program
}

/// All calls that matter for `config`: every number of every architecture, with arguments that meet its conditions and
/// others that just miss them.
fn calls(config: &SeccompConfig, family: &Family, mut visit: impl FnMut(&Call)) {
    let mut values = vec![0, 1, 40, u64::MAX];
    for arg in config.syscalls.iter().flatten().flat_map(|rule| rule.args.iter().flatten()) {
        for value in [arg.value, arg.value_two.unwrap_or(0)] {
            values.extend([value, value ^ 1, value + 1, value.wrapping_sub(1), value | 1 << 40, !value]);
        }
    }
    values.sort_unstable();
    values.dedup();
    let conditional: HashSet<_> = config
        .syscalls
        .iter()
        .flatten()
        .filter(|rule| rule.args.is_some())
        .flat_map(|rule| rule.names.iter())
        .filter_map(|name| family.rows().iter().find(|row| row.name == name))
        .flat_map(|row| (0..family.columns.len()).filter_map(|column| row.number(column)))
        .chain([102, 117])
        .collect();
    let audits = family.columns.iter().map(|column| column.audit).chain([0xC000_00B7]);
    for audit in audits {
        for base in [0, 0x4000_0000] {
            for number in (0..1024).chain([0x3fff_fffe, 0x3fff_ffff]) {
                let call = |args| Call { audit, number: base | number, args, big_endian: family.big_endian };
                visit(&call([1, 2, 3, 4, 5, 6]));
                for value in values.iter().filter(|_| conditional.contains(&number)) {
                    visit(&call([*value, 0, 0, 0, 0, 0]));
                    visit(&call([0, *value, 0, 0, 0, 0]));
                    visit(&call([16, 0, *value, 0, 0, 0]));
                }
            }
        }
    }
}

#[test]
fn compile_engines_profiles_decides_as_they_say() {
    for name in PROFILES {
        let config = load(name);
        let program = compile(&config);
        check(&program).unwrap();
        let profile = Profile::new(&config, &X86);
        calls(&config, &X86, |call| {
            assert_eq!(run(&program, call).0, profile.decide(call), "{name}: {call:#x?}");
        });
    }
}

#[test]
fn compile_dockers_profile_is_short() {
    let mut config = load("docker");
    let three = compile(&config).len();
    config.architectures = Some(vec!["SCMP_ARCH_X86_64".to_owned()]);
    let one = compile(&config).len();
    assert!(three < 450 && one < 150, "{three} instructions for three architectures, {one} for one");
}

/// CORACLE_SECCOMP_REFERENCE is a directory of profiles NAME.json with libseccomp's program for each, NAME.bpf.
#[test]
fn compile_and_libseccomp_decide_alike() {
    let Some(directory) = std::env::var_os("CORACLE_SECCOMP_REFERENCE") else { return };
    let mut compared = 0_u64;
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "json") {
            continue;
        }
        let config: SeccompConfig = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        let reference: Vec<_> = fs::read(path.with_extension("bpf"))
            .unwrap()
            .chunks_exact(8)
            .map(|c| sock_filter {
                code: u16::from_le_bytes([c[0], c[1]]),
                jt: c[2],
                jf: c[3],
                k: u32::from_le_bytes([c[4], c[5], c[6], c[7]]),
            })
            .collect();
        let program = compile(&config);
        calls(&config, &X86, |call| {
            let (ours, theirs) = (run(&program, call).0, run(&reference, call).0);
            assert_eq!(ours, theirs, "{}: {ours:#x}, libseccomp {theirs:#x}: {call:#x?}", path.display());
            compared += 1;
        });
    }
    eprintln!("{compared} calls compared");
    assert!(compared > 0);
}

/// Figures for the notes: `cargo test --release seccomp_figures -- --ignored --nocapture`.
#[test]
#[ignore = "prints figures, checks nothing"]
fn seccomp_figures() {
    for name in PROFILES {
        let text =
            fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/seccomp").join(format!("{name}.json")))
                .unwrap();
        let config = load(name);
        let mut native = config.clone();
        native.architectures = Some(vec!["SCMP_ARCH_X86_64".to_owned()]);
        let median = |work: &dyn Fn()| {
            let mut times: Vec<_> = (0..501)
                .map(|_| {
                    let start = Instant::now();
                    work();
                    start.elapsed().as_nanos()
                })
                .collect();
            times.sort_unstable();
            times[250] as f64 / 1000.0
        };
        let parse = median(&|| {
            std::hint::black_box(serde_json::from_slice::<SeccompConfig>(&text).unwrap());
        });
        let three = median(&|| {
            std::hint::black_box(compile(&config));
        });
        let one = median(&|| {
            std::hint::black_box(compile(&native));
        });
        let program = compile(&config);
        let (mut steps, mut most, mut count) = (0, 0, 0);
        for number in 0..470 {
            let call = Call { audit: X86.columns[0].audit, number, args: [0; 6], big_endian: false };
            let executed = run(&program, &call).1;
            (steps, most, count) = (steps + executed, most.max(executed), count + 1);
        }
        println!(
            "{name}: parse {parse:.1} µs; compile {three:.1} µs to {} instructions as configured, {one:.1} µs to {} for one; \
             executed per native call {:.1} on average, {most} at most",
            program.len(),
            compile(&native).len(),
            f64::from(steps as u32) / f64::from(count),
        );
    }
}
