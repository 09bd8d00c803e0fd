//! Container ids, and user and group id mappings (user_namespaces(7)).

/// One line of uid_map or gid_map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct IdMapping {
    /// First id inside.
    pub container_id: u32,
    /// First id outside.
    pub host_id: u32,
    /// Number of ids, at least 1; neither range passes 2³²-1.
    pub size: u32,
}
