//! The frames and their encoding: a tag byte, then fields; numbers little-endian, text with a 32-bit length.

use std::borrow::Cow;

use nix::errno::Errno;

use crate::error::{Error, Inner, Kind, Warning};

/// No frame is longer; the writer shortens text to fit.
pub(crate) const MAX_FRAME: usize = 16 * 1024;
/// No frame to init is longer.
pub(crate) const MAX_ORDER: usize = 16;
/// No text of an error is longer.
const MAX_TEXT: usize = 4096;
/// No error has more layers of context.
const MAX_CONTEXT: usize = 16;

/// Parent to child.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ToInit {
    /// Maps, offsets and cgroup are in place; `pid` is the child's id as the parent sees it. As many descriptors as
    /// there are `hierarchies` to join come along.
    Go { pid: i32, hierarchies: u8 },
    /// The hooks ran, or the state is saved: go on.
    Continue,
}

/// Child to parent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum FromInit {
    /// The intermediate unshared the user namespace: its maps are to be written.
    UserNamespace,
    /// The intermediate made a time namespace that nobody has entered: its offsets are to be written.
    TimeNamespace,
    /// The intermediate cloned init; its pidfd comes along. `in_cgroup` when the clone put it into cgroup2.
    Born { pid: i32, in_cgroup: bool },
    /// The mounts are made and the root is not yet entered: time for prestart and createRuntime hooks.
    RootfsReady,
    /// Everything that can fail early has been done.
    Ready,
    /// The listener of a seccomp filter comes along.
    SeccompFd,
    /// Something was ignored.
    Warning(Warning),
    /// The child gives up.
    Error(Error),
}

impl ToInit {
    pub fn encode(&self) -> Vec<u8> {
        match self {
            ToInit::Go { pid, hierarchies } => [&[1, *hierarchies], pid.to_le_bytes().as_slice()].concat(),
            ToInit::Continue => vec![2],
        }
    }

    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader(bytes);
        let frame = match reader.byte()? {
            1 => {
                let hierarchies = reader.byte()?;
                ToInit::Go { pid: reader.number()? as i32, hierarchies }
            }
            2 => ToInit::Continue,
            _ => return None,
        };
        reader.end(frame)
    }
}

impl FromInit {
    pub fn encode(&self) -> Vec<u8> {
        match self {
            FromInit::Born { pid, in_cgroup } => [&[1, u8::from(*in_cgroup)], pid.to_le_bytes().as_slice()].concat(),
            FromInit::TimeNamespace => vec![7],
            FromInit::UserNamespace => vec![8],
            FromInit::RootfsReady => vec![2],
            FromInit::Ready => vec![3],
            FromInit::SeccompFd => vec![4],
            FromInit::Warning(warning) => {
                let mut out = vec![5];
                put_text(&mut out, &warning.message);
                put_optional(&mut out, warning.pointer.as_deref());
                out
            }
            FromInit::Error(error) => {
                let mut out = vec![6];
                put_error(&mut out, error.inner());
                out
            }
        }
    }

    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader(bytes);
        let frame = match reader.byte()? {
            1 => {
                let in_cgroup = reader.flag()?;
                FromInit::Born { pid: reader.number()? as i32, in_cgroup }
            }
            7 => FromInit::TimeNamespace,
            8 => FromInit::UserNamespace,
            2 => FromInit::RootfsReady,
            3 => FromInit::Ready,
            4 => FromInit::SeccompFd,
            5 => FromInit::Warning(Warning { message: reader.text()?, pointer: reader.optional()? }),
            6 => FromInit::Error(reader.error()?),
            _ => return None,
        };
        reader.end(frame)
    }
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    let mut end = text.len().min(MAX_TEXT).min((MAX_FRAME - 64).saturating_sub(out.len()));
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    out.extend_from_slice(&(end as u32).to_le_bytes());
    out.extend_from_slice(text.get(..end).unwrap_or_default().as_bytes());
}

fn put_optional(out: &mut Vec<u8>, text: Option<&str>) {
    out.push(u8::from(text.is_some()));
    if let Some(text) = text {
        put_text(out, text);
    }
}

fn put_error(out: &mut Vec<u8>, error: &Inner) {
    let tag = Kind::TAGS.iter().find(|(kind, _)| *kind == error.kind).map_or(0, |(_, tag)| *tag);
    out.push(tag);
    out.extend_from_slice(&error.errno.map_or(0, |errno| errno as i32).to_le_bytes());
    put_optional(out, error.pointer.as_deref());
    put_optional(out, error.hint.as_deref());
    let count = error.context.len().min(MAX_CONTEXT);
    out.push(count as u8);
    for part in error.context.iter().take(count) {
        put_text(out, part);
    }
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (head, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(head)
    }

    fn byte(&mut self) -> Option<u8> {
        self.take(1)?.first().copied()
    }

    fn number(&mut self) -> Option<u32> {
        Some(u32::from_le_bytes(self.take(4)?.try_into().ok()?))
    }

    fn text(&mut self) -> Option<String> {
        let len = self.number()? as usize;
        String::from_utf8(self.take(len)?.to_vec()).ok()
    }

    fn flag(&mut self) -> Option<bool> {
        match self.byte()? {
            0 => Some(false),
            1 => Some(true),
            _ => None,
        }
    }

    fn optional(&mut self) -> Option<Option<String>> {
        if self.flag()? { self.text().map(Some) } else { Some(None) }
    }

    fn error(&mut self) -> Option<Error> {
        let tag = self.byte()?;
        let kind = Kind::TAGS.iter().find(|(_, known)| *known == tag)?.0;
        let errno = match self.number()? as i32 {
            0 => None,
            raw => Some(Errno::from_raw(raw)),
        };
        let pointer = self.optional()?.map(Cow::Owned);
        let hint = self.optional()?.map(Cow::Owned);
        let count = self.byte()? as usize;
        let context = (0..count.min(MAX_CONTEXT)).map(|_| self.text().map(Cow::Owned)).collect::<Option<Vec<_>>>()?;
        Some(Error::from_inner(Inner { kind, context, pointer, errno, hint }))
    }

    /// `frame`, if nothing is left over.
    fn end<T>(&self, frame: T) -> Option<T> {
        self.0.is_empty().then_some(frame)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn full_error() -> Error {
        Error::sys(Errno::EPERM, "target is a symlink").context("mount proc at /proc").at("/mounts/0").hint("so")
    }

    #[test]
    fn frames_encode_and_decode_to_themselves() {
        let warning = Warning { message: "w".into(), pointer: Some("/a".into()) };
        for frame in [
            FromInit::Born { pid: 7, in_cgroup: true },
            FromInit::TimeNamespace,
            FromInit::UserNamespace,
            FromInit::RootfsReady,
            FromInit::Ready,
            FromInit::SeccompFd,
            FromInit::Warning(warning),
            FromInit::Error(full_error()),
            FromInit::Error(Error::new(Kind::Hook, "")),
        ] {
            assert_eq!(FromInit::decode(&frame.encode()), Some(frame));
        }
        for frame in [ToInit::Go { pid: 1234567, hierarchies: 9 }, ToInit::Continue] {
            assert_eq!(ToInit::decode(&frame.encode()), Some(frame));
        }
    }

    #[test]
    fn decode_truncated_or_extended_frame_is_refused() {
        let bytes = FromInit::Error(full_error()).encode();
        for len in 0..bytes.len() {
            assert_eq!(FromInit::decode(&bytes[..len]), None, "{len} bytes");
        }
        assert_eq!(FromInit::decode(&[bytes, vec![0]].concat()), None);
        assert_eq!(FromInit::decode(&[99]), None);
    }

    #[test]
    fn encode_long_text_fits_the_frame() {
        let mut error = Error::new(Kind::System, "ä".repeat(10_000));
        for _ in 0..40 {
            error = error.context("x".repeat(10_000));
        }
        let bytes = FromInit::Error(error).encode();
        assert!(bytes.len() <= MAX_FRAME, "{}", bytes.len());
        assert!(FromInit::decode(&bytes).is_some());
    }

    proptest! {
        #[test]
        fn decode_any_bytes_does_not_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = FromInit::decode(&bytes);
            let _ = ToInit::decode(&bytes);
        }
    }
}
