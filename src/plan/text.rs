//! Strings of the configuration that the kernel gets.

use std::ffi::CString;

use crate::error::{Error, Result};

/// A string for the kernel; `pointer` says where it was configured.
pub(super) fn c_string(text: &str, pointer: impl FnOnce() -> String) -> Result<CString> {
    // Parsing refuses NUL everywhere; text of the command line comes here as well.
    CString::new(text)
        .map_err(|error| Error::config(pointer(), format!("a NUL character after {} bytes", error.nul_position())))
}

/// All strings of a list; `pointer` is that of an index.
pub(super) fn c_strings(list: &[String], pointer: impl Fn(usize) -> String) -> Result<Vec<CString>> {
    list.iter().enumerate().map(|(i, text)| c_string(text, || pointer(i))).collect()
}

/// Refuses a path that is not absolute.
pub(super) fn absolute(path: &str, what: &str, pointer: impl FnOnce() -> String) -> Result<()> {
    if path.starts_with('/') {
        return Ok(());
    }
    let why = if path.is_empty() { format!("{what} is empty") } else { format!("{what} {path:?} is not absolute") };
    Err(Error::config(pointer(), why))
}

/// A path of `oci_spec`, which keeps as `Path` what JSON could only give as text.
pub(super) fn path_text(path: &std::path::Path, pointer: impl FnOnce() -> String) -> Result<&str> {
    path.to_str().ok_or_else(|| Error::config(pointer(), "not UTF-8"))
}

/// A set of small numbers as in cpuset(7), `0-3,7`: bit n of word n/64 is n. `None` for an empty list.
pub(super) fn number_list(list: &str, largest: usize, pointer: impl Fn() -> String) -> Result<Option<Vec<u64>>> {
    let refuse = |why: String| Err(Error::config(pointer(), format!("list {list:?}: {why}")));
    let mut words: Vec<u64> = Vec::new();
    if list.trim().is_empty() {
        return Ok(None);
    }
    for range in list.split(',') {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (Some(first), Some(last)) = (number(first), number(last)) else {
            return refuse(format!("{range:?} is no number and no range"));
        };
        if first > last {
            return refuse(format!("{range:?} runs backwards"));
        }
        if last > largest {
            return refuse(format!("{last} is larger than {largest}"));
        }
        words.resize(words.len().max(last / 64 + 1), 0);
        for (bit, word) in (0..).step_by(64).zip(words.iter_mut()) {
            for n in first.max(bit)..=last.min(bit + 63) {
                *word |= 1 << (n - bit);
            }
        }
    }
    Ok(Some(words))
}

/// Digits alone: `parse` would take a sign.
pub(super) fn number(text: &str) -> Option<usize> {
    let text = text.trim();
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(text: &str) -> Result<Option<Vec<u64>>> {
        number_list(text, 1023, || "/p".to_owned())
    }

    #[test]
    fn number_list_ranges_set_their_bits() {
        assert_eq!(list("0-3,7").unwrap(), Some(vec![0b1000_1111]));
        assert_eq!(list("63-64").unwrap(), Some(vec![1 << 63, 1]));
        assert_eq!(list("1-130").unwrap(), Some(vec![!1, !0, 0b111]));
        assert_eq!(list(" 2 , 1023 ").unwrap().unwrap().len(), 16);
        assert_eq!(list("").unwrap(), None);
    }

    #[test]
    fn number_list_malformed_is_refused() {
        for bad in [",", "1,", "a", "-1", "1-", "3-1", "1024", "+1", "0x1", "1-2-3", "99999999999999999999"] {
            assert_eq!(list(bad).unwrap_err().pointer(), Some("/p"), "{bad}");
        }
    }
}
