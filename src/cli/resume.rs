//! `resume`: lets the processes of a paused container run again.

use std::process::ExitCode;

use super::definition::given_id;
use super::{Command, Group, ID_ONLY};

pub(crate) const COMMAND: Command = Command {
    name: "resume",
    about: "Let a paused container run again",
    example: "coracle resume web",
    group: Group::Inside,
    run: |globals, matches| {
        globals.container(given_id(matches))?.resume()?;
        Ok(ExitCode::SUCCESS)
    },
    ..ID_ONLY
};
