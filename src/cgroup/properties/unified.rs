//! Files of linux.resources.unified as properties: systemd would write its own defaults over some of them when it writes
//! the files of all units anew. Pure.

use super::{Limit, Value, at_least_one, bit_mask, number, per_device, rate_per_second};

/// A property by name, the first version of systemd that has it, and its value.
pub(super) type Named = (&'static str, u32, Value);

/// The properties behind a file; none for a file that systemd does not know, nor for a value that only the kernel
/// understands.
pub(super) fn of_file(file: &str, value: &str) -> Vec<Named> {
    match file {
        "cpu.max" => cpu_max(value).unwrap_or_default(),
        "io.weight" => io_weight(value).unwrap_or_default(),
        "io.max" => io_max(value).unwrap_or_default(),
        _ => single(file, value.trim()).into_iter().collect(),
    }
}

fn single(file: &str, value: &str) -> Option<Named> {
    Some(match file {
        "memory.max" => ("MemoryMax", 231, at_least_one(bytes(value)?)),
        "memory.high" => ("MemoryHigh", 231, at_least_one(bytes(value)?)),
        "memory.low" => ("MemoryLow", 231, number(bytes(value)?)),
        "memory.min" => ("MemoryMin", 240, number(bytes(value)?)),
        "memory.swap.max" => ("MemorySwapMax", 232, number(bytes(value)?)),
        "memory.zswap.max" => ("MemoryZSwapMax", 253, number(bytes(value)?)),
        "memory.zswap.writeback" => ("MemoryZSwapWriteback", 256, Value::Bool(flag(value)?)),
        "pids.max" => ("TasksMax", 227, at_least_one(bytes(value)?)),
        "cpu.weight" => ("CPUWeight", 232, Value::Uint64(weight(value)?)),
        // No weight is how systemd says idle.
        "cpu.idle" if flag(value)? => ("CPUWeight", 252, Value::Uint64(0)),
        "cpuset.cpus" => ("AllowedCPUs", 244, Value::bytes(&bit_mask(value)?)),
        "cpuset.mems" => ("AllowedMemoryNodes", 244, Value::bytes(&bit_mask(value)?)),
        _ => return None,
    })
}

/// What systemd takes; the kernel refuses the rest, and names the file.
fn weight(value: &str) -> Option<u64> {
    value.parse().ok().filter(|weight| (1..=10_000).contains(weight))
}

fn flag(value: &str) -> Option<bool> {
    match value {
        "0" => Some(false),
        "1" => Some(true),
        _ => None,
    }
}

/// `max` or microseconds, and perhaps a period.
fn cpu_max(value: &str) -> Option<Vec<Named>> {
    let mut words = value.split_whitespace();
    let (quota, period) = (words.next()?, words.next());
    let mut all = Vec::new();
    let mut microseconds = super::DEFAULT_PERIOD;
    if let Some(period) = period {
        microseconds = period.parse().ok()?;
        all.push(("CPUQuotaPeriodUSec", 242, Value::Uint64(microseconds)));
    }
    let share = match quota {
        "max" => u64::MAX,
        quota => rate_per_second(quota.parse().ok().filter(|&quota| quota > 0)?, microseconds),
    };
    all.push(("CPUQuotaPerSecUSec", super::ALWAYS, Value::Uint64(share)));
    words.next().is_none().then_some(all)
}

/// Lines `WEIGHT`, `default WEIGHT` or `MAJOR:MINOR WEIGHT`.
fn io_weight(value: &str) -> Option<Vec<Named>> {
    let (mut all, mut devices) = (Vec::new(), Vec::new());
    for line in value.lines() {
        let (key, weight) = line.trim().split_once(' ').unwrap_or(("default", line.trim()));
        let weight = self::weight(weight)?;
        match key.split_once(':') {
            Some((major, minor)) => devices.push(per_device(major.parse().ok()?, minor.parse().ok()?, weight)),
            None if key == "default" => all.push(("IOWeight", 230, Value::Uint64(weight))),
            None => return None,
        }
    }
    if !devices.is_empty() {
        all.push(("IODeviceWeight", 230, Value::array("(st)", devices)));
    }
    Some(all)
}

/// Lines `MAJOR:MINOR KEY=RATE…`.
fn io_max(value: &str) -> Option<Vec<Named>> {
    let mut lists = [
        ("rbps", "IOReadBandwidthMax", Vec::new()),
        ("wbps", "IOWriteBandwidthMax", Vec::new()),
        ("riops", "IOReadIOPSMax", Vec::new()),
        ("wiops", "IOWriteIOPSMax", Vec::new()),
    ];
    for line in value.lines() {
        let mut words = line.split_whitespace();
        let (major, minor) = words.next()?.split_once(':')?;
        let (major, minor) = (major.parse().ok()?, minor.parse().ok()?);
        for word in words {
            let (key, rate) = word.split_once('=')?;
            let rate = if rate == "max" { u64::MAX } else { rate.parse().ok()? };
            let (_, _, list) = lists.iter_mut().find(|(known, _, _)| *known == key)?;
            list.push(per_device(major, minor, rate));
        }
    }
    let named = |(_, name, list): (&str, &'static str, Vec<Value>)| {
        (!list.is_empty()).then(|| (name, 230, Value::array("(st)", list)))
    };
    Some(lists.into_iter().filter_map(named).collect())
}

/// memparse of the kernel, decimal: a number with one of its suffixes, or `max`.
fn bytes(value: &str) -> Option<Limit> {
    if value == "max" {
        return Some(Limit::Max);
    }
    let shift = match value.bytes().last()?.to_ascii_lowercase() {
        b'k' => 10,
        b'm' => 20,
        b'g' => 30,
        b't' => 40,
        _ => 0,
    };
    let digits = if shift == 0 { value } else { value.get(..value.len() - 1)? };
    let count: u64 = digits.parse().ok()?;
    count.checked_mul(1 << shift).map(Limit::Value)
}
