//! Random changes to good configurations: any answer but a panic.

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::*;

/// Values that break assumptions.
fn hostile(choice: u8) -> Value {
    match choice % 20 {
        0 => Value::Null,
        1 => json!([]),
        2 => json!({}),
        3 => json!(""),
        4 => json!("a\0b"),
        5 => json!(-1),
        6 => json!(u64::MAX),
        7 => json!(i64::MIN),
        8 => json!(1.5),
        9 => json!("/".repeat(70_000)),
        10 => json!(true),
        11 => json!(u32::MAX),
        12 => json!("/../.."),
        13 => json!([[[[null]]]]),
        14 => json!("ÿ\u{10ffff}=~1/"),
        15 => json!(vec![json!({"containerID": 0, "hostID": 4_294_967_290u32, "size": 4_294_967_290u32}); 1000]),
        16 => json!("0-8191,8192"),
        17 => json!({"": "", "/": {"~": 1}, "..": null}),
        18 => json!("idmap=uids=0-0-0;gids="),
        _ => json!(0),
    }
}

fn nodes(value: &Value) -> usize {
    1 + match value {
        Value::Array(values) => values.iter().map(nodes).sum(),
        Value::Object(entries) => entries.values().map(nodes).sum(),
        _ => 0,
    }
}

/// Replaces the `n`th node, counted depth first.
fn replace(value: &mut Value, n: &mut usize, new: &Value) {
    if *n == 0 {
        *value = new.clone();
    }
    *n = n.wrapping_sub(1);
    match value {
        Value::Array(values) => values.iter_mut().for_each(|value| replace(value, n, new)),
        Value::Object(entries) => entries.values_mut().for_each(|value| replace(value, n, new)),
        _ => {}
    }
}

/// What remains when null stands for "remove it".
fn without_nulls(value: Value) -> Value {
    match value {
        Value::Array(values) => values.into_iter().filter(|value| !value.is_null()).map(without_nulls).collect(),
        Value::Object(entries) => {
            let kept = entries.into_iter().filter(|(_, value)| !value.is_null());
            Value::Object(kept.map(|(key, value)| (key, without_nulls(value))).collect::<Map<_, _>>())
        }
        other => other,
    }
}

fn judge(raw: &[u8]) {
    match parse_config(raw) {
        Ok(config) => {
            for facts in [root(), user()] {
                if let Err(error) = plan(&config, &facts) {
                    assert!(error.pointer().is_some(), "{error}");
                }
            }
        }
        Err(error) => assert_eq!(error.to_string().lines().count(), 1),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn mutated_values_never_panic(changes in prop::collection::vec((any::<usize>(), any::<u8>()), 1..4), removes: bool) {
        let mut value = read("plan/every-property.json");
        for (node, choice) in changes {
            let mut node = node % nodes(&value);
            replace(&mut value, &mut node, &hostile(choice));
        }
        let value = if removes { without_nulls(value) } else { value };
        judge(&serde_json::to_vec(&value).unwrap());
    }

    #[test]
    fn mutated_bytes_never_panic(changes in prop::collection::vec((any::<usize>(), any::<u8>()), 1..5), end: usize) {
        let mut raw = serde_json::to_vec(&read("plan/every-property.json")).unwrap();
        for (at, byte) in changes {
            let at = at % raw.len();
            raw[at] = byte;
        }
        if end % 4 == 0 {
            raw.truncate(end % raw.len());
        }
        judge(&raw);
    }
}
