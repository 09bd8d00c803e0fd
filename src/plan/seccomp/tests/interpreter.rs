//! The kernel's side, as far as it decides anything: the checks on a classic program for seccomp
//! (bpf_check_classic, seccomp_check_filter) and its execution.

use seccompiler::sock_filter;

/// struct seccomp_data of a little- or big-endian machine.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Call {
    pub audit: u32,
    pub number: u32,
    pub args: [u64; 6],
    pub big_endian: bool,
}

impl Call {
    /// The 32-bit word at a byte offset.
    fn word(&self, offset: u32) -> u32 {
        match offset {
            0 => self.number,
            4 => self.audit,
            8 | 12 => 0,
            16..=60 => {
                let arg = self.args[(offset as usize - 16) / 8];
                let second = offset % 8 == 4;
                if second == self.big_endian { arg as u32 } else { (arg >> 32) as u32 }
            }
            other => panic!("load from {other}"),
        }
    }
}

/// What the kernel checks on loading.
pub(crate) fn check(program: &[sock_filter]) -> Result<(), String> {
    if !(1..=4096).contains(&program.len()) {
        return Err(format!("{} instructions", program.len()));
    }
    for (at, instruction) in program.iter().enumerate() {
        let left = program.len() - at - 1;
        let fits = match instruction.code {
            0x20 => instruction.k % 4 == 0 && instruction.k < 64,
            0x54 | 0x06 => true,
            0x05 => (instruction.k as usize) < left,
            0x15 | 0x25 | 0x35 | 0x45 => (instruction.jt as usize) < left && (instruction.jf as usize) < left,
            _ => false,
        };
        if !fits {
            return Err(format!("instruction {at} of {}: {instruction:?}", program.len()));
        }
    }
    if program.last().is_none_or(|last| last.code != 0x06) {
        return Err("the last instruction does not return".into());
    }
    Ok(())
}

/// The returned value and the number of instructions executed.
pub(crate) fn run(program: &[sock_filter], call: &Call) -> (u32, usize) {
    let mut accumulator = 0;
    let mut at = 0;
    let mut steps = 0;
    loop {
        let instruction = &program[at];
        at += 1;
        steps += 1;
        let k = instruction.k;
        let holds = match instruction.code {
            0x20 => {
                accumulator = call.word(k);
                continue;
            }
            0x54 => {
                accumulator &= k;
                continue;
            }
            0x05 => {
                at += k as usize;
                continue;
            }
            0x06 => return (k, steps),
            0x15 => accumulator == k,
            0x25 => accumulator > k,
            0x35 => accumulator >= k,
            0x45 => accumulator & k != 0,
            code => panic!("opcode {code:#x}"),
        };
        at += usize::from(if holds { instruction.jt } else { instruction.jf });
    }
}

#[test]
fn check_jump_past_the_end_is_refused() {
    let ret = sock_filter { code: 0x06, jt: 0, jf: 0, k: 0 };
    assert!(check(std::slice::from_ref(&ret)).is_ok());
    assert!(check(&[sock_filter { code: 0x15, jt: 1, jf: 0, k: 0 }, ret.clone()]).is_err());
    assert!(check(&[sock_filter { code: 0x05, jt: 0, jf: 0, k: 1 }, ret]).is_err());
    assert!(check(&[]).is_err());
}
