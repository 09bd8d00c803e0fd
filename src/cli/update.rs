//! `update`: other limits for a container that is there.

use std::fmt::Display;
use std::io::Read;
use std::path::Path;
use std::str::FromStr;

use clap::ArgMatches;
use coracle::{Error, Kind, Result, UpdateOptions};
use serde_json::{Map, Value};

use super::definition::{given_id, given_path, given_text, id, text, value};
use super::{Command, ExitCode, Globals, Group, ID_ONLY, failed, usage};

pub(crate) const COMMAND: Command = Command {
    name: "update",
    about: "Change the limits of a container",
    example: "coracle update --memory 512m --cpu-quota 50000 web",
    group: Group::Inside,
    define,
    run,
    ..ID_ONLY
};

/// How a value is written on the command line.
#[derive(Clone, Copy, Debug)]
enum Form {
    /// Bytes, with a unit like `k`, `m` or `GiB` if need be; -1 for no limit.
    Size,
    Signed,
    Unsigned,
    Text,
}

/// A flag that sets one value of linux.resources.
struct Flag {
    long: &'static str,
    name: &'static str,
    help: &'static str,
    form: Form,
    section: &'static str,
    key: &'static str,
}

const fn flag(
    long: &'static str,
    name: &'static str,
    help: &'static str,
    form: Form,
    place: (&'static str, &'static str),
) -> Flag {
    Flag { long, name, help, form, section: place.0, key: place.1 }
}

const FLAGS: [Flag; 16] = [
    flag("memory", "BYTES", "Memory, as 512m; -1 for no limit", Form::Size, ("memory", "limit")),
    flag("memory-reservation", "BYTES", "Memory that reclaim spares", Form::Size, ("memory", "reservation")),
    flag("memory-swap", "BYTES", "Memory and swap together; -1 for no limit", Form::Size, ("memory", "swap")),
    flag("cpu-share", "N", "Weight of its CPU time, 1024 by default", Form::Unsigned, ("cpu", "shares")),
    flag("cpu-period", "MICROSECONDS", "Period of the quota", Form::Unsigned, ("cpu", "period")),
    flag("cpu-quota", "MICROSECONDS", "CPU time in a period; -1 for no limit", Form::Signed, ("cpu", "quota")),
    flag("cpu-burst", "MICROSECONDS", "Unused time that may be saved up", Form::Unsigned, ("cpu", "burst")),
    flag("cpu-idle", "0|1", "1: only run when no one else does", Form::Signed, ("cpu", "idle")),
    flag("cpu-rt-period", "MICROSECONDS", "Period of the real-time limit", Form::Unsigned, ("cpu", "realtimePeriod")),
    flag("cpu-rt-runtime", "MICROSECONDS", "Real-time CPU time in a period", Form::Signed, ("cpu", "realtimeRuntime")),
    flag("cpuset-cpus", "LIST", "CPUs to use, as 0-3,7", Form::Text, ("cpu", "cpus")),
    flag("cpuset-mems", "LIST", "Memory nodes to use", Form::Text, ("cpu", "mems")),
    flag("pids-limit", "N", "Number of tasks; -1 for no limit", Form::Signed, ("pids", "limit")),
    flag("blkio-weight", "N", "Weight of its block I/O, 10 to 1000", Form::Unsigned, ("blockIO", "weight")),
    flag("kernel-memory", "BYTES", "Accepted: the kernel has no such limit any more", Form::Size, ("memory", "kernel")),
    flag("kernel-memory-tcp", "BYTES", "Memory of TCP buffers (cgroup v1)", Form::Size, ("memory", "kernelTCP")),
];

fn define(command: clap::Command) -> clap::Command {
    command
        .args([value(
            "resources",
            "FILE",
            "Take the limits from FILE, a resources section as JSON (- for standard input)",
        )
        .short('r')])
        .args(FLAGS.iter().map(|flag| text(flag.long, flag.name, flag.help)))
        .args([
            text("l3-cache-schema", "SCHEMA", "Lines for the L3 cache in its Intel RDT class"),
            text("mem-bw-schema", "SCHEMA", "Line for memory bandwidth in its Intel RDT class"),
            id(),
        ])
}

fn run(globals: &Globals, matches: &ArgMatches) -> Result<ExitCode> {
    globals.container(given_id(matches))?.update(&options(matches)?)?;
    Ok(ExitCode::SUCCESS)
}

/// A file of resources makes the flags for single ones void.
fn options(matches: &ArgMatches) -> Result<UpdateOptions> {
    let resources = match given_path(matches, "resources") {
        Some(path) => read(&path)?,
        None => resources(matches)?.to_string().into_bytes(),
    };
    Ok(UpdateOptions {
        resources,
        l3_cache_schema: given_text(matches, "l3-cache-schema"),
        mem_bw_schema: given_text(matches, "mem-bw-schema"),
    })
}

/// The largest document that is read.
const LARGEST: u64 = 16 << 20;

fn read(path: &Path) -> Result<Vec<u8>> {
    let what = || format!("read resources from {}", path.display());
    let source: std::io::Result<std::fs::File> = if path == Path::new("-") {
        std::os::fd::AsFd::as_fd(&std::io::stdin()).try_clone_to_owned().map(Into::into)
    } else {
        std::fs::File::open(path)
    };
    let mut raw = Vec::new();
    source.and_then(|file| file.take(LARGEST + 1).read_to_end(&mut raw)).map_err(|error| failed(&error, what()))?;
    match raw.len() as u64 {
        0 => Err(Error::new(Kind::Config, "it is empty").context(what())),
        length if length > LARGEST => Err(Error::new(Kind::Config, "larger than 16 MiB").context(what())),
        _ => Ok(raw),
    }
}

fn resources(matches: &ArgMatches) -> Result<Value> {
    let mut sections = Map::new();
    for flag in &FLAGS {
        let Some(word) = given_text(matches, flag.long) else { continue };
        let section = sections.entry(flag.section).or_insert_with(|| Value::Object(Map::new()));
        if let Some(section) = section.as_object_mut() {
            section.insert(flag.key.to_owned(), parse(flag, &word)?);
        }
    }
    Ok(Value::Object(sections))
}

fn parse(flag: &Flag, word: &str) -> Result<Value> {
    match flag.form {
        Form::Size => parse_size(word).map(Value::from).ok_or_else(|| invalid(flag, word, "not a size like 512m")),
        Form::Signed => number::<i64>(flag, word),
        Form::Unsigned => number::<u64>(flag, word),
        Form::Text => Ok(Value::from(word)),
    }
}

fn number<N: FromStr<Err: Display> + Into<Value>>(flag: &Flag, word: &str) -> Result<Value> {
    word.parse::<N>().map(Into::into).map_err(|error| invalid(flag, word, error))
}

fn invalid(flag: &Flag, word: &str, reason: impl Display) -> Error {
    usage(format!("invalid value {word} for --{}: {reason}", flag.long))
}

/// Bytes: a number, which may have a fraction, and a unit of 1024, whose `i` and `b` change nothing.
fn parse_size(word: &str) -> Option<i64> {
    if word == "-1" {
        return Some(-1);
    }
    let unit_at = word.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(word.len());
    let (number, unit) = word.split_at_checked(unit_at)?;
    let unit = unit.trim_start().to_ascii_lowercase();
    let shift = match unit.strip_suffix('b').unwrap_or(&unit) {
        "" => 0,
        "k" | "ki" => 10,
        "m" | "mi" => 20,
        "g" | "gi" => 30,
        "t" | "ti" => 40,
        "p" | "pi" => 50,
        _ => return None,
    };
    let scale = 1_i64 << shift;
    if let Ok(whole) = number.parse::<i64>() {
        return whole.checked_mul(scale);
    }
    let bytes = number.parse::<f64>().ok()? * scale as f64;
    // What a double holds exactly is more than any memory.
    (bytes < 9.0e15).then_some(bytes as i64)
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use super::*;

    fn of(words: &[&str]) -> Result<Value> {
        let words = words.iter().map(OsString::from).collect();
        let options = options(&COMMAND.parse(words).unwrap().unwrap())?;
        Ok(serde_json::from_slice(&options.resources).unwrap())
    }

    #[test]
    fn options_every_flag_arrives_in_its_place() {
        let words: Vec<&str> = "--memory 32m --memory-reservation 1.5g --memory-swap -1 --cpu-share 5 --cpu-period 6 \
            --cpu-quota -1 --cpu-burst 7 --cpu-idle 1 --cpu-rt-period 8 --cpu-rt-runtime 9 --cpuset-cpus 0-1 \
            --cpuset-mems 0 --pids-limit 0 --blkio-weight 10 --kernel-memory 1k --kernel-memory-tcp 2KiB web"
            .split_whitespace()
            .collect();
        assert_eq!(
            of(&words).unwrap(),
            serde_json::json!({
                "memory": {"limit": 33_554_432, "reservation": 1_610_612_736, "swap": -1, "kernel": 1024,
                    "kernelTCP": 2048},
                "cpu": {"shares": 5, "period": 6, "quota": -1, "burst": 7, "idle": 1, "realtimePeriod": 8,
                    "realtimeRuntime": 9, "cpus": "0-1", "mems": "0"},
                "pids": {"limit": 0},
                "blockIO": {"weight": 10},
            })
        );
        assert_eq!(of(&["web", "-pids-limit=-1"]).unwrap(), serde_json::json!({"pids": {"limit": -1}}));
        assert_eq!(of(&["web"]).unwrap(), serde_json::json!({}));
    }

    #[test]
    fn options_a_wrong_value_is_named() {
        for (words, message) in [
            (["--memory", "x", "web"], "invalid value x for --memory: not a size like 512m"),
            (["--memory", "-2", "web"], "invalid value -2 for --memory: not a size like 512m"),
            (["--cpu-share", "5m", "web"], "invalid value 5m for --cpu-share: invalid digit found in string"),
            (["--pids-limit", "1.5", "web"], "invalid value 1.5 for --pids-limit: invalid digit found in string"),
        ] {
            assert_eq!(of(&words).unwrap_err().to_string(), message);
        }
    }

    #[test]
    fn parse_size_of_every_spelling() {
        for (word, bytes) in [
            ("0", Some(0)),
            ("1024", Some(1024)),
            ("32m", Some(32 << 20)),
            ("32MB", Some(32 << 20)),
            ("32 MiB", Some(32 << 20)),
            ("1.5G", Some(3 << 29)),
            ("2b", Some(2)),
            ("1p", Some(1 << 50)),
            ("9223372036854775807", Some(i64::MAX)),
            ("9223372036854775808", None),
            ("9999999p", None),
            ("1x", None),
            ("m", None),
            ("", None),
            ("1.2.3", None),
            ("-5", None),
        ] {
            assert_eq!(parse_size(word), bytes, "{word}");
        }
    }
}
