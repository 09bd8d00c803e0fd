//! process.scheduler, process.ioPriority and linux.memoryPolicy; time offsets.

use serde_json::{Value, json};

use crate::config;
use crate::lab::Lab;
use crate::needs::Need;
use crate::suite::{Test, core};
use crate::verdict::{Verdict, equal};

pub const TESTS: &[Test] = &[
    core("scheduler.batch_with_nice", &["R-start-runs"], |lab| {
        scheduler(lab, json!({"policy": "SCHED_BATCH", "nice": 5}), &[("policy", 3), ("nice", 5)])
    })
    .needs(&[Need::Root, Need::Spec(1)]),
    core("scheduler.other_with_nice", &["R-start-runs"], |lab| {
        scheduler(lab, json!({"policy": "SCHED_OTHER", "nice": 10}), &[("policy", 0), ("nice", 10)])
    })
    .needs(&[Need::Root, Need::Spec(1)]),
    core("scheduler.idle", &["R-start-runs"], |lab| scheduler(lab, json!({"policy": "SCHED_IDLE"}), &[("policy", 5)]))
        .needs(&[Need::Root, Need::Spec(1)]),
    core("scheduler.reset_on_fork", &["R-start-runs"], |lab| {
        let asked = json!({"policy": "SCHED_BATCH", "flags": ["SCHED_FLAG_RESET_ON_FORK"]});
        scheduler(lab, asked, &[("policy", 3), ("flags", 1)])
    })
    .needs(&[Need::Root, Need::Spec(1)]),
    core("scheduler.unknown_policy_is_refused", &["C-valid"], |lab| {
        lab.refuses(&config::with("/process/scheduler", json!({"policy": "SCHED_NONSENSE"})))
    })
    .needs(&[Need::Root, Need::Spec(1)]),
    core("io_priority.best_effort", &["R-start-runs"], |lab| io(lab, "IOPRIO_CLASS_BE", 6, (2 << 13) | 6))
        .needs(&[Need::Root, Need::Spec(1)]),
    core("io_priority.idle", &["R-start-runs"], |lab| io(lab, "IOPRIO_CLASS_IDLE", 0, 3 << 13))
        .needs(&[Need::Root, Need::Spec(1)]),
    core("io_priority.unknown_class_is_refused", &["C-valid"], |lab| {
        lab.refuses(&config::with("/process/ioPriority", json!({"class": "IOPRIO_CLASS_NONSENSE", "priority": 1})))
    })
    .needs(&[Need::Root, Need::Spec(1)]),
    core("memory_policy.interleave", &["R-start-runs"], |lab| {
        memory(lab, json!({"mode": "MPOL_INTERLEAVE", "nodes": "0"}), (3, 1))
    })
    .needs(&[Need::Root, Need::Spec(3)]),
    core("memory_policy.bind", &["R-start-runs"], |lab| {
        memory(lab, json!({"mode": "MPOL_BIND", "nodes": "0"}), (2, 1))
    })
    .needs(&[Need::Root, Need::Spec(3)]),
    core("memory_policy.local", &["R-start-runs"], |lab| memory(lab, json!({"mode": "MPOL_LOCAL"}), (4, 0)))
        .needs(&[Need::Root, Need::Spec(3)]),
    core("memory_policy.static_nodes", &["R-start-runs"], |lab| {
        let asked = json!({"mode": "MPOL_BIND", "nodes": "0", "flags": ["MPOL_F_STATIC_NODES"]});
        memory(lab, asked, (2 | 1 << 15, 1))
    })
    .needs(&[Need::Root, Need::Spec(3)]),
    core("memory_policy.relative_nodes", &["R-start-runs"], |lab| {
        let asked = json!({"mode": "MPOL_INTERLEAVE", "nodes": "0", "flags": ["MPOL_F_RELATIVE_NODES"]});
        memory(lab, asked, (3 | 1 << 14, 1))
    })
    .needs(&[Need::Root, Need::Spec(3)]),
    core("memory_policy.unknown_flag_is_refused", &["C-valid"], |lab| {
        let asked = json!({"mode": "MPOL_BIND", "nodes": "0", "flags": ["MPOL_F_NONSENSE"]});
        lab.refuses(&config::with("/linux/memoryPolicy", asked))
    })
    .needs(&[Need::Root, Need::Spec(3)]),
    core("memory_policy.unknown_mode_is_refused", &["C-valid"], |lab| {
        lab.refuses(&config::with("/linux/memoryPolicy", json!({"mode": "MPOL_NONSENSE", "nodes": "0"})))
    })
    .needs(&[Need::Root, Need::Spec(3)]),
];

fn scheduler(lab: &Lab, asked: Value, wanted: &[(&str, i64)]) -> Verdict {
    let facts = lab.facts(&config::with("/process/scheduler", asked))?;
    for (name, value) in wanted {
        equal(name, facts["scheduler"][*name].as_i64(), Some(*value))?;
    }
    Ok(())
}

fn io(lab: &Lab, class: &str, priority: i32, wanted: i64) -> Verdict {
    let asked = json!({"class": class, "priority": priority});
    let facts = lab.facts(&config::with("/process/ioPriority", asked))?;
    equal("ioprio_get", facts["io_priority"].as_i64(), Some(wanted))
}

/// `wanted` is what get_mempolicy(2) says: the mode with its flags, and the nodes as bits.
fn memory(lab: &Lab, asked: Value, wanted: (i64, u64)) -> Verdict {
    let facts = lab.facts(&config::with("/linux/memoryPolicy", asked))?;
    equal("get_mempolicy", &facts["memory_policy"], &json!([wanted.0, wanted.1]))
}
