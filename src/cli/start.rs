//! `start`: lets the program of a created container run.

use super::definition::given_id;
use super::{Command, ExitCode, ID_ONLY};

pub(crate) const COMMAND: Command = Command {
    name: "start",
    about: "Start the program of a created container",
    example: "coracle start web",
    run: |globals, matches| {
        globals.container(given_id(matches))?.start()?;
        Ok(ExitCode::SUCCESS)
    },
    ..ID_ONLY
};
