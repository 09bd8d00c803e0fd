//! Every word of mount options (config.md#linux-mount-options), alone and on both kinds of mounts, read back from the
//! container's own mount table. What other runtimes make of the same table is in contrib/mount-options.md.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod harness;

use std::fs;
use std::path::Path;

use harness::{Lab, Mounted, args, json, own_mounts, parse_mounts};
use nix::mount::MsFlags;
use serde_json::Value;

/// What a word is tried on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum On {
    /// A new tmpfs.
    New,
    /// A bind mount, with a mount below it, of a source that has no flags.
    Bind,
    /// The same with a source that has all flags that a word can clear.
    Flagged,
    /// A mount that an earlier entry made read-only, nosuid and noatime.
    Remount,
}
use On::{Bind, Flagged, New, Remount};

/// Words, what they are on, and what is then in the mount table: words of the mount itself and, after a slash, of the
/// mount below it. `!word` is not there. `+word` is among the options of the file system, `@word` among the tags.
const TABLE: &[(&str, On, &str)] = &[
    // Nothing asked: a new mount has none of the flags, a bind mount those of its source.
    ("defaults", New, "rw !nosuid !nodev !noexec relatime"),
    ("defaults", Bind, "rw !nosuid !nodev !noexec relatime"),
    ("defaults", Flagged, "ro nosuid nodev noexec noatime nodiratime nosymfollow"),
    // The mount alone, as late as can be: see `read_only_tmpfs_has_all_that_belongs_into_it` in rootfs.rs.
    ("ro", New, "ro !+ro"),
    ("ro", Bind, "ro / rw"),
    ("rw", New, "rw"),
    ("rw", Flagged, "rw nosuid / ro"),
    ("ro,rw", Bind, "rw"),
    ("rw,ro", Bind, "ro"),
    ("nosuid", New, "nosuid"),
    ("nosuid", Bind, "nosuid !nodev / !nosuid"),
    ("suid", Flagged, "!nosuid nodev / nosuid"),
    ("nodev", New, "nodev"),
    ("nodev", Bind, "nodev / !nodev"),
    ("dev", Flagged, "!nodev nosuid / nodev"),
    ("noexec", New, "noexec"),
    ("noexec", Bind, "noexec / !noexec"),
    ("exec", Flagged, "!noexec nosuid / noexec"),
    ("noatime", New, "noatime"),
    ("noatime", Bind, "noatime !relatime / relatime"),
    ("atime", Flagged, "!noatime relatime / noatime"),
    ("relatime", New, "relatime"),
    ("relatime", Flagged, "relatime !noatime"),
    ("norelatime", New, "relatime"),
    ("norelatime", Bind, "relatime"),
    ("strictatime", New, "!relatime !noatime"),
    ("strictatime", Bind, "!relatime !noatime / relatime"),
    ("nostrictatime", Bind, "relatime"),
    ("strictatime,nostrictatime", New, "relatime"),
    ("noatime,atime", New, "relatime !noatime"),
    ("nodiratime", New, "nodiratime"),
    ("nodiratime", Bind, "nodiratime / !nodiratime"),
    ("diratime", Flagged, "!nodiratime / nodiratime"),
    ("nosymfollow", New, "nosymfollow"),
    ("nosymfollow", Bind, "nosymfollow / !nosymfollow"),
    ("symfollow", Flagged, "!nosymfollow / nosymfollow"),
    // Of the file system.
    ("sync", New, "+sync"),
    ("sync,async", New, "!+sync"),
    ("async", New, "!+sync"),
    ("dirsync", New, "+dirsync"),
    ("lazytime", New, "+lazytime"),
    ("lazytime,nolazytime", New, "!+lazytime"),
    ("nolazytime", New, "!+lazytime"),
    ("iversion", New, "rw"),
    ("noiversion", New, "rw"),
    ("mand", New, "rw"),
    ("nomand", New, "rw"),
    ("silent", New, "rw"),
    ("loud", New, "rw"),
    ("size=64k,mode=711,nr_inodes=7", New, "+size=64k +mode=711 +nr_inodes=7"),
    // For other programs.
    ("_netdev", New, "rw"),
    ("auto", New, "rw"),
    ("noauto", New, "rw"),
    ("nofail", New, "rw"),
    ("nouser", New, "rw"),
    ("x-anything=else", New, "rw"),
    // The whole tree.
    ("bind", Bind, "rw / -"),
    ("rbind", Bind, "rw / rw"),
    ("rro", Bind, "ro / ro"),
    ("rrw", Flagged, "rw nosuid / rw nosuid"),
    ("rnosuid", Bind, "nosuid / nosuid"),
    ("rsuid", Flagged, "!nosuid / !nosuid"),
    ("rnodev", Bind, "nodev / nodev"),
    ("rdev", Flagged, "!nodev / !nodev"),
    ("rnoexec", Bind, "noexec / noexec"),
    ("rexec", Flagged, "!noexec / !noexec"),
    ("rnoatime", Bind, "noatime / noatime"),
    ("ratime", Flagged, "!noatime / !noatime"),
    ("rrelatime", Flagged, "relatime / relatime"),
    ("rnorelatime", Bind, "relatime / relatime"),
    ("rstrictatime", Bind, "!relatime !noatime / !relatime !noatime"),
    ("rnostrictatime", Bind, "relatime / relatime"),
    ("rnodiratime", Bind, "nodiratime / nodiratime"),
    ("rdiratime", Flagged, "!nodiratime / !nodiratime"),
    ("rnosymfollow", Bind, "nosymfollow / nosymfollow"),
    ("rsymfollow", Flagged, "!nosymfollow / !nosymfollow"),
    ("rro", New, "ro"),
    ("ro,nosuid,noatime,shared", New, "ro nosuid noatime @shared"),
    ("ro,tmpcopyup", New, "ro"),
    // One for the tree and another for the mount itself.
    ("rro,nosuid", Bind, "ro nosuid / ro !nosuid"),
    // Propagation.
    ("shared", Bind, "@shared / !@shared"),
    ("rshared", Bind, "@shared / @shared"),
    ("private", Bind, "!@shared !@master"),
    ("rprivate", Bind, "!@shared !@master / !@shared !@master"),
    ("slave", Bind, "!@shared"),
    ("rslave", Bind, "!@shared / !@shared"),
    ("unbindable", Bind, "@unbindable / !@unbindable"),
    ("runbindable", Bind, "@unbindable / @unbindable"),
    ("shared", New, "@shared"),
    ("unbindable", New, "@unbindable"),
    // What is mounted already.
    ("remount", Remount, "ro nosuid noatime"),
    ("remount,rw", Remount, "rw !+ro nosuid"),
    ("remount,bind,rw", Remount, "rw nosuid noatime"),
    ("remount,rrw", Remount, "rw nosuid"),
    ("remount,bind,rrw", Remount, "rw nosuid noatime"),
    ("remount,bind,nodev", Remount, "ro nodev nosuid noatime"),
    ("remount,bind,suid,atime", Remount, "ro !nosuid relatime"),
    ("remount,ro,size=128k", Remount, "ro +ro +size=128k"),
];

/// The words that are tried elsewhere, since they have no place in a mount table: in `special_words_do_what_they_say`.
const SPECIAL: &[&str] = &["copy-symlink", "dest-nofollow", "idmap", "ridmap", "src-nofollow", "tmpcopyup"];

fn entries(words: &str, on: On, source: &Path) -> Vec<Value> {
    let mut options: Vec<&str> = words.split(',').collect();
    let tmpfs =
        |options: &[&str]| json!({"destination": "/tried", "type": "tmpfs", "source": "tmpfs", "options": options});
    match on {
        New => vec![tmpfs(&options)],
        Bind | Flagged => {
            if !options.iter().any(|word| ["bind", "rbind"].contains(word)) {
                options.push("rbind");
            }
            vec![json!({"destination": "/tried", "type": "bind", "source": source, "options": options})]
        }
        Remount => vec![
            tmpfs(&["ro", "nosuid", "noatime", "size=64k"]),
            json!({"destination": "/tried", "type": "tmpfs", "source": "tmpfs", "options": options}),
        ],
    }
}

/// What of `expected` is not so. Each part is about a mount, none of which is written as `-`.
fn differences(expected: &str, table: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (point, expected) in ["/tried", "/tried/below"].iter().zip(expected.split(" / ")) {
        let line = parse_mounts(table).into_iter().rfind(|line| line.point == **point);
        let Some(line) = line else {
            if expected != "-" {
                found.push(format!("nothing at {point}"));
            }
            continue;
        };
        for word in expected.split(' ') {
            let (absent, word) = word.strip_prefix('!').map_or((false, word), |word| (true, word));
            let there = match (word.strip_prefix('+'), word.strip_prefix('@')) {
                (Some(word), _) => line.super_options.split(',').any(|option| option == word),
                (_, Some(word)) => line.tags.split(' ').any(|tag| tag == word || tag.starts_with(&format!("{word}:"))),
                _ => line.options.split(',').any(|option| option == word),
            };
            if there == absent {
                let not = if absent { "not " } else { "" };
                found.push(format!(
                    "{not}{word} expected at {point}: {} {} {}",
                    line.options, line.tags, line.super_options
                ));
            }
        }
    }
    found
}

#[test]
fn every_word_alone_is_seen_in_the_mount_table() {
    let lab = Lab::new();
    own_mounts();
    let plain = lab.path("plain");
    let _plain = Mounted::new("tmpfs", &plain, MsFlags::MS_RELATIME, "");
    let _below = Mounted::new("tmpfs", &plain.join("below"), MsFlags::MS_RELATIME, "");
    let flagged = lab.path("flagged");
    // MS_NOSYMFOLLOW.
    let all = MsFlags::MS_NOSUID
        | MsFlags::MS_NODEV
        | MsFlags::MS_NOEXEC
        | MsFlags::MS_NOATIME
        | MsFlags::MS_NODIRATIME
        | MsFlags::from_bits_retain(256);
    let one = Mounted::new("tmpfs", &flagged, all, "");
    let other = Mounted::new("tmpfs", &flagged.join("below"), all, "");
    for mount in [&other, &one] {
        mount.remount(all | MsFlags::MS_RDONLY);
    }
    let mut wrong = Vec::new();
    for (words, on, expected) in TABLE {
        let source = if *on == Flagged { &flagged } else { &plain };
        let bundle = lab.bundle(|c| {
            args(c, &["cat", "/proc/self/mountinfo"]);
            c["mounts"].as_array_mut().unwrap().extend(entries(words, *on, source));
        });
        let done = lab.run(&bundle);
        let found = match done.code() {
            0 => differences(expected, &done.stdout),
            _ => vec![done.stderr.lines().last().unwrap_or_default().to_owned()],
        };
        wrong.extend(found.into_iter().map(|what| format!("{words} on {on:?}: {what}")));
        fs::remove_dir_all(&bundle.path).unwrap();
    }
    assert!(wrong.is_empty(), "{} differences:\n{}", wrong.len(), wrong.join("\n"));
}

/// The table has every word that `features` promises.
#[test]
fn table_has_every_word_of_features() {
    let lab = Lab::new();
    let features: Value = serde_json::from_str(&lab.cmd(&["features"]).output().ok().stdout).unwrap();
    let tried: Vec<&str> =
        TABLE.iter().flat_map(|(words, ..)| words.split(',')).chain(SPECIAL.iter().copied()).collect();
    let promised = features["mountOptions"].as_array().unwrap().iter().map(|word| word.as_str().unwrap());
    let missing: Vec<&str> = promised.filter(|word| !tried.contains(word)).collect();
    assert!(missing.is_empty(), "never tried: {missing:?}");
}

/// Runs a script in a container with one more mount, of which `prepare` makes the source and the image.
fn special(name: &str, mount: Value, script: &str, expected: &str) {
    let lab = Lab::new();
    let source = lab.path("source");
    fs::create_dir(&source).unwrap();
    fs::write(source.join("file"), "of the source").unwrap();
    std::os::unix::fs::chown(source.join("file"), Some(5), Some(6)).unwrap();
    std::os::unix::fs::symlink("file", source.join("link")).unwrap();
    fs::create_dir(source.join("directory")).unwrap();
    let bundle = lab.bundle(|c| {
        args(c, &["sh", "-c", script]);
        let mut mount = mount;
        if let Some(relative) = mount["source"].as_str().and_then(|source| source.strip_prefix("SOURCE")) {
            mount["source"] = json!(format!("{}{relative}", source.display()));
        }
        c["mounts"].as_array_mut().unwrap().push(mount);
    });
    fs::create_dir(bundle.root("full")).unwrap();
    fs::write(bundle.root("full/file"), "of the image").unwrap();
    fs::create_dir(bundle.root("target")).unwrap();
    std::os::unix::fs::symlink("target", bundle.root("link")).unwrap();
    assert_eq!(lab.run(&bundle).ok().stdout, expected, "{name}");
}

#[test]
fn special_words_do_what_they_say() {
    let bind = |source: &str, destination: &str, options: &[&str]| json!({"destination": destination, "type": "bind", "source": source, "options": options});
    special(
        "tmpcopyup",
        json!({"destination": "/full", "type": "tmpfs", "source": "tmpfs", "options": ["tmpcopyup"]}),
        "cat /full/file; echo; grep -c ' /full rw.* tmpfs ' /proc/self/mountinfo",
        "of the image\n1\n",
    );
    special("copy-symlink", bind("SOURCE/link", "/made", &["bind", "copy-symlink"]), "readlink /made", "file\n");
    let followed = "cat /made; echo; test -L /made || echo a file";
    special("bind of a link", bind("SOURCE/link", "/made", &["bind"]), followed, "of the source\na file\n");
    special("src-nofollow", bind("SOURCE/link", "/made", &["bind", "src-nofollow"]), "readlink /made", "file\n");
    special("over a link", bind("SOURCE", "/link", &["bind"]), "cat /target/file", "of the source");
    special(
        "dest-nofollow",
        bind("SOURCE/link", "/link", &["bind", "src-nofollow", "dest-nofollow"]),
        "readlink /link; ls /target | wc -l",
        "file\n0\n",
    );
    let mapped = |options: &[&str], expected: &str| {
        special("idmap", bind("SOURCE", "/made", options), "stat -c %u:%g /made/file", expected);
    };
    mapped(&["rbind", "idmap=uids=0-1000-100;gids=0-2000-100"], "1005:2006\n");
    mapped(&["rbind", "ridmap=uids=5-7-1#0-100-5;gids=0-2000-100"], "7:2006\n");
    let mut mount = bind("SOURCE", "/made", &["rbind", "idmap"]);
    mount["uidMappings"] = json!([{"containerID": 0, "hostID": 1000, "size": 100}]);
    mount["gidMappings"] = json!([{"containerID": 0, "hostID": 2000, "size": 100}]);
    special("idmap with mappings", mount, "stat -c %u:%g /made/file", "1005:2006\n");
    // Another file system than a bind.
    special(
        "idmap of a new tmpfs",
        json!({"destination": "/made", "type": "tmpfs", "source": "tmpfs",
            "options": ["mode=755", "idmap=uids=0-1000-100;gids=0-2000-100"]}),
        "stat -c %u:%g /made",
        "1000:2000\n",
    );
}

#[test]
fn relative_destination_is_taken_with_a_warning() {
    let lab = Lab::new();
    let bundle = lab.bundle(|c| {
        args(c, &["cat", "/proc/self/mountinfo"]);
        let mount = json!({"destination": "rela/tive", "type": "tmpfs", "source": "tmpfs"});
        c["mounts"].as_array_mut().unwrap().push(mount);
    });
    let done = lab.cmd(&["run", "-b", bundle.str(), &lab.id()]).global("--log-level=warning").output();
    assert_eq!(harness::mount_at(&done.stdout, "/rela/tive").fs_type, "tmpfs");
    if harness::strict() {
        let log = done.log.as_deref().unwrap();
        assert!(log.contains("taken as /rela/tive") && log.contains("/destination"), "{done:#?}");
    }
}
