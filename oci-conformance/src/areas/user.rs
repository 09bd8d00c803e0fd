//! process.user, capabilities and limits.

use serde_json::{Value, json};

use crate::config;
use crate::lab::Lab;
use crate::needs::Need;
use crate::suite::{Test, core};
use crate::verdict::{Verdict, ensure, equal};

pub const TESTS: &[Test] = &[
    core("user.uid_and_gid_are_set", &["R-create-applies", "R-start-runs"], ids),
    core("user.additional_groups_are_set", &["R-start-runs"], groups),
    core("user.no_groups_of_the_caller", &["R-start-runs"], no_groups),
    core("user.umask_is_set", &["R-start-runs"], umask),
    core("user.umask_zero_is_set", &["R-start-runs"], umask_zero),
    core("user.without_name_in_passwd_works", &["R-start-runs"], nameless),
    core("capabilities.sets_are_exact", &["R-start-runs"], sets),
    core("capabilities.absent_means_none", &["R-start-runs"], none),
    core("capabilities.ambient_reaches_a_user", &["R-start-runs"], ambient),
    core("capabilities.other_user_has_no_effective", &["R-start-runs"], other_user),
    core("capabilities.inheritable_is_empty_unless_told", &["R-start-runs"], inheritable),
    core("capabilities.that_cannot_be_granted_are_no_failure", &["C-capability-goes-on"], |lab| {
        super::errors::runs(lab, &config::with_capability("CAP_SYS_RESOURCE"))
    }),
    core("limits.soft_and_hard_are_exact", &["C-rlimit-soft", "C-rlimit-hard", "C-rlimit-readable"], limits),
    core("limits.every_kind_works", &["C-rlimit-soft", "C-rlimit-hard", "C-rlimit-readable"], every_limit),
    core("limits.unlimited_works", &["C-rlimit-soft"], unlimited).needs(&[Need::Root, Need::SysResource]),
    core("limits.unknown_kind_is_refused", &["C-rlimit-unknown"], |lab| {
        lab.refuses(&config::with("/process/rlimits", json!([{"type": "RLIMIT_NONSENSE", "soft": 1, "hard": 1}])))
    }),
    core("limits.same_kind_twice_is_refused", &["C-rlimit-twice"], |lab| {
        let one = json!({"type": "RLIMIT_NOFILE", "soft": 64, "hard": 64});
        lab.refuses(&config::with("/process/rlimits", json!([one, one])))
    }),
    core("limits.soft_above_hard_is_refused", &["C-valid"], |lab| {
        lab.refuses(&config::with("/process/rlimits", json!([{"type": "RLIMIT_NOFILE", "soft": 65, "hard": 64}])))
    }),
];

fn ids(lab: &Lab) -> Verdict {
    let facts = lab.facts(&config::with("/process/user", json!({"uid": 1234, "gid": 5678})))?;
    equal("uids", &facts["uids"], &json!([1234, 1234, 1234]))?;
    equal("gids", &facts["gids"], &json!([5678, 5678, 5678]))
}

fn sorted(value: &Value) -> Vec<i64> {
    let mut list: Vec<i64> = value.as_array().into_iter().flatten().filter_map(Value::as_i64).collect();
    list.sort_unstable();
    list
}

fn groups(lab: &Lab) -> Verdict {
    let facts =
        lab.facts(&config::with("/process/user", json!({"uid": 1000, "gid": 1000, "additionalGids": [5, 77, 60000]})))?;
    let found: Vec<i64> = sorted(&facts["groups"]).into_iter().filter(|gid| *gid != 1000).collect();
    equal("additional groups", found, vec![5, 77, 60000])
}

fn no_groups(lab: &Lab) -> Verdict {
    let facts = lab.facts(&config::with("/process/user", json!({"uid": 1000, "gid": 1000})))?;
    let found: Vec<i64> = sorted(&facts["groups"]).into_iter().filter(|gid| *gid != 1000).collect();
    equal("additional groups", found, Vec::<i64>::new())
}

fn umask(lab: &Lab) -> Verdict {
    let user = json!({"uid": 0, "gid": 0, "umask": 0o27});
    let said = lab.ask(&config::with("/process/user", user), &["facts", "create:/tmp/x", "stat:/tmp/x"])?;
    equal("umask", &said["facts"]["umask"], &json!(0o27))?;
    equal("mode of a new file", &said["stat:/tmp/x"]["mode"], &json!(0o640))
}

fn umask_zero(lab: &Lab) -> Verdict {
    let facts = lab.facts(&config::with("/process/user", json!({"uid": 0, "gid": 0, "umask": 0})))?;
    equal("umask", &facts["umask"], &json!(0))
}

fn nameless(lab: &Lab) -> Verdict {
    let facts = lab.facts(&config::with("/process/user", json!({"uid": 4_000_000, "gid": 4_000_001})))?;
    equal("uids", &facts["uids"], &json!([4_000_000, 4_000_000, 4_000_000]))
}

/// The line of /proc/self/status as a number.
fn set_of(facts: &Value, name: &str) -> u64 {
    u64::from_str_radix(facts["status"][name].as_str().unwrap_or("x"), 16).unwrap_or(u64::MAX)
}

const CHOWN: u64 = 1;
const DAC: u64 = 1 << 1;
const KILL: u64 = 1 << 5;
const NET_BIND: u64 = 1 << 10;

fn sets(lab: &Lab) -> Verdict {
    let capabilities = json!({
        "bounding": ["CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_KILL", "CAP_NET_BIND_SERVICE"],
        "permitted": ["CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_KILL"],
        "effective": ["CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_KILL"],
        "inheritable": ["CAP_KILL"],
    });
    let facts = lab.facts(&config::with("/process/capabilities", capabilities))?;
    equal("bounding", set_of(&facts, "CapBnd"), CHOWN | DAC | KILL | NET_BIND)?;
    equal("inheritable", set_of(&facts, "CapInh"), KILL)?;
    // With noNewPrivileges the execve of a program by root gains nothing from the bounding set.
    equal("permitted", set_of(&facts, "CapPrm"), CHOWN | DAC | KILL)?;
    equal("effective", set_of(&facts, "CapEff"), CHOWN | DAC | KILL)
}

fn none(lab: &Lab) -> Verdict {
    let facts = lab.facts(&config::with("/process/capabilities", json!({})))?;
    for name in ["CapBnd", "CapEff", "CapPrm", "CapInh", "CapAmb"] {
        equal(name, set_of(&facts, name), 0)?;
    }
    Ok(())
}

fn ambient(lab: &Lab) -> Verdict {
    let list = json!(["CAP_NET_BIND_SERVICE"]);
    let mut config = config::with(
        "/process/capabilities",
        json!({"bounding": list, "permitted": list, "effective": list, "inheritable": list, "ambient": list}),
    );
    config["process"]["user"] = json!({"uid": 1000, "gid": 1000});
    let facts = lab.facts(&config)?;
    equal("ambient", set_of(&facts, "CapAmb"), NET_BIND)?;
    equal("effective", set_of(&facts, "CapEff"), NET_BIND)
}

fn other_user(lab: &Lab) -> Verdict {
    let facts = lab.facts(&config::with("/process/user", json!({"uid": 1000, "gid": 1000})))?;
    equal("effective", set_of(&facts, "CapEff"), 0)?;
    equal("permitted", set_of(&facts, "CapPrm"), 0)
}

fn inheritable(lab: &Lab) -> Verdict {
    let facts = lab.facts(&config::base())?;
    equal("inheritable", set_of(&facts, "CapInh"), 0)?;
    equal("ambient", set_of(&facts, "CapAmb"), 0)
}

fn limits(lab: &Lab) -> Verdict {
    let list = json!([
        {"type": "RLIMIT_NOFILE", "soft": 123, "hard": 456},
        {"type": "RLIMIT_CORE", "soft": 0, "hard": 4096},
    ]);
    let facts = lab.facts(&config::with("/process/rlimits", list))?;
    equal("RLIMIT_NOFILE", &facts["limits"]["RLIMIT_NOFILE"], &json!([123, 456]))?;
    equal("RLIMIT_CORE", &facts["limits"]["RLIMIT_CORE"], &json!([0, 4096]))
}

/// Values below what a process has here, so that no privilege is needed, and large enough to live with.
const LIVABLE: [(&str, u64); 16] = [
    ("RLIMIT_AS", 1 << 32),
    ("RLIMIT_CORE", 1 << 20),
    ("RLIMIT_CPU", 600),
    ("RLIMIT_DATA", 1 << 31),
    ("RLIMIT_FSIZE", 1 << 30),
    ("RLIMIT_LOCKS", 1000),
    ("RLIMIT_MEMLOCK", 65536),
    ("RLIMIT_MSGQUEUE", 10240),
    ("RLIMIT_NICE", 0),
    ("RLIMIT_NOFILE", 512),
    ("RLIMIT_NPROC", 5000),
    ("RLIMIT_RSS", 1 << 30),
    ("RLIMIT_RTPRIO", 0),
    ("RLIMIT_RTTIME", 1_000_000),
    ("RLIMIT_SIGPENDING", 1000),
    ("RLIMIT_STACK", 1 << 20),
];

fn every_limit(lab: &Lab) -> Verdict {
    let list: Vec<Value> =
        LIVABLE.iter().map(|(name, value)| json!({"type": name, "soft": value, "hard": value})).collect();
    let facts = lab.facts(&config::with("/process/rlimits", json!(list)))?;
    for (name, value) in LIVABLE {
        equal(name, &facts["limits"][name], &json!([value, value]))?;
    }
    Ok(())
}

fn unlimited(lab: &Lab) -> Verdict {
    let list = json!([{"type": "RLIMIT_MEMLOCK", "soft": u64::MAX, "hard": u64::MAX}]);
    let facts = lab.facts(&config::with("/process/rlimits", list))?;
    ensure(facts["limits"]["RLIMIT_MEMLOCK"][0] == json!(u64::MAX), || facts["limits"].to_string())
}
