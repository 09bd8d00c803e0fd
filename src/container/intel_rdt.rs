//! stub
use std::path::{Path, PathBuf};
use crate::error::Result;
use crate::plan::IntelRdt;
pub(crate) struct Group;
impl Group { pub fn to_remove(&self) -> Option<PathBuf> { None } pub fn keep(self) {} }
pub(crate) fn apply(_: &IntelRdt, _: i32) -> Result<Group> { Ok(Group) }
pub(crate) fn remove(_: &Path) -> Result<()> { Ok(()) }
