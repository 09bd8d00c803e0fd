//! Decisions into classic BPF.
//!
//! The program is written from its end to its beginning: jumps go forward only, so every target exists, at a known
//! distance, when the jump to it is written, and nothing needs patching. A target beyond the 255 instructions that a
//! conditional jump reaches is repeated nearby: a return as itself, anything else as an unconditional jump.

use seccompiler::sock_filter;

use super::rules::{Condition, Decision, Entry, Rules, Segment};
use super::syscalls::Width;
use super::words::{Operator, RET_ALLOW, RET_KILL_THREAD};

// linux/bpf_common.h: class, size or operation, mode or source.
const LOAD: u16 = 0x20;
const RETURN: u16 = 0x06;
const AND: u16 = 0x54;
const JUMP: u16 = 0x05;
const JUMP_EQUAL: u16 = 0x15;
const JUMP_GREATER: u16 = 0x25;
const JUMP_GREATER_OR_EQUAL: u16 = 0x35;
const JUMP_SET: u16 = 0x45;

// struct seccomp_data of linux/seccomp.h.
const OFFSET_NUMBER: u32 = 0;
const OFFSET_ARCH: u32 = 4;
const OFFSET_ARGUMENTS: u32 = 16;

/// Single numbers that a range may have as exceptions before it is split: each costs one instruction here and two
/// in the tree, but they are tried one after the other.
const MAX_EXCEPTIONS: usize = 3;

/// Compiles to instructions in the kernel's order.
pub(super) fn assemble(rules: &mut Rules) -> Vec<sock_filter> {
    let spaces = rules.spaces();
    let mut assembler = Assembler::new(rules);
    let mut entry = assembler.give(RET_KILL_THREAD);
    for (audit, segments) in spaces.iter().rev() {
        assembler.tree(segments);
        let tree = assembler.load(OFFSET_NUMBER);
        entry = assembler.branch(JUMP_EQUAL, *audit, tree, entry);
    }
    assembler.load(OFFSET_ARCH);
    assembler.finish()
}

/// Position from the end of the program.
type Label = usize;

struct Assembler<'a> {
    rules: &'a Rules,
    /// Last instruction first.
    reversed: Vec<sock_filter>,
    /// The latest return of each value.
    returns: Vec<(u32, Label)>,
    /// The latest entry of each block.
    blocks: Vec<Option<Label>>,
}

impl<'a> Assembler<'a> {
    fn new(rules: &'a Rules) -> Self {
        let blocks = vec![None; rules.block_count()];
        Assembler { rules, reversed: Vec::with_capacity(512), returns: Vec::with_capacity(8), blocks }
    }

    fn finish(mut self) -> Vec<sock_filter> {
        self.reversed.reverse();
        self.reversed
    }

    fn push(&mut self, code: u16, jt: u8, jf: u8, k: u32) -> Label {
        self.reversed.push(sock_filter { code, jt, jf, k });
        self.reversed.len() - 1
    }

    /// Instructions that a jump written now would skip to reach `label`.
    fn distance(&self, label: Label) -> usize {
        self.reversed.len() - 1 - label
    }

    /// `label`, or a stand-in, at most `reach` away.
    fn within(&mut self, label: Label, reach: usize) -> Label {
        if self.distance(label) <= reach {
            return label;
        }
        match self.reversed.get(label) {
            Some(&sock_filter { code: RETURN, k, .. }) => self.give(k),
            _ => self.push(JUMP, 0, 0, self.distance(label) as u32),
        }
    }

    /// Makes `label` what comes right after the next instruction written.
    fn follow(&mut self, label: Label) {
        if self.distance(label) > 0 {
            self.push(JUMP, 0, 0, self.distance(label) as u32);
        }
    }

    fn load(&mut self, offset: u32) -> Label {
        self.push(LOAD, 0, 0, offset)
    }

    /// A return of `value` in reach.
    fn give(&mut self, value: u32) -> Label {
        let known = self.returns.iter().position(|(returned, _)| *returned == value);
        if let Some((_, label)) = known.and_then(|i| self.returns.get(i))
            && self.distance(*label) < 255
        {
            return *label;
        }
        let label = self.push(RETURN, 0, 0, value);
        match known.and_then(|i| self.returns.get_mut(i)) {
            Some(slot) => slot.1 = label,
            None => self.returns.push((value, label)),
        }
        label
    }

    fn branch(&mut self, test: u16, k: u32, yes: Label, no: Label) -> Label {
        if yes == no {
            return yes;
        }
        // A stand-in for `no` puts everything one further away.
        let yes = self.within(yes, 254);
        let no = self.within(no, 255);
        self.push(test, self.distance(yes) as u8, self.distance(no) as u8, k)
    }

    fn decision(&mut self, decision: Decision) -> Label {
        match decision {
            Decision::Return(value) => self.give(value),
            Decision::Block(block) => {
                let label = match self.blocks.get(block).copied().flatten() {
                    Some(label) => self.within(label, 254),
                    None => self.block(block),
                };
                if let Some(slot) = self.blocks.get_mut(block) {
                    *slot = Some(label);
                }
                label
            }
        }
    }

    /// A search for the accumulator's number among segments that cover everything.
    fn tree(&mut self, segments: &[Segment]) -> Label {
        let leaves = leaves(segments);
        let entry = self.subtree(segments, &leaves);
        self.follow(entry);
        entry
    }

    fn subtree(&mut self, segments: &[Segment], leaves: &[Leaf]) -> Label {
        let (Some(first), Some(last)) = (leaves.first(), leaves.last()) else {
            return self.give(self.rules.default_action());
        };
        if leaves.len() < 2 {
            return self.leaf(segments, first);
        }
        // Half of the weight on each side, at least one leaf.
        let half = first.weight_before + (last.weight_before + last.weight - first.weight_before) / 2;
        let middle =
            leaves.partition_point(|leaf| leaf.weight_before + leaf.weight / 2 < half).clamp(1, leaves.len() - 1);
        let (left, right) = leaves.split_at(middle);
        let Some(boundary) = right.first().and_then(|leaf| segments.get(leaf.first)).map(|segment| segment.start)
        else {
            return self.subtree(segments, left);
        };
        // What is written last is near: first the code, then the mere target.
        if right.len() == 1 && right.iter().all(Leaf::is_plain) {
            let no = self.subtree(segments, left);
            let yes = self.subtree(segments, right);
            self.branch(JUMP_GREATER_OR_EQUAL, boundary, yes, no)
        } else {
            let yes = self.subtree(segments, right);
            let no = self.subtree(segments, left);
            self.branch(JUMP_GREATER_OR_EQUAL, boundary, yes, no)
        }
    }

    fn leaf(&mut self, segments: &[Segment], leaf: &Leaf) -> Label {
        let Some((base, rest)) = segments.get(leaf.first..leaf.end).and_then(|all| all.split_first()) else {
            return self.give(self.rules.default_action());
        };
        let mut entry = self.decision(base.decision);
        for exception in rest.iter().step_by(2).rev() {
            let taken = self.decision(exception.decision);
            entry = self.branch(JUMP_EQUAL, exception.start, taken, entry);
        }
        entry
    }

    /// Entries tried in order; the default if none holds.
    fn block(&mut self, block: usize) -> Label {
        let rules = self.rules;
        let Some((block, entries)) = rules.block(block) else { return self.give(rules.default_action()) };
        let mut next = self.give(rules.default_action());
        let mut rest = entries;
        while let Some((entry, before)) = rest.split_last() {
            let alike = before.iter().rev().take_while(|other| self.same_set(**other, *entry, block.width)).count();
            let (others, set) = rest.split_at(before.len() - alike);
            next = if set.len() > 1 { self.set(set, block.width, next) } else { self.entry(*entry, block.width, next) };
            rest = others;
        }
        next
    }

    /// Both entries compare the same half of one argument for equality, with the same upper half and action.
    fn same_set(&self, one: Entry, other: Entry, width: Width) -> bool {
        let (one, other) = (self.set_member(one), self.set_member(other));
        let (Some((action, a)), Some((other_action, b))) = (one, other) else { return false };
        action == other_action && a.argument == b.argument && (width == Width::Bits32 || high(a.value) == high(b.value))
    }

    fn set_member(&self, entry: Entry) -> Option<(u32, Condition)> {
        match self.rules.alternative(entry) {
            (action, [condition]) if condition.operator == Operator::Equal && entry.multiplexed().is_none() => {
                Some((action, *condition))
            }
            _ => None,
        }
    }

    /// One load for several values of one argument: personality(2) in the engines' profiles.
    fn set(&mut self, entries: &[Entry], width: Width, no: Label) -> Label {
        let Some((action, condition)) = entries.first().and_then(|first| self.set_member(*first)) else { return no };
        let mut label = no;
        for (_, member) in entries.iter().rev().filter_map(|entry| self.set_member(*entry)).collect::<Vec<_>>() {
            let yes = self.give(action);
            label = self.branch(JUMP_EQUAL, low(member.value), yes, label);
        }
        label = self.argument(condition.argument, Half::Low, label);
        if width == Width::Bits64 {
            label = self.branch(JUMP_EQUAL, high(condition.value), label, no);
            label = self.argument(condition.argument, Half::High, label);
        }
        label
    }

    /// One entry: its action if everything holds, else on to `no`.
    fn entry(&mut self, entry: Entry, width: Width, no: Label) -> Label {
        let (action, conditions) = self.rules.alternative(entry);
        let mut label = self.give(action);
        for condition in conditions.iter().rev() {
            if entry.multiplexed().is_none() || condition.argument != 0 {
                label = self.condition(condition, width, label, no);
            }
        }
        if let Some(call) = entry.multiplexed() {
            label = self.masked_half(0, Half::Low, call, label, no);
        }
        label
    }

    fn condition(&mut self, condition: &Condition, width: Width, yes: Label, no: Label) -> Label {
        let &Condition { argument, operator, value, value_two } = condition;
        match operator {
            Operator::Equal => self.masked(argument, width, (u64::MAX, value), yes, no),
            Operator::NotEqual => self.masked(argument, width, (u64::MAX, value), no, yes),
            Operator::MaskedEqual => self.masked(argument, width, (value, value & value_two), yes, no),
            Operator::GreaterOrEqual => self.ordered(argument, width, (JUMP_GREATER_OR_EQUAL, value), yes, no),
            Operator::Less => self.ordered(argument, width, (JUMP_GREATER_OR_EQUAL, value), no, yes),
            Operator::Greater => self.ordered(argument, width, (JUMP_GREATER, value), yes, no),
            Operator::LessOrEqual => self.ordered(argument, width, (JUMP_GREATER, value), no, yes),
        }
    }

    fn masked(&mut self, argument: u8, width: Width, (mask, value): (u64, u64), yes: Label, no: Label) -> Label {
        let label = self.masked_half(argument, Half::Low, (low(mask), low(value)), yes, no);
        match width {
            Width::Bits32 => label,
            Width::Bits64 => self.masked_half(argument, Half::High, (high(mask), high(value)), label, no),
        }
    }

    fn masked_half(&mut self, argument: u8, half: Half, (mask, value): (u32, u32), yes: Label, no: Label) -> Label {
        let label = match (mask, value) {
            (0, _) => return yes,
            (u32::MAX, value) => self.branch(JUMP_EQUAL, value, yes, no),
            (mask, 0) => self.branch(JUMP_SET, mask, no, yes),
            (mask, value) => {
                let test = self.branch(JUMP_EQUAL, value, yes, no);
                self.follow(test);
                self.push(AND, 0, 0, mask)
            }
        };
        self.argument(argument, half, label)
    }

    fn ordered(&mut self, argument: u8, width: Width, (test, value): (u16, u64), yes: Label, no: Label) -> Label {
        let label = self.branch(test, low(value), yes, no);
        let label = self.argument(argument, Half::Low, label);
        if width == Width::Bits32 {
            return label;
        }
        let label = match high(value) {
            0 => self.branch(JUMP_EQUAL, 0, label, yes),
            high => {
                let equal = self.branch(JUMP_EQUAL, high, label, no);
                self.branch(JUMP_GREATER, high, yes, equal)
            }
        };
        self.argument(argument, Half::High, label)
    }

    /// Loads half an argument and goes on at `label`.
    fn argument(&mut self, argument: u8, half: Half, label: Label) -> Label {
        self.follow(label);
        let upper_first = self.rules.family().big_endian;
        let upper = matches!(half, Half::High) != upper_first;
        self.load(OFFSET_ARGUMENTS + 8 * u32::from(argument) + if upper { 4 } else { 0 })
    }
}

#[derive(Clone, Copy, Debug)]
enum Half {
    Low,
    High,
}

fn low(value: u64) -> u32 {
    value as u32
}

fn high(value: u64) -> u32 {
    (value >> 32) as u32
}

/// A run of segments that needs no search: a base, and single numbers that are exceptions to it.
#[derive(Debug)]
struct Leaf {
    /// The base; every second segment after it is an exception.
    first: usize,
    end: usize,
    weight: u32,
    /// Of all leaves to the left.
    weight_before: u32,
}

impl Leaf {
    fn is_plain(&self) -> bool {
        self.end - self.first == 1
    }
}

fn leaves(segments: &[Segment]) -> Vec<Leaf> {
    let width = |i: usize| match (segments.get(i), segments.get(i + 1)) {
        (Some(this), Some(next)) => next.start - this.start,
        _ => u32::MAX,
    };
    let same = |i: usize, j: usize| match (segments.get(i), segments.get(j)) {
        (Some(one), Some(other)) => one.decision == other.decision,
        _ => false,
    };
    let mut leaves: Vec<Leaf> = Vec::with_capacity(segments.len());
    let mut first = 0;
    let mut weight_before = 0;
    while first < segments.len() {
        let mut end = first + 1;
        let mut exceptions = 0;
        while exceptions < MAX_EXCEPTIONS && width(end) == 1 && same(first, end + 1) {
            end += 2;
            exceptions += 1;
        }
        // More exceptions follow: the next leaf takes the last stretch of the base along.
        if exceptions == MAX_EXCEPTIONS && width(end) == 1 && same(first, end + 1) {
            end -= 1;
        }
        let weight = (first..end).filter_map(|i| segments.get(i).map(|s| weigh(s, width(i)))).sum();
        leaves.push(Leaf { first, end, weight, weight_before });
        weight_before += weight;
        first = end;
    }
    leaves
}

/// How near to the root a segment should be. Kernels since 5.11 answer calls that are allowed whatever their
/// arguments from a bitmap and run the program for the others only, so calls with conditions, which are made often,
/// come first. For older kernels, wide stretches of allowed calls hold the busiest ones.
fn weigh(segment: &Segment, width: u32) -> u32 {
    match segment.decision {
        Decision::Block(_) => 16,
        Decision::Return(RET_ALLOW) => (1 + width / 8).min(8),
        Decision::Return(_) => 1,
    }
}
