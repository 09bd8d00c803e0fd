//! Random profiles and calls, the same on every machine.

use super::super::syscalls::Family;
use super::super::words::{ACTIONS, OPERATORS};
use super::interpreter::Call;
use crate::bundle::seccomp::{ArgConfig, RuleConfig, SeccompConfig};

/// splitmix64.
pub(crate) struct Random(pub u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ z >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ z >> 31
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit as u64) as usize
    }

    pub fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    pub fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len())]
    }

    fn value(&mut self) -> u64 {
        match self.below(6) {
            0 => *self.pick(&[0, 0, 1, 2, u64::MAX, 1 << 32, (1 << 32) - 1, 1 << 63]),
            1 => self.below(25) as u64,
            2 => self.next() & 0xffff_ffff,
            3 => self.next() & self.next() & self.next(),
            4 => (self.below(3) as u64) << 32 | self.below(3) as u64,
            _ => self.next(),
        }
    }

    fn action(&mut self, words: &[&str]) -> (String, Option<u32>) {
        let word = *self.pick(words);
        let errno = matches!(word, "SCMP_ACT_ERRNO" | "SCMP_ACT_TRACE") && self.one_in(2);
        (word.to_owned(), errno.then(|| *self.pick(&[0, 1, 38, 4095])))
    }

    fn rule(&mut self, family: &Family, words: &[&str], favourites: &[&str]) -> RuleConfig {
        let count = if self.one_in(4) { 1 + self.below(120) } else { 1 + self.below(4) };
        let conditional = self.one_in(2);
        let names = (0..count)
            .map(|_| match self.below(8) {
                0 => "no_such_call",
                1..=3 => *self.pick(favourites),
                _ => self.pick(family.rows()).name,
            })
            .collect();
        let args = (0..if conditional { 1 + self.below(3) } else { 0 })
            .map(|_| ArgConfig {
                index: self.below(6).min(self.below(6)) as u32,
                value: self.value(),
                value_two: (!self.one_in(3)).then(|| self.value()),
                op: self.pick(&OPERATORS).0.to_owned(),
            })
            .collect();
        let (action, errno_ret) = self.action(words);
        RuleConfig { names, action, errno_ret, args: Some(args) }
    }

    pub fn profile(&mut self, family: &Family) -> SeccompConfig {
        let words: Vec<&str> =
            ACTIONS.iter().map(|(word, _)| *word).filter(|word| *word != "SCMP_ACT_NOTIFY").collect();
        let favourites = ["socket", "accept", "shmat", "socketcall", "ipc", "clone", "personality", "set_tls"];
        let (default, default_errno_ret) = self.action(&words);
        let architectures = (!self.one_in(5))
            .then(|| family.columns.iter().filter(|_| !self.one_in(3)).map(|column| column.word.to_owned()).collect());
        let count = self.below(12);
        let syscalls = (0..count).map(|_| self.rule(family, &words, &favourites)).collect();
        SeccompConfig {
            default_action: Some(default),
            default_errno_ret,
            architectures,
            syscalls: Some(syscalls),
            ..SeccompConfig::default()
        }
    }

    /// A call that has a good chance to touch a rule, or the number next to one.
    pub fn call(&mut self, family: &Family, config: &SeccompConfig) -> Call {
        let column = self.below(family.columns.len());
        let rules: Vec<_> = config.syscalls.iter().flatten().filter(|rule| !rule.names.is_empty()).collect();
        let rule = if rules.is_empty() { None } else { Some(*self.pick(&rules)) };
        let named = rule.and_then(|rule| {
            let names: Vec<_> = rule.names.iter().collect();
            let name = *self.pick(&names);
            family.rows().iter().find(|row| row.name == name)?.number(column)
        });
        let number = match (self.below(10), named) {
            (0, _) => self.below(600) as u32,
            (1, _) => *self.pick(&[u32::MAX, 0x3fff_ffff, 0x4000_0000, 0x8000_0000, u32::MAX - 1, 102, 117, 0xF0000]),
            (2, Some(number)) => number.wrapping_add(1),
            (3, Some(number)) => number.wrapping_sub(1),
            (4, _) if family.columns[column].multiplexes => *self.pick(&[102, 117]),
            (_, Some(number)) => number,
            (_, None) => self.below(600) as u32,
        };
        let mut args = [0; 6].map(|_: u64| self.value());
        for arg in rule.and_then(|rule| rule.args.as_ref()).into_iter().flatten() {
            let near = if arg.op == "SCMP_CMP_MASKED_EQ" { arg.value_two.unwrap_or(0) } else { arg.value };
            args[arg.index as usize] = match self.below(7) {
                6 => continue,
                0 => near.wrapping_add(1),
                1 => near.wrapping_sub(1),
                2 => near ^ 1 << self.below(64),
                _ => near,
            };
        }
        if (number == 102 || number == 117) && !self.one_in(3) {
            let upper = if self.one_in(3) { self.next() & 0x0001_0000_0001_0000 } else { 0 };
            args[0] = upper | (1 + self.below(24) as u64);
        }
        let audit = if self.one_in(20) { self.next() as u32 } else { family.columns[column].audit };
        Call { audit, number: family.columns[column].base | number, args, big_endian: family.big_endian }
    }
}
