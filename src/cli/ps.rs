//! `ps`: the processes of a container, as numbers or as the host's ps(1) shows them.

use std::ffi::OsString;

use clap::{Arg, ArgMatches, value_parser};
use coracle::{Error, Kind, Result};

use super::definition::{format, given_all, given_id, id};
use super::output::{print, print_json};
use super::words::FlagsEnd;
use super::{Command, ExitCode, Globals, Group, ID_ONLY, Positionals, failed};

pub(crate) const COMMAND: Command = Command {
    name: "ps",
    about: "Show the processes of a container",
    example: "coracle ps web -o pid,user,args",
    group: Group::Look,
    positionals: Positionals::AtLeast(1),
    flags_end: FlagsEnd::AtPositional,
    define,
    run,
    ..ID_ONLY
};

fn define(command: clap::Command) -> clap::Command {
    command.args([
        format(),
        id(),
        Arg::new("options")
            .value_name("PS-OPTION")
            .num_args(0..)
            .trailing_var_arg(true)
            .allow_hyphen_values(true)
            .value_parser(value_parser!(OsString))
            .help("Options for ps(1) [default: -ef]"),
    ])
}

fn run(globals: &Globals, matches: &ArgMatches) -> Result<ExitCode> {
    let pids = globals.container(given_id(matches))?.processes()?;
    if matches.get_one::<String>("format").is_some_and(|format| format == "json") {
        print_json(&pids)?;
    } else {
        let listing = listing(&ps_options(given_all(matches, "options")))?;
        print(only(&listing, &pids)?.as_bytes())?;
    }
    Ok(ExitCode::SUCCESS)
}

/// One argument with blanks is how engines hand over all the options that a person typed.
fn ps_options(given: Vec<OsString>) -> Vec<OsString> {
    match given.as_slice() {
        [] => vec![OsString::from("-ef")],
        [all] => match all.to_str() {
            Some(all) => all.split_whitespace().map(OsString::from).collect(),
            None => given,
        },
        _ => given,
    }
}

/// What ps(1) prints.
fn listing(options: &[OsString]) -> Result<String> {
    let output =
        std::process::Command::new("ps").args(options).output().map_err(|error| failed(&error, "execute ps"))?;
    if !output.status.success() {
        let complaint = String::from_utf8_lossy(&output.stderr);
        let complaint = complaint.lines().find(|line| !line.trim().is_empty()).unwrap_or("no message").trim();
        return Err(Error::new(Kind::System, format!("{}: {complaint}", output.status)).context("execute ps"));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The head of `listing` and the lines whose column PID is one of `pids`.
fn only(listing: &str, pids: &[i32]) -> Result<String> {
    let mut lines = listing.lines();
    let head = lines.next().unwrap_or_default();
    let column = head.split_whitespace().position(|title| title == "PID").ok_or_else(|| {
        Error::new(Kind::Usage, "the output of ps has no column PID").hint("choose options of ps that print it")
    })?;
    let mut kept = format!("{head}\n");
    for line in lines {
        let pid = line.split_whitespace().nth(column).and_then(|pid| pid.parse().ok());
        if pid.is_some_and(|pid: i32| pids.contains(&pid)) {
            kept.push_str(line);
            kept.push('\n');
        }
    }
    Ok(kept)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_lines_of_the_container_stay() {
        let listing = "UID          PID    PPID CMD\nroot           1       0 init\nroot          42       1 sh 7\n\
                       root         142       1 x 42\n";
        assert_eq!(only(listing, &[42, 7]).unwrap(), "UID          PID    PPID CMD\nroot          42       1 sh 7\n");
    }

    #[test]
    fn only_without_a_pid_column_is_an_error() {
        assert!(only("CMD\ninit\n", &[1]).is_err());
        assert!(only("", &[1]).is_err());
    }

    #[test]
    fn ps_options_one_argument_with_blanks_is_several() {
        assert_eq!(ps_options(vec![]), ["-ef"]);
        assert_eq!(ps_options(vec!["-o pid,comm".into()]), ["-o", "pid,comm"]);
        assert_eq!(ps_options(vec!["-o".into(), "pid comm".into()]), ["-o", "pid comm"]);
    }
}
