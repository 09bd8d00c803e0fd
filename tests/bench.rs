//! contrib/bench: its program's own tests, and its scripts as people call them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod harness;

use std::path::Path;
use std::process::{Command, Output};

use harness::Lab;
use serde_json::{Value, json};

// Its `main` and what only that uses is for rustc alone, which compiles it without cargo.
#[allow(dead_code)]
#[path = "../contrib/bench/bench.rs"]
mod bench;

const TOP: &str = env!("CARGO_MANIFEST_DIR");

/// A path in the test's own directory, as a word of a command line.
fn word(lab: &Lab, name: &str) -> String {
    lab.path(name).to_str().unwrap().to_owned()
}

/// A script of contrib.
fn script(name: &str, words: &[&str]) -> Command {
    let mut command = Command::new(Path::new(TOP).join("contrib").join(name));
    command.args(words).env_remove("ROUNDS");
    command
}

/// It failed with one line, which says why.
#[track_caller]
fn refused(command: &mut Command, why: &str) {
    let Output { status, stdout, stderr } = command.output().unwrap();
    let stderr = String::from_utf8(stderr).unwrap();
    assert_eq!((status.code(), stdout.len(), stderr.lines().count()), (Some(1), 0, 1), "{command:?}: {stderr}");
    assert!(stderr.contains(why), "{command:?}: {stderr}");
}

#[test]
fn scripts_refuse_rounds_that_are_no_number_from_one() {
    for rounds in ["0", "x", "-1", "1.5", "08", "1000000", "a[$(touch /tmp/coracle-bench)]"] {
        let why = format!("'{rounds}' is no number from 1 to 999999");
        for name in ["bench/timings", "bench/guest", "compare"] {
            refused(script(name, &[]).env("ROUNDS", rounds), &why);
        }
        refused(&mut script("bench/run", &["--rounds", rounds]), &why);
    }
}

#[test]
fn scripts_refuse_two_runtimes_of_one_name() {
    for name in ["bench/run", "compare"] {
        refused(
            &mut script(name, &["a=/bin/true", "b=/bin/true", "a=/bin/false"]),
            "more than one runtime is called a",
        );
        refused(&mut script(name, &["floor=/bin/true"]), "more than one runtime is called floor");
        refused(&mut script(name, &["=/bin/true"]), "usage: ");
    }
}

#[test]
fn run_refuses_a_plot_that_cannot_be_written_at_once() {
    let lab = Lab::new();
    let plot = |path: &str, why: &str| refused(&mut script("bench/run", &["--svg", path, "a=/bin/true"]), why);
    let missing = word(&lab, "missing/plot");
    plot(&missing, &format!("run: --svg: {missing}: No such file or directory"));
    plot(&word(&lab, ""), "Is a directory");
    // What is there stays when something else is wrong, and nothing is made.
    std::fs::write(word(&lab, "old"), "old").unwrap();
    for name in ["old", "new"] {
        refused(&mut script("bench/run", &["--svg", &word(&lab, name), "--only", "x"]), "no workload is called x");
        refused(&mut script("bench/run", &["--svg", &word(&lab, name), "a=/no/program"]), "no such program");
    }
    assert_eq!(std::fs::read_to_string(word(&lab, "old")).unwrap(), "old");
    assert!(!Path::new(&word(&lab, "new")).exists());
}

#[test]
fn run_help_says_which_bundles_and_in_which_order() {
    let help = script("bench/run", &["--help"]).output().unwrap();
    let text = String::from_utf8(help.stdout).unwrap();
    assert!(help.status.success() && help.stderr.is_empty() && !text.contains('#'), "{text}");
    for part in ["contrib/bench/spec.json", "whoever comes first", "A B C A B C"] {
        assert!(text.contains(part), "no {part}: {text}");
    }
}

#[test]
fn run_gives_all_the_bundle_of_coracles_spec_and_draws_every_row() {
    let lab = Lab::new();
    let (plot, configs) = (word(&lab, "plot"), word(&lab, "configs"));
    let fake = |name: &str| format!("{name}={TOP}/contrib/bench/hanging");
    // Neither has a `spec` of its own.
    let words =
        ["--tsv", "--patience", "0", "--rounds", "1", "--only", "run,1000", "--svg", &plot, &fake("<&\">"), &fake("b")];
    let output = script("bench/run", &words).env("HANGING_CONFIGS", &configs).output().unwrap();
    let (text, errors) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    assert!(output.status.success() && errors.is_empty() && text.lines().count() == 2, "{text}{errors}");

    let plot = std::fs::read_to_string(plot).unwrap();
    for part in [">run</text>", ">run, 1000 mounts on the host</text>", ">&lt;&amp;&quot;&gt;</text>", ">b</text>"] {
        assert!(plot.contains(part), "no {part} in {plot}");
    }

    let spec = Command::new(env!("CARGO_BIN_EXE_coracle")).arg("spec").current_dir(lab.path("")).status().unwrap();
    assert!(spec.success());
    let text = std::fs::read_to_string(word(&lab, "config.json")).unwrap();
    let mut wanted: Value = serde_json::from_str(&text).unwrap();
    wanted["ociVersion"] = json!("1.0.2");
    wanted["process"]["terminal"] = json!(false);
    wanted["process"]["args"] = json!(["/bin/true"]);
    let given = std::fs::read_to_string(configs).unwrap();
    let given: Vec<Value> = given.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    // Two runtimes, two workloads, and a round of each that warms the caches.
    assert_eq!(given, vec![wanted; 8]);
}

#[test]
fn floor_loads_a_filter_as_long_as_coracles_for_dockers_profile() {
    let lab = Lab::new();
    let config = Path::new(TOP).join("tests/data/configs/docker-config-seccomp12-memory-blockIO-hooks-m10.json");
    let docker: Value = serde_json::from_slice(&std::fs::read(config).unwrap()).unwrap();
    let bundle = lab.bundle(|c| c["linux"]["seccomp"] = docker["linux"]["seccomp"].clone());
    for name in ["resolv.conf", "hostname", "hosts"] {
        std::fs::write(bundle.path.join(name), "").unwrap();
        std::fs::write(bundle.root("etc").join(name), "").unwrap();
    }
    let (floor, trace) = (lab.path("floor"), lab.path("trace"));
    let source = Path::new(TOP).join("contrib/bench/floor.c");
    assert!(Command::new("cc").args(["-O2", "-static", "-o"]).args([&floor, &source]).status().unwrap().success());

    let strace = format!("exec strace --follow-forks --output {} --trace seccomp \"$@\"", trace.display());
    lab.cmd(&["run", "--bundle", bundle.str(), &lab.id()]).after(&strace).output().ok();
    let ours = filter_length(&trace);
    let mut command = Command::new("sh");
    command.args(["-c", &strace, "sh"]).arg(&floor).arg("--docker").arg(&bundle.path).arg(bundle.root(""));
    assert!(command.args([&lab.id(), "/bin/true"]).status().unwrap().success());
    assert_eq!(filter_length(&trace), ours);
}

/// Instructions of the one filter that was loaded.
fn filter_length(trace: &Path) -> usize {
    let text = std::fs::read_to_string(trace).unwrap();
    let lengths: Vec<&str> = text.split("{len=").skip(1).filter_map(|rest| rest.split(',').next()).collect();
    assert_eq!(lengths.len(), 1, "{text}");
    lengths[0].parse().unwrap()
}
