//! Device rules as an eBPF program of type BPF_PROG_TYPE_CGROUP_DEVICE, which is how cgroup v2 controls devices
//! (Linux 4.15). Pure.

use crate::plan::resources::{Access, DeviceKind, DeviceSet, Exception};

// Register numbers. The program gets `struct bpf_cgroup_dev_ctx` in R1: access_type (type below, access above
// 16 bits), major, minor.
const RESULT: u8 = 0;
const CONTEXT: u8 = 1;
const KIND: u8 = 2;
const ACCESS: u8 = 3;
const MAJOR: u8 = 4;
const MINOR: u8 = 5;
/// The context is not needed once it is read.
const SCRATCH: u8 = CONTEXT;

// Instruction codes of linux/bpf_common.h and linux/bpf.h; arithmetic and jumps are those on 32 bits.
const LOAD_WORD: u8 = 0x61;
const MOVE: u8 = 0xbc;
const MOVE_IMMEDIATE: u8 = 0xb4;
const AND_IMMEDIATE: u8 = 0x54;
const SHIFT_RIGHT_IMMEDIATE: u8 = 0x74;
const JUMP_IF_EQUAL: u8 = 0x16;
const JUMP_UNLESS_EQUAL: u8 = 0x56;
const EXIT: u8 = 0x95;

/// One `struct bpf_insn`.
fn instruction(code: u8, destination: u8, source: u8, offset: i16, immediate: u32) -> u64 {
    let [o0, o1] = offset.to_ne_bytes();
    let [i0, i1, i2, i3] = immediate.to_ne_bytes();
    // Two bit fields share a byte; their order follows the byte order.
    let registers = if cfg!(target_endian = "little") { source << 4 | destination } else { destination << 4 | source };
    u64::from_ne_bytes([code, registers, o0, o1, i0, i1, i2, i3])
}

/// The program that answers 1 for what `set` allows and 0 for the rest.
pub(super) fn compile(set: &DeviceSet) -> Vec<u64> {
    let mut program = vec![
        instruction(LOAD_WORD, KIND, CONTEXT, 0, 0),
        instruction(MOVE, ACCESS, KIND, 0, 0),
        instruction(SHIFT_RIGHT_IMMEDIATE, ACCESS, 0, 0, 16),
        instruction(AND_IMMEDIATE, KIND, 0, 0, 0xffff),
        instruction(LOAD_WORD, MAJOR, CONTEXT, 4, 0),
        instruction(LOAD_WORD, MINOR, CONTEXT, 8, 0),
    ];
    for exception in &set.exceptions {
        program.extend(compile_exception(exception, set.default_allow));
    }
    program.extend(answer(set.default_allow));
    program
}

fn answer(allow: bool) -> [u64; 2] {
    [instruction(MOVE_IMMEDIATE, RESULT, 0, 0, u32::from(allow)), instruction(EXIT, 0, 0, 0, 0)]
}

/// The tests of one exception; each that fails jumps behind the block.
fn compile_exception(exception: &Exception, default_allow: bool) -> Vec<u64> {
    // (instructions before the jump, jump code, register, immediate)
    let mut tests: Vec<(Vec<u64>, u8, u8, u32)> = Vec::with_capacity(4);
    let kind = match exception.kind {
        DeviceKind::Block => 1,
        DeviceKind::Char => 2,
    };
    tests.push((vec![], JUMP_UNLESS_EQUAL, KIND, kind));
    if exception.access != Access::ALL {
        let (mask, jump) = if default_allow {
            // Denied if any access of the exception is asked for …
            (exception.access.bits(), JUMP_IF_EQUAL)
        } else {
            // … allowed if no other is.
            (Access::ALL.bits() & !exception.access.bits(), JUMP_UNLESS_EQUAL)
        };
        let before =
            vec![instruction(MOVE, SCRATCH, ACCESS, 0, 0), instruction(AND_IMMEDIATE, SCRATCH, 0, 0, u32::from(mask))];
        tests.push((before, jump, SCRATCH, 0));
    }
    for (number, register) in [(exception.major, MAJOR), (exception.minor, MINOR)] {
        if let Some(number) = number {
            tests.push((vec![], JUMP_UNLESS_EQUAL, register, number));
        }
    }
    // Built backwards, so that the distance to the end is known.
    let mut block: Vec<u64> = answer(!default_allow).into_iter().rev().collect();
    for (before, jump, register, immediate) in tests.into_iter().rev() {
        let distance = i16::try_from(block.len()).unwrap_or(i16::MAX);
        block.push(instruction(jump, register, 0, distance, immediate));
        block.extend(before.into_iter().rev());
    }
    block.reverse();
    block
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bundle::resources::DeviceRuleConfig;

    /// Runs `program` as the kernel would.
    fn run(program: &[u64], kind: u32, access: u32, major: u32, minor: u32) -> bool {
        let context = [access << 16 | kind, major, minor];
        let mut registers = [0u32; 11];
        let mut counter = 0;
        loop {
            let [code, pair, o0, o1, i0, i1, i2, i3] = program[counter].to_le_bytes();
            let (destination, source) = (usize::from(pair & 15), usize::from(pair >> 4));
            let offset = i16::from_le_bytes([o0, o1]);
            let immediate = u32::from_le_bytes([i0, i1, i2, i3]);
            counter += 1;
            let jump = match code {
                LOAD_WORD => {
                    registers[destination] = context[offset as usize / 4];
                    false
                }
                MOVE => {
                    registers[destination] = registers[source];
                    false
                }
                MOVE_IMMEDIATE => {
                    registers[destination] = immediate;
                    false
                }
                AND_IMMEDIATE => {
                    registers[destination] &= immediate;
                    false
                }
                SHIFT_RIGHT_IMMEDIATE => {
                    registers[destination] >>= immediate;
                    false
                }
                JUMP_IF_EQUAL => registers[destination] == immediate,
                JUMP_UNLESS_EQUAL => registers[destination] != immediate,
                EXIT => return registers[0] == 1,
                other => panic!("code {other:#x}"),
            };
            if jump {
                counter += usize::try_from(offset).unwrap();
            }
        }
    }

    /// What the v1 controller answers for the same set (security/device_cgroup.c's rule, said in words: a request
    /// is allowed by one exception that has all of its accesses, denied by one that has any).
    fn v1(set: &DeviceSet, kind: u32, access: u32, major: u32, minor: u32) -> bool {
        let hit = set.exceptions.iter().any(|e| {
            let bits = u32::from(e.access.bits());
            let same_kind = (e.kind == DeviceKind::Block) == (kind == 1);
            let device = same_kind && e.major.is_none_or(|m| m == major) && e.minor.is_none_or(|m| m == minor);
            device && if set.default_allow { access & bits != 0 } else { access & !bits == 0 }
        });
        hit != set.default_allow
    }

    #[test]
    fn compile_agrees_with_v1_for_every_device_and_access() {
        for rules in [
            "[]",
            r#"[{"allow":true}]"#,
            r#"[{"allow":true},{"allow":false,"type":"b","major":8,"access":"w"},{"allow":false,"type":"c","major":4294967295}]"#,
            r#"[{"allow":true,"type":"c","major":10,"minor":200,"access":"rw"},{"allow":true,"type":"b","minor":1,"access":"m"},
                {"allow":true,"type":"b","major":8,"minor":1,"access":"r"},{"allow":true,"type":"c","major":4294967295}]"#,
        ] {
            let rules: Vec<DeviceRuleConfig> = serde_json::from_str(rules).unwrap();
            let set = DeviceSet::from_rules(&rules).unwrap();
            let program = compile(&set);
            for kind in [1, 2] {
                for access in 1..8 {
                    for major in [0, 1, 5, 8, 10, 136, u32::MAX] {
                        for minor in [0, 1, 2, 3, 200, u32::MAX] {
                            assert_eq!(
                                run(&program, kind, access, major, minor),
                                v1(&set, kind, access, major, minor),
                                "{kind} {access} {major}:{minor} {set:?}"
                            );
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn compile_defaults_allow_null_and_deny_disks() {
        let program = compile(&DeviceSet::defaults());
        assert!(run(&program, 2, 6, 1, 3), "read and write /dev/null");
        assert!(run(&program, 1, 1, 8, 0), "mknod of a disk");
        assert!(!run(&program, 1, 2, 8, 0), "read a disk");
        assert!(!run(&program, 2, 3, 1, 1), "mknod and read of /dev/mem");
    }
}
