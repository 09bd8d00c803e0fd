//! The bundle: config.json and root file system.
