//! Numeric ids of users and groups on the command line.
//!
//! Strict: a name, a sign or a blank that a lax parser skips or turns into 0 gives root to somebody (CVE-2016-3697).
//! Names are refused, because they could only be looked up in files of the image.

use coracle::Result;

use super::usage;

/// `UID` or `UID:GID`.
pub(crate) fn parse_user(text: &str) -> Result<(u32, Option<u32>)> {
    match text.split_once(':') {
        Some((uid, gid)) => parse_id(uid).zip(parse_id(gid)).map(|(uid, gid)| (uid, Some(gid))),
        None => parse_id(text).map(|uid| (uid, None)),
    }
    .ok_or_else(|| usage(format!("invalid user {text:?}: use UID or UID:GID, in decimal digits")))
}

/// A group id.
pub(crate) fn parse_gid(text: &str) -> Result<u32> {
    parse_id(text).ok_or_else(|| usage(format!("invalid group {text:?}: use a GID in decimal digits")))
}

/// Decimal digits without a leading zero, which some read as octal. The largest number is no id: to setresuid(2)
/// it means "unchanged".
fn parse_id(text: &str) -> Option<u32> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let plain = digits && (text == "0" || !text.starts_with('0'));
    plain.then(|| text.parse().ok()).flatten().filter(|&id| id != u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parse_user_numbers_are_taken_exactly() {
        for (text, user) in [
            ("0", (0, None)),
            ("1", (1, None)),
            ("1000", (1000, None)),
            ("4294967294", (4_294_967_294, None)),
            ("0:0", (0, Some(0))),
            ("1000:5", (1000, Some(5))),
            ("1:4294967294", (1, Some(4_294_967_294))),
        ] {
            assert_eq!(parse_user(text).unwrap(), user, "{text}");
        }
    }

    #[test]
    fn parse_user_everything_else_is_refused() {
        for text in [
            "",
            " ",
            ":",
            "1:",
            ":1",
            "1:2:3",
            "::",
            "root",
            "root:0",
            "0:root",
            "-1",
            "+1",
            "1:-1",
            "1:+1",
            " 1",
            "1 ",
            "1: 1",
            "1\n",
            "\t1",
            "1\0",
            "0x1",
            "1e3",
            "1.0",
            "1_000",
            "1,2",
            "01",
            "00",
            "0:00",
            "4294967295",
            "0:4294967295",
            "4294967296",
            "18446744073709551616",
            "99999999999999999999999",
            "١",
            "１",
            "1;",
            "0;id",
        ] {
            assert!(parse_user(text).is_err(), "{text:?} was accepted");
        }
    }

    #[test]
    fn parse_gid_follows_the_same_rule() {
        assert_eq!(parse_gid("5").unwrap(), 5);
        for text in ["", "5,6", "-5", "05", "4294967295", "wheel"] {
            assert!(parse_gid(text).is_err(), "{text:?} was accepted");
        }
    }
}
