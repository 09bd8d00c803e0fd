//! System call numbers by name, for the architectures that one kernel can run: a *family*, its native
//! architecture first. The tables are generated (contrib/syscalls); only the family of the build's own
//! architecture is compiled in, all of them in tests.

#[cfg(any(test, fuzzing, target_arch = "aarch64"))]
mod arm;
#[cfg(any(test, fuzzing, target_arch = "loongarch64"))]
mod loongarch;
#[cfg(any(test, fuzzing, target_arch = "powerpc64"))]
mod power;
#[cfg(any(test, fuzzing, target_arch = "riscv64"))]
mod riscv;
#[cfg(any(test, fuzzing, target_arch = "s390x"))]
mod s390;
#[cfg(any(test, fuzzing, target_arch = "x86_64"))]
mod x86;

/// Marks a call that an architecture does not have.
pub(super) const ABSENT: u16 = 0xFFFF;
/// Set in every number of x32, which shares its AUDIT_ARCH with x86_64.
pub(super) const X32_BIT: u32 = 0x4000_0000;
/// arm's private calls (cacheflush, set_tls, …) begin here; stored as 0xF000 and up.
pub(super) const ARM_PRIVATE: u32 = 0x000F_0000;
const STORED_PRIVATE: u16 = 0xF000;

/// Whether a call can also be made through socketcall(2) or ipc(2), and as which of theirs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mux {
    No,
    Socket(u8),
    Ipc(u8),
}

/// One name and its numbers, in the order of the family's columns.
#[derive(Debug)]
pub(super) struct Row {
    pub name: &'static str,
    pub mux: Mux,
    numbers: [u16; 3],
}

const fn row(name: &'static str, mux: Mux, numbers: [u16; 3]) -> Row {
    Row { name, mux, numbers }
}

impl Row {
    /// The number as `struct seccomp_data` has it, but without [`X32_BIT`].
    pub fn number(&self, column: usize) -> Option<u32> {
        match self.numbers.get(column).copied() {
            None | Some(ABSENT) => None,
            Some(stored) if stored >= STORED_PRIVATE => Some(ARM_PRIVATE + u32::from(stored - STORED_PRIVATE)),
            Some(stored) => Some(u32::from(stored)),
        }
    }
}

/// How wide the kernel's arguments are for an architecture, and where `struct seccomp_data` has their low half.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Width {
    Bits32,
    Bits64,
}

/// One architecture of a family.
#[derive(Debug)]
pub(super) struct Column {
    /// The word in config.json.
    pub word: &'static str,
    /// AUDIT_ARCH_* (linux/audit.h).
    pub audit: u32,
    pub width: Width,
    /// Added to every number: [`X32_BIT`] or 0.
    pub base: u32,
    /// Whether socketcall(2) and ipc(2) exist there and take the calls of [`Mux`].
    pub multiplexes: bool,
}

/// The architectures whose programs one kernel can run.
#[derive(Debug)]
pub(super) struct Family {
    /// Native first, then those with an AUDIT_ARCH of their own, x32 last.
    pub columns: &'static [Column],
    /// Words of architectures that these kernels may run too, but that have no table here.
    pub without_table: &'static [&'static str],
    pub big_endian: bool,
    rows: &'static [Row],
}

impl Family {
    /// The row of `name`. `hint` is where the last one was found: profiles are mostly sorted.
    pub fn row(&self, name: &str, hint: &mut usize) -> Option<&'static Row> {
        let near = self.rows.get(*hint..).unwrap_or(&[]).iter().take(4);
        let found = match near.into_iter().position(|row| row.name == name) {
            Some(steps) => *hint + steps,
            None => self.rows.binary_search_by(|row| row.name.cmp(name)).ok()?,
        };
        *hint = found + 1;
        self.rows.get(found)
    }

    #[cfg(any(test, fuzzing))]
    pub fn rows(&self) -> &'static [Row] {
        self.rows
    }
}

const fn column(word: &'static str, audit: u32, width: Width, multiplexes: bool) -> Column {
    Column { word, audit, width, base: 0, multiplexes }
}

#[cfg(any(test, fuzzing, target_arch = "x86_64"))]
pub(super) static X86: Family = Family {
    columns: &[
        column("SCMP_ARCH_X86_64", 0xC000_003E, Width::Bits64, false),
        column("SCMP_ARCH_X86", 0x4000_0003, Width::Bits32, true),
        Column { word: "SCMP_ARCH_X32", audit: 0xC000_003E, width: Width::Bits32, base: X32_BIT, multiplexes: false },
    ],
    without_table: &[],
    big_endian: false,
    rows: &x86::ROWS,
};

#[cfg(any(test, fuzzing, target_arch = "aarch64"))]
pub(super) static ARM: Family = Family {
    columns: &[
        column("SCMP_ARCH_AARCH64", 0xC000_00B7, Width::Bits64, false),
        column("SCMP_ARCH_ARM", 0x4000_0028, Width::Bits32, false),
    ],
    without_table: &[],
    big_endian: false,
    rows: &arm::ROWS,
};

#[cfg(any(test, fuzzing, target_arch = "riscv64"))]
pub(super) static RISCV: Family = Family {
    columns: &[column("SCMP_ARCH_RISCV64", 0xC000_00F3, Width::Bits64, false)],
    without_table: &[],
    big_endian: false,
    rows: &riscv::ROWS,
};

#[cfg(any(test, fuzzing, target_arch = "powerpc64"))]
pub(super) static POWER: Family = Family {
    columns: &[column("SCMP_ARCH_PPC64LE", 0xC000_0015, Width::Bits64, true)],
    without_table: &["SCMP_ARCH_PPC", "SCMP_ARCH_PPC64"],
    big_endian: false,
    rows: &power::ROWS,
};

#[cfg(any(test, fuzzing, target_arch = "s390x"))]
pub(super) static S390: Family = Family {
    columns: &[column("SCMP_ARCH_S390X", 0x8000_0016, Width::Bits64, true)],
    without_table: &["SCMP_ARCH_S390"],
    big_endian: true,
    rows: &s390::ROWS,
};

#[cfg(any(test, fuzzing, target_arch = "loongarch64"))]
pub(super) static LOONGARCH: Family = Family {
    columns: &[column("SCMP_ARCH_LOONGARCH64", 0xC000_0102, Width::Bits64, false)],
    without_table: &[],
    big_endian: false,
    rows: &loongarch::ROWS,
};

#[cfg(target_arch = "x86_64")]
pub(super) static NATIVE: &Family = &X86;
#[cfg(target_arch = "aarch64")]
pub(super) static NATIVE: &Family = &ARM;
#[cfg(target_arch = "riscv64")]
pub(super) static NATIVE: &Family = &RISCV;
#[cfg(target_arch = "powerpc64")]
pub(super) static NATIVE: &Family = &POWER;
#[cfg(target_arch = "s390x")]
pub(super) static NATIVE: &Family = &S390;
#[cfg(target_arch = "loongarch64")]
pub(super) static NATIVE: &Family = &LOONGARCH;

#[cfg(any(test, fuzzing))]
pub(super) static FAMILIES: [&Family; 6] = [&X86, &ARM, &RISCV, &POWER, &S390, &LOONGARCH];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_sorted_and_each_name_is_found_with_any_hint() {
        for family in FAMILIES {
            assert!(family.rows.windows(2).all(|pair| pair[0].name < pair[1].name));
            for row in family.rows {
                for hint in [0, 100, 10_000] {
                    assert_eq!(family.row(row.name, &mut { hint }).map(|found| found.name), Some(row.name));
                }
            }
            assert!(family.row("no_such_call", &mut 0).is_none());
        }
    }

    #[test]
    fn numbers_of_well_known_calls_are_the_kernels() {
        let numbers = |family: &Family, name: &str| {
            let row = family.row(name, &mut 0).unwrap();
            (0..family.columns.len()).map(|column| row.number(column)).collect::<Vec<_>>()
        };
        assert_eq!(numbers(&X86, "read"), [Some(0), Some(3), Some(0)]);
        assert_eq!(numbers(&X86, "rt_sigaction"), [Some(13), Some(174), Some(512)]);
        assert_eq!(numbers(&X86, "accept"), [Some(43), None, Some(43)]);
        assert_eq!(numbers(&ARM, "set_tls"), [None, Some(0x000F_0005)]);
        assert_eq!(numbers(&ARM, "openat2"), [Some(437), Some(437)]);
        assert_eq!(numbers(&S390, "socketcall"), [Some(102)]);
        for (libc, name) in [(libc::SYS_execve, "execve"), (libc::SYS_openat2, "openat2"), (libc::SYS_clone3, "clone3")]
        {
            assert_eq!(i64::from(numbers(NATIVE, name)[0].unwrap()), libc);
        }
    }
}
