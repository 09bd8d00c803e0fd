//! stub
use crate::error::Result;
use crate::plan::NetDevice;
pub(crate) fn move_all(_: &[NetDevice], _: i32) -> Result<()> { Ok(()) }
