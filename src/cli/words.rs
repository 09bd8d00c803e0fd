//! The argument vector in one canonical form.
//!
//! Engines and scripts write for programs that read their flags as Go does: one dash before a long flag
//! (`-no-subreaper`), flags after the id, `--flag=value` and `--flag value` alike, booleans with a value
//! (`--systemd-cgroup=false`), the same flag again to override it. All of that becomes `--flag` or `--flag=value`,
//! with the positional arguments apart, and only then clap sees it. The flags themselves are known from clap's
//! definition of the command alone.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use clap::{Arg, ArgAction, Command};
use coracle::Result;

use super::{globals, usage};

/// Where flags end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FlagsEnd {
    /// Only at `--`.
    AtDashes,
    /// At the first positional argument: what follows belongs to another program.
    AtPositional,
}

/// An argument vector taken apart.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Words {
    /// `--flag` or `--flag=value`, each a known flag of the command.
    pub flags: Vec<OsString>,
    /// Everything else, in order.
    pub positionals: Vec<OsString>,
    /// `--help` or `-h` was among the flags; what follows it was not looked at.
    pub help: bool,
}

impl Words {
    /// Takes `words` apart by the flags that `definition` knows.
    pub(crate) fn split(
        definition: &Command,
        words: impl IntoIterator<Item = OsString>,
        end: FlagsEnd,
    ) -> Result<Words> {
        let mut split = Words::default();
        let mut words = words.into_iter();
        while let Some(word) = words.next() {
            if word == "--" {
                split.positionals.extend(words);
                break;
            }
            if !is_flag(&word) {
                split.positionals.push(word);
                if end == FlagsEnd::AtPositional {
                    split.positionals.extend(words);
                    break;
                }
                continue;
            }
            split.flag(definition, &word, &mut words)?;
            if split.help {
                break;
            }
        }
        Ok(split)
    }

    /// What clap parses: a flag's value can no longer be taken for a flag, nor a positional argument.
    pub(crate) fn canonical(self) -> impl Iterator<Item = OsString> {
        self.flags.into_iter().chain([OsString::from("--")]).chain(self.positionals)
    }

    /// One word that starts with a dash, and its value from `rest` if it takes one and has none attached.
    fn flag(&mut self, definition: &Command, word: &OsStr, rest: &mut impl Iterator<Item = OsString>) -> Result<()> {
        let bytes = word.as_bytes();
        let double = bytes.starts_with(b"--");
        let (name, value) = match bytes.iter().position(|&byte| byte == b'=') {
            Some(equals) => (&bytes[..equals], Some(OsString::from_vec(bytes[equals + 1..].to_vec()))),
            None => (bytes, None),
        };
        let name = String::from_utf8_lossy(if double { &name[2..] } else { &name[1..] });
        if name == "help" || name == "h" {
            self.help = true;
            return Ok(());
        }
        if let Some(flag) = find(definition, &name) {
            return self.known(flag, value, rest);
        }
        if double {
            return Err(unknown(definition, &format!("--{name}")));
        }
        let cluster = str::from_utf8(bytes).map(|text| &text[1..]).unwrap_or_default();
        self.cluster(definition, cluster, word, rest)
    }

    /// `-td`, `-u0`: one-letter flags run together; the rest of the word is the value of the first that takes one.
    fn cluster(
        &mut self,
        definition: &Command,
        cluster: &str,
        word: &OsStr,
        rest: &mut impl Iterator<Item = OsString>,
    ) -> Result<()> {
        let mut letters = cluster.chars();
        // Nothing of it counts unless every letter is known.
        let mut flags = Vec::new();
        while let Some(letter) = letters.next() {
            let Some(flag) = find(definition, letter.encode_utf8(&mut [0; 4])) else {
                return Err(unknown(definition, &word.to_string_lossy()));
            };
            let attached = letters.as_str();
            if flag.get_action().takes_values() && !attached.is_empty() {
                flags.push((flag, Some(OsString::from(attached))));
                break;
            }
            flags.push((flag, None));
        }
        if flags.is_empty() {
            return Err(unknown(definition, &word.to_string_lossy()));
        }
        flags.into_iter().try_for_each(|(flag, value)| self.known(flag, value, rest))
    }

    fn known(&mut self, flag: &Arg, value: Option<OsString>, rest: &mut impl Iterator<Item = OsString>) -> Result<()> {
        let long = flag.get_long().unwrap_or_default();
        let canonical = OsString::from(format!("--{long}"));
        if !flag.get_action().takes_values() {
            let on = value.as_deref().map_or(Some(true), boolean).ok_or_else(|| {
                let value = value.as_deref().unwrap_or_default();
                usage(format!("invalid value {} for --{long}: use true or false", value.display()))
            })?;
            self.flags.retain(|earlier| *earlier != canonical);
            if on {
                self.flags.push(canonical);
            }
            return Ok(());
        }
        let value =
            value.or_else(|| rest.next()).ok_or_else(|| usage(format!("flag --{long} requires an argument")))?;
        let mut joined = canonical.into_vec();
        joined.push(b'=');
        if !matches!(flag.get_action(), ArgAction::Append) {
            self.flags.retain(|earlier| !earlier.as_bytes().starts_with(&joined));
        }
        joined.extend_from_slice(value.as_bytes());
        self.flags.push(OsString::from_vec(joined));
        Ok(())
    }
}

/// A lone dash is a positional argument: "standard input".
fn is_flag(word: &OsStr) -> bool {
    word.len() > 1 && word.as_bytes().starts_with(b"-")
}

/// The flag called `name`, which is a long name or a letter.
fn find<'a>(definition: &'a Command, name: &str) -> Option<&'a Arg> {
    let mut letters = name.chars();
    let short = letters.next().filter(|_| letters.as_str().is_empty());
    definition
        .get_arguments()
        .filter(|argument| !argument.is_positional())
        .find(|flag| flag.get_long() == Some(name) || (short.is_some() && flag.get_short() == short))
}

fn unknown(definition: &Command, flag: &str) -> coracle::Error {
    let error = usage(format!("unknown flag {flag}"));
    match definition.get_bin_name() {
        Some(command) if find(&globals::definition(), flag.trim_start_matches('-')).is_some() => {
            error.hint(format!("it stands before the command: coracle {flag} …; see {command} --help"))
        }
        Some(command) => error.hint(format!("see {command} --help")),
        None => error.hint("see coracle --help"),
    }
}

/// What Go takes for a boolean.
fn boolean(value: &OsStr) -> Option<bool> {
    match value.as_bytes() {
        b"1" | b"t" | b"T" | b"true" | b"TRUE" | b"True" => Some(true),
        b"0" | b"f" | b"F" | b"false" | b"FALSE" | b"False" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::COMMANDS;

    fn split(command: &str, line: &str) -> Result<Words> {
        let command = COMMANDS.iter().find(|known| known.name == command).unwrap();
        Words::split(&command.definition(), line.split_whitespace().map(OsString::from), command.flags_end)
    }

    fn plain(words: &[OsString]) -> String {
        words.join(OsStr::new(" ")).into_string().unwrap()
    }

    #[test]
    fn split_every_habit_becomes_one_form() {
        for (command, line, flags, positionals) in [
            ("run", "-no-subreaper web", "--no-subreaper", "web"),
            ("run", "-pid-file=/p web", "--pid-file=/p", "web"),
            ("run", "-pid-file /p web", "--pid-file=/p", "web"),
            ("run", "--pid-file /p web", "--pid-file=/p", "web"),
            ("run", "-b /b web", "--bundle=/b", "web"),
            ("run", "--b /b web", "--bundle=/b", "web"),
            ("run", "-b=/b web", "--bundle=/b", "web"),
            ("run", "-b/b web", "--bundle=/b", "web"),
            ("run", "-db /b web", "--detach --bundle=/b", "web"),
            ("create", "web --bundle /b", "--bundle=/b", "web"),
            ("create", "web -bundle=/b --no-pivot", "--bundle=/b --no-pivot", "web"),
            ("create", "--bundle=/a=b web", "--bundle=/a=b", "web"),
            ("create", "--bundle= web", "--bundle=", "web"),
            ("create", "--bundle --no-pivot web", "--bundle=--no-pivot", "web"),
            ("create", "--bundle /a --bundle /b web", "--bundle=/b", "web"),
            ("create", "--preserve-fds 1 -preserve-fds=3 web", "--preserve-fds=3", "web"),
            ("create", "--no-pivot=false web", "", "web"),
            ("create", "--no-pivot --no-pivot=F web", "", "web"),
            ("create", "--no-pivot=0 --no-pivot=1 web", "--no-pivot", "web"),
            ("create", "-- --odd", "", "--odd"),
            ("kill", "-all web 9", "--all", "web 9"),
            ("kill", "web KILL -a", "--all", "web KILL"),
            ("delete", "web -f", "--force", "web"),
            ("list", "-qf json", "--quiet --format=json", ""),
            ("list", "-q -", "--quiet", "-"),
            ("exec", "-t web ls -l --tty -u 0", "--tty", "web ls -l --tty -u 0"),
            ("exec", "-td -u0:0 web ls", "--tty --detach --user=0:0", "web ls"),
            ("exec", "-e A=1 -env B=2 web env", "--env=A=1 --env=B=2", "web env"),
            ("exec", "web -h", "", "web -h"),
            ("exec", "-- web -t", "", "web -t"),
            ("ps", "-f table web -o pid", "--format=table", "web -o pid"),
        ] {
            let words = split(command, line).unwrap();
            assert_eq!((&*plain(&words.flags), &*plain(&words.positionals)), (flags, positionals), "{command} {line}");
            assert!(!words.help, "{command} {line}");
        }
    }

    #[test]
    fn split_help_is_seen_wherever_a_flag_may_stand() {
        for (command, line) in
            [("create", "--help"), ("create", "web -h"), ("exec", "-help web"), ("kill", "web --all --help")]
        {
            assert!(split(command, line).unwrap().help, "{command} {line}");
        }
        assert!(!split("create", "--bundle --help web").unwrap().help);
    }

    #[test]
    fn split_what_is_wrong_is_named() {
        for (command, line, message) in [
            ("create", "--foo web", "unknown flag --foo; hint: see coracle create --help"),
            ("create", "--foo=1 web", "unknown flag --foo; hint: see coracle create --help"),
            (
                "create",
                "--root /x web",
                "unknown flag --root; hint: it stands before the command: coracle --root …; see coracle create --help",
            ),
            ("create", "-foo web", "unknown flag -foo; hint: see coracle create --help"),
            ("run", "-dx web", "unknown flag -dx; hint: see coracle run --help"),
            ("kill", "web -9", "unknown flag -9; hint: see coracle kill --help"),
            ("start", "-detach web", "unknown flag -detach; hint: see coracle start --help"),
            ("create", "web --bundle", "flag --bundle requires an argument"),
            ("create", "web -b", "flag --bundle requires an argument"),
            ("create", "--no-pivot=maybe web", "invalid value maybe for --no-pivot: use true or false"),
        ] {
            assert_eq!(split(command, line).unwrap_err().to_string(), message, "{command} {line}");
        }
    }

    #[test]
    fn split_values_that_are_not_utf_8_arrive_unchanged() {
        let command = COMMANDS.iter().find(|known| known.name == "create").unwrap();
        let words = [OsString::from_vec(b"--bundle=/\xff=".to_vec()), OsString::from("web")];
        let split = Words::split(&command.definition(), words.clone(), command.flags_end).unwrap();
        assert_eq!(split.flags, words[..1]);
    }
}
