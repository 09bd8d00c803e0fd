//! Much of everything: hundreds of masked paths, a thousand containers after one another.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod harness;

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use harness::{Bundle, Lab, args, json, own_mounts, own_table, parse_mounts};
use serde_json::Value;

/// How many system calls a whole run makes, with all its processes. Counted by strace.
fn count_calls(lab: &Lab, bundle: &Bundle) -> usize {
    let log = lab.path(&format!("calls-{}", lab.number()));
    let status = std::process::Command::new("strace")
        .args(["-f", "-qq", "-o", log.to_str().unwrap(), lab.runtime.to_str().unwrap(), "--root"])
        .args([lab.state_root().to_str().unwrap(), "run", "--bundle", bundle.str(), &lab.id()])
        .env("CORACLE_TEST_TAG", &lab.tag)
        .status()
        .expect("this test needs strace");
    assert!(status.success());
    fs::read_to_string(log).unwrap().lines().filter(|line| !line.contains("<unfinished")).count()
}

/// Hundreds of paths, as engines mask for each processor, cost a fixed number of mounts each and one tmpfs in all.
#[test]
fn hundreds_of_masked_paths_share_one_cover() {
    let lab = Lab::new();
    let masked: Vec<String> = (0..600).map(|n| format!("/many/{n}")).collect();
    let bundle = lab.bundle(|c| {
        args(c, &["cat", "/proc/self/mountinfo"]);
        c["linux"]["maskedPaths"] = json!(masked);
    });
    // A third of each: directories, files, and what is not there.
    for n in 0..600 {
        fs::create_dir_all(bundle.root("many")).unwrap();
        match n % 3 {
            0 => fs::create_dir(bundle.root(&format!("many/{n}"))).unwrap(),
            1 => fs::write(bundle.root(&format!("many/{n}")), "").unwrap(),
            _ => {}
        }
    }
    let text = lab.run(&bundle).ok().stdout;
    let covers: Vec<_> = parse_mounts(&text).into_iter().filter(|line| line.point.starts_with("/many/")).collect();
    assert_eq!(covers.len(), 400);
    let devices = |point: &dyn Fn(usize) -> bool| {
        let lines = text.lines().filter(|line| {
            let name = line.split(' ').nth(4).unwrap().strip_prefix("/many/").and_then(|n| n.parse().ok());
            name.is_some_and(point)
        });
        lines.map(|line| line.split(' ').nth(2).unwrap()).collect::<std::collections::BTreeSet<_>>().len()
    };
    assert_eq!(devices(&|n| n % 3 == 0), 1, "one tmpfs for all directories");
    assert_eq!(devices(&|n| n % 3 == 1), 1, "one null for all files");
    assert!(covers.iter().filter(|line| line.root == "/").all(|line| line.options.starts_with("ro")), "{text}");
}

/// What a path costs does not depend on how many there are.
#[test]
fn masked_path_costs_a_handful_of_system_calls() {
    let lab = Lab::new();
    let calls = |count: usize| {
        let bundle = lab.bundle(|c| {
            args(c, &["true"]);
            c["linux"]["maskedPaths"] = (0..count).map(|n| json!(format!("/many/{n}"))).collect();
        });
        (0..count).for_each(|n| fs::create_dir_all(bundle.root(&format!("many/{n}"))).unwrap());
        count_calls(&lab, &bundle)
    };
    let (few, many) = (calls(100), calls(500));
    let each = (many.saturating_sub(few)) as f64 / 400.0;
    println!("{each} system calls for each masked directory");
    assert!(each < 9.0, "{each} system calls for each masked path");
}

/// A bundle with the configuration that Docker sends, but for what belongs to its own host.
fn docker(lab: &Lab) -> Bundle {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/configs");
    let docker = data.join("docker-config-seccomp12-memory-blockIO-hooks-m10.json");
    let mut config: Value = serde_json::from_slice(&fs::read(docker).unwrap()).unwrap();
    let bundle = lab.bundle(|_| ());
    config["root"]["path"] = bundle.config["root"]["path"].clone();
    config["linux"]["cgroupsPath"] = bundle.config["linux"]["cgroupsPath"].clone();
    config.as_object_mut().unwrap().remove("hooks");
    args(&mut config, &["true"]);
    config["process"]["cwd"] = json!("/");
    for name in ["apparmorProfile", "oomScoreAdj", "rlimits"] {
        config["process"].as_object_mut().unwrap().remove(name);
    }
    fs::write(lab.path("bound"), "").unwrap();
    for mount in config["mounts"].as_array_mut().unwrap() {
        if mount["source"].as_str().is_some_and(|source| source.starts_with('/')) {
            mount["source"] = json!(lab.path("bound"));
        }
    }
    bundle.write_config(&config.to_string());
    bundle
}

/// Nothing piles up that would make the next container dearer: mounts, cgroups, states, system calls. `CORACLE_CREATES` says
/// how many containers are made.
#[test]
fn a_thousand_creates_leave_the_host_as_it_was_and_cost_the_same() {
    let count: usize = std::env::var("CORACLE_CREATES").map_or(1000, |count| count.parse().unwrap());
    let lab = Lab::new();
    own_mounts();
    let bundle = docker(&lab);
    let mounts = own_table();
    // The first makes what all share, such as the parent of their cgroups.
    let (_, before) = (count_calls(&lab, &bundle), count_calls(&lab, &bundle));
    let mut times = Vec::new();
    let mut found = Vec::new();
    for _ in 0..count {
        let begun = Instant::now();
        let container = lab.create(&bundle);
        times.push(begun.elapsed());
        found.push((parse_mounts(&own_table()).len(), harness::leaks::cgroups(&lab.tag).len(), lab.states().len()));
        container.with("delete", &["--force"], &[]).ok();
        assert!(harness::leaks::cgroups(&lab.tag).is_empty() && lab.states().is_empty());
    }
    assert_eq!(own_table(), mounts);
    assert!(found.iter().all(|counts| *counts == found[0]), "mounts, cgroups and states while one is there: {found:?}");
    let after = count_calls(&lab, &bundle);
    assert!(after.abs_diff(before) <= 5, "{before} system calls for the first run, {after} for the last");
    let median = |part: &[Duration]| {
        let mut part = part.to_vec();
        part.sort_unstable();
        part[part.len() / 2]
    };
    let tenth = count.div_ceil(10);
    println!(
        "{count} creates, runs of {after} system calls; median of the first tenth {:?}, of the last {:?}",
        median(&times[..tenth]),
        median(&times[count - tenth..])
    );
}

fn v2_alone() -> bool {
    fs::exists("/sys/fs/cgroup/cgroup.procs").unwrap()
}

/// Mounts every hierarchy of v1 and v2 where hosts have them, over what the machine has. On a host with cgroup v2 alone they
/// are where they belong.
const USUAL_PLACES: &str = r#"set -e
    if [ ! -e /sys/fs/cgroup/cgroup.procs ]; then
        mount -t tmpfs none /sys/fs/cgroup
        while IFS=: read -r _ controllers _; do
            case $controllers in
            '') type=cgroup2 place=unified options=rw ;;
            name=*) type=cgroup place=${controllers#name=} options=none,$controllers ;;
            *) type=cgroup place=$controllers options=$controllers ;;
            esac
            mkdir "/sys/fs/cgroup/$place"
            mount -t "$type" -o "$options" none "/sys/fs/cgroup/$place"
        done </proc/self/cgroup
    fi
    "#;

/// Leads containers through their lives under strace, in a mount namespace of their own that `prepare` has changed, each command
/// by `prefix`: which lines of /proc/self/cgroup one sees, and whether anything read a mount table.
fn live_prepared(lab: &Lab, prepare: &str, prefix: &str) -> (String, bool) {
    let short = lab.bundle(|c| args(c, &["cat", "/proc/self/cgroup"]));
    let long = lab.bundle(|c| args(c, &["sleep", "1000"]));
    let log = lab.path(&format!("opens-{}", lab.number()));
    let script = format!(
        r#"{USUAL_PLACES}{prepare}
        log=$1 short=$2 one=$3 long=$4 other=$5
        shift 5
        traced() {{ {prefix} strace -qq -A -e trace=open,openat,openat2 -o "$log" "$@"; }}
        # strace -f ends with the last process that it follows, and that of create would be init.
        traced -f "$@" run --bundle "$short" "$one"
        traced "$@" create --bundle "$long" "$other" >/dev/null </dev/null
        for command in start state ps pause resume kill; do traced "$@" "$command" "$other" >/dev/null; done
        traced "$@" delete --force "$other""#
    );
    let output = std::process::Command::new("unshare")
        .args(["--mount", "sh", "-c", &script, "sh", log.to_str().unwrap()])
        .args([short.str(), &lab.id(), long.str(), &lab.id()])
        .args([lab.runtime.to_str().unwrap(), "--root", lab.state_root().to_str().unwrap()])
        .env("CORACLE_TEST_TAG", &lab.tag)
        .output()
        .expect("this test needs unshare and strace");
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && stderr.is_empty(), "{stderr}");
    let opens = fs::read_to_string(log).unwrap();
    assert!(opens.contains("config.json"), "{opens}");
    (stdout.into_owned(), opens.contains("/mountinfo") || opens.contains("/mounts\""))
}

/// On a host with thousands of mounts a create costs what it costs elsewhere: nothing reads the mount table.
#[test]
fn mount_table_is_read_by_nobody_where_cgroups_are_at_their_places() {
    let lab = Lab::new();
    let (inside, read) = live_prepared(&lab, "", "");
    assert!(!read);
    // What the table would have told: the container has its own cgroup in every hierarchy.
    let unknown = |line: &str| ["misc", "debug"].iter().any(|name| line.contains(name));
    assert!(inside.lines().all(|line| unknown(line) || line.contains(&lab.tag)), "{inside}");
}

/// A hierarchy that is elsewhere is found there.
#[test]
fn mount_table_tells_of_a_hierarchy_that_is_elsewhere() {
    let lab = Lab::new();
    if v2_alone() {
        let (inside, read) = live_prepared(&lab, "mount --bind /sys/fs/cgroup /mnt", "");
        assert!(!read && inside.contains(&lab.tag), "v2 alone has one place: {inside}");
        return;
    }
    let elsewhere = lab.path("pids");
    fs::create_dir(&elsewhere).unwrap();
    let prepare = format!("mount --move /sys/fs/cgroup/pids {}", elsewhere.display());
    let (inside, read) = live_prepared(&lab, &prepare, "");
    assert!(read);
    let pids = inside.lines().find(|line| line.contains(":pids:")).unwrap();
    assert!(pids.contains(&lab.tag), "{inside}");
}

/// In a cgroup namespace the places say nothing about where the view of it begins.
#[test]
fn mount_table_tells_what_a_cgroup_namespace_sees() {
    let lab = Lab::new();
    let (_, read) = live_prepared(&lab, "", "unshare --cgroup");
    assert_eq!(read, !v2_alone());
}

/// A cgroup2 at a place of its own beside v1 is its owner's, whoever tells of it.
#[test]
fn mount_table_does_not_lead_into_a_cgroup2_that_is_elsewhere() {
    let lab = Lab::new();
    if v2_alone() {
        let (inside, _) = live_prepared(&lab, "", "");
        assert!(inside.contains(&lab.tag), "v2 alone: {inside}");
        return;
    }
    for table in [false, true] {
        let elsewhere = lab.path(&format!("unified-{table}"));
        fs::create_dir(&elsewhere).unwrap();
        let mut prepare = format!("mount --move /sys/fs/cgroup/unified {}", elsewhere.display());
        if table {
            prepare.push_str("; umount /sys/fs/cgroup/pids");
        }
        let (inside, read) = live_prepared(&lab, &prepare, "");
        assert_eq!(read, table);
        let v2 = inside.lines().find(|line| line.starts_with("0::")).unwrap();
        assert!(!v2.contains(&lab.tag), "{inside}");
    }
}
