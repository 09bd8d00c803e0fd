//! What a profile says about one call, read off the profile without any of the compiler's machinery: slow, plain, and
//! the measure for the compiled program.

use std::collections::HashMap;

use super::super::syscalls::{Column, Family, Mux, Row, Width, X32_BIT};
use super::interpreter::Call;
use crate::bundle::seccomp::{ArgConfig, RuleConfig, SeccompConfig};

const KILL: u32 = 0;
const ENOSYS: u32 = 0x0005_0000 | 38;

/// A profile with its names looked up.
pub(crate) struct Profile<'a> {
    config: &'a SeccompConfig,
    family: &'static Family,
    default: u32,
    /// Rules with their action and the calls that exist.
    rules: Vec<(&'a RuleConfig, u32, Vec<&'static Row>)>,
}

impl<'a> Profile<'a> {
    pub fn new(config: &'a SeccompConfig, family: &'static Family) -> Self {
        let rows: HashMap<_, _> = family.rows().iter().map(|row| (row.name, row)).collect();
        let rules = config.syscalls.iter().flatten().map(|rule| {
            let known = rule.names.iter().filter_map(|name| rows.get(name).copied()).collect();
            (rule, action(&rule.action, rule.errno_ret), known)
        });
        let default = action(config.default_action.as_deref().unwrap(), config.default_errno_ret);
        Profile { config, family, default, rules: rules.collect() }
    }

    /// SECCOMP_RET_* for `call`.
    pub fn decide(&self, call: &Call) -> u32 {
        let columns = self.family.columns;
        let listed = |column: &Column| self.config.architectures.iter().flatten().any(|word| word == column.word);
        let upper =
            call.number >= X32_BIT && columns.iter().any(|column| column.base != 0 && column.audit == call.audit);
        let found = columns.iter().position(|column| column.audit == call.audit && (column.base != 0) == upper);
        let Some((i, column)) = found.map(|i| (i, &columns[i])) else { return KILL };
        if i != 0 && !listed(column) {
            return if upper && call.number == u32::MAX { self.default } else { KILL };
        }

        let mut last = None;
        let mut mentioned = false;
        let mut conditional = None;
        for (rule, value, rows) in &self.rules {
            for row in rows {
                let number = row.number(i);
                if number.is_some_and(|number| number < 0xF0000) {
                    last = last.max(number);
                }
                let direct = number.map(|number| column.base + number) == Some(call.number);
                let through = column.multiplexes && is_multiplexer(row.mux, call.number);
                if *value == self.default || !(direct || through) {
                    continue;
                }
                mentioned = true;
                if direct && asks_nothing(rule, column.width) {
                    return *value;
                }
                let holds = direct && holds(rule, column.width, call, None)
                    || through && holds(rule, column.width, call, Some(row.mux));
                if holds && conditional.is_none() {
                    conditional = Some(*value);
                }
            }
        }
        let unknown = last.is_some_and(|last| call.number - column.base > last) && !mentioned && listed(column);
        let hides = !matches!(self.default & 0xffff_0000, 0x7fff_0000 | 0x7ffc_0000 | 0x7ff0_0000);
        conditional.unwrap_or(if unknown && hides { ENOSYS } else { self.default })
    }
}

/// No conditions, or (one of the alternatives of) masks without a bit.
fn asks_nothing(rule: &RuleConfig, width: Width) -> bool {
    let args = rule.args.as_deref().unwrap_or(&[]);
    let empty = |arg: &ArgConfig| arg.op == "SCMP_CMP_MASKED_EQ" && cut(arg.value, width) == 0;
    if repeats(args) { args.iter().any(empty) } else { args.iter().all(empty) }
}

fn repeats(args: &[ArgConfig]) -> bool {
    args.iter().enumerate().any(|(i, arg)| args[..i].iter().any(|other| other.index == arg.index))
}

/// Whether a rule's conditions hold for the call itself or, with `mux`, for the multiplexer.
fn holds(rule: &RuleConfig, width: Width, call: &Call, mux: Option<Mux>) -> bool {
    let args = rule.args.as_deref().unwrap_or(&[]);
    let selects = match mux {
        None => true,
        // `int call`, whose upper half is a version for ipc(2).
        Some(Mux::Socket(wanted)) => call.args[0] as u32 == u32::from(wanted),
        Some(Mux::Ipc(wanted)) => call.args[0] as u16 == u16::from(wanted),
        Some(Mux::No) => false,
    };
    let compare = |arg: &ArgConfig| (mux.is_some() && arg.index == 0) || compare(arg, width, call);
    selects && if repeats(args) { args.iter().any(compare) } else { args.iter().all(compare) }
}

fn compare(arg: &ArgConfig, width: Width, call: &Call) -> bool {
    let actual = cut(call.args[arg.index as usize], width);
    let value = cut(arg.value, width);
    match arg.op.as_str() {
        "SCMP_CMP_NE" => actual != value,
        "SCMP_CMP_LT" => actual < value,
        "SCMP_CMP_LE" => actual <= value,
        "SCMP_CMP_EQ" => actual == value,
        "SCMP_CMP_GE" => actual >= value,
        "SCMP_CMP_GT" => actual > value,
        "SCMP_CMP_MASKED_EQ" => actual & value == arg.value_two.unwrap_or(0) & value,
        other => panic!("{other}"),
    }
}

fn cut(value: u64, width: Width) -> u64 {
    match width {
        Width::Bits64 => value,
        Width::Bits32 => value & 0xffff_ffff,
    }
}

fn is_multiplexer(mux: Mux, number: u32) -> bool {
    matches!((mux, number), (Mux::Socket(_), 102) | (Mux::Ipc(_), 117))
}

fn action(word: &str, errno: Option<u32>) -> u32 {
    let errno = errno.unwrap_or(1);
    match word {
        "SCMP_ACT_KILL" | "SCMP_ACT_KILL_THREAD" => KILL,
        "SCMP_ACT_KILL_PROCESS" => 0x8000_0000,
        "SCMP_ACT_TRAP" => 0x0003_0000,
        "SCMP_ACT_ERRNO" => 0x0005_0000 | errno,
        "SCMP_ACT_NOTIFY" => 0x7fc0_0000,
        "SCMP_ACT_TRACE" => 0x7ff0_0000 | errno,
        "SCMP_ACT_LOG" => 0x7ffc_0000,
        "SCMP_ACT_ALLOW" => 0x7fff_0000,
        other => panic!("{other}"),
    }
}
