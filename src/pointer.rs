//! JSON pointers (RFC 6901) into config.json.

use std::fmt::Write;

/// Appends `token` to `pointer`, escaping `~` and `/`.
pub(crate) fn join(pointer: &str, token: &str) -> String {
    let mut joined = String::with_capacity(pointer.len() + token.len() + 1);
    joined.push_str(pointer);
    joined.push('/');
    for c in token.chars() {
        match c {
            '~' => joined.push_str("~0"),
            '/' => joined.push_str("~1"),
            c => joined.push(c),
        }
    }
    joined
}

/// Appends an array index to `pointer`.
pub(crate) fn index(pointer: &str, index: usize) -> String {
    let mut joined = pointer.to_owned();
    let _ = write!(joined, "/{index}");
    joined
}
