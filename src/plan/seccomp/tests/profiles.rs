//! The engines' own profiles, and the comparison with libseccomp (contrib/checks/seccomp).

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use seccompiler::sock_filter;

use super::super::syscalls::{ARM, ARM_PRIVATE, Family, POWER, RISCV, S390, X86};
use super::super::{Filter, SeccompConfig};
use super::evaluate::Profile;
use super::fuzzed::profile;
use super::interpreter::{Call, check, run};
use super::random::Random;
use crate::bundle::seccomp::RuleConfig;

const PROFILES: [&str; 7] =
    ["containerd", "containerd-1.7", "docker", "docker-custom", "docker-userns", "podman", "podman-socket"];

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/seccomp").join(format!("{name}.json"))
}

fn load(name: &str) -> SeccompConfig {
    serde_json::from_slice(&fs::read(path(name)).unwrap()).unwrap()
}

fn compile(config: &SeccompConfig) -> Vec<sock_filter> {
    Filter::for_family(&X86, config, "/linux/seccomp", None).unwrap().0.unwrap().program
}

/// All calls that matter for `config`: every number of every architecture, and for those with conditions arguments that
/// meet them and others that just miss.
fn calls(config: &SeccompConfig, family: &Family, mut visit: impl FnMut(&Call)) {
    let rows: HashMap<_, _> = family.rows().iter().map(|row| (row.name, row)).collect();
    let mut arguments: HashMap<u32, Vec<[u64; 6]>> = HashMap::new();
    for rule in config.syscalls.iter().flatten().filter(|rule| rule.args.is_some()) {
        let rows = rule.names.iter().filter_map(|name| rows.get(name));
        let numbers = rows.flat_map(|row| (0..family.columns.len()).filter_map(|column| row.number(column)));
        for number in numbers.chain([102, 117]) {
            arguments.entry(number).or_default().extend(near(rule));
        }
    }
    for audit in family.columns.iter().map(|column| column.audit).chain([0xC000_00B7]) {
        for base in [0, 0x4000_0000] {
            for number in (0..1024).chain(ARM_PRIVATE..ARM_PRIVATE + 16).chain([0x3fff_fffe, 0x3fff_ffff]) {
                let call = |args| Call { audit, number: base | number, args, big_endian: family.big_endian };
                visit(&call([1, 2, 3, 4, 5, 6]));
                for args in arguments.get(&number).into_iter().flatten() {
                    visit(&call(*args));
                }
            }
        }
    }
}

/// Arguments that meet most of a rule's conditions, each with one of them varied.
fn near(rule: &RuleConfig) -> Vec<[u64; 6]> {
    let conditions = rule.args.as_deref().unwrap_or(&[]);
    let mut meeting = [[0; 6], [u64::MAX; 6]];
    for arg in conditions {
        let masked = arg.op == "SCMP_CMP_MASKED_EQ";
        for args in &mut meeting {
            args[arg.index as usize] = if masked { arg.value_two.unwrap_or(0) } else { arg.value };
        }
    }
    let mut all = meeting.to_vec();
    for args in meeting {
        for call in 1..25 {
            all.push([call, args[1], args[2], args[3], args[4], args[5]]);
        }
        for arg in conditions {
            let value = args[arg.index as usize];
            for varied in
                [0, value ^ 1, value.wrapping_add(1), value.wrapping_sub(1), value ^ 1 << 40, !value, value & arg.value]
            {
                let mut args = args;
                args[arg.index as usize] = varied;
                all.push(args);
            }
        }
    }
    all
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

/// What the fuzzer does, for a moment: its door stays in order where nobody has a fuzzer.
#[test]
fn fuzzed_engines_profile_with_other_words_and_cut_short_holds() {
    let mut random = Random(7);
    for name in PROFILES {
        let text = fs::read_to_string(path(name)).unwrap();
        let words = ["ALLOW", "LOG", "KILL_PROCESS", "TRAP", "NOTIFY"].map(|word| format!("\"SCMP_ACT_{word}\""));
        let mut parts = text.split("\"SCMP_ACT_ALLOW\"");
        let mut other = parts.next().unwrap().to_owned();
        parts.for_each(|part| other.extend([random.pick(&words).as_str(), part]));
        for bytes in [&text, &other, &text.replace("SCMP_CMP_EQ", "SCMP_CMP_GE"), &text[..text.len() / 2]] {
            profile(bytes.as_bytes());
        }
    }
}

#[test]
fn compile_dockers_profile_is_short() {
    let mut config = load("docker");
    let three = compile(&config).len();
    config.architectures = Some(vec!["SCMP_ARCH_X86_64".to_owned()]);
    let one = compile(&config).len();
    assert!(three < 250 && one < 80, "{three} instructions for three architectures, {one} for one");
}

fn family(path: &Path) -> &'static Family {
    match path.file_stem().and_then(|stem| Path::new(stem).extension()?.to_str()) {
        Some("x86") => &X86,
        Some("arm") => &ARM,
        Some("riscv") => &RISCV,
        Some("power") => &POWER,
        Some("s390") => &S390,
        other => panic!("{other:?}"),
    }
}

/// CORACLE_SECCOMP_REFERENCE is a directory of profiles NAME.FAMILY.json with libseccomp's program for each in .bpf.
///
/// One random profile in fifty may differ, where ours is what the profile says: libseccomp 2.5.4 sometimes compares the
/// architecture in place of the number, because it drops the load where a block of conditions is shared.
#[test]
#[ignore = "needs libseccomp: contrib/checks/seccomp"]
fn compile_and_libseccomp_decide_alike() {
    let directory = std::env::var_os("CORACLE_SECCOMP_REFERENCE").expect("CORACLE_SECCOMP_REFERENCE is set");
    let (mut compared, mut profiles) = (0_u64, 0);
    let mut different = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "json") {
            continue;
        }
        let config: SeccompConfig = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        let reference = read_program(&path.with_extension("bpf"));
        let family = family(&path);
        let program = Filter::for_family(family, &config, "/linux/seccomp", None).unwrap().0.unwrap().program;
        let meaning = Profile::new(&config, family);
        let mut first = None;
        calls(&config, family, |call| {
            let (ours, theirs) = (run(&program, call).0, run(&reference, call).0);
            // map_shadow_stack of x32 is in the kernel's list and not in libseccomp's, which compares all of a multiplexer's first
            // argument and not what the kernel reads of it.
            let beyond = match call.number {
                102 => call.args[0] > 0xffff_ffff,
                117 => call.args[0] > 0xffff,
                number => number == 0x4000_01c5,
            };
            if ours != theirs && !beyond {
                assert_eq!(ours, meaning.decide(call), "{}: {call:x?}", path.display());
                first
                    .get_or_insert_with(|| format!("{}: {ours:#x}, libseccomp {theirs:#x}: {call:x?}", path.display()));
            }
            compared += 1;
        });
        profiles += 1;
        different.extend(first);
    }
    assert!(compared > 0 && different.len() <= profiles / 50, "{compared} calls, {profiles} profiles: {different:#?}");
    assert!(different.iter().all(|text| text.contains("/random-")));
}

fn read_program(path: &Path) -> Vec<sock_filter> {
    let bytes = fs::read(path).unwrap();
    let instruction = |c: &[u8]| sock_filter {
        code: u16::from_le_bytes([c[0], c[1]]),
        jt: c[2],
        jf: c[3],
        k: u32::from_le_bytes([c[4], c[5], c[6], c[7]]),
    };
    bytes.chunks_exact(8).map(instruction).collect()
}

/// The fastest and the median of many, in nanoseconds.
fn timed(work: impl Fn()) -> (u128, u128) {
    let mut times: Vec<_> = (0..1001)
        .map(|_| {
            let start = Instant::now();
            work();
            start.elapsed().as_nanos()
        })
        .collect();
    times.sort_unstable();
    (times[0], times[500])
}

/// Writes Docker's program and the time of its compilation for contrib/bench/seccomp.
#[test]
#[ignore = "gives figures, checks nothing: contrib/bench/seccomp"]
fn seccomp_figures() {
    let directory = std::env::var_os("CORACLE_SECCOMP_FIGURES").expect("CORACLE_SECCOMP_FIGURES is set");
    let directory = Path::new(&directory);
    let config = load("docker");
    let (fastest, median) = timed(|| {
        std::hint::black_box(compile(std::hint::black_box(&config)));
    });
    fs::write(directory.join("compile"), format!("coracle compile {fastest} {median}\n")).unwrap();
    let bytes = |i: &sock_filter| {
        let [a, b] = i.code.to_le_bytes();
        let [c, d, e, f] = i.k.to_le_bytes();
        [a, b, i.jt, i.jf, c, d, e, f]
    };
    let program: Vec<u8> = compile(&config).iter().flat_map(bytes).collect();
    fs::write(directory.join("docker.bpf"), program).unwrap();
}
