//! ociVersion (config.md#specification-version).

use crate::error::{Error, Result, Warning};

/// The newest version of the specification that this program knows.
pub(crate) const NEWEST: (u64, u64, u64) = (1, 3, 0);

const AT: &str = "/ociVersion";

/// Checks that the configuration is for a version of the specification that this program implements.
pub(super) fn check(version: Option<&str>, warnings: &mut Vec<Warning>) -> Result<()> {
    let Some(text) = version.filter(|text| !text.is_empty()) else {
        return Err(Error::config(AT, "no version of the specification"));
    };
    let Some((major, minor, _)) = parse(text) else {
        return Err(Error::config(AT, format!("{text:?} is no semantic version")));
    };
    match major {
        // Drafts before 1.0 are read as 1.0, as every runtime does: the specification's own example says 0.5.0-dev.
        0 => warnings.push(Warning::config(AT, format!("version {text} is read as 1.0.0"))),
        1 if minor > NEWEST.1 => {
            let (major, minor, patch) = NEWEST;
            let message = format!("version {text} is newer than {major}.{minor}.{patch}: what it adds is ignored");
            warnings.push(Warning::config(AT, message));
        }
        1 => {}
        _ => return Err(Error::config(AT, format!("version {text}: only 1.x is supported"))),
    }
    Ok(())
}

/// MAJOR.MINOR.PATCH[-PRERELEASE][+BUILD] (semver.org 2.0.0).
fn parse(text: &str) -> Option<(u64, u64, u64)> {
    let (rest, build) = text.split_once('+').map_or((text, None), |(rest, build)| (rest, Some(build)));
    let (core, pre) = rest.split_once('-').map_or((rest, None), |(core, pre)| (core, Some(pre)));
    let word = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    let digits = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
    let canonical = |part: &str| !(digits(part) && part.len() > 1 && part.starts_with('0'));
    if !build.is_none_or(|build| build.split('.').all(word)) {
        return None;
    }
    if !pre.is_none_or(|pre| pre.split('.').all(|part| word(part) && canonical(part))) {
        return None;
    }
    let mut numbers = core.split('.').map(|part| match digits(part) && canonical(part) {
        true => part.parse().ok(),
        false => None,
    });
    let version = (numbers.next()??, numbers.next()??, numbers.next()??);
    numbers.next().is_none().then_some(version)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parse_takes_semantic_versions_only() {
        for good in ["1.0.0", "1.0.2-dev", "1.2.0+a.01", "0.5.0-rc.1+x", "10.20.30", "1.0.0--"] {
            assert!(parse(good).is_some(), "{good}");
        }
        for bad in [
            "",
            "1",
            "1.0",
            "1.0.0.0",
            "v1.0.0",
            "1.0.01",
            "1.0.x",
            "1.0.0-",
            "1.0.0-01",
            "1.0.0+",
            " 1.0.0",
            "-1.0.0",
            "1..0",
            "1.0.0-a..b",
        ] {
            assert!(parse(bad).is_none(), "{bad}");
        }
    }
}
