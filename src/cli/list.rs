//! `list`: all containers below the root.

use std::fmt::Write;

use clap::ArgMatches;
use coracle::{Result, State};

use super::definition::{format, switch};
use super::output::{print, print_json};
use super::{Command, ExitCode, Globals, Group, ID_ONLY, Positionals};

pub(crate) const COMMAND: Command = Command {
    name: "list",
    about: "List the containers",
    example: "coracle list --format json",
    group: Group::Look,
    positionals: Positionals::Exactly(0),
    define: |command| command.args([format(), switch("quiet", "Print only the ids").short('q')]),
    run,
    ..ID_ONLY
};

fn run(globals: &Globals, matches: &ArgMatches) -> Result<ExitCode> {
    let states = globals.runtime()?.states()?;
    if matches.get_flag("quiet") {
        print(ids(&states).as_bytes())?;
    } else if matches.get_one::<String>("format").is_some_and(|format| format == "json") {
        print_json(&states)?;
    } else {
        print(table(&states).as_bytes())?;
    }
    Ok(ExitCode::SUCCESS)
}

fn ids(states: &[State]) -> String {
    states.iter().fold(String::new(), |ids, state| ids + &state.id + "\n")
}

/// Columns at least 12 wide and three blanks apart, so that scripts made for other runtimes can cut it.
fn table(states: &[State]) -> String {
    const HEAD: [&str; 6] = ["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"];
    let rows: Vec<[String; 6]> = std::iter::once(HEAD.map(str::to_owned)).chain(states.iter().map(row)).collect();
    let widths: [usize; 6] = std::array::from_fn(|column| {
        rows.iter().map(|row| row[column].chars().count() + 3).max().unwrap_or_default().max(12)
    });
    let mut table = String::new();
    for [head @ .., last] in &rows {
        for (cell, width) in head.iter().zip(widths) {
            let _ = write!(table, "{cell:<width$}");
        }
        let _ = writeln!(table, "{last}");
    }
    table
}

fn row(state: &State) -> [String; 6] {
    [
        state.id.clone(),
        state.pid.to_string(),
        state.status.word().to_owned(),
        state.bundle.display().to_string(),
        state.created.clone(),
        state.owner.clone(),
    ]
}

#[cfg(test)]
mod tests {
    use coracle::Status;

    use super::*;

    fn state(id: &str, pid: i32, bundle: &str) -> State {
        State {
            oci_version: "1.3.0".to_owned(),
            id: id.to_owned(),
            pid,
            status: if pid == 0 { Status::Stopped } else { Status::Running },
            bundle: bundle.into(),
            rootfs: format!("{bundle}/rootfs").into(),
            created: "2026-01-02T03:04:05.000000006Z".to_owned(),
            owner: "root".to_owned(),
            annotations: [].into(),
        }
    }

    #[test]
    fn table_columns_are_twelve_wide_or_three_blanks_apart() {
        assert_eq!(table(&[]), "ID          PID         STATUS      BUNDLE      CREATED     OWNER\n");
        assert_eq!(
            table(&[state("web", 0, "/b"), state("a-long-name", 4711, "/srv/a-bundle")]),
            "ID            PID         STATUS      BUNDLE          CREATED                          OWNER\n\
             web           0           stopped     /b              2026-01-02T03:04:05.000000006Z   root\n\
             a-long-name   4711        running     /srv/a-bundle   2026-01-02T03:04:05.000000006Z   root\n"
        );
    }

    #[test]
    fn ids_one_a_line() {
        assert_eq!(ids(&[state("a", 1, "/b"), state("b", 2, "/b")]), "a\nb\n");
    }
}
