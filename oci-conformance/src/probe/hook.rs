//! A hook: writes down what it sees.

use std::io::{Read, Write};
use std::process::ExitCode;

use serde_json::json;

/// `FILE NAME [fail | sleep | check-absent PATH]`.
pub fn main(args: &[String]) -> ExitCode {
    let [file, name, rest @ ..] = args else { return ExitCode::from(250) };
    let mut stdin = String::new();
    let _ = std::io::stdin().read_to_string(&mut stdin);
    let state: serde_json::Value = serde_json::from_str(&stdin).unwrap_or_default();
    let environment: serde_json::Map<_, _> = std::env::vars().map(|(key, value)| (key, value.into())).collect();
    let record = json!({
        "name": name,
        "state": state,
        "arguments": std::env::args().collect::<Vec<_>>(),
        "environment": environment,
        "namespaces": super::facts::namespaces(),
        "cwd": std::env::current_dir().ok(),
        "root_entries": super::facts::names("/"),
        // Whether the user's program has left its mark yet: tells a hook before it from a hook after it.
        "mark_in_bundle": state["bundle"].as_str().map(|bundle| std::path::Path::new(bundle).join("rootfs/mark").exists()),
        "mark": std::path::Path::new("/mark").exists(),
        "pid_alive": state["pid"].as_i64().map(|pid| std::path::Path::new(&format!("/proc/{pid}")).exists()),
    });
    let opened = std::fs::OpenOptions::new().create(true).append(true).open(file);
    let Ok(mut log) = opened else { return ExitCode::from(251) };
    if writeln!(log, "{record}").is_err() {
        return ExitCode::from(252);
    }
    match rest.first().map(String::as_str) {
        Some("fail") => ExitCode::from(1),
        Some("sleep") => {
            std::thread::sleep(std::time::Duration::from_secs(30));
            ExitCode::SUCCESS
        }
        _ => ExitCode::SUCCESS,
    }
}
