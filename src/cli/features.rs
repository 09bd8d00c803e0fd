//! `features`: what is implemented, for engines that ask.

use super::output::print_json_indented;
use super::{Command, ExitCode, Group, ID_ONLY, Positionals};

pub(crate) const COMMAND: Command = Command {
    name: "features",
    about: "Print what this runtime implements as JSON",
    example: "coracle features",
    group: Group::Prepare,
    positionals: Positionals::Exactly(0),
    define: |command| command,
    run: |_, _| {
        print_json_indented(&coracle::features())?;
        Ok(ExitCode::SUCCESS)
    },
    ..ID_ONLY
};
