//! The part that runs inside a container. `probe ACTION…` does one thing after another and prints one JSON object with
//! a member for each; `probe hook FILE NAME` appends what a hook sees to FILE. Nothing is judged here.

mod actions;
mod facts;
mod hook;

use std::process::ExitCode;

use serde_json::{Map, Value};

/// Does what the arguments say.
pub fn main(args: &[String]) -> ExitCode {
    if args.first().is_some_and(|word| word == "hook") {
        return hook::main(args.get(1..).unwrap_or_default());
    }
    let mut results = Map::new();
    let mut output = None;
    let mut code = 0;
    for action in args {
        let words: Vec<&str> = action.split(':').collect();
        match words.as_slice() {
            // Where the results go instead of the standard output.
            ["to", path] => output = Some((*path).to_owned()),
            ["exit", number] => code = number.parse().unwrap_or(255),
            words => {
                results.insert(action.clone(), actions::perform(words));
            }
        }
    }
    let text = format!("{}\n", Value::Object(results));
    let written = match output {
        Some(path) => std::fs::write(path, text),
        None => std::io::Write::write_all(&mut std::io::stdout(), text.as_bytes()),
    };
    if written.is_err() && code == 0 {
        code = 250;
    }
    ExitCode::from(code)
}
