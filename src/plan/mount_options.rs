//! The words of mount options (config.md#linux-mount-options and mount(8)): what each one does.

/// MOUNT_ATTR_* of mount_setattr(2).
pub(crate) mod attr {
    pub(crate) const RDONLY: u64 = 0x01;
    pub(crate) const NOSUID: u64 = 0x02;
    pub(crate) const NODEV: u64 = 0x04;
    pub(crate) const NOEXEC: u64 = 0x08;
    /// The bits of the access time mode; it is changed by clearing all of them and setting one.
    pub(crate) const ATIME: u64 = 0x70;
    pub(crate) const RELATIME: u64 = 0x00;
    pub(crate) const NOATIME: u64 = 0x10;
    pub(crate) const STRICTATIME: u64 = 0x20;
    pub(crate) const NODIRATIME: u64 = 0x80;
    /// Linux 5.14.
    pub(crate) const NOSYMFOLLOW: u64 = 0x20_0000;
}

/// MS_* of mount(2), as far as words name them. `libc` has them as signed numbers of the platform's width.
pub(crate) mod flag {
    pub(crate) const RDONLY: u64 = 1;
    pub(crate) const SYNCHRONOUS: u64 = 1 << 4;
    pub(crate) const MANDLOCK: u64 = 1 << 6;
    pub(crate) const DIRSYNC: u64 = 1 << 7;
    pub(crate) const REC: u64 = 1 << 14;
    pub(crate) const SILENT: u64 = 1 << 15;
    pub(crate) const UNBINDABLE: u64 = 1 << 17;
    pub(crate) const PRIVATE: u64 = 1 << 18;
    pub(crate) const SLAVE: u64 = 1 << 19;
    pub(crate) const SHARED: u64 = 1 << 20;
    pub(crate) const I_VERSION: u64 = 1 << 23;
    pub(crate) const LAZYTIME: u64 = 1 << 25;
}

/// What one word does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Word {
    /// Sets MOUNT_ATTR_* bits.
    Set(u64),
    /// Clears MOUNT_ATTR_* bits.
    Clear(u64),
    /// Chooses an access time mode.
    Atime(u64),
    /// Gives up an access time mode, if it was chosen: back to the kernel's default, relatime.
    NoAtime(u64),
    /// The same for the whole tree.
    RecursiveSet(u64),
    RecursiveClear(u64),
    RecursiveAtime(u64),
    RecursiveNoAtime(u64),
    /// Sets MS_* bits of the super block.
    Super(u64),
    /// Clears them.
    NoSuper(u64),
    /// MS_* of propagation.
    Propagation(u64),
    Bind,
    RecursiveBind,
    Remount,
    CopyUp,
    Idmap,
    RecursiveIdmap,
    CopySymlink,
    SourceNofollow,
    DestinationNofollow,
    /// A word for other programs, such as `nofail`.
    Ignored,
}

/// Every word, sorted. Any other one is a parameter of the file system.
pub(crate) const WORDS: &[(&str, Word)] = &[
    ("_netdev", Word::Ignored),
    ("async", Word::NoSuper(flag::SYNCHRONOUS)),
    ("atime", Word::NoAtime(attr::NOATIME)),
    ("auto", Word::Ignored),
    ("bind", Word::Bind),
    ("copy-symlink", Word::CopySymlink),
    ("defaults", Word::Ignored),
    ("dest-nofollow", Word::DestinationNofollow),
    ("dev", Word::Clear(attr::NODEV)),
    ("diratime", Word::Clear(attr::NODIRATIME)),
    ("dirsync", Word::Super(flag::DIRSYNC)),
    ("exec", Word::Clear(attr::NOEXEC)),
    ("idmap", Word::Idmap),
    ("iversion", Word::Super(flag::I_VERSION)),
    ("lazytime", Word::Super(flag::LAZYTIME)),
    ("loud", Word::NoSuper(flag::SILENT)),
    ("mand", Word::Super(flag::MANDLOCK)),
    ("noatime", Word::Atime(attr::NOATIME)),
    ("noauto", Word::Ignored),
    ("nodev", Word::Set(attr::NODEV)),
    ("nodiratime", Word::Set(attr::NODIRATIME)),
    ("noexec", Word::Set(attr::NOEXEC)),
    ("nofail", Word::Ignored),
    ("noiversion", Word::NoSuper(flag::I_VERSION)),
    ("nolazytime", Word::NoSuper(flag::LAZYTIME)),
    ("nomand", Word::NoSuper(flag::MANDLOCK)),
    // Like mount(2): without relatime the kernel still takes its default, which is relatime.
    ("norelatime", Word::Ignored),
    ("nostrictatime", Word::NoAtime(attr::STRICTATIME)),
    ("nosuid", Word::Set(attr::NOSUID)),
    ("nosymfollow", Word::Set(attr::NOSYMFOLLOW)),
    ("nouser", Word::Ignored),
    ("private", Word::Propagation(flag::PRIVATE)),
    ("ratime", Word::RecursiveNoAtime(attr::NOATIME)),
    ("rbind", Word::RecursiveBind),
    ("rdev", Word::RecursiveClear(attr::NODEV)),
    ("rdiratime", Word::RecursiveClear(attr::NODIRATIME)),
    ("relatime", Word::Atime(attr::RELATIME)),
    ("remount", Word::Remount),
    ("rexec", Word::RecursiveClear(attr::NOEXEC)),
    ("ridmap", Word::RecursiveIdmap),
    ("rnoatime", Word::RecursiveAtime(attr::NOATIME)),
    ("rnodev", Word::RecursiveSet(attr::NODEV)),
    ("rnodiratime", Word::RecursiveSet(attr::NODIRATIME)),
    ("rnoexec", Word::RecursiveSet(attr::NOEXEC)),
    ("rnorelatime", Word::Ignored),
    ("rnostrictatime", Word::RecursiveNoAtime(attr::STRICTATIME)),
    ("rnosuid", Word::RecursiveSet(attr::NOSUID)),
    ("rnosymfollow", Word::RecursiveSet(attr::NOSYMFOLLOW)),
    ("ro", Word::Set(attr::RDONLY)),
    ("rprivate", Word::Propagation(flag::PRIVATE | flag::REC)),
    ("rrelatime", Word::RecursiveAtime(attr::RELATIME)),
    ("rro", Word::RecursiveSet(attr::RDONLY)),
    ("rrw", Word::RecursiveClear(attr::RDONLY)),
    ("rshared", Word::Propagation(flag::SHARED | flag::REC)),
    ("rslave", Word::Propagation(flag::SLAVE | flag::REC)),
    ("rstrictatime", Word::RecursiveAtime(attr::STRICTATIME)),
    ("rsuid", Word::RecursiveClear(attr::NOSUID)),
    ("rsymfollow", Word::RecursiveClear(attr::NOSYMFOLLOW)),
    ("runbindable", Word::Propagation(flag::UNBINDABLE | flag::REC)),
    ("rw", Word::Clear(attr::RDONLY)),
    ("shared", Word::Propagation(flag::SHARED)),
    ("silent", Word::Super(flag::SILENT)),
    ("slave", Word::Propagation(flag::SLAVE)),
    ("src-nofollow", Word::SourceNofollow),
    ("strictatime", Word::Atime(attr::STRICTATIME)),
    ("suid", Word::Clear(attr::NOSUID)),
    ("symfollow", Word::Clear(attr::NOSYMFOLLOW)),
    ("sync", Word::Super(flag::SYNCHRONOUS)),
    ("tmpcopyup", Word::CopyUp),
    ("unbindable", Word::Propagation(flag::UNBINDABLE)),
];

/// What `option` does; `None` for a parameter of the file system.
pub(crate) fn word(option: &str) -> Option<Word> {
    if option.starts_with("x-") || option.starts_with("X-") || option.starts_with("comment=") {
        return Some(Word::Ignored);
    }
    let found = WORDS.binary_search_by_key(&option, |&(word, _)| word).ok()?;
    WORDS.get(found).map(|&(_, word)| word)
}

/// MOUNT_ATTR_* to set and to clear, as words are applied one after the other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Attributes {
    pub set: u64,
    pub clear: u64,
}

impl Attributes {
    pub fn set(&mut self, bits: u64) {
        self.set |= bits;
        self.clear &= !bits;
    }

    pub fn clear(&mut self, bits: u64) {
        self.set &= !bits;
        self.clear |= bits;
    }

    pub fn atime(&mut self, mode: u64) {
        self.set = self.set & !attr::ATIME | mode;
        self.clear |= attr::ATIME;
    }

    pub fn no_atime(&mut self, mode: u64) {
        if self.clear & attr::ATIME == 0 || self.set & attr::ATIME == mode {
            self.atime(attr::RELATIME);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_sorted_and_found() {
        assert!(WORDS.is_sorted_by(|(one, _), (next, _)| one < next));
        for (name, found) in WORDS {
            assert_eq!(word(name), Some(*found));
        }
        assert_eq!(word("mode=755"), None);
        assert_eq!(word("x-systemd.automount"), Some(Word::Ignored));
    }

    #[test]
    fn attributes_the_last_word_wins() {
        let mut attributes = Attributes::default();
        attributes.set(attr::RDONLY);
        attributes.clear(attr::RDONLY);
        attributes.clear(attr::NODEV);
        attributes.set(attr::NODEV);
        attributes.atime(attr::NOATIME);
        attributes.atime(attr::STRICTATIME);
        attributes.no_atime(attr::NOATIME);
        assert_eq!(attributes, Attributes { set: attr::NODEV | attr::STRICTATIME, clear: attr::RDONLY | attr::ATIME });
        attributes.no_atime(attr::STRICTATIME);
        assert_eq!(attributes.set & attr::ATIME, attr::RELATIME);
    }
}
