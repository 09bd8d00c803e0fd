//! Every word of the table of mount options.

use serde_json::{Value, json};

use super::mounts::{mount_at, source};
use crate::config;
use crate::lab::Lab;
use crate::needs::Need;
use crate::suite::{Test, core};
use crate::verdict::{Failure, Verdict, ensure, equal};

/// A test for one word on a new tmpfs: which words of mountinfo must be there, and which must not.
macro_rules! tmpfs {
    ($id:literal, $clause:literal, $options:expr, $there:expr, $absent:expr) => {
        core($id, &[$clause], |lab| on_tmpfs(lab, $options, $there, $absent))
    };
}

/// The same on a bind mount, whose source has the flags of the first list.
macro_rules! bound {
    ($id:literal, $clause:literal, $source:expr, $options:expr, $there:expr, $absent:expr) => {
        core($id, &[$clause], |lab| on_bind(lab, $source, $options, $there, $absent))
    };
}

/// The same on a recursive bind mount with another mount below: the words are those of the inner one.
macro_rules! recursive {
    ($id:literal, $clause:literal, $source:expr, $options:expr, $there:expr, $absent:expr) => {
        core($id, &[$clause], |lab| on_tree(lab, $source, $options, $there, $absent))
    };
}

pub const TESTS: &[Test] = &[
    tmpfs!("options.ro", "C-option-ro", &["ro"], &["ro"], &["rw"]),
    tmpfs!("options.rw", "C-option-rw", &["ro", "rw"], &["rw"], &["ro"]),
    tmpfs!("options.nosuid", "C-option-nosuid", &["nosuid"], &["nosuid"], &[]),
    tmpfs!("options.suid", "C-option-suid", &["nosuid", "suid"], &[], &["nosuid"]),
    tmpfs!("options.nodev", "C-option-nodev", &["nodev"], &["nodev"], &[]),
    tmpfs!("options.dev", "C-option-dev", &["nodev", "dev"], &[], &["nodev"]),
    tmpfs!("options.noexec", "C-option-noexec", &["noexec"], &["noexec"], &[]),
    tmpfs!("options.exec", "C-option-exec", &["noexec", "exec"], &[], &["noexec"]),
    tmpfs!("options.noatime", "C-option-noatime", &["noatime"], &["noatime"], &["relatime"]),
    tmpfs!("options.atime", "C-option-atime", &["noatime", "atime"], &[], &["noatime"]),
    tmpfs!("options.nodiratime", "C-option-nodiratime", &["nodiratime"], &["nodiratime"], &[]),
    tmpfs!("options.diratime", "C-option-diratime", &["nodiratime", "diratime"], &[], &["nodiratime"]),
    tmpfs!("options.relatime", "C-option-relatime", &["relatime"], &["relatime"], &["noatime"]),
    tmpfs!("options.norelatime", "C-option-norelatime", &["norelatime"], &[], &["noatime"]),
    tmpfs!("options.strictatime", "C-option-strictatime", &["strictatime"], &[], &["relatime", "noatime"]),
    tmpfs!(
        "options.nostrictatime",
        "C-option-nostrictatime",
        &["strictatime", "nostrictatime"],
        &["relatime"],
        &["noatime"]
    ),
    tmpfs!("options.sync", "C-option-sync", &["sync"], &["sync"], &[]),
    tmpfs!("options.async", "C-option-async", &["sync", "async"], &[], &["sync"]),
    tmpfs!("options.dirsync", "C-option-dirsync", &["dirsync"], &["dirsync"], &[]),
    tmpfs!("options.lazytime", "C-option-lazytime", &["lazytime"], &["lazytime"], &[]),
    tmpfs!("options.nolazytime", "C-option-nolazytime", &["lazytime", "nolazytime"], &[], &["lazytime"]),
    tmpfs!(
        "options.defaults",
        "C-option-defaults",
        &["defaults"],
        &["rw"],
        &["ro", "nosuid", "nodev", "noexec", "sync"]
    ),
    // These three show in no table; that a word is not taken for data is seen because a tmpfs refuses unknown data.
    tmpfs!("options.iversion", "C-option-iversion", &["iversion"], &["rw"], &[]),
    tmpfs!("options.noiversion", "C-option-noiversion", &["iversion", "noiversion"], &["rw"], &[]),
    tmpfs!("options.silent", "C-option-silent", &["silent"], &["rw"], &[]),
    tmpfs!("options.loud", "C-option-loud", &["silent", "loud"], &["rw"], &[]),
    tmpfs!("options.nosymfollow", "C-option-nosymfollow", &["nosymfollow"], &["nosymfollow"], &[]),
    tmpfs!("options.symfollow", "C-option-symfollow", &["nosymfollow", "symfollow"], &[], &["nosymfollow"]),
    core("options.remount", &["C-option-remount"], remount),
    core("options.unknown_is_given_to_file_system", &["C-option-unknown"], unknown_refused),
    core("options.word_of_mount_8_acts", &["C-option-custom"], |lab| on_tmpfs(lab, &["mand"], &["rw"], &[])),
    core("options.bind", &["C-option-bind"], bind),
    core("options.rbind", &["C-option-rbind"], rbind),
    bound!("options.bind_ro", "C-option-ro", &[], &["bind", "ro"], &["ro"], &["rw"]),
    bound!(
        "options.bind_nosuid_nodev_noexec",
        "C-option-nosuid",
        &[],
        &["bind", "nosuid", "nodev", "noexec"],
        &["nosuid", "nodev", "noexec"],
        &[]
    ),
    bound!("options.bind_noatime", "C-option-noatime", &[], &["bind", "noatime"], &["noatime"], &["relatime"]),
    bound!(
        "options.bind_relatime",
        "C-option-relatime",
        &["noatime"],
        &["bind", "relatime"],
        &["relatime"],
        &["noatime"]
    ),
    bound!("options.bind_rw_clears", "C-option-rw", &["ro"], &["bind", "rw"], &["rw"], &["ro"]),
    bound!(
        "options.bind_exec_clears",
        "C-option-exec",
        &["noexec", "nodev"],
        &["bind", "exec"],
        &["nodev"],
        &["noexec"]
    ),
    bound!(
        "options.bind_keeps_flags_of_source",
        "C-option-bind",
        &["nodev", "nosuid"],
        &["bind", "ro"],
        &["nodev", "nosuid", "ro"],
        &[]
    ),
    recursive!("options.rro", "C-option-rro", &[], &["rbind", "rro"], &["ro"], &[]),
    recursive!("options.rrw", "C-option-rrw", &["ro"], &["rbind", "rrw"], &["rw"], &["ro"]),
    recursive!("options.rnosuid", "C-option-rnosuid", &[], &["rbind", "rnosuid"], &["nosuid"], &[]),
    recursive!("options.rsuid", "C-option-rsuid", &["nosuid"], &["rbind", "rsuid"], &[], &["nosuid"]),
    recursive!("options.rdev", "C-option-rdev", &["nodev"], &["rbind", "rdev"], &[], &["nodev"]),
    recursive!("options.rnoexec", "C-option-rnoexec", &[], &["rbind", "rnoexec"], &["noexec"], &[]),
    recursive!("options.rexec", "C-option-rexec", &["noexec"], &["rbind", "rexec"], &[], &["noexec"]),
    recursive!("options.rnoatime", "C-option-rnoatime", &[], &["rbind", "rnoatime"], &["noatime"], &[]),
    recursive!("options.ratime", "C-option-ratime", &["noatime"], &["rbind", "ratime"], &[], &["noatime"]),
    recursive!("options.rnodiratime", "C-option-rnodiratime", &[], &["rbind", "rnodiratime"], &["nodiratime"], &[]),
    recursive!(
        "options.rdiratime",
        "C-option-rdiratime",
        &["nodiratime"],
        &["rbind", "rdiratime"],
        &[],
        &["nodiratime"]
    ),
    recursive!(
        "options.rrelatime",
        "C-option-rrelatime",
        &["noatime"],
        &["rbind", "rrelatime"],
        &["relatime"],
        &["noatime"]
    ),
    recursive!("options.rnorelatime", "C-option-rnorelatime", &[], &["rbind", "rnorelatime"], &[], &["noatime"]),
    recursive!(
        "options.rstrictatime",
        "C-option-rstrictatime",
        &["noatime"],
        &["rbind", "rstrictatime"],
        &[],
        &["noatime", "relatime"]
    ),
    recursive!(
        "options.rnostrictatime",
        "C-option-rnostrictatime",
        &["strictatime"],
        &["rbind", "rnostrictatime"],
        &["relatime"],
        &[]
    ),
    recursive!("options.rnosymfollow", "C-option-rnosymfollow", &[], &["rbind", "rnosymfollow"], &["nosymfollow"], &[]),
    recursive!(
        "options.rsymfollow",
        "C-option-rsymfollow",
        &["nosymfollow"],
        &["rbind", "rsymfollow"],
        &[],
        &["nosymfollow"]
    ),
    core("options.private", &["C-option-private"], |lab| propagates(lab, "private", &[], false)),
    core("options.rprivate", &["C-option-rprivate"], |lab| propagates(lab, "rprivate", &[], true)),
    core("options.shared", &["C-option-shared"], |lab| propagates(lab, "shared", &["shared:"], false)),
    core("options.rshared", &["C-option-rshared"], |lab| propagates(lab, "rshared", &["shared:"], true)),
    core("options.slave", &["C-option-slave"], |lab| propagates(lab, "slave", &["master:"], false)),
    core("options.rslave", &["C-option-rslave"], |lab| propagates(lab, "rslave", &["master:"], true)),
    core("options.unbindable", &["C-option-unbindable"], |lab| propagates(lab, "unbindable", &["unbindable"], false)),
    core("options.runbindable", &["C-option-runbindable"], |lab| propagates(lab, "runbindable", &["unbindable"], true)),
    core("options.idmap_with_mappings", &["C-option-idmap", "C-idmap-mapping", "C-idmap-data"], |lab| {
        idmap(lab, "idmap")
    })
    .needs(&[Need::Root, Need::Spec(2)]),
    core("options.ridmap_with_mappings", &["C-option-ridmap", "C-idmap-mapping", "C-idmap-data"], |lab| {
        idmap(lab, "ridmap")
    })
    .needs(&[Need::Root, Need::Spec(2)]),
    core("options.idmap_without_any_mapping_is_refused", &["C-idmap-none"], idmap_none)
        .needs(&[Need::Root, Need::Spec(2)]),
];

fn check(row: &Value, there: &[&str], absent: &[&str]) -> Verdict {
    let mut words: Vec<&str> = Vec::new();
    // sync, dirsync and lazytime belong to the file system, ro and rw to both: those of the mount count.
    words.extend(row["options"].as_array().into_iter().flatten().filter_map(Value::as_str));
    let system = row["super"].as_array().into_iter().flatten().filter_map(Value::as_str);
    words.extend(system.filter(|word| ["sync", "dirsync", "lazytime"].contains(word)));
    for word in there {
        ensure(words.contains(word), || format!("{word} is not among {words:?}"))?;
    }
    for word in absent {
        ensure(!words.contains(word), || format!("{word} is among {words:?}"))?;
    }
    Ok(())
}

fn on_tmpfs(lab: &Lab, options: &[&str], there: &[&str], absent: &[&str]) -> Verdict {
    let mount = json!({"destination": "/data", "type": "tmpfs", "source": "tmpfs", "options": options});
    let facts = lab.facts(&config::with_mount(mount))?;
    check(mount_at(&facts, "/data")?, there, absent)
}

/// A tmpfs on the host with one below it, both with these options; gone when dropped.
#[derive(Debug)]
struct Tree(std::path::PathBuf);

impl Tree {
    fn new(lab: &Lab, options: &[&str]) -> Result<Self, Failure> {
        use nix::mount::{MsFlags, mount};
        let path = lab.path("tree");
        std::fs::create_dir_all(&path)?;
        let mut flags = MsFlags::empty();
        for word in options {
            flags |= match *word {
                "ro" => MsFlags::MS_RDONLY,
                "nosuid" => MsFlags::MS_NOSUID,
                "nodev" => MsFlags::MS_NODEV,
                "noexec" => MsFlags::MS_NOEXEC,
                "noatime" => MsFlags::MS_NOATIME,
                "nodiratime" => MsFlags::MS_NODIRATIME,
                "strictatime" => MsFlags::MS_STRICTATIME,
                // MS_NOSYMFOLLOW, which nix does not name.
                "nosymfollow" => MsFlags::from_bits_retain(256),
                other => return Err(Failure(format!("no flag for {other}"))),
            };
        }
        mount(Some("tmpfs"), &path, Some("tmpfs"), MsFlags::empty(), Some("mode=755"))?;
        let tree = Self(path.clone());
        std::fs::create_dir(path.join("inner"))?;
        mount(Some("tmpfs"), &path.join("inner"), Some("tmpfs"), MsFlags::empty(), Some("mode=755"))?;
        for place in [path.join("inner"), path] {
            let again = MsFlags::MS_REMOUNT | MsFlags::MS_BIND | flags;
            mount(None::<&str>, &place, None::<&str>, again, None::<&str>)?;
        }
        Ok(tree)
    }

    fn text(&self) -> String {
        self.0.to_string_lossy().into_owned()
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        let _ = nix::mount::umount2(&self.0, nix::mount::MntFlags::MNT_DETACH);
    }
}

fn on_bind(lab: &Lab, source: &[&str], options: &[&str], there: &[&str], absent: &[&str]) -> Verdict {
    let tree = Tree::new(lab, source)?;
    let mount = json!({"destination": "/data", "type": "none", "source": tree.text(), "options": options});
    let facts = lab.facts(&config::with_mount(mount))?;
    check(mount_at(&facts, "/data")?, there, absent)
}

fn on_tree(lab: &Lab, source: &[&str], options: &[&str], there: &[&str], absent: &[&str]) -> Verdict {
    let tree = Tree::new(lab, source)?;
    let mount = json!({"destination": "/data", "type": "none", "source": tree.text(), "options": options});
    let facts = lab.facts(&config::with_mount(mount))?;
    for place in ["/data", "/data/inner"] {
        check(mount_at(&facts, place)?, there, absent).map_err(|failure| Failure(format!("{place}: {}", failure.0)))?;
    }
    Ok(())
}

fn remount(lab: &Lab) -> Verdict {
    let mut config =
        config::with_mount(json!({"destination": "/data", "type": "tmpfs", "source": "tmpfs", "options": ["rw"]}));
    let again = json!({"destination": "/data", "type": "tmpfs", "source": "tmpfs", "options": ["remount", "ro"]});
    config::push(&mut config, "/mounts", again);
    let said = lab.ask(&config, &["facts", "create:/data/x"])?;
    let rows = said["facts"]["mounts"].as_array().ok_or("no table")?;
    equal("mounts at /data", rows.iter().filter(|row| row["target"] == "/data").count(), 1)?;
    equal("a file in it", said["create:/data/x"]["errno"].as_i64(), Some(30))
}

/// A tmpfs refuses data that it does not know, so passing a nonsense word on means that create fails.
fn unknown_refused(lab: &Lab) -> Verdict {
    let mount = json!({"destination": "/data", "type": "tmpfs", "source": "tmpfs", "options": ["nonsense=1"]});
    lab.create_refuses(&config::with_mount(mount))
}

fn bind(lab: &Lab) -> Verdict {
    let tree = Tree::new(lab, &[])?;
    let mount = json!({"destination": "/data", "type": "none", "source": tree.text(), "options": ["bind"]});
    let facts = lab.facts(&config::with_mount(mount))?;
    mount_at(&facts, "/data")?;
    ensure(mount_at(&facts, "/data/inner").is_err(), || "the mount below was bound as well".into())
}

fn rbind(lab: &Lab) -> Verdict {
    let tree = Tree::new(lab, &[])?;
    let mount = json!({"destination": "/data", "type": "none", "source": tree.text(), "options": ["rbind"]});
    let facts = lab.facts(&config::with_mount(mount))?;
    mount_at(&facts, "/data/inner").map(|_| ())
}

/// A bind mount of a shared tree.
fn propagates(lab: &Lab, word: &str, wanted: &[&str], deep: bool) -> Verdict {
    let tree = Tree::new(lab, &[])?;
    let flags = nix::mount::MsFlags::MS_SHARED | nix::mount::MsFlags::MS_REC;
    nix::mount::mount(None::<&str>, &tree.0, None::<&str>, flags, None::<&str>)?;
    let mount = json!({"destination": "/data", "type": "none", "source": tree.text(), "options": ["rbind", word]});
    // The kernel lets a mount be a slave or peer only if the root does not cut it off.
    let facts = lab.facts(&config::with_mount(mount))?;
    let places: &[&str] = if deep { &["/data", "/data/inner"] } else { &["/data"] };
    for place in places {
        let row = mount_at(&facts, place)?;
        let found: Vec<&str> = row["propagation"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        for tag in wanted {
            ensure(found.iter().any(|word| word.starts_with(tag)), || format!("{place}: {tag} is not in {found:?}"))?;
        }
        ensure(!wanted.is_empty() || found.is_empty(), || format!("{place}: propagation is {found:?}"))?;
    }
    Ok(())
}

fn idmap(lab: &Lab, word: &str) -> Verdict {
    let path = source(lab, "mapped")?;
    std::os::unix::fs::chown(lab.path("mapped/in-mapped"), Some(0), Some(0))?;
    let mapping = json!([{"containerID": 0, "hostID": 5000, "size": 1000}]);
    let mount = json!({"destination": "/data", "type": "none", "source": path, "options": ["rbind", word],
                       "uidMappings": mapping, "gidMappings": mapping});
    let said = lab.ask(&config::with_mount(mount), &["stat:/data/in-mapped"])?;
    equal("owner", &said["stat:/data/in-mapped"]["uid"], &json!(5000))?;
    equal("group", &said["stat:/data/in-mapped"]["gid"], &json!(5000))
}

fn idmap_none(lab: &Lab) -> Verdict {
    let mount =
        json!({"destination": "/data", "type": "none", "source": source(lab, "mapped")?, "options": ["bind", "idmap"]});
    lab.create_refuses(&config::with_mount(mount))
}
