//! The small words of the definitions: how a flag, a value and an id are declared to clap and read back.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::builder::PossibleValuesParser;
use clap::{Arg, ArgAction, ArgMatches, value_parser};

/// A flag without a value.
pub(crate) fn switch(long: &'static str, help: &'static str) -> Arg {
    Arg::new(long).long(long).action(ArgAction::SetTrue).help(help)
}

/// A flag with a value that is taken as it is.
pub(crate) fn value(long: &'static str, name: &'static str, help: &'static str) -> Arg {
    Arg::new(long).long(long).value_name(name).value_parser(value_parser!(OsString)).help(help)
}

/// A flag with a number.
pub(crate) fn number(long: &'static str, help: &'static str) -> Arg {
    Arg::new(long).long(long).value_name("N").value_parser(value_parser!(u32)).help(help)
}

/// A flag with a text, which must be UTF-8.
pub(crate) fn text(long: &'static str, name: &'static str, help: &'static str) -> Arg {
    Arg::new(long).long(long).value_name(name).help(help)
}

/// A flag with one of a few words, which `help` names.
pub(crate) fn choice(
    long: &'static str,
    name: &'static str,
    help: &'static str,
    words: &'static [&'static str],
) -> Arg {
    text(long, name, help).value_parser(PossibleValuesParser::new(words)).hide_possible_values(true)
}

/// The flag that chooses between a table and JSON.
pub(crate) fn format() -> Arg {
    choice("format", "FORMAT", "table or json", &["table", "json"]).short('f').default_value("table")
}

/// The id of a container.
pub(crate) fn id() -> Arg {
    Arg::new("id").value_name("ID").required(true).help("Name of the container")
}

/// The id that was given. (clap has seen to it that there is one.)
pub(crate) fn given_id(matches: &ArgMatches) -> &str {
    matches.get_one::<String>("id").map_or("", String::as_str)
}

/// The path that was given; an empty one counts as none.
pub(crate) fn given_path(matches: &ArgMatches, long: &str) -> Option<PathBuf> {
    matches.get_one::<OsString>(long).filter(|value| !value.is_empty()).map(PathBuf::from)
}

/// The text that was given; an empty one counts as none.
pub(crate) fn given_text(matches: &ArgMatches, long: &str) -> Option<String> {
    matches.get_one::<String>(long).filter(|value| !value.is_empty()).cloned()
}

/// The number that was given, or 0.
pub(crate) fn given_number(matches: &ArgMatches, long: &str) -> u32 {
    matches.get_one::<u32>(long).copied().unwrap_or_default()
}

/// Every value of a flag that may be repeated.
pub(crate) fn given_all<T: Clone + Send + Sync + 'static>(matches: &ArgMatches, long: &str) -> Vec<T> {
    matches.get_many::<T>(long).unwrap_or_default().cloned().collect()
}
