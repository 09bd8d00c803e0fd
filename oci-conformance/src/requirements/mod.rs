//! Every MUST and SHOULD of the specification, version 1.3.0, that binds a runtime on Linux, in words of our own. What
//! binds the author of a bundle, or another platform, is not here.

mod config;
mod features;
mod lifecycle;
mod linux;
mod options;

/// A document of the specification.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum File {
    Runtime,
    Config,
    Linux,
    Features,
    LinuxFeatures,
}

impl File {
    pub const ALL: [Self; 5] = [Self::Runtime, Self::Config, Self::Linux, Self::Features, Self::LinuxFeatures];

    pub fn name(self) -> &'static str {
        match self {
            Self::Runtime => "runtime.md",
            Self::Config => "config.md",
            Self::Linux => "config-linux.md",
            Self::Features => "features.md",
            Self::LinuxFeatures => "features-linux.md",
        }
    }
}

/// RFC 2119.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    Must,
    Should,
}

impl Level {
    pub fn name(self) -> &'static str {
        match self {
            Self::Must => "MUST",
            Self::Should => "SHOULD",
        }
    }
}

/// One clause.
#[derive(Debug, Clone, Copy)]
pub struct Requirement {
    pub id: &'static str,
    pub file: File,
    pub anchor: &'static str,
    pub level: Level,
    pub text: &'static str,
    /// Why no test checks it; empty where one does.
    pub untested: &'static str,
}

const fn must(file: File, anchor: &'static str, id: &'static str, text: &'static str) -> Requirement {
    Requirement { id, file, anchor, level: Level::Must, text, untested: "" }
}

const fn should(file: File, anchor: &'static str, id: &'static str, text: &'static str) -> Requirement {
    Requirement { id, file, anchor, level: Level::Should, text, untested: "" }
}

impl Requirement {
    const fn untested(mut self, reason: &'static str) -> Self {
        self.untested = reason;
        self
    }
}

impl std::fmt::Display for Requirement {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}#{} {}: {}", self.id, self.file.name(), self.anchor, self.level.name(), self.text)
    }
}

/// All of them.
pub fn all() -> impl Iterator<Item = &'static Requirement> {
    lifecycle::TABLE.iter().chain(config::TABLE).chain(options::TABLE).chain(linux::TABLE).chain(features::TABLE)
}
