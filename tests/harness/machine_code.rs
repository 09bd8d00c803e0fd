//! Programs of a few x86 instructions, for system calls in ways in which no library makes them, and for programs
//! that make no other call. Written byte by byte: a compiler for i386 is seldom installed.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use super::Bundle;

/// Set in the numbers of x32.
pub const X32_BIT: u32 = 0x4000_0000;

/// How the call is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// `syscall` in a 64-bit program; x32 is the same with [`X32_BIT`] in the number.
    Syscall,
    /// `int $0x80` in a 64-bit program: a call of the 32-bit architecture.
    Interrupt,
    /// `int $0x80` in a 32-bit program.
    I386,
}

const PATH: &[u8] = b"/tmp/made\0";
const BASE: u32 = 0x40_0000;

impl Bundle {
    /// Puts a static program into the root file system that calls `number("/tmp/made", 0755)` (mkdir is 83 and, of
    /// i386, 39) and exits with the errno, 0 for success.
    pub fn calling(&self, path: &str, way: Way, number: u32) {
        fs::write(self.root(path), executable(way, number)).unwrap();
        fs::set_permissions(self.root(path), fs::Permissions::from_mode(0o755)).unwrap();
    }
}

fn executable(way: Way, number: u32) -> Vec<u8> {
    let header = if way == Way::I386 { 52 + 32 } else { 64 + 56 };
    let length = code(way, number, 0).len();
    let code = code(way, number, BASE + (header + length) as u32);
    let size = (header + length + PATH.len()) as u32;
    let mut file = match way {
        Way::I386 => elf32(size),
        Way::Syscall | Way::Interrupt => elf64(size),
    };
    assert_eq!(file.len(), header);
    file.extend(code);
    file.extend(PATH);
    file
}

fn code(way: Way, number: u32, path: u32) -> Vec<u8> {
    const MODE: u32 = 0o755;
    // mov $NUMBER, %eax; then the arguments: %edi and %esi for syscall, %ebx and %ecx for the interrupt.
    let (first, second, call): (u8, u8, [u8; 2]) = match way {
        Way::Syscall => (0xBF, 0xBE, [0x0F, 0x05]),
        Way::Interrupt | Way::I386 => (0xBB, 0xB9, [0xCD, 0x80]),
    };
    let mut code = Vec::new();
    for (register, value) in [(0xB8, number), (first, path), (second, MODE)] {
        code.push(register);
        code.extend(value.to_le_bytes());
    }
    code.extend(call);
    // neg %eax; exit_group(%eax) in the program's own way.
    code.extend([0xF7, 0xD8]);
    match way {
        Way::I386 => code.extend([0x89, 0xC3, 0xB8, 252, 0, 0, 0, 0xCD, 0x80]),
        Way::Syscall | Way::Interrupt => code.extend([0x89, 0xC7, 0xB8, 231, 0, 0, 0, 0x0F, 0x05]),
    }
    code
}

/// e_ident, e_type ET_EXEC; the entry is right behind the headers.
fn start(class: u8, machine: u16) -> Vec<u8> {
    let mut file = vec![0x7F, b'E', b'L', b'F', class, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    file.extend(2_u16.to_le_bytes());
    file.extend(machine.to_le_bytes());
    file.extend(1_u32.to_le_bytes());
    file
}

fn elf32(size: u32) -> Vec<u8> {
    let mut file = start(1, 3);
    // Entry, program headers, section headers, flags.
    [BASE + 84, 52, 0, 0].iter().for_each(|word: &u32| file.extend(word.to_le_bytes()));
    [52, 32, 1, 0, 0, 0].iter().for_each(|half: &u16| file.extend(half.to_le_bytes()));
    // PT_LOAD: offset, addresses, sizes, read and execute, alignment.
    [1, 0, BASE, BASE, size, size, 5, 0x1000].iter().for_each(|word: &u32| file.extend(word.to_le_bytes()));
    file
}

fn elf64(size: u32) -> Vec<u8> {
    let (base, size) = (u64::from(BASE), u64::from(size));
    let mut file = start(2, 62);
    [base + 120, 64, 0].iter().for_each(|word: &u64| file.extend(word.to_le_bytes()));
    file.extend(0_u32.to_le_bytes());
    [64, 56, 1, 0, 0, 0].iter().for_each(|half: &u16| file.extend(half.to_le_bytes()));
    [1, 5].iter().for_each(|word: &u32| file.extend(word.to_le_bytes()));
    [0, base, base, size, size, 0x1000].iter().for_each(|word: &u64| file.extend(word.to_le_bytes()));
    file
}
