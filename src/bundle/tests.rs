//! Documents that are no configuration, and where the blame goes.

use std::fs::{self, File};

use super::*;

fn refused(raw: &[u8]) -> Error {
    parse_config(raw).unwrap_err()
}

#[test]
fn parse_what_is_no_object_is_refused() {
    for raw in
        ["", " ", "null", "[]", "{", "\"a\"", "5", "{}x", "{} {}", "[{}]", "{\"root\": }", "{'a': 1}", "\u{feff}{}"]
    {
        let error = refused(raw.as_bytes());
        assert_eq!(error.kind(), Kind::Config, "{raw:?}");
        assert_eq!(error.to_string().lines().count(), 1, "{raw:?}");
    }
    assert!(refused("\u{feff}{}".as_bytes()).to_string().contains("byte order mark"));
    assert!(refused(b"{\"hostname\": \"\xff\"}").to_string().contains("not JSON"));
    assert!(refused("[".repeat(100_000).as_bytes()).to_string().contains("config"));
}

#[test]
fn parse_duplicate_keys_are_refused() {
    for (raw, pointer) in [
        (r#"{"root": {"path": "a"}, "root": {"path": "b"}}"#, ""),
        (r#"{"annotations": {"a": "1", "b": "2", "a": "3"}}"#, "/annotations"),
        (r#"{"process": {"cwd": "/", "cwd": "/"}}"#, "/process"),
        (r#"{"linux": {"sysctl": {"net.a": "1", "net.a": "2"}}}"#, "/linux/sysctl"),
    ] {
        let error = refused(raw.as_bytes());
        assert!(error.to_string().contains("duplicate"), "{error}");
        assert_eq!(error.pointer(), Some(pointer), "{error}");
    }
}

#[test]
fn parse_nul_is_found_wherever_it_is() {
    for (raw, pointer) in [
        (r#"{"hostname": "a\u0000"}"#, "/hostname"),
        (r#"{"annotations": {"a\u0000b": ""}}"#, "/annotations/a\0b"),
        (r#"{"ignored": [{"a/b": ["", "\u0000"]}]}"#, "/ignored/0/a~1b/1"),
    ] {
        assert_eq!(refused(raw.as_bytes()).pointer(), Some(pointer));
    }
    parse_config(br#"{"hostname": "a\\u0000"}"#).unwrap();
}

#[test]
fn parse_keeps_the_order_of_the_users_keys() {
    let config = parse_config(br#"{"annotations": {"b": "1", "a": "2", "c": "3"}}"#).unwrap();
    assert_eq!(config.annotations.iter().map(|(key, _)| key).collect::<Vec<_>>(), ["b", "a", "c"]);
    assert_eq!(config.annotations.value("a").map(String::as_str), Some("2"));
}

#[test]
fn parse_process_alone_blames_without_a_prefix() {
    assert_eq!(parse_process(br#"{"args": ["sh"], "cwd": "/"}"#).unwrap().args, ["sh"]);
    assert_eq!(parse_process(br#"{"user": {"uid": "x"}}"#).unwrap_err().pointer(), Some("/user/uid"));
    assert!(parse_process(b"[]").is_err());
}

#[test]
fn load_reads_what_is_there_and_no_more() {
    let directory = std::env::temp_dir().join(format!("coracle-bundle-{}", std::process::id()));
    fs::create_dir(&directory).unwrap();
    let config = directory.join("config.json");
    let missing = Bundle::load(&directory);
    fs::write(&config, br#"{"ociVersion": "1.0.0"}"#).unwrap();
    let good = Bundle::load(directory.join("."));
    File::create(&config).unwrap().set_len(LARGEST_CONFIG as u64 + 1).unwrap();
    let large = Bundle::load(&directory);
    fs::remove_dir_all(&directory).unwrap();

    assert_eq!(missing.unwrap_err().raw_errno(), Some(libc::ENOENT));
    let good = good.unwrap();
    assert_eq!(good.directory(), directory);
    assert_eq!(good.raw(), br#"{"ociVersion": "1.0.0"}"#);
    assert_eq!(good.config().oci_version.as_deref(), Some("1.0.0"));
    assert!(large.unwrap_err().to_string().contains("larger than 16 MiB"));
    assert_eq!(Bundle::load(&directory).unwrap_err().raw_errno(), Some(libc::ENOENT));
}
