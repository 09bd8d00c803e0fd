//! `--timings`: where the time of a start goes, as contrib/bench/README.md shows it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod harness;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use harness::{Lab, args};
use serde_json::Value;

/// One line of the file: when, in which process, the end of which phase.
struct Line {
    at: f64,
    pid: i64,
    phase: String,
}

fn lines(file: &Path) -> Vec<Line> {
    let text = fs::read_to_string(file).unwrap();
    assert!(text.ends_with('\n'), "{text}");
    let parse = |line: &str| {
        let value: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        assert_eq!(value.as_object().unwrap().len(), 3, "{line}");
        let phase = value["phase"].as_str().unwrap().to_owned();
        Line { at: value["at"].as_f64().unwrap(), pid: value["pid"].as_i64().unwrap(), phase }
    };
    text.lines().map(parse).collect()
}

/// Process and phase of each row of the table of times in the README that has figures of ours.
fn documented() -> BTreeSet<(String, String)> {
    let readme = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/contrib/bench/README.md")).unwrap();
    let cells = |line: &str| line.split('|').map(|cell| cell.trim().to_owned()).collect::<Vec<_>>();
    let (_, times) = readme.split_once("## One run, phase by phase").unwrap();
    let (times, _) = times.split_once("\n## ").unwrap();
    let rows = times.lines().map(cells).filter(|row| row.len() > 4 && ["runtime", "init"].contains(&row[1].as_str()));
    rows.filter(|row| !row[3].is_empty()).map(|row| (row[1].clone(), row[2].clone())).collect()
}

#[test]
fn timings_of_run_have_each_documented_phase_in_the_order_of_time() {
    let lab = Lab::new();
    let file = lab.path("timings");
    let bundle = lab.bundle(|c| args(c, &["true"]));
    // The record of a second run comes after that of the first.
    for runs in 1..=2 {
        let run = lab.cmd(&["run", "--bundle", bundle.str(), &lab.id()]);
        run.global("--timings").global(file.to_str().unwrap()).output().ok();
        let lines = lines(&file);
        let last = lines.iter().rposition(|line| line.phase == "begin" && line.pid != 1).unwrap();
        let (earlier, own) = lines.split_at(last);
        assert_eq!(earlier.len(), (runs - 1) * own.len());

        let mut phases = BTreeSet::new();
        for (who, is_init) in [("runtime", false), ("init", true)] {
            let process: Vec<&Line> = own.iter().filter(|line| (line.pid == 1) == is_init).collect();
            assert_eq!(process[0].phase, "begin", "{who}");
            assert!(process.iter().all(|line| line.pid == process[0].pid), "more than one process as {who}");
            assert!(process.is_sorted_by(|a, b| a.at <= b.at), "{who}");
            phases.extend(process[1..].iter().map(|line| (who.to_owned(), line.phase.clone())));
        }
        assert_eq!(phases, documented());
        assert_eq!(own.len(), phases.len() + 2, "a phase ends twice");
    }
}

#[test]
fn timings_are_not_written_unless_wanted() {
    let lab = Lab::new();
    let bundle = lab.bundle(|c| args(c, &["sh", "-c", "ls -l /proc/$$/fd; true"]));
    let directory = lab.path("cwd");
    fs::create_dir(&directory).unwrap();
    let run = |file: Option<&Path>| {
        let run = lab.cmd(&["run", "--bundle", bundle.str(), &lab.id()]).cwd(&directory);
        match file {
            Some(file) => run.global("--timings").global(file.to_str().unwrap()),
            None => run,
        }
        .output()
        .ok()
        .stdout
    };
    let file = lab.path("timings");
    // Nor does the program inside see the file when there is one.
    assert!(!run(Some(&file)).contains("timings"));
    fs::remove_file(&file).unwrap();
    run(None);
    assert!(!file.exists());
    assert_eq!(fs::read_dir(&directory).unwrap().count(), 0);
}

#[test]
fn timings_file_that_cannot_be_opened_fails_and_nothing_is_left() {
    let lab = Lab::new();
    let bundle = lab.bundle(|c| args(c, &["touch", "/tmp/ran"]));
    let directory = lab.path("directory");
    fs::create_dir(&directory).unwrap();
    for (file, why) in [(lab.path("missing/file"), "ENOENT"), (directory, "EISDIR")] {
        let run = lab.cmd(&["run", "--bundle", bundle.str(), &lab.id()]);
        let failed = run.global("--timings").global(file.to_str().unwrap()).output();
        let failed = failed.fails(1, &format!("open timings file {}", file.display()));
        assert!(failed.stderr.contains(why), "{failed:?}");
        assert!(!bundle.root("tmp/ran").exists() && !lab.path("missing").exists());
        assert_eq!(lab.states(), [] as [String; 0]);
        lab.assert_clean();
    }
}
