//! The command line: what runc 1.4 understands and what engines send, one file a command.
//!
//! The argument vector is brought into one form ([`words`]), and clap parses it with the definition of the chosen
//! command only: building them all costs more than starting the program. Uses the library's public API and `log`;
//! called by `main`.
#![forbid(unsafe_code)]

mod create;
mod definition;
mod delete;
#[cfg(test)]
mod documents;
mod events;
mod exec;
mod features;
mod globals;
pub(crate) mod help;
mod kill;
mod list;
mod output;
mod pause;
mod ps;
mod resume;
mod run;
mod signal;
mod spec;
mod start;
mod state;
mod update;
mod user;
pub(crate) mod version;
mod words;

use std::ffi::{OsStr, OsString};

use clap::ArgMatches;
use coracle::{Error, Kind, Result};
use nix::errno::Errno;

pub(crate) use globals::Globals;
use words::{FlagsEnd, Words};

/// What the program tells who started it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ExitCode(u8);

impl ExitCode {
    /// Nothing went wrong.
    const SUCCESS: ExitCode = ExitCode(0);
}

impl From<ExitCode> for i32 {
    fn from(code: ExitCode) -> i32 {
        code.0.into()
    }
}

/// One command of the program.
pub(crate) struct Command {
    /// The word on the command line.
    pub name: &'static str,
    /// One line for the list of commands.
    pub about: &'static str,
    /// A typical call, for its help.
    pub example: &'static str,
    /// Where it stands in the list of commands.
    pub group: Group,
    /// How many positional arguments it takes.
    pub positionals: Positionals,
    /// Where its flags end.
    pub flags_end: FlagsEnd,
    /// A process of ours comes into reach of a container's processes.
    pub enters_container: bool,
    /// The exit code when the operation fails; a mistake on the command line is 1 for all.
    pub failure: u8,
    /// Adds its arguments.
    pub define: fn(clap::Command) -> clap::Command,
    /// Does it.
    pub run: fn(&Globals, &ArgMatches) -> Result<ExitCode>,
}

/// Parts of the list of commands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Group {
    Lifecycle,
    Inside,
    Look,
    Prepare,
}

/// How many positional arguments a command takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Positionals {
    Exactly(usize),
    Between(usize, usize),
    AtLeast(usize),
}

/// Every command, in the order of the list.
pub(crate) const COMMANDS: [&Command; 15] = [
    &create::COMMAND,
    &start::COMMAND,
    &run::COMMAND,
    &kill::COMMAND,
    &delete::COMMAND,
    &exec::COMMAND,
    &pause::COMMAND,
    &resume::COMMAND,
    &update::COMMAND,
    &state::COMMAND,
    &list::COMMAND,
    &ps::COMMAND,
    &events::COMMAND,
    &spec::COMMAND,
    &features::COMMAND,
];

/// A command that takes an id and nothing else: what most of them begin with.
const ID_ONLY: Command = Command {
    name: "",
    about: "",
    example: "",
    group: Group::Lifecycle,
    positionals: Positionals::Exactly(1),
    flags_end: FlagsEnd::AtDashes,
    enters_container: false,
    failure: 1,
    define: |command| command.arg(definition::id()),
    run: |_, _| Ok(ExitCode::SUCCESS),
};

impl Command {
    /// As clap knows it.
    pub(crate) fn definition(&self) -> clap::Command {
        let command = clap::Command::new(self.name)
            .bin_name(format!("coracle {}", self.name))
            .about(self.about)
            .no_binary_name(true);
        (self.define)(command)
    }

    /// Parses what follows the command's name. `None`: its help was asked for.
    pub(crate) fn parse(&self, words: Vec<OsString>) -> Result<Option<ArgMatches>> {
        let definition = self.definition();
        let words = Words::split(&definition, words, self.flags_end)?;
        if words.help {
            return Ok(None);
        }
        self.positionals.check(self.name, words.positionals.len())?;
        parse(definition, words).map(Some)
    }

    /// What becomes of the failure of its operation.
    pub(crate) fn failure(&self, error: Error) -> Failure {
        Failure { error, code: self.failure }
    }
}

impl Positionals {
    fn check(self, name: &str, given: usize) -> Result<()> {
        let wanted = match self {
            Positionals::Exactly(count) if given != count => format!("exactly {count}"),
            Positionals::Between(least, _) | Positionals::AtLeast(least) if given < least => {
                format!("a minimum of {least}")
            }
            Positionals::Between(_, most) if given > most => format!("a maximum of {most}"),
            _ => return Ok(()),
        };
        Err(usage(format!("\"coracle {name}\" requires {wanted} argument(s), {given} given"))
            .hint(format!("see coracle {name} --help")))
    }
}

/// What is asked for, once the flags before the command are read.
pub(crate) enum Request {
    /// A command: its name and what follows it.
    Command(Globals, Vec<OsString>),
    /// Help, about a command if one is named.
    Help(Option<OsString>),
    /// The version.
    Version,
}

/// Reads the flags before the command.
pub(crate) fn parse_globals(words: impl Iterator<Item = OsString>) -> Result<Request> {
    let definition = globals::definition();
    let mut split = Words::split(&definition, words, FlagsEnd::AtPositional)?;
    if split.help {
        return Ok(Request::Help(None));
    }
    let words = std::mem::take(&mut split.positionals);
    let globals = Globals::read(&parse(definition, split)?);
    Ok(match words.first() {
        _ if globals.version => Request::Version,
        None => Request::Help(None),
        Some(first) if first == "help" => Request::Help(words.into_iter().nth(1)),
        Some(_) => Request::Command(globals, words),
    })
}

/// Whether `word` names a command that makes processes of ours come into reach of a container's.
pub(crate) fn may_enter_container(word: &OsStr) -> bool {
    COMMANDS.into_iter().any(|command| command.enters_container && word == command.name)
}

/// The command called `name`.
pub(crate) fn find(name: &OsStr) -> Result<&'static Command> {
    COMMANDS
        .into_iter()
        .find(|command| name == command.name)
        .ok_or_else(|| usage(format!("unknown command \"{}\"", name.display())).hint("see coracle --help"))
}

/// Lets clap parse. Its complaints become one line.
fn parse(mut definition: clap::Command, words: Words) -> Result<ArgMatches> {
    definition.try_get_matches_from_mut(words.canonical()).map_err(|error| {
        let text = error.to_string();
        let complaint = text.split("\n\n").next().unwrap_or_default();
        let complaint = complaint.strip_prefix("error: ").unwrap_or(complaint);
        usage(complaint.split_whitespace().collect::<Vec<_>>().join(" "))
    })
}

/// An error and the exit code that goes with it.
pub(crate) struct Failure {
    pub error: Error,
    code: u8,
}

impl Failure {
    /// The program's exit code.
    pub(crate) fn exit_code(&self) -> ExitCode {
        ExitCode(self.code)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Failure { error, code: 1 }
    }
}

/// A mistake on the command line.
fn usage(message: impl Into<String>) -> Error {
    Error::new(Kind::Usage, message.into())
}

/// A failed call of the standard library.
fn failed(error: &std::io::Error, operation: impl Into<String>) -> Error {
    match error.raw_os_error() {
        Some(raw) => Error::sys(Errno::from_raw(raw), operation.into()),
        None => Error::new(Kind::System, error.to_string()).context(operation.into()),
    }
}

/// The exit code of a program that has run: only its low eight bits are one.
fn exit_code(code: i32) -> ExitCode {
    ExitCode(code.to_le_bytes()[0])
}
