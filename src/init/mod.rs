//! init

pub(crate) mod console;
pub(crate) mod devices;
pub(crate) mod idmap;
pub(crate) mod masks;
pub(crate) mod mount;
pub(crate) mod pivot;
pub(crate) mod rootfs;
