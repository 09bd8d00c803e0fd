//! Published attacks that are won in a moment, performed: 4 (a mount destination exchanged during setup), 5 (missing
//! mountpoints made while their parent is exchanged), and the same for /dev, masked paths and /proc. Somebody exchanges
//! a directory of the image with a symbolic link to the host all the while.
//!
//! `CORACLE_RACES` says how many containers each test makes.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod harness;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use harness::{Bundle, Exchanger, Lab, Sentinel, args, json, own_mounts, own_table, parse_mounts};
use nix::sys::stat::{Mode, SFlag, makedev, mknod};
use serde_json::Value;

fn races() -> usize {
    std::env::var("CORACLE_RACES").map_or(200, |count| count.parse().unwrap())
}

/// A directory of the host that every link of the image leads to.
fn outside(lab: &Lab) -> Sentinel {
    let path = lab.path("outside");
    fs::create_dir_all(path.join("there")).unwrap();
    for name in ["null", "ptmx", "secret"] {
        fs::write(path.join(name), "secret of the host").unwrap();
    }
    Sentinel::new(&path)
}

fn bind(config: &mut Value, source: &Path, destination: &str) {
    let mount = json!({"destination": destination, "source": source, "options": ["bind"]});
    config["mounts"].as_array_mut().unwrap().push(mount);
}

fn without_mounts_below(config: &mut Value, path: &str) {
    let mounts = config["mounts"].as_array_mut().unwrap();
    mounts.retain(|mount| !Path::new(mount["destination"].as_str().unwrap()).starts_with(path));
}

/// A directory `real` of the image, and beside it `link`, which leads to `target`.
fn real_and_link(bundle: &Bundle, real: &str, target: &Path) {
    fs::create_dir_all(bundle.root(real)).unwrap();
    symlink(target, bundle.root("link")).unwrap();
}

/// Runs `bundle` many times while two of its names are exchanged. `next` changes the configuration before each turn and
/// `check` looks at what a run printed, or at nothing if it was refused. Gives how many runs succeeded.
fn race(
    lab: &Lab,
    bundle: &mut Bundle,
    (directory, one, other): (&Path, &str, &str),
    next: impl Fn(usize, &mut Value),
    check: impl Fn(usize, &str),
) -> usize {
    let before = own_table();
    let exchanger = Exchanger::start(directory, one, other);
    let mut succeeded = 0;
    for turn in 0..races() {
        next(turn, &mut bundle.config);
        bundle.write_config(&bundle.config.to_string());
        let done = lab.run(bundle);
        if done.code() == 0 {
            check(turn, &done.stdout);
            succeeded += 1;
        } else {
            assert!(!done.stderr.contains("panic"), "{done:#?}");
        }
        assert_eq!(own_table(), before, "turn {turn} changed the host's mounts");
    }
    let exchanges = exchanger.count();
    assert!(exchanges > races(), "only {exchanges} exchanges: this was no race");
    succeeded
}

/// CVE-2021-30465. A mount that leaves the root is lost at the pivot, so the container lacks it.
#[test]
fn attack_4_destination_exchanged_stays_inside() {
    let lab = Lab::new();
    own_mounts();
    let sentinel = outside(&lab);
    let volume = lab.path("volume");
    fs::create_dir(&volume).unwrap();
    let mut bundle = lab.bundle(|c| {
        args(c, &["cat", "/proc/self/mountinfo"]);
        bind(c, &volume, "/real/there");
    });
    real_and_link(&bundle, "real/there", &sentinel.path);
    let names = (bundle.root(""), "real", "link");
    let check = |turn: usize, mounts: &str| {
        let found = parse_mounts(mounts).iter().filter(|line| line.root.ends_with("/volume")).count();
        assert_eq!(found, 1, "turn {turn}: the volume is elsewhere:\n{mounts}");
    };
    let succeeded = race(&lab, &mut bundle, (&names.0, names.1, names.2), |_, _| (), check);
    assert!(succeeded > races() / 2, "{succeeded} of {} succeeded", races());
    sentinel.assert_untouched();
}

/// CVE-2024-45310.
#[test]
fn attack_5_missing_mountpoints_are_made_inside() {
    let lab = Lab::new();
    own_mounts();
    let sentinel = outside(&lab);
    let (volume, file) = (lab.path("volume"), lab.path("file"));
    fs::create_dir(&volume).unwrap();
    fs::write(&file, "").unwrap();
    let mut bundle = lab.bundle(|c| args(c, &["cat", "/proc/self/mountinfo"]));
    real_and_link(&bundle, "real", &sentinel.path);
    let names = (bundle.root(""), "real", "link");
    let usual = bundle.config["mounts"].clone();
    let next = |turn: usize, config: &mut Value| {
        config["mounts"] = usual.clone();
        bind(config, &volume, &format!("/real/made-{turn}/deep/er"));
        bind(config, &file, &format!("/real/file-{turn}/deep"));
    };
    let check = |turn: usize, mounts: &str| {
        for name in ["/volume", "/file"] {
            let found = parse_mounts(mounts).iter().filter(|line| line.root.ends_with(name)).count();
            assert_eq!(found, 1, "turn {turn}: {name} is elsewhere:\n{mounts}");
        }
        sentinel.assert_untouched();
    };
    let succeeded = race(&lab, &mut bundle, (&names.0, names.1, names.2), next, check);
    assert!(succeeded > races() / 2, "{succeeded} of {} succeeded", races());
    sentinel.assert_untouched();
}

/// What is made, removed and linked in /dev before the pivot.
#[test]
fn attack_9_dev_exchanged_stays_inside() {
    let lab = Lab::new();
    own_mounts();
    let sentinel = outside(&lab);
    let mut bundle = lab.bundle(|c| {
        args(c, &["/bin/true"]);
        without_mounts_below(c, "/dev");
    });
    real_and_link(&bundle, "dev", &sentinel.path);
    let names = (bundle.root(""), "dev", "link");
    let next = |turn: usize, config: &mut Value| {
        let path = format!("/dev/made-{turn}");
        config["linux"]["devices"] = json!([{"path": path, "type": "c", "major": 1, "minor": 3}]);
    };
    let succeeded = race(&lab, &mut bundle, (&names.0, names.1, names.2), next, |_, _| sentinel.assert_untouched());
    assert!(succeeded > races() / 2, "{succeeded} of {} succeeded", races());
    sentinel.assert_untouched();
}

/// CVE-2025-31133: a volume at /dev, in which null is now the device and now a file.
#[test]
fn attack_6_null_exchanged_masks_with_the_device_or_fails() {
    let lab = Lab::new();
    own_mounts();
    let sentinel = outside(&lab);
    let devices = lab.path("dev");
    fs::create_dir(&devices).unwrap();
    mknod(&devices.join("null"), SFlag::S_IFCHR, Mode::from_bits_truncate(0o666), makedev(1, 3)).unwrap();
    fs::write(devices.join("false"), "false cover").unwrap();
    let mut bundle = lab.bundle(|c| {
        args(c, &["cat", "/etc/masked", "/proc/self/mountinfo"]);
        without_mounts_below(c, "/dev");
        bind(c, &devices, "/dev");
        c["linux"]["maskedPaths"] = json!(["/etc/masked"]);
        c["linux"]["readonlyPaths"] = json!([]);
    });
    fs::write(bundle.root("etc/masked"), "content").unwrap();
    let check = |turn: usize, text: &str| {
        assert!(!text.contains("false cover"), "turn {turn}: masked with another file: {text}");
        assert!(!text.contains("content"), "turn {turn}: not masked: {text}");
    };
    let succeeded = race(&lab, &mut bundle, (&devices, "null", "false"), |_, _| (), check);
    assert!(succeeded > 0 && succeeded < races(), "{succeeded} of {} succeeded", races());
    sentinel.assert_untouched();
}

/// The path that is masked is exchanged: its cover lands on a file of the image, never on one of the host.
#[test]
fn attack_6_masked_path_exchanged_covers_nothing_of_the_host() {
    let lab = Lab::new();
    own_mounts();
    let sentinel = outside(&lab);
    let mut bundle = lab.bundle(|c| {
        args(c, &["cat", "/proc/self/mountinfo"]);
        c["linux"]["maskedPaths"] = json!(["/real/secret", "/real/there"]);
        c["linux"]["readonlyPaths"] = json!(["/real"]);
    });
    real_and_link(&bundle, "real/there", &sentinel.path);
    fs::write(bundle.root("real/secret"), "").unwrap();
    // So that the link leads somewhere inside, too.
    let inside = bundle.root(sentinel.path.strip_prefix("/").unwrap().to_str().unwrap());
    fs::create_dir_all(inside.join("there")).unwrap();
    fs::write(inside.join("secret"), "").unwrap();
    let names = (bundle.root(""), "real", "link");
    let check = |turn: usize, mounts: &str| {
        let lines = parse_mounts(mounts);
        let files = lines.iter().filter(|line| line.point.ends_with("/secret")).count();
        let directories = lines.iter().filter(|line| line.point.ends_with("/there")).count();
        assert_eq!((files, directories), (1, 1), "turn {turn}: a cover is elsewhere:\n{mounts}");
    };
    let succeeded = race(&lab, &mut bundle, (&names.0, names.1, names.2), |_, _| (), check);
    assert!(succeeded > races() / 2, "{succeeded} of {} succeeded", races());
    sentinel.assert_untouched();
}

/// CVE-2019-19921 and its successors: /proc is now a directory and now a link to another one of the image.
#[test]
fn attack_3_proc_exchanged_is_an_ordinary_directory_or_fails() {
    let lab = Lab::new();
    own_mounts();
    let mut bundle = lab.bundle(|c| {
        let script =
            "test -e /decoy/self && echo decoyed; for d in /proc /link; do test -e $d/self && echo there; done; true";
        args(c, &["sh", "-c", script]);
        without_mounts_below(c, "/sys");
        c["linux"]["maskedPaths"] = json!([]);
        c["linux"]["readonlyPaths"] = json!([]);
    });
    fs::create_dir_all(bundle.root("decoy")).unwrap();
    symlink("/decoy", bundle.root("link")).unwrap();
    let names = (bundle.root(""), "proc", "link");
    let check = |turn: usize, text: &str| {
        assert!(!text.contains("decoyed"), "turn {turn}: the procfs was mounted through a link");
    };
    let succeeded = race(&lab, &mut bundle, (&names.0, names.1, names.2), |_, _| (), check);
    assert!(succeeded > 0 && succeeded < races(), "{succeeded} of {} succeeded", races());
}
