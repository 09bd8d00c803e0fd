//! `resume`: lets the processes of a paused container run again.

use super::definition::given_id;
use super::{Command, ExitCode, Group, ID_ONLY};

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
