//! linux.resources and linux.cgroupsPath, checked and typed.

/// What the parent does about control groups.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct CgroupPlan {}
