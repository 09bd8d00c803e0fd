//! The formats of the kernel's files (admin-guide/cgroup-v1, cgroup-v2.rst "Interface Files"). Pure and total: what
//! does not parse is left out.

use std::collections::BTreeMap;

use super::types::{BlkioEntry, NetworkInterface, Pressure, PressureLine};

/// One number; `max` is the largest there is.
pub(super) fn number(text: &str) -> u64 {
    match text.trim() {
        "max" => u64::MAX,
        text => text.parse().unwrap_or_default(),
    }
}

/// Lines of a name and a number.
pub(super) fn table(text: &str) -> BTreeMap<String, u64> {
    let line = |line: &str| {
        let (name, number) = line.split_once(' ')?;
        Some((name.to_owned(), number.trim().parse().ok()?))
    };
    text.lines().filter_map(line).collect()
}

/// A row of numbers.
pub(super) fn row(text: &str) -> Vec<u64> {
    text.split_whitespace().filter_map(|word| word.parse().ok()).collect()
}

/// cpuacct.usage_all: after its head a line for each CPU with its number, time in programs and time in the kernel.
pub(super) fn usage_by_cpu(text: &str) -> (Vec<u64>, Vec<u64>) {
    let columns = |line: &str| match row(line).as_slice() {
        &[_, user, kernel] => Some((user, kernel)),
        _ => None,
    };
    text.lines().skip(1).filter_map(columns).unzip()
}

/// A set like `0-3,7`.
pub(super) fn set(text: &str) -> Vec<u16> {
    let range = |part: &str| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        Some(first.trim().parse::<u16>().ok()?..=last.trim().parse().ok()?)
    };
    text.split(',').filter_map(range).flatten().collect()
}

fn device(word: &str) -> Option<(u64, u64)> {
    let (major, minor) = word.split_once(':')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

/// A file of blkio: `8:0 Read 4096` or `8:0 4096`; totals over all devices have no number in front and are left out.
pub(super) fn blkio(text: &str) -> Vec<BlkioEntry> {
    let line = |line: &str| {
        let mut words = line.split_whitespace();
        let (major, minor) = device(words.next()?)?;
        let (op, value) = match (words.next()?, words.next()) {
            (op, Some(value)) => (op, value),
            (value, None) => ("", value),
        };
        Some(BlkioEntry { major, minor, op: op.to_owned(), value: value.parse().ok()? })
    };
    text.lines().filter_map(line).collect()
}

/// io.stat: bytes and operations.
pub(super) fn io_stat(text: &str) -> (Vec<BlkioEntry>, Vec<BlkioEntry>) {
    let (mut bytes, mut operations) = (Vec::new(), Vec::new());
    for line in text.lines() {
        let mut words = line.split_whitespace();
        let Some((major, minor)) = words.next().and_then(device) else { continue };
        for (key, value) in words.filter_map(|word| word.split_once('=')) {
            let (list, op) = match key {
                "rbytes" => (&mut bytes, "Read"),
                "wbytes" => (&mut bytes, "Write"),
                "dbytes" => (&mut bytes, "Discard"),
                "rios" => (&mut operations, "Read"),
                "wios" => (&mut operations, "Write"),
                "dios" => (&mut operations, "Discard"),
                _ => continue,
            };
            list.push(BlkioEntry { major, minor, op: op.to_owned(), value: number(value) });
        }
    }
    (bytes, operations)
}

/// A file of pressure. cpu.pressure has had no second line before Linux 5.13.
pub(super) fn pressure(text: &str) -> Pressure {
    let mut pressure = Pressure::default();
    for line in text.lines() {
        let Some((kind, rest)) = line.split_once(' ') else { continue };
        let of = |key: &str| rest.split(' ').find_map(|word| word.strip_prefix(key)?.strip_prefix('='));
        let share = |key: &str| of(key).and_then(|value| value.parse().ok()).unwrap_or_default();
        let line = PressureLine {
            avg10: share("avg10"),
            avg60: share("avg60"),
            avg300: share("avg300"),
            total: of("total").map(number).unwrap_or_default(),
        };
        match kind {
            "some" => pressure.some = line,
            "full" => pressure.full = line,
            _ => {}
        }
    }
    pressure
}

/// /proc/PID/net/dev (proc_pid_net(5)).
pub(crate) fn interfaces(text: &str) -> Vec<NetworkInterface> {
    let line = |line: &str| {
        let (name, numbers) = line.split_once(':')?;
        let numbers = row(numbers);
        let column = |at: usize| numbers.get(at).copied();
        Some(NetworkInterface {
            name: name.trim().to_owned(),
            rx_bytes: column(0)?,
            rx_packets: column(1)?,
            rx_errors: column(2)?,
            rx_dropped: column(3)?,
            tx_bytes: column(8)?,
            tx_packets: column(9)?,
            tx_errors: column(10)?,
            tx_dropped: column(11)?,
        })
    };
    text.lines().filter_map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(major: u64, minor: u64, op: &str, value: u64) -> BlkioEntry {
        BlkioEntry { major, minor, op: op.to_owned(), value }
    }

    #[test]
    fn number_table_row_and_set_of_good_and_bad_text() {
        assert_eq!(
            [number("5\n"), number("max\n"), number(""), number("-1"), number("18446744073709551615")],
            [5, u64::MAX, 0, 0, u64::MAX]
        );
        let expected = BTreeMap::from([("anon".to_owned(), 1), ("file_mapped".to_owned(), 22)]);
        assert_eq!(table("anon 1\nfile_mapped 22\nbad\nworse x\n\n"), expected);
        assert_eq!(row("1 22  3 \n"), [1, 22, 3]);
        assert_eq!(set("0-2,7\n"), [0, 1, 2, 7]);
        for bad in ["", "\n", "x", "3-", "5-2", "70000", "0-70000"] {
            assert_eq!(set(bad), [0_u16; 0], "{bad:?}");
        }
    }

    #[test]
    fn usage_by_cpu_reads_the_columns() {
        assert_eq!(usage_by_cpu("cpu user system\n0 10 1\n1 20 2\nbad\n"), (vec![10, 20], vec![1, 2]));
        assert_eq!(usage_by_cpu(""), (vec![], vec![]));
    }

    #[test]
    fn blkio_leaves_totals_of_all_devices_out() {
        assert_eq!(
            blkio("254:0 Read 119\n254:0 Total 866\n8:16 77\nTotal 866\nbad\n8:x Read 1\n"),
            [entry(254, 0, "Read", 119), entry(254, 0, "Total", 866), entry(8, 16, "", 77)]
        );
    }

    #[test]
    fn io_stat_divides_bytes_and_operations() {
        let text = "8:0 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=5 dios=6 cost.usage=7\n8:16 \nbad\n";
        assert_eq!(
            io_stat(text),
            (
                vec![entry(8, 0, "Read", 1), entry(8, 0, "Write", 2), entry(8, 0, "Discard", 5)],
                vec![entry(8, 0, "Read", 3), entry(8, 0, "Write", 4), entry(8, 0, "Discard", 6)],
            )
        );
    }

    #[test]
    fn pressure_with_and_without_its_second_line() {
        let text = "some avg10=1.50 avg60=0.25 avg300=0.00 total=77\nfull avg10=0.00 avg60=0.00 avg300=0.01 total=5\n";
        let both = pressure(text);
        assert_eq!(both.some, PressureLine { avg10: 1.5, avg60: 0.25, avg300: 0.0, total: 77 });
        assert_eq!((both.full.avg300, both.full.total), (0.01, 5));
        assert_eq!(pressure("some avg10=x total=1").some.total, 1);
        assert_eq!(pressure(""), Pressure::default());
    }

    #[test]
    fn interfaces_of_proc_net_dev() {
        let text = "Inter-|   Receive                                                |  Transmit\n \
            face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls\n    \
            lo:     100       1    2    3    0     0          0         0      200       4    5    6    0     0       0\n";
        let found = interfaces(text);
        assert_eq!(found.len(), 1);
        let lo = &found[0];
        assert_eq!((lo.name.as_str(), lo.rx_bytes, lo.rx_packets, lo.rx_errors, lo.rx_dropped), ("lo", 100, 1, 2, 3));
        assert_eq!((lo.tx_bytes, lo.tx_packets, lo.tx_errors, lo.tx_dropped), (200, 4, 5, 6));
    }
}
