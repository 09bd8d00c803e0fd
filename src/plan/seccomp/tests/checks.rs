//! What is refused, what is warned about, and what comes along with the program.

use super::super::syscalls::{POWER, S390, X86};
use super::super::{Filter, SeccompConfig, words};
use super::evaluate::Profile;
use super::interpreter::{Call, check, run};

fn parse(text: &str) -> SeccompConfig {
    serde_json::from_str(text).unwrap()
}

fn compile(text: &str) -> crate::Result<(Option<Filter>, Vec<crate::Warning>)> {
    Filter::for_family(&X86, &parse(text), "/linux/seccomp", None)
}

fn filter(text: &str) -> Filter {
    compile(text).unwrap().0.unwrap()
}

#[test]
fn new_bad_profile_names_the_place() {
    for (bad, pointer) in [
        (r#"{"syscalls": [{"names": ["read"], "action": "SCMP_ACT_LOG"}]}"#, "defaultAction"),
        (r#"{"defaultAction": "allow"}"#, "defaultAction"),
        (r#"{"defaultAction": "SCMP_ACT_NOTIFY"}"#, "defaultAction"),
        (r#"{"defaultAction": "SCMP_ACT_ALLOW", "defaultErrnoRet": 1}"#, "defaultErrnoRet"),
        (r#"{"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 5000}"#, "defaultErrnoRet"),
        (r#"{"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86", "x86"]}"#, "architectures/1"),
        (r#"{"defaultAction": "SCMP_ACT_ALLOW", "flags": ["SECCOMP_FILTER_FLAG_NEW_LISTENER"]}"#, "flags/0"),
        (r#"{"defaultAction": "SCMP_ACT_ALLOW", "listenerMetadata": "x"}"#, "listenerMetadata"),
        (
            r#"{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["read"], "action": "SCMP_ACT_NOTIFY"}]}"#,
            "listenerPath",
        ),
        (
            r#"{"defaultAction": "SCMP_ACT_ALLOW", "listenerPath": "/s\u0000",
                "syscalls": [{"names": ["read"], "action": "SCMP_ACT_NOTIFY"}]}"#,
            "listenerPath",
        ),
        (
            r#"{"defaultAction": "SCMP_ACT_ALLOW", "listenerPath": "/s",
                "syscalls": [{"names": ["read", "write"], "action": "SCMP_ACT_NOTIFY"}]}"#,
            "syscalls/0/names/1",
        ),
        (
            r#"{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["read"], "action": ""}]}"#,
            "syscalls/0/action",
        ),
        (
            r#"{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["read"], "action": "SCMP_ACT_TRAP", "errnoRet": 1}]}"#,
            "syscalls/0/errnoRet",
        ),
        (
            r#"{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["read"], "action": "SCMP_ACT_TRAP",
                "args": [{"index": 0, "value": 1, "op": "SCMP_CMP_EQ"}, {"index": 6, "value": 1, "op": "SCMP_CMP_EQ"}]}]}"#,
            "syscalls/0/args/1/index",
        ),
        (
            r#"{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["read"], "action": "SCMP_ACT_TRAP",
                "args": [{"index": 0, "value": 1, "op": "SCMP_CMP_BIT"}]}]}"#,
            "syscalls/0/args/0/op",
        ),
    ] {
        let error = compile(bad).unwrap_err();
        assert_eq!(error.kind(), crate::Kind::Config, "{bad}");
        assert_eq!(error.pointer(), Some(format!("/linux/seccomp/{pointer}").as_str()), "{bad}: {error}");
    }
}

#[test]
fn new_program_beyond_the_kernels_limit_is_refused() {
    let rules: Vec<_> = (0..2000)
        .map(|i| {
            format!(
                r#"{{"names": ["read"], "action": "SCMP_ACT_LOG",
                    "args": [{{"index": {}, "value": {i}, "op": "SCMP_CMP_NE"}}]}}"#,
                i % 6
            )
        })
        .collect();
    let text = format!(r#"{{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{}]}}"#, rules.join(","));
    let error = compile(&text).unwrap_err();
    assert_eq!(error.pointer(), Some("/linux/seccomp"));
    assert!(error.to_string().contains("the kernel takes 4096"), "{error}");
}

#[test]
fn new_empty_section_is_no_filter() {
    let (filter, warnings) = compile(r#"{"defaultAction": "", "syscalls": []}"#).unwrap();
    assert_eq!((filter, warnings.len()), (None, 1));
}

#[test]
fn new_without_rules_still_kills_other_architectures() {
    let program = filter(r#"{"defaultAction": "SCMP_ACT_ALLOW"}"#).program;
    let call = |audit, number| run(&program, &Call { audit, number, args: [0; 6], big_endian: false }).0;
    assert_eq!(call(0xC000_003E, 0), words::RET_ALLOW);
    assert_eq!(call(0x4000_0003, 0), words::RET_KILL_THREAD);
    assert_eq!(call(0xC000_003E, 0x4000_0000), words::RET_KILL_THREAD);
}

#[test]
fn new_oddities_are_noted_not_refused() {
    let (filter, warnings) = compile(
        r#"{"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_ARM"], "flags": ["SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"],
            "syscalls": [{"names": null, "action": "SCMP_ACT_LOG"}, {"names": ["reed"], "action": "SCMP_ACT_LOG"}]}"#,
    )
    .unwrap();
    let pointers = |list: &[crate::Warning]| list.iter().filter_map(|w| w.pointer.clone()).collect::<Vec<_>>();
    assert_eq!(pointers(&warnings), ["/linux/seccomp/syscalls/0/names", "/linux/seccomp/flags/0"]);
    let ignored = filter.unwrap().ignored;
    assert_eq!(pointers(&ignored), ["/linux/seccomp/architectures/0", "/linux/seccomp/syscalls/1/names/0"]);

    let power = parse(r#"{"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_PPC"]}"#);
    let (_, warnings) = Filter::for_family(&POWER, &power, "", None).unwrap();
    assert_eq!(pointers(&warnings), ["/architectures/0"]);
}

#[test]
fn flags_absent_empty_and_given() {
    let flags = |list: &str| filter(&format!(r#"{{"defaultAction": "SCMP_ACT_ALLOW", "flags": {list}}}"#)).flags;
    assert_eq!(flags("null"), words::FLAG_SPEC_ALLOW);
    assert_eq!(flags("[]"), 0);
    assert_eq!(
        flags(r#"["SECCOMP_FILTER_FLAG_LOG", "SECCOMP_FILTER_FLAG_TSYNC"]"#),
        words::FLAG_LOG | words::FLAG_TSYNC
    );
}

#[test]
fn notify_brings_listener_flags_and_path() {
    let text = r#"{"defaultAction": "SCMP_ACT_ALLOW", "listenerMetadata": "m", "flags": ["SECCOMP_FILTER_FLAG_TSYNC",
        "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"], "syscalls": [{"names": ["mkdir"], "action": "SCMP_ACT_NOTIFY"}]}"#;
    let (filter, warnings) = Filter::for_family(&X86, &parse(text), "/linux/seccomp", Some("/run/agent")).unwrap();
    let filter = filter.unwrap();
    assert_eq!(warnings, []);
    assert_eq!(filter.flags, 1 | 8 | 16 | 32);
    let notify = filter.notify.unwrap();
    assert_eq!(notify.listener_path.as_c_str(), c"/run/agent");
    assert_eq!(notify.listener_metadata.as_deref(), Some("m"));
}

#[test]
fn listener_without_notify_is_ignored() {
    let filter = filter(r#"{"defaultAction": "SCMP_ACT_ALLOW", "listenerPath": "/s", "listenerMetadata": "m"}"#);
    assert_eq!((filter.notify, filter.flags), (None, words::FLAG_SPEC_ALLOW));
}

#[test]
fn long_program_jumps_across_255_instructions() {
    // Conditions on every third call make a tree far longer than a conditional jump reaches.
    let rules: Vec<_> = X86
        .rows()
        .iter()
        .step_by(3)
        .enumerate()
        .map(|(i, row)| {
            format!(
                r#"{{"names": ["{}"], "action": "SCMP_ACT_ERRNO", "errnoRet": {i},
                    "args": [{{"index": 1, "value": {i}, "op": "SCMP_CMP_GT"}}]}}"#,
                row.name
            )
        })
        .collect();
    let text = format!(
        r#"{{"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86", "SCMP_ARCH_X32"], "syscalls": [{}]}}"#,
        rules.join(",")
    );
    let program = filter(&text).program;
    check(&program).unwrap();
    assert!(program.len() > 1000);
    assert!(program.iter().any(|instruction| instruction.code == 0x05));
    let config = parse(&text);
    let profile = Profile::new(&config, &X86);
    for column in X86.columns {
        for number in 0..600 {
            for argument in [0, 100, u64::MAX] {
                let args = [0, argument, 0, 0, 0, 0];
                let call = Call { audit: column.audit, number: column.base | number, args, big_endian: false };
                assert_eq!(run(&program, &call).0, profile.decide(&call), "{call:?}");
            }
        }
    }
}

#[test]
fn multiplexed_call_is_denied_whatever_the_kernel_does_not_read_and_without_a_number_of_its_own() {
    const DENIED: u32 = 0x0005_0001;
    let config = |words: &str, architectures: &str| {
        parse(&format!(
            r#"{{"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["{architectures}"],
                "syscalls": [{{"names": {words}, "action": "SCMP_ACT_ERRNO"}}]}}"#
        ))
    };
    for (family, column) in [(&X86, 1), (&POWER, 0), (&S390, 0)] {
        let column = &family.columns[column];
        let decide = |words: &str, number: u32, first: u64| {
            let filter = Filter::for_family(family, &config(words, column.word), "", None).unwrap().0.unwrap();
            assert!(filter.ignored.is_empty(), "{:?}", filter.ignored);
            let call = Call { audit: column.audit, number, args: [first; 6], big_endian: family.big_endian };
            run(&filter.program, &call).0
        };
        for (name, call) in [("accept", 5), ("send", 9), ("recv", 10), ("connect", 3)] {
            for upper in [0, 1 << 32, u64::MAX << 32] {
                let word = format!(r#"["{name}"]"#);
                assert_eq!(decide(&word, 102, upper | call), DENIED, "{name} {upper:#x} {}", column.word);
                assert_eq!(decide(&word, 102, 1 << 16 | call), words::RET_ALLOW, "{name}: no such call");
            }
        }
        for (name, call) in [("semop", 1), ("semtimedop", 4), ("shmat", 21)] {
            for upper in [0, 1 << 16, 1 << 32, u64::MAX << 16] {
                assert_eq!(decide(&format!(r#"["{name}"]"#), 117, upper | call), DENIED, "{name} {upper:#x}");
            }
        }
        // Calls that both know by the same number, of which one argument tells less.
        let both = r#"["bind", "semget"]"#;
        assert_eq!(decide(both, 117, 1 << 16 | 2), DENIED);
        assert_eq!(decide(both, 102, 1 << 16 | 2), words::RET_ALLOW);
    }
}
