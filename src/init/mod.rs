//! init

pub(crate) mod attributes;
pub(crate) mod credentials;
pub(crate) mod hooks;
pub(crate) mod labels;
pub(crate) mod payload;
pub(crate) mod proc_file;
pub(crate) mod sysctl;
#[cfg(test)]
pub(crate) mod test_thread;
