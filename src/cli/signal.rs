//! Signals by name and by number.

use coracle::Result;
use nix::sys::signal::Signal;

use super::usage;

/// What SIGRTMIN is to programs: the kernel's 32 and 33 belong to the C library.
const RTMIN: i32 = 34;
/// The last signal.
const RTMAX: i32 = 64;

/// The number of `text`: 0 to 64, or a name in either case, with or without `SIG`, `RTMIN+n` and `RTMAX-n` included.
pub(crate) fn parse_signal(text: &str) -> Result<i32> {
    let name = text.to_ascii_uppercase();
    let name = name.strip_prefix("SIG").unwrap_or(&name);
    let known = if text.starts_with(|c: char| c.is_ascii_digit()) { digits(text) } else { named(name) };
    known
        .filter(|&signal| signal <= RTMAX)
        .ok_or_else(|| usage(format!("unknown signal {text:?}")).hint("use a name such as TERM or a number, 0 to 64"))
}

fn named(name: &str) -> Option<i32> {
    if let Some(rest) = name.strip_prefix("RTMIN") {
        return offset(rest, '+').map(|offset| RTMIN + offset);
    }
    if let Some(rest) = name.strip_prefix("RTMAX") {
        return offset(rest, '-').map(|offset| RTMAX - offset);
    }
    let name = match name {
        "IOT" => "ABRT",
        "CLD" => "CHLD",
        "POLL" => "IO",
        name => name,
    };
    Signal::iterator().find(|signal| signal.as_str().strip_prefix("SIG") == Some(name)).map(|signal| signal as i32)
}

/// The number after `sign`, which keeps the signal within RTMIN to RTMAX; nothing is 0.
fn offset(rest: &str, sign: char) -> Option<i32> {
    if rest.is_empty() {
        return Some(0);
    }
    digits(rest.strip_prefix(sign)?).filter(|&offset| offset <= RTMAX - RTMIN)
}

fn digits(text: &str) -> Option<i32> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parse_signal_names_and_numbers_of_every_form() {
        for (text, number) in [
            ("TERM", 15),
            ("SIGTERM", 15),
            ("sigterm", 15),
            ("Term", 15),
            ("15", 15),
            ("0", 0),
            ("9", 9),
            ("kill", 9),
            ("HUP", 1),
            ("USR1", 10),
            ("WINCH", 28),
            ("SYS", 31),
            ("IOT", 6),
            ("CLD", 17),
            ("POLL", 29),
            ("64", 64),
            ("RTMIN", 34),
            ("SIGRTMIN+3", 37),
            ("rtmin+30", 64),
            ("RTMAX", 64),
            ("SIGRTMAX-30", 34),
        ] {
            assert_eq!(parse_signal(text).unwrap(), number, "{text}");
        }
    }

    #[test]
    fn parse_signal_every_name_of_the_system_is_known() {
        for signal in Signal::iterator() {
            assert_eq!(parse_signal(signal.as_str()).unwrap(), signal as i32);
        }
    }

    #[test]
    fn parse_signal_everything_else_is_refused() {
        for text in [
            "",
            "SIG",
            "SIGSIGTERM",
            "FOO",
            "65",
            "-1",
            "+9",
            "9 ",
            " 9",
            "0x9",
            "9a",
            "4294967305",
            "RTMIN+31",
            "RTMIN-1",
            "RTMAX+1",
            "RTMIN+",
            "RTMIN+x",
            "RTMAX-31",
            "TERM ",
            "99999999999",
        ] {
            assert!(parse_signal(text).is_err(), "{text:?} was accepted");
        }
    }
}
