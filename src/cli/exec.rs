//! `exec`: one more process in a running container.

use std::ffi::OsString;

use clap::{Arg, ArgAction, ArgMatches, value_parser};
use coracle::{ExecOptions, Result};

use super::definition::{given_all, given_id, given_number, given_path, given_text, id, number, switch, text, value};
use super::user::{parse_gid, parse_user};
use super::words::FlagsEnd;
use super::{Command, ExitCode, Globals, Group, Positionals, exit_code, usage};

pub(crate) const COMMAND: Command = Command {
    name: "exec",
    about: "Run one more program in a container",
    example: "coracle exec --tty --user 1000:1000 web sh -l",
    group: Group::Inside,
    positionals: Positionals::AtLeast(1),
    flags_end: FlagsEnd::AtPositional,
    enters_container: true,
    failure: 255,
    define,
    run,
};

fn define(command: clap::Command) -> clap::Command {
    command.args([
        value("process", "FILE", "Take everything about the process from FILE, a process section as JSON").short('p'),
        value("cwd", "DIR", "Working directory"),
        value("env", "NAME=VALUE", "Set an environment variable (may be repeated)")
            .short('e')
            .action(ArgAction::Append),
        switch("tty", "Give it a terminal").short('t'),
        text("user", "UID[:GID]", "Run as this user and group, given as numbers").short('u'),
        text("additional-gids", "GID", "Add a supplementary group (may be repeated)")
            .short('g')
            .action(ArgAction::Append),
        text("cap", "CAP", "Add a capability (may be repeated)").short('c').action(ArgAction::Append),
        switch("no-new-privs", "Never let it gain privileges by execve"),
        text("process-label", "LABEL", "SELinux label"),
        text("apparmor", "PROFILE", "AppArmor profile"),
        text("cgroup", "[CONTROLLER:]PATH", "Run it in this cgroup below the container's (may be repeated)")
            .action(ArgAction::Append),
        switch("ignore-paused", "Do it in a paused container too"),
        number("preserve-fds", "Pass N more file descriptors, from 3 on"),
        switch("detach", "Return once the program runs").short('d'),
        value("pid-file", "FILE", "Write the process id to FILE"),
        value("console-socket", "SOCKET", "AF_UNIX socket that gets the master of the terminal"),
        value("pidfd-socket", "SOCKET", "AF_UNIX socket that gets a pidfd of the process"),
        id(),
        Arg::new("command")
            .value_name("COMMAND")
            .num_args(0..)
            .trailing_var_arg(true)
            .allow_hyphen_values(true)
            .value_parser(value_parser!(OsString))
            .help("Program and arguments; everything after ID belongs to it"),
    ])
}

fn run(globals: &Globals, matches: &ArgMatches) -> Result<ExitCode> {
    let options = options(matches)?;
    globals.container(given_id(matches))?.exec(&options).map(exit_code)
}

fn options(matches: &ArgMatches) -> Result<ExecOptions> {
    let options = ExecOptions {
        process_file: given_path(matches, "process"),
        args: command(matches),
        cwd: given_path(matches, "cwd").map(Into::into),
        env: given_all(matches, "env"),
        tty: matches.get_flag("tty"),
        user: matches.get_one::<String>("user").map(|user| parse_user(user)).transpose()?,
        additional_gids: given_all::<String>(matches, "additional-gids")
            .iter()
            .map(|gid| parse_gid(gid))
            .collect::<Result<_>>()?,
        process_label: given_text(matches, "process-label"),
        apparmor: given_text(matches, "apparmor"),
        no_new_privs: matches.get_flag("no-new-privs"),
        capabilities: given_all(matches, "cap"),
        cgroups: given_all(matches, "cgroup"),
        ignore_paused: matches.get_flag("ignore-paused"),
        preserve_fds: given_number(matches, "preserve-fds"),
        console_socket: given_path(matches, "console-socket"),
        pidfd_socket: given_path(matches, "pidfd-socket"),
        pid_file: given_path(matches, "pid-file"),
        detach: matches.get_flag("detach"),
    };
    if options.args.is_empty() && options.process_file.is_none() {
        return Err(usage("process args cannot be empty").hint("name a program after the id, or give --process FILE"));
    }
    Ok(options)
}

/// Program and arguments. Dashes right after the id end nothing, since the flags have ended there already.
fn command(matches: &ArgMatches) -> Vec<OsString> {
    let mut command: Vec<OsString> = given_all(matches, "command");
    if command.first().is_some_and(|first| first == "--") {
        command.remove(0);
    }
    command
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    fn parse(words: &[&str]) -> Result<ExecOptions> {
        let words = words.iter().map(OsString::from).collect();
        options(&COMMAND.parse(words).unwrap().unwrap())
    }

    #[test]
    fn options_every_flag_arrives() {
        let options = parse(&[
            "-e",
            "A=1",
            "--env=B=",
            "-t",
            "-u",
            "5:6",
            "-g",
            "7",
            "--additional-gids=8",
            "-c",
            "CAP_KILL",
            "-cap=CAP_FOWNER",
            "--cwd",
            "/w",
            "--no-new-privs",
            "--process-label",
            "l",
            "--apparmor=a",
            "--cgroup",
            "x",
            "-cgroup",
            "pids:y",
            "--ignore-paused",
            "--preserve-fds",
            "2",
            "-d",
            "--pid-file",
            "/p",
            "--console-socket=/c",
            "--pidfd-socket=/f",
            "web",
            "sh",
            "-c",
            "--",
            "-x",
        ])
        .unwrap();
        assert_eq!(options.args, ["sh", "-c", "--", "-x"]);
        assert_eq!(options.env, ["A=1", "B="]);
        assert_eq!(options.user, Some((5, Some(6))));
        assert_eq!(options.additional_gids, [7, 8]);
        assert_eq!(options.capabilities, ["CAP_KILL", "CAP_FOWNER"]);
        assert_eq!(options.cgroups, ["x", "pids:y"]);
        assert_eq!(options.cwd, Some("/w".into()));
        assert_eq!((options.process_label.as_deref(), options.apparmor.as_deref()), (Some("l"), Some("a")));
        assert!(options.tty && options.no_new_privs && options.ignore_paused && options.detach);
        assert_eq!(options.preserve_fds, 2);
        assert_eq!(
            (options.pid_file, options.console_socket, options.pidfd_socket),
            (Some(PathBuf::from("/p")), Some(PathBuf::from("/c")), Some(PathBuf::from("/f")))
        );
    }

    #[test]
    fn options_dashes_after_the_id_are_not_the_program() {
        assert_eq!(parse(&["web", "--", "ls"]).unwrap().args, ["ls"]);
    }

    #[test]
    fn options_a_process_file_needs_no_program() {
        let options = parse(&["--process", "/p.json", "web"]).unwrap();
        assert_eq!((options.process_file, options.args.len()), (Some(PathBuf::from("/p.json")), 0));
    }

    #[test]
    fn options_no_program_or_a_wrong_id_is_refused() {
        for words in [&["web"][..], &["-u", "root", "web", "sh"], &["-g", "1,2", "web", "sh"], &["web", "--"]] {
            assert!(parse(words).is_err(), "{words:?}");
        }
    }
}
