//! `pause`: freezes every process.

use super::definition::given_id;
use super::{Command, ExitCode, Group, ID_ONLY};

pub(crate) const COMMAND: Command = Command {
    name: "pause",
    about: "Freeze every process of a container",
    example: "coracle pause web",
    group: Group::Inside,
    run: |globals, matches| {
        globals.container(given_id(matches))?.pause()?;
        Ok(ExitCode::SUCCESS)
    },
    ..ID_ONLY
};
