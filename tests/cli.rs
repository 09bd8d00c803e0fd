//! The command line as engines and people meet it: the real binary, without privileges.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

const COMMANDS: [&str; 13] =
    ["create", "start", "run", "kill", "delete", "exec", "pause", "resume", "state", "list", "ps", "spec", "features"];

/// A directory of its own for one test, gone at its end.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Scratch {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("coracle-cli-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir(&path).unwrap();
        Scratch(path)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Runs the program with state below this directory; `line` is cut at blanks, `{}` is this directory.
    fn run(&self, line: &str) -> Ran {
        let directory = self.0.to_str().unwrap();
        let line = format!("--root {{}}/state {line}").replace("{}", directory);
        Ran::of(program().args(line.split_whitespace()).output().unwrap())
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn program() -> Command {
    let mut program = Command::new(env!("CARGO_BIN_EXE_coracle"));
    program.env_clear().stdin(Stdio::null());
    program
}

fn run(line: &str) -> Ran {
    Ran::of(program().args(line.split_whitespace()).output().unwrap())
}

#[derive(Debug)]
struct Ran {
    code: i32,
    stdout: String,
    stderr: String,
}

impl Ran {
    fn of(output: Output) -> Ran {
        Ran {
            code: output.status.code().expect("died by a signal"),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// It failed with `code`, printed nothing, and said `text` in one line on standard error.
    #[track_caller]
    fn failed(&self, code: i32, text: &str) {
        assert_eq!((self.code, self.stdout.as_str()), (code, ""), "{self:?}");
        assert_eq!(self.stderr.lines().count(), 1, "{self:?}");
        assert!(self.stderr.starts_with("coracle: error: ") && self.stderr.contains(text), "{self:?}, not {text:?}");
    }

    /// It succeeded and said nothing on standard error.
    #[track_caller]
    fn succeeded(&self) -> &str {
        assert_eq!((self.code, self.stderr.as_str()), (0, ""), "{self:?}");
        &self.stdout
    }
}

/// The records of a log in JSON.
fn records(log: &Path) -> Vec<serde_json::Value> {
    let text = std::fs::read_to_string(log).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[track_caller]
fn assert_rfc3339_utc(time: &str) {
    let shape: String = time.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
    assert_eq!(shape, "0000-00-00T00:00:00.000000000Z");
}

#[test]
fn version_first_line_alone_names_it() {
    for line in ["--version", "-v", "-version", "--debug --version", "--version list"] {
        let ran = run(line);
        let mut lines = ran.succeeded().lines();
        assert_eq!(lines.next(), Some(concat!("coracle version ", env!("CARGO_PKG_VERSION"))), "{line}");
        let rest: Vec<&str> = lines.collect();
        assert!(rest.contains(&"spec: 1.3.0") && rest.iter().all(|line| !line.contains("version")), "{rest:?}");
    }
}

#[test]
fn help_is_printed_for_the_program_and_every_command() {
    for line in ["", "--help", "-h", "help"] {
        let ran = run(line);
        for command in COMMANDS {
            assert!(ran.succeeded().lines().any(|line| line.split_whitespace().next() == Some(command)), "{command}");
        }
    }
    for command in COMMANDS {
        for line in [format!("{command} --help"), format!("{command} -h"), format!("help {command}")] {
            let ran = run(&line);
            assert!(ran.succeeded().contains(&format!("Usage: coracle {command}")), "{line}: {ran:?}");
        }
    }
}

#[test]
fn help_of_what_does_not_exist_is_an_error() {
    run("help nothing").failed(1, "unknown command \"nothing\"");
}

#[test]
fn usage_every_mistake_is_one_line_and_exit_code_1() {
    for (line, text) in [
        ("nothing", "unknown command \"nothing\"; hint: see coracle --help"),
        ("CREATE x", "unknown command \"CREATE\""),
        ("--nothing", "unknown flag --nothing; hint: see coracle --help"),
        ("-x", "unknown flag -x; hint: see coracle --help"),
        ("--log-format xml list", "--log-format"),
        ("--log-level loud list", "--log-level"),
        ("--rootless=maybe list", "--rootless"),
        ("--cgroup-manager none list", "--cgroup-manager"),
        ("--debug=yes list", "invalid value yes for --debug"),
        ("--root", "flag --root requires an argument"),
        ("create", "\"coracle create\" requires exactly 1 argument(s)"),
        ("create a b", "\"coracle create\" requires exactly 1 argument(s)"),
        ("create --nothing a", "unknown flag --nothing; hint: see coracle create --help"),
        ("create --preserve-fds=-1 a", "--preserve-fds"),
        ("create --preserve-fds 4294967296 a", "--preserve-fds"),
        ("create a --bundle", "flag --bundle requires an argument"),
        ("start", "\"coracle start\" requires exactly 1 argument(s)"),
        ("start a --now", "unknown flag --now"),
        ("kill", "\"coracle kill\" requires a minimum of 1 argument(s)"),
        ("kill a 9 9", "\"coracle kill\" requires a maximum of 2 argument(s)"),
        ("kill a NOSUCH", "unknown signal \"NOSUCH\""),
        ("kill a 65", "unknown signal \"65\""),
        ("list a", "\"coracle list\" requires exactly 0 argument(s)"),
        ("list --format xml", "--format"),
        ("exec", "\"coracle exec\" requires a minimum of 1 argument(s)"),
        ("exec --nothing a b", "unknown flag --nothing"),
        ("ps", "\"coracle ps\" requires a minimum of 1 argument(s)"),
        ("features a", "\"coracle features\" requires exactly 0 argument(s)"),
    ] {
        run(line).failed(1, text);
    }
}

#[test]
fn state_of_an_unknown_id_is_the_text_that_engines_match() {
    let scratch = Scratch::new();
    for line in ["state nothing", "start nothing", "kill nothing", "delete nothing", "pause nothing", "ps nothing"] {
        scratch.run(line).failed(1, "container does not exist");
    }
}

#[test]
fn usual_mistakes_are_answered_with_a_way_out() {
    let scratch = Scratch::new();
    for (line, text) in [
        ("state nothing", "there is no \"nothing\" in {}/state; see coracle list"),
        ("run --bundle {} name", "hint: name its directory by --bundle, or let coracle spec write it"),
        ("list --root {}", "hint: it stands before the command"),
    ] {
        scratch.run(line).failed(1, &text.replace("{}", scratch.0.to_str().unwrap()));
    }
}

#[test]
fn exec_failure_of_the_runtime_is_255() {
    let scratch = Scratch::new();
    scratch.run("exec nothing ls -l --help").failed(255, "container does not exist");
    scratch.run("exec --user root nothing ls").failed(255, "invalid user \"root\"");
    scratch.run("exec nothing").failed(255, "process args cannot be empty");
}

#[test]
fn delete_force_of_an_unknown_id_succeeds_silently() {
    let scratch = Scratch::new();
    assert_eq!(scratch.run("delete --force nothing").succeeded(), "");
    assert_eq!(scratch.run("delete nothing -f").succeeded(), "");
}

#[test]
fn list_without_containers_prints_an_empty_list_of_each_form() {
    let scratch = Scratch::new();
    assert_eq!(scratch.run("list").succeeded(), "ID          PID         STATUS      BUNDLE      CREATED     OWNER\n");
    assert_eq!(scratch.run("list --format=json").succeeded(), "[]\n");
    assert_eq!(scratch.run("list -f json -f table -q").succeeded(), "");
}

#[test]
fn list_reader_that_has_gone_is_no_failure() {
    let scratch = Scratch::new();
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output = program().arg("--root").arg(scratch.path("state")).arg("list").stdout(writer).output().unwrap();
    Ran::of(output).succeeded();
}

#[test]
fn list_output_that_cannot_be_written_is_an_error() {
    let scratch = Scratch::new();
    let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
    let output = program().arg("--root").arg(scratch.path("state")).arg("list").stdout(full).output().unwrap();
    Ran::of(output).failed(1, "write to standard output: no space left on device");
}

#[test]
fn features_is_a_json_object() {
    let features: serde_json::Value = serde_json::from_str(run("features").succeeded()).unwrap();
    assert_eq!(features["ociVersionMax"], "1.3.0");
}

#[test]
fn spec_writes_once_and_never_over_a_file() {
    let scratch = Scratch::new();
    assert_eq!(scratch.run("spec --bundle {}").succeeded(), "");
    let path = scratch.path("config.json");
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(text.contains("\"terminal\": true"));
    scratch.run("spec -b {} --rootless").failed(1, "config.json exists");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
    scratch.run("spec -b {}/nothing").failed(1, "no such file or directory");
}

#[test]
fn spec_rootless_maps_the_caller() {
    let scratch = Scratch::new();
    scratch.run("spec --rootless --bundle {}").succeeded();
    let config: serde_json::Value =
        serde_json::from_slice(&std::fs::read(scratch.path("config.json")).unwrap()).unwrap();
    assert_eq!(config["linux"]["uidMappings"][0]["hostID"], nix::unistd::geteuid().as_raw());
}

#[test]
fn log_json_failure_is_exactly_one_record_and_one_line() {
    let scratch = Scratch::new();
    for line in ["state nothing", "create", "nothing", "exec nothing ls"] {
        let log = scratch.path("log.json");
        let ran = scratch.run(&format!("--log {{}}/log.json --log-format json {line}"));
        assert_ne!(ran.code, 0);
        assert_eq!(ran.stderr.lines().count(), 1, "{line}: {ran:?}");
        let records = records(&log);
        assert_eq!(records.len(), 1, "{line}: {records:?}");
        let record = &records[0];
        assert_eq!(record["level"], "error");
        assert_eq!(ran.stderr, format!("coracle: error: {}\n", record["msg"].as_str().unwrap()));
        assert_rfc3339_utc(record["time"].as_str().unwrap());
        std::fs::remove_file(log).unwrap();
    }
}

#[test]
fn log_success_leaves_no_record() {
    let scratch = Scratch::new();
    for line in ["list", "features", "delete --force nothing", "create --help"] {
        scratch.run(&format!("--log {{}}/log --log-format json {line}")).succeeded();
        assert_eq!(std::fs::read_to_string(scratch.path("log")).unwrap(), "", "{line}");
    }
}

#[test]
fn log_is_appended_to() {
    let scratch = Scratch::new();
    for count in 1..=3 {
        scratch.run("--log={}/log -log-format=json state nothing").failed(1, "container does not exist");
        assert_eq!(records(&scratch.path("log")).len(), count);
    }
}

#[test]
fn log_text_is_one_line_with_time_level_and_message() {
    let scratch = Scratch::new();
    scratch.run("--log {}/log state nothing").failed(1, "container does not exist");
    let text = std::fs::read_to_string(scratch.path("log")).unwrap();
    let rest = text.strip_prefix("time=\"").unwrap();
    let (time, rest) = rest.split_once('"').unwrap();
    assert_rfc3339_utc(time);
    assert!(rest.starts_with(" level=error msg=\"") && rest.ends_with("\"\n"), "{text}");
    assert_eq!(text.lines().count(), 1);
}

#[test]
fn log_json_without_a_file_is_a_record_on_standard_error() {
    let scratch = Scratch::new();
    for line in ["--log-format json state nothing", "--log /dev/stderr --log-format json state nothing"] {
        let ran = scratch.run(line);
        assert_eq!((ran.code, ran.stdout.as_str()), (1, ""));
        let record: serde_json::Value = serde_json::from_str(&ran.stderr).unwrap();
        assert_eq!(record["level"], "error");
    }
}

#[test]
fn log_debug_goes_to_the_file_alone() {
    let scratch = Scratch::new();
    assert_eq!(scratch.run("--debug --log {}/log --log-format json list -q").succeeded(), "");
    let records = records(&scratch.path("log"));
    assert!(!records.is_empty() && records.iter().all(|record| record["level"] == "debug"), "{records:?}");
}

#[test]
fn log_that_cannot_be_opened_stops_the_command() {
    let scratch = Scratch::new();
    scratch.run("--log {}/nothing/log spec --bundle {}").failed(1, "open log file");
    assert!(!scratch.path("config.json").exists());
}

/// With arguments enough that the copy of itself that it executes needs more than a few.
#[test]
fn exec_with_any_number_of_arguments_keeps_them_all() {
    let scratch = Scratch::new();
    for count in [0, 25, 26, 27, 28, 29, 30, 31, 32, 100] {
        let line = format!("exec{} last true", " --env A=1".repeat(count));
        scratch.run(&line).failed(255, "there is no \"last\" in ");
    }
}

#[test]
fn closed_standard_streams_are_nobody_else_s() {
    let scratch = Scratch::new();
    let (log, program) = (scratch.path("log"), env!("CARGO_BIN_EXE_coracle"));
    for closed in ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"] {
        let line = format!("'{program}' --log '{}' features {closed}", log.display());
        let features = Ran::of(Command::new("sh").args(["-c", &line]).output().unwrap());
        assert_eq!((features.code, features.stderr.as_str()), (0, ""), "{closed}");
        assert_eq!(features.stdout.is_empty(), closed.contains(" >&-") || closed == ">&-", "{closed}");
        assert_eq!(std::fs::read_to_string(&log).unwrap(), "", "{closed}");
    }
}

#[test]
fn timings_without_a_name_are_refused() {
    let refused = program().args(["--timings", "", "features"]).output().unwrap();
    Ran::of(refused).failed(1, "open timings file");
}
