//! `--version`.

use coracle::{OCI_VERSION, Result};

use super::{ExitCode, output};

/// Prints who this is. Engines take every line with the first line's second word for that line, so it stands there
/// alone. The `commit:` is that of the build's environment, CORACLE_COMMIT.
pub(crate) fn print() -> Result<ExitCode> {
    let mut text = concat!("coracle version ", env!("CARGO_PKG_VERSION"), "\n").to_owned();
    text.push_str("commit: ");
    text.push_str(option_env!("CORACLE_COMMIT").unwrap_or("unknown"));
    text.push('\n');
    text.push_str("spec: ");
    text.push_str(OCI_VERSION);
    text.push('\n');
    output::print(text.as_bytes())?;
    Ok(ExitCode::SUCCESS)
}
