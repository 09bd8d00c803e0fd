//! The verified descriptor that a mount goes onto.

use std::os::fd::OwnedFd;
use std::path::Path;

use crate::error::Result;
use crate::fs::{Links, Root};

/// Where a mount goes: a file that was opened inside the root. The path is for messages, and for looking again
/// at what is there after mount(2), which gives no descriptor.
#[derive(Debug)]
pub(crate) struct Target<'a> {
    pub root: &'a Root,
    pub path: &'a Path,
    pub links: Links,
    pub fd: OwnedFd,
}

impl Target<'_> {
    /// What is on top at the same path now. Whoever calls this checks what came.
    pub(super) fn top(&self) -> Result<OwnedFd> {
        self.root.resolve(self.path, self.links)
    }
}
