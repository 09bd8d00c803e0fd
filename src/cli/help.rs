//! Help: the list of commands in groups, and each command's own page.

use std::ffi::OsStr;

use coracle::Result;

use super::{COMMANDS, Command, ExitCode, Group, find, globals, output};

const GROUPS: [(Group, &str); 4] = [
    (Group::Lifecycle, "The life of a container"),
    (Group::Inside, "Inside a container"),
    (Group::Look, "What there is"),
    (Group::Prepare, "Before the first one"),
];

/// Prints the help of the program, or of the command `topic`.
pub(crate) fn print(topic: Option<&OsStr>) -> Result<ExitCode> {
    if let Some(topic) = topic {
        return print_command(find(topic)?);
    }
    output::print(program().as_bytes())?;
    Ok(ExitCode::SUCCESS)
}

/// Prints the help of `command`.
pub(crate) fn print_command(command: &Command) -> Result<ExitCode> {
    output::print(page(command).as_bytes())?;
    Ok(ExitCode::SUCCESS)
}

fn command_list() -> String {
    let mut list = String::new();
    for (group, title) in GROUPS {
        list.push_str(&format!("{title}:\n"));
        for command in COMMANDS.iter().filter(|command| command.group == group) {
            list.push_str(&format!("  {:<9} {}\n", command.name, command.about));
        }
        list.push('\n');
    }
    list
}

fn program() -> String {
    let template = format!(
        "coracle: {{about}}\n\nUsage: coracle [OPTIONS] COMMAND [...]\n\n{}\
         Options, before the command:\n{{options}}\n\n\
         coracle COMMAND --help tells more about a command.\n",
        command_list()
    );
    globals::definition().help_template(template).render_help().to_string()
}

fn page(command: &Command) -> String {
    command.definition().after_help(format!("Example:\n  {}", command.example)).render_help().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn program_every_command_has_one_line() {
        let help = program();
        for command in COMMANDS {
            let line = format!("  {:<9} {}", command.name, command.about);
            assert_eq!(help.lines().filter(|found| **found == line).count(), 1, "{line}");
            assert!(line.len() <= 80, "too long: {line}");
        }
    }

    #[test]
    fn page_every_command_has_usage_and_an_example_that_parses() {
        for command in COMMANDS {
            let help = page(command);
            assert!(help.contains(&format!("Usage: coracle {}", command.name)), "{help}");
            let mut words = command.example.split(' ').map(Into::into);
            assert_eq!(words.next(), Some("coracle".into()));
            assert_eq!(words.next(), Some(command.name.into()));
            assert!(command.parse(words.collect()).unwrap().is_some(), "{}", command.example);
        }
    }

    #[test]
    fn definition_of_every_command_is_sound() {
        globals::definition().debug_assert();
        COMMANDS.into_iter().for_each(|command| command.definition().debug_assert());
    }
}
