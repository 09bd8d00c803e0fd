//! The words of a profile and what the kernel calls them. The lists are what `features` reports.

use crate::error::{Error, Result};

/// SECCOMP_RET_* of linux/seccomp.h; ERRNO and TRACE carry a value in the low 16 bits.
pub(crate) const RET_KILL_PROCESS: u32 = 0x8000_0000;
pub(crate) const RET_KILL_THREAD: u32 = 0x0000_0000;
pub(crate) const RET_TRAP: u32 = 0x0003_0000;
pub(crate) const RET_ERRNO: u32 = 0x0005_0000;
pub(crate) const RET_USER_NOTIF: u32 = 0x7fc0_0000;
pub(crate) const RET_TRACE: u32 = 0x7ff0_0000;
pub(crate) const RET_LOG: u32 = 0x7ffc_0000;
pub(crate) const RET_ALLOW: u32 = 0x7fff_0000;
/// The part of a return value that names the action.
const RET_ACTION: u32 = 0xffff_0000;

/// SECCOMP_FILTER_FLAG_* of linux/seccomp.h.
pub(crate) const FLAG_TSYNC: u64 = 1;
pub(crate) const FLAG_LOG: u64 = 1 << 1;
pub(crate) const FLAG_SPEC_ALLOW: u64 = 1 << 2;
pub(crate) const FLAG_NEW_LISTENER: u64 = 1 << 3;
/// Linux 5.7: without it TSYNC and NEW_LISTENER exclude each other.
pub(crate) const FLAG_TSYNC_ESRCH: u64 = 1 << 4;
/// Linux 5.19, with NEW_LISTENER only.
pub(crate) const FLAG_WAIT_KILLABLE_RECV: u64 = 1 << 5;

/// Actions with the kernel's return value.
pub(crate) const ACTIONS: [(&str, u32); 9] = [
    ("SCMP_ACT_ALLOW", RET_ALLOW),
    ("SCMP_ACT_ERRNO", RET_ERRNO),
    ("SCMP_ACT_KILL", RET_KILL_THREAD),
    ("SCMP_ACT_KILL_PROCESS", RET_KILL_PROCESS),
    ("SCMP_ACT_KILL_THREAD", RET_KILL_THREAD),
    ("SCMP_ACT_LOG", RET_LOG),
    ("SCMP_ACT_NOTIFY", RET_USER_NOTIF),
    ("SCMP_ACT_TRACE", RET_TRACE),
    ("SCMP_ACT_TRAP", RET_TRAP),
];

/// Comparisons of an argument with a value, unsigned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operator {
    NotEqual,
    Less,
    LessOrEqual,
    Equal,
    GreaterOrEqual,
    Greater,
    /// The bits of `value` in the argument equal those in `valueTwo`.
    MaskedEqual,
}

/// Operators, by their words.
pub(crate) const OPERATORS: [(&str, Operator); 7] = [
    ("SCMP_CMP_EQ", Operator::Equal),
    ("SCMP_CMP_GE", Operator::GreaterOrEqual),
    ("SCMP_CMP_GT", Operator::Greater),
    ("SCMP_CMP_LE", Operator::LessOrEqual),
    ("SCMP_CMP_LT", Operator::Less),
    ("SCMP_CMP_MASKED_EQ", Operator::MaskedEqual),
    ("SCMP_CMP_NE", Operator::NotEqual),
];

/// Architectures that a profile may name; those without a table on this machine have no effect.
pub(crate) const ARCHITECTURES: [&str; 23] = [
    "SCMP_ARCH_AARCH64",
    "SCMP_ARCH_ARM",
    "SCMP_ARCH_LOONGARCH64",
    "SCMP_ARCH_M68K",
    "SCMP_ARCH_MIPS",
    "SCMP_ARCH_MIPS64",
    "SCMP_ARCH_MIPS64N32",
    "SCMP_ARCH_MIPSEL",
    "SCMP_ARCH_MIPSEL64",
    "SCMP_ARCH_MIPSEL64N32",
    "SCMP_ARCH_PARISC",
    "SCMP_ARCH_PARISC64",
    "SCMP_ARCH_PPC",
    "SCMP_ARCH_PPC64",
    "SCMP_ARCH_PPC64LE",
    "SCMP_ARCH_RISCV64",
    "SCMP_ARCH_S390",
    "SCMP_ARCH_S390X",
    "SCMP_ARCH_SH",
    "SCMP_ARCH_SHEB",
    "SCMP_ARCH_X32",
    "SCMP_ARCH_X86",
    "SCMP_ARCH_X86_64",
];

/// Flags that a profile may name, with the kernel's bit.
pub(crate) const FLAGS: [(&str, u64); 4] = [
    ("SECCOMP_FILTER_FLAG_LOG", FLAG_LOG),
    ("SECCOMP_FILTER_FLAG_SPEC_ALLOW", FLAG_SPEC_ALLOW),
    ("SECCOMP_FILTER_FLAG_TSYNC", FLAG_TSYNC),
    ("SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV", FLAG_WAIT_KILLABLE_RECV),
];

/// The kernel's return value for `word` with `errno` (EPERM when absent, for the actions that take one).
/// Errors: an unknown word, an errno out of range or one for an action that has no use for it; the
/// caller adds the pointers, which are those of the action and of the errno.
pub(super) fn action(
    word: &str,
    errno: Option<u32>,
    action_pointer: impl FnOnce() -> String,
    errno_pointer: impl FnOnce() -> String,
) -> Result<u32> {
    let Some((_, action)) = ACTIONS.iter().find(|(known, _)| *known == word) else {
        return Err(Error::config(action_pointer(), format!("unknown seccomp action {word:?}")));
    };
    // The kernel turns anything above MAX_ERRNO (4095) into that; a tracer gets 16 bits.
    let largest = match *action {
        RET_ERRNO => 4095,
        RET_TRACE => 0xffff,
        action => {
            return match errno {
                None => Ok(action),
                Some(errno) => {
                    Err(Error::config(errno_pointer(), format!("{word} takes no errno, but {errno} is given")))
                }
            };
        }
    };
    let errno = errno.unwrap_or(libc::EPERM as u32);
    if errno > largest {
        return Err(Error::config(errno_pointer(), format!("errno {errno} is above {largest}")));
    }
    Ok(action | errno)
}

/// The operator called `word`.
pub(super) fn operator(word: &str) -> Option<Operator> {
    OPERATORS.iter().find(|(known, _)| *known == word).map(|&(_, operator)| operator)
}

/// Whether calls beyond the profile's horizon get ENOSYS instead of this default: not where the default lets
/// them happen or hands them to a tracer, who knows better (as runc decides since 1.0.0-rc93).
pub(super) fn hides_new_calls(default: u32) -> bool {
    !matches!(default & RET_ACTION, RET_ALLOW | RET_LOG | RET_TRACE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn action_errno_defaults_to_eperm_and_is_checked() {
        let parse = |word, errno| action(word, errno, || "/a".into(), || "/e".into());
        assert_eq!(parse("SCMP_ACT_ERRNO", None).unwrap(), 0x0005_0001);
        assert_eq!(parse("SCMP_ACT_ERRNO", Some(38)).unwrap(), 0x0005_0026);
        assert_eq!(parse("SCMP_ACT_TRACE", Some(65535)).unwrap(), 0x7ff0_ffff);
        assert_eq!(parse("SCMP_ACT_KILL", None).unwrap(), parse("SCMP_ACT_KILL_THREAD", None).unwrap());
        assert_eq!(parse("SCMP_ACT_ERRNO", Some(4096)).unwrap_err().pointer(), Some("/e"));
        assert_eq!(parse("SCMP_ACT_ALLOW", Some(1)).unwrap_err().pointer(), Some("/e"));
        assert_eq!(parse("ALLOW", None).unwrap_err().pointer(), Some("/a"));
    }

    #[test]
    fn operator_words_are_the_specifications() {
        for (word, expected) in OPERATORS {
            assert_eq!(operator(word), Some(expected));
            assert!(serde_json::from_value::<oci_spec::runtime::LinuxSeccompOperator>(word.into()).is_ok(), "{word}");
        }
        assert!(operator("EQ").is_none());
    }
}
