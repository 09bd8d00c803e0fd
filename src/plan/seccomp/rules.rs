//! Rules into decisions: which numbers of which architecture get which action or need their arguments looked at.

use super::syscalls::{ARM_PRIVATE, Column, Family, Mux, Row, Width, X32_BIT};
use super::words::{self, Operator, RET_ERRNO, RET_KILL_THREAD, RET_USER_NOTIF};
use super::{HAND_OVER, index, join};
use crate::bundle::seccomp::{ArgConfig, RuleConfig};
use crate::error::{Error, Result, Warning};

/// Beyond this, a profile is refused before it takes the memory to say that the kernel would refuse it.
const MAX_ENTRIES: usize = 1 << 18;

/// One argument compared with a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Condition {
    /// 0 to 5.
    pub argument: u8,
    pub operator: Operator,
    /// The mask of [`Operator::MaskedEqual`].
    pub value: u64,
    /// What the masked bits equal.
    pub value_two: u64,
}

impl Condition {
    /// An empty mask asks for nothing; what such a rule says counts as unconditional, as in libseccomp.
    fn always_holds(&self, width: Width) -> bool {
        let empty = match width {
            Width::Bits32 => self.value as u32 == 0,
            Width::Bits64 => self.value == 0,
        };
        self.operator == Operator::MaskedEqual && empty
    }
}

/// One way for a rule to hold: all `conditions` do.
#[derive(Debug)]
struct Alternative {
    action: u32,
    /// First and one past the last of `Rules::conditions`.
    conditions: (u32, u32),
}

/// Tells calls of ipc(2) from those of socketcall(2) in an [`Entry`].
const IPC_CALL: u8 = 0x80;

/// An alternative as it holds for one call number: packed, so that sorting the numbers is sorting integers. From the
/// top: number (32 bits), alternative (24), call of a multiplexer that the first argument must name, or 0 (8).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Entry(u64);

impl Entry {
    fn new(number: u32, alternative: usize, multiplexed: u8) -> Self {
        Entry(u64::from(number) << 32 | (alternative as u64 & 0xff_ffff) << 8 | u64::from(multiplexed))
    }

    fn number(self) -> u32 {
        (self.0 >> 32) as u32
    }

    fn alternative(self) -> usize {
        (self.0 >> 8 & 0xff_ffff) as usize
    }

    /// Mask and value of the first argument, which a multiplexer reads the call from: an int, for both of them, and ipc(2)
    /// has a version in its upper 16 bits.
    pub fn multiplexed(self) -> Option<(u32, u32)> {
        match self.0 as u8 {
            0 => None,
            call if call & IPC_CALL != 0 => Some((0xffff, u32::from(call & !IPC_CALL))),
            call => Some((u32::MAX, u32::from(call))),
        }
    }

    /// Without the number.
    fn what(self) -> u32 {
        self.0 as u32
    }
}

/// What happens to a call number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Decision {
    /// SECCOMP_RET_*.
    Return(u32),
    /// The arguments decide: number of the [`Block`].
    Block(usize),
}

/// Entries that are tried in order; if none holds, the default action.
#[derive(Clone, Copy, Debug)]
pub(super) struct Block {
    pub width: Width,
    column: usize,
    entries: (usize, usize),
}

/// Numbers from `start` to the start of the next segment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Segment {
    pub start: u32,
    pub decision: Decision,
}

/// What the profile says about one architecture.
#[derive(Debug, Default)]
struct Table {
    /// The architecture takes part: it is native or listed.
    active: bool,
    /// It is listed.
    listed: bool,
    entries: Vec<Entry>,
    /// The highest number that the profile names, arm's private calls aside.
    last: Option<u32>,
}

/// A checked profile for one family of architectures.
#[derive(Debug)]
pub(super) struct Rules {
    family: &'static Family,
    default: u32,
    conditions: Vec<Condition>,
    alternatives: Vec<Alternative>,
    tables: [Table; 3],
    blocks: Vec<Block>,
    /// Where the last name was found.
    hint: usize,
    notifies: bool,
}

impl Rules {
    pub fn new(family: &'static Family, default: u32) -> Self {
        let mut rules = Rules {
            family,
            default,
            conditions: Vec::new(),
            alternatives: Vec::new(),
            tables: Default::default(),
            blocks: Vec::new(),
            hint: 0,
            notifies: false,
        };
        rules.tables[0].active = true;
        rules
    }

    pub fn family(&self) -> &'static Family {
        self.family
    }

    pub fn default_action(&self) -> u32 {
        self.default
    }

    /// A rule that takes part notifies.
    pub fn notifies(&self) -> bool {
        self.notifies
    }

    /// Lets the architecture called `word` take part; false if the family has no such.
    pub fn activate(&mut self, word: &str) -> bool {
        for (column, table) in self.family.columns.iter().zip(&mut self.tables) {
            if column.word == word {
                table.active = true;
                table.listed = true;
                return true;
            }
        }
        false
    }

    /// Adds the rule at `at()`. All architectures must have been activated.
    pub fn add(&mut self, rule: &RuleConfig, at: &impl Fn() -> String, ignored: &mut Vec<Warning>) -> Result<()> {
        let action = words::action(&rule.action, rule.errno_ret, || join(&at(), "action"), || join(&at(), "errnoRet"))?;
        let first = self.alternatives.len();
        self.add_alternatives(rule.args.as_deref().unwrap_or(&[]), action, at)?;
        // Checked, but as if absent; the names still tell how far the profile's knowledge goes.
        let alternatives = if action == self.default { first..first } else { first..self.alternatives.len() };
        for (i, name) in rule.names.iter().enumerate() {
            if action == RET_USER_NOTIF && HAND_OVER.contains(&name) {
                let message = format!(
                    "SCMP_ACT_NOTIFY cannot be used for the {name} syscall: runtimes hand the listener over with it"
                );
                return Err(Error::config(index(&join(&at(), "names"), i), message));
            }
            let Some(row) = self.family.row(name, &mut self.hint) else {
                let pointer = index(&join(&at(), "names"), i);
                ignored.push(Warning::config(pointer, format!("unknown system call {name:?}, ignoring")));
                continue;
            };
            self.notifies |= action == RET_USER_NOTIF;
            for column in 0..self.family.columns.len() {
                self.add_call(column, row, alternatives.clone());
            }
            if self.tables.iter().any(|table| table.entries.len() > MAX_ENTRIES) {
                return Err(Error::config(at(), "the profile has too many rules for the kernel's 4096 instructions"));
            }
        }
        Ok(())
    }

    /// One alternative, or one for each condition if two of them are about the same argument.
    fn add_alternatives(&mut self, args: &[ArgConfig], action: u32, at: &impl Fn() -> String) -> Result<()> {
        let at_arg = |i, field| join(&index(&join(&at(), "args"), i), field);
        let first = self.conditions.len() as u32;
        let mut seen = [false; 6];
        let mut repeated = false;
        for (i, arg) in args.iter().enumerate() {
            let Some(seen) = seen.get_mut(arg.index as usize) else {
                let message = format!("a system call has 6 arguments, there is none with index {}", arg.index);
                return Err(Error::config(at_arg(i, "index"), message));
            };
            repeated |= std::mem::replace(seen, true);
            let Some(operator) = words::operator(&arg.op) else {
                return Err(Error::config(at_arg(i, "op"), format!("unknown seccomp operator {:?}", arg.op)));
            };
            self.conditions.push(Condition {
                argument: arg.index as u8,
                operator,
                value: arg.value,
                value_two: arg.value_two.unwrap_or(0),
            });
        }
        let last = self.conditions.len() as u32;
        if repeated {
            self.alternatives.extend((first..last).map(|i| Alternative { action, conditions: (i, i + 1) }));
        } else {
            self.alternatives.push(Alternative { action, conditions: (first, last) });
        }
        if self.alternatives.len() > MAX_ENTRIES {
            return Err(Error::config(at(), "the profile has too many rules for the kernel's 4096 instructions"));
        }
        Ok(())
    }

    /// Enters one call of one architecture, and the multiplexer that reaches it.
    fn add_call(&mut self, column: usize, row: &Row, alternatives: std::ops::Range<usize>) {
        let (Some(table), Some(arch)) = (self.tables.get_mut(column), self.family.columns.get(column)) else { return };
        if !table.active {
            return;
        }
        if let Some(number) = row.number(column) {
            table.entries.extend(alternatives.clone().map(|i| Entry::new(number, i, 0)));
            if number < ARM_PRIVATE {
                table.last = table.last.max(Some(number));
            }
        }
        if let (true, Some((number, call))) = (arch.multiplexes, multiplexer(row.mux)) {
            table.entries.extend(alternatives.map(|i| Entry::new(number, i, call)));
        }
    }

    /// The architectures by AUDIT_ARCH, each with the segments that cover all its numbers. Native first.
    pub fn spaces(&mut self) -> Vec<(u32, Vec<Segment>)> {
        let mut spaces: Vec<(u32, Vec<Segment>)> = Vec::with_capacity(2);
        for (i, column) in self.family.columns.iter().enumerate() {
            let active = self.tables.get(i).is_some_and(|table| table.active);
            match spaces.iter().position(|(audit, _)| *audit == column.audit) {
                // x32 has the upper numbers of x86_64. Where it does not take part, they are another architecture's.
                // -1 is neither's: a tracer skips a call that way.
                Some(at) => {
                    let Some((_, mut segments)) = spaces.get_mut(at).map(std::mem::take) else { continue };
                    if active {
                        self.segments(i, column, &mut segments);
                    } else {
                        push(&mut segments, X32_BIT, Decision::Return(RET_KILL_THREAD));
                        push(&mut segments, u32::MAX, Decision::Return(self.default));
                    }
                    if let Some(space) = spaces.get_mut(at) {
                        *space = (column.audit, segments);
                    }
                }
                None if active => {
                    let mut segments = Vec::with_capacity(160);
                    self.segments(i, column, &mut segments);
                    spaces.push((column.audit, segments));
                }
                None => {}
            }
        }
        spaces
    }

    /// Appends the segments of a column, which cover everything from its base on.
    fn segments(&mut self, column: usize, arch: &Column, segments: &mut Vec<Segment>) {
        let Some(table) = self.tables.get_mut(column) else { return };
        let mut entries = std::mem::take(&mut table.entries);
        entries.sort_unstable();
        entries.dedup();
        let hidden_above = table.last.filter(|_| table.listed && words::hides_new_calls(self.default));
        table.entries = entries;

        let mut next = 0;
        let mut at = 0;
        while let Some((number, end)) = self.group(column, at) {
            self.fill(segments, arch.base, next..number, hidden_above);
            let decision = self.decide(column, arch.width, at, end);
            push(segments, arch.base | number, decision);
            next = number + 1;
            at = end;
        }
        self.fill(segments, arch.base, next..u32::MAX, hidden_above);
    }

    /// The number of the entries that begin at `at`, and where the next number's begin.
    fn group(&self, column: usize, at: usize) -> Option<(u32, usize)> {
        let entries = self.tables.get(column)?.entries.get(at..)?;
        let number = entries.first()?.number();
        let count = entries.iter().take_while(|entry| entry.number() == number).count();
        Some((number, at + count))
    }

    /// Numbers that no rule is about.
    fn fill(&self, segments: &mut Vec<Segment>, base: u32, numbers: std::ops::Range<u32>, hidden_above: Option<u32>) {
        if numbers.is_empty() {
            return;
        }
        let hidden = hidden_above.map_or(numbers.end, |last| last.saturating_add(1).max(numbers.start));
        if numbers.start < hidden {
            push(segments, base | numbers.start, Decision::Return(self.default));
        }
        if hidden < numbers.end {
            push(segments, base | hidden, Decision::Return(RET_ERRNO | libc::ENOSYS as u32));
        }
    }

    fn decide(&mut self, column: usize, width: Width, start: usize, end: usize) -> Decision {
        let entries = self.entries_at(column, start, end);
        let unconditional = entries.iter().filter(|entry| entry.multiplexed().is_none()).find_map(|entry| {
            let (action, conditions) = self.alternative(*entry);
            conditions.iter().all(|condition| condition.always_holds(width)).then_some(action)
        });
        if let Some(action) = unconditional {
            return Decision::Return(action);
        }
        let same = |block: &Block| {
            let other = self.entries_at(block.column, block.entries.0, block.entries.1);
            block.width == width && other.iter().map(|entry| entry.what()).eq(entries.iter().map(|entry| entry.what()))
        };
        if let Some(known) = self.blocks.iter().position(same) {
            return Decision::Block(known);
        }
        self.blocks.push(Block { width, column, entries: (start, end) });
        Decision::Block(self.blocks.len() - 1)
    }

    fn entries_at(&self, column: usize, start: usize, end: usize) -> &[Entry] {
        self.tables.get(column).and_then(|table| table.entries.get(start..end)).unwrap_or(&[])
    }

    /// How many blocks there are, once [`Rules::spaces`] has run.
    pub fn block_count(&self) -> usize {
        self.blocks.len()
    }

    /// A block with its entries.
    pub fn block(&self, block: usize) -> Option<(Block, &[Entry])> {
        let block = *self.blocks.get(block)?;
        Some((block, self.entries_at(block.column, block.entries.0, block.entries.1)))
    }

    /// Action and conditions of an entry, its multiplexed call aside.
    pub fn alternative(&self, entry: Entry) -> (u32, &[Condition]) {
        let Some(alternative) = self.alternatives.get(entry.alternative()) else { return (self.default, &[]) };
        let (first, last) = alternative.conditions;
        (alternative.action, self.conditions.get(first as usize..last as usize).unwrap_or(&[]))
    }
}

/// Number of the multiplexer and of the call in it; all architectures that have them agree on 102 and 117.
fn multiplexer(mux: Mux) -> Option<(u32, u8)> {
    match mux {
        Mux::No => None,
        Mux::Socket(call) => Some((102, call)),
        Mux::Ipc(call) => Some((117, call | IPC_CALL)),
    }
}

/// Begins a segment, unless it only continues the one before.
fn push(segments: &mut Vec<Segment>, start: u32, decision: Decision) {
    if segments.last().is_none_or(|last| last.decision != decision) {
        segments.push(Segment { start, decision });
    }
}
