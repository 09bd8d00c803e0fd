//! `events`: what a container uses, and when it runs out of memory, as JSON on a line each.

use std::time::Duration;

use clap::ArgMatches;
use coracle::{Event, Result, Stats};
use serde::Serialize;

use super::definition::{given_id, id, switch, text};
use super::output::print_to_reader;
use super::{Command, ExitCode, Globals, Group, ID_ONLY, usage};

pub(crate) const COMMAND: Command = Command {
    name: "events",
    about: "Show what a container uses, and its OOM events",
    example: "coracle events --interval 1m30s web",
    group: Group::Look,
    define,
    run,
    ..ID_ONLY
};

fn define(command: clap::Command) -> clap::Command {
    command.args([
        text("interval", "DURATION", "Time between two reports, as 5s, 1m30s or 500ms").default_value("5s"),
        switch("stats", "Report once, now, and end"),
        id(),
    ])
}

/// What engines parse.
#[derive(Serialize)]
struct Line<'a> {
    r#type: &'a str,
    id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<&'a Stats>,
}

fn run(globals: &Globals, matches: &ArgMatches) -> Result<ExitCode> {
    let interval = matches.get_one::<String>("interval").map_or("", String::as_str);
    let interval = parse_duration(interval)
        .ok_or_else(|| usage(format!("invalid value {interval} for --interval: not a duration like 5s")))?;
    if interval.is_zero() {
        return Err(usage("the interval must be greater than 0"));
    }
    let container = globals.container(given_id(matches))?;
    let id = container.id();
    if matches.get_flag("stats") {
        print_to_reader(&Line { r#type: "stats", id, data: Some(&container.stats()?) })?;
        return Ok(ExitCode::SUCCESS);
    }
    for event in container.events(interval)? {
        let read = match event? {
            Event::Stats(stats) => print_to_reader(&Line { r#type: "stats", id, data: Some(&stats) })?,
            Event::Oom => print_to_reader(&Line { r#type: "oom", id, data: None })?,
        };
        if !read {
            break;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// A duration as Go writes it: numbers, which may have a fraction, each with its unit.
fn parse_duration(text: &str) -> Option<Duration> {
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    if rest == "0" {
        return Some(Duration::ZERO);
    }
    if rest.is_empty() {
        return None;
    }
    let mut total = Duration::ZERO;
    while !rest.is_empty() {
        let unit_at = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, after) = rest.split_at_checked(unit_at)?;
        let unit_end = after.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(after.len());
        let (unit, after) = after.split_at_checked(unit_end)?;
        let seconds = match unit {
            "ns" => 1e-9,
            "us" | "µs" | "μs" => 1e-6,
            "ms" => 1e-3,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            _ => return None,
        };
        let part = Duration::try_from_secs_f64(number.parse::<f64>().ok()? * seconds).ok()?;
        total = total.checked_add(part)?;
        rest = after;
    }
    Some(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parse_duration_as_go_writes_it() {
        for (text, duration) in [
            ("5s", Some(Duration::from_secs(5))),
            ("1m30s", Some(Duration::from_secs(90))),
            ("500ms", Some(Duration::from_millis(500))),
            ("1.5h", Some(Duration::from_secs(5400))),
            ("+1s", Some(Duration::from_secs(1))),
            ("10us", Some(Duration::from_micros(10))),
            ("7µs", Some(Duration::from_micros(7))),
            (".5s", Some(Duration::from_millis(500))),
            ("0", Some(Duration::ZERO)),
            ("0s", Some(Duration::ZERO)),
            ("5", None),
            ("", None),
            ("+", None),
            ("s", None),
            ("-5s", None),
            ("5x", None),
            ("1.2.3s", None),
            ("1s5", None),
            ("999999999999999999999999h", None),
        ] {
            assert_eq!(parse_duration(text), duration, "{text:?}");
        }
    }

    #[test]
    fn line_has_the_fields_that_engines_parse() {
        let stats = Stats::default();
        let line = serde_json::to_value(Line { r#type: "stats", id: "web", data: Some(&stats) }).unwrap();
        let keys: Vec<&String> = line["data"].as_object().unwrap().keys().collect();
        assert_eq!(keys, ["blkio", "cpu", "cpuset", "hugetlb", "intel_rdt", "memory", "network_interfaces", "pids"]);
        assert_eq!(line["data"]["cpu"], serde_json::json!({"usage": {"kernel": 0, "user": 0}, "throttling": {}}));
        assert_eq!(line["data"]["pids"], serde_json::json!({}));
        let none = serde_json::json!({"limit": 0, "failcnt": 0});
        assert_eq!(
            line["data"]["memory"],
            serde_json::json!({"usage": none, "swap": none, "kernel": none, "kernelTCP": none})
        );
        let oom = serde_json::to_string(&Line { r#type: "oom", id: "web", data: None }).unwrap();
        assert_eq!(oom, r#"{"type":"oom","id":"web"}"#);
    }
}
