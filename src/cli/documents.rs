//! The generator of contrib/completions and contrib/man, from the same definitions that parse. It is a test, so
//! that it cannot be forgotten: it fails when a file differs from what the definitions say, and with
//! `CORACLE_REGENERATE=1` in the environment it writes the files instead:
//!
//! ```text
//! CORACLE_REGENERATE=1 cargo test --bin coracle documents
//! ```

use std::path::{Path, PathBuf};

use clap_complete::Shell;
use clap_complete::generate;

use super::{COMMANDS, Command, globals};

/// The whole program as clap knows it.
fn program() -> clap::Command {
    globals::definition().subcommand_required(true).subcommands(COMMANDS.map(Command::definition))
}

fn completions(shell: Shell) -> Vec<u8> {
    let mut text = Vec::new();
    generate(shell, &mut program(), "coracle", &mut text);
    text
}

fn page(definition: clap::Command, title: &str) -> Vec<u8> {
    let mut text = Vec::new();
    clap_mangen::Man::new(definition)
        .title(title.to_uppercase())
        .section("8")
        .date("")
        .source(concat!("coracle ", env!("CARGO_PKG_VERSION")))
        .manual("System administration")
        .render(&mut text)
        .unwrap();
    text
}

fn command_page(command: &Command) -> Vec<u8> {
    let name = format!("coracle-{}", command.name);
    let definition = command
        .definition()
        .name(&name)
        .bin_name(format!("coracle {}", command.name))
        .display_name(&name)
        .after_help(format!("Example: {}", command.example));
    page(definition, &name)
}

fn main_page() -> Vec<u8> {
    page(program().disable_help_subcommand(true), "coracle")
}

/// Every file below contrib/ with what it has to hold.
fn documents() -> Vec<(PathBuf, Vec<u8>)> {
    let completions = [(Shell::Bash, "coracle.bash"), (Shell::Zsh, "_coracle"), (Shell::Fish, "coracle.fish")]
        .map(|(shell, name)| (Path::new("completions").join(name), completions(shell)));
    let pages =
        COMMANDS.map(|command| (Path::new("man").join(format!("coracle-{}.8", command.name)), command_page(command)));
    let main = (PathBuf::from("man/coracle.8"), main_page());
    completions.into_iter().chain(pages).chain([main]).collect()
}

#[test]
fn documents_are_what_the_definitions_say() {
    let contrib = Path::new(env!("CARGO_MANIFEST_DIR")).join("contrib");
    for (name, text) in documents() {
        let path = contrib.join(name);
        if std::env::var_os("CORACLE_REGENERATE").is_some() {
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, &text).unwrap();
        }
        let found = std::fs::read(&path).unwrap_or_default();
        assert!(found == text, "{} is out of date: see the head of src/cli/documents.rs", path.display());
    }
}

#[test]
fn documents_no_file_is_left_of_a_command_that_is_gone() {
    let contrib = Path::new(env!("CARGO_MANIFEST_DIR")).join("contrib");
    let known: Vec<PathBuf> = documents().into_iter().map(|(name, _)| contrib.join(name)).collect();
    for directory in ["completions", "man"] {
        for entry in std::fs::read_dir(contrib.join(directory)).unwrap() {
            let path = entry.unwrap().path();
            assert!(known.contains(&path), "{} belongs to no command", path.display());
        }
    }
}
