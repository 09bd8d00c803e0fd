//! What the probe can be asked to do. Every answer is an object; a failed call has the member `errno`.

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::time::{Duration, Instant};

use nix::sys::signal::{SigSet, SigmaskHow, Signal};
use nix::sys::stat::{Mode, SFlag, makedev, mknod};
use serde_json::{Value, json};

use crate::sys;

/// Does one action.
pub fn perform(words: &[&str]) -> Value {
    match words {
        ["facts"] => super::facts::all(),
        ["stat", path] => answer(fs::symlink_metadata(path).map(|data| describe(&data))),
        ["statfs", path] => answer(flags_of(path)),
        ["read", path] => answer(fs::read(path).map(|bytes| json!({"text": String::from_utf8_lossy(&bytes)}))),
        ["write", path, text] => answer(write_existing(path, text).map(|()| json!({}))),
        ["create", path] => answer(fs::write(path, "").map(|()| json!({}))),
        ["list", path] => answer(fs::read_dir(path).map(|_| json!({"names": super::facts::names(path)}))),
        ["mkdir", path] => answer(fs::create_dir(path).map(|()| json!({}))),
        ["unlink", path] => answer(fs::remove_file(path).map(|()| json!({}))),
        ["readlink", path] => answer(fs::read_link(path).map(|target| json!({"text": target}))),
        ["chmod", path, mode] => {
            let mode = u32::from_str_radix(mode, 8).unwrap_or(0);
            answer(fs::set_permissions(path, fs::Permissions::from_mode(mode)).map(|()| json!({})))
        }
        ["open", path, how] => {
            let opened = fs::OpenOptions::new().read(how.contains('r')).write(how.contains('w')).open(path);
            answer(opened.map(|_| json!({})))
        }
        ["mknod", path, kind, major, minor] => answer(make_node(path, kind, major, minor)),
        // What follows the program are its arguments, separated by semicolons: each another action.
        ["spawn", path, rest @ ..] => {
            let rest = rest.join(":");
            let output =
                std::process::Command::new(path).args(rest.split(';').filter(|word| !word.is_empty())).output();
            answer(output.map(|output| json!({"code": output.status.code()})))
        }
        // The same, without waiting for its end.
        ["start", path, rest @ ..] => {
            let rest = rest.join(":");
            let started = std::process::Command::new(path).args(rest.split(';')).spawn();
            answer(started.map(|_| json!({})))
        }
        ["others"] => json!({"alive": others()}),
        ["spawn-many", count] => spawn_many(count.parse().unwrap_or(0)),
        ["personality", value] => {
            let value = u32::from_str_radix(value, 16).unwrap_or(0);
            answer(sys::personality(value).map(|old| json!({"old": old})).map_err(std::io::Error::from))
        }
        ["socket", domain] => answer(socket(domain)),
        ["sethostname", name] => {
            answer(nix::unistd::sethostname(name).map(|()| json!({})).map_err(std::io::Error::from))
        }
        ["umount", path] => answer(nix::mount::umount(*path).map(|()| json!({})).map_err(std::io::Error::from)),
        ["tmpfs", path] => answer(mount_tmpfs(path)),
        ["bind", from, to] => answer(bind(from, to)),
        ["sleep", milliseconds] => {
            std::thread::sleep(Duration::from_millis(milliseconds.parse().unwrap_or(0)));
            json!({})
        }
        ["spin", milliseconds] => {
            let end = Instant::now() + Duration::from_millis(milliseconds.parse().unwrap_or(0));
            while Instant::now() < end {
                std::hint::spin_loop();
            }
            json!({})
        }
        ["touch-memory", bytes] => json!({"sum": touch_memory(bytes.parse().unwrap_or(0))}),
        ["block"] => answer(block_signals()),
        ["signal"] => answer(wait_for_signal()),
        ["wait"] => loop {
            std::thread::sleep(Duration::from_secs(3600));
        },
        ["wait-for", path] => {
            while !std::path::Path::new(path).exists() {
                std::thread::sleep(Duration::from_millis(5));
            }
            json!({})
        }
        other => json!({"errno": 0, "error": format!("no action {other:?}")}),
    }
}

fn answer(result: std::io::Result<Value>) -> Value {
    match result {
        Ok(value) => value,
        Err(error) => json!({"errno": error.raw_os_error().unwrap_or(0), "error": error.to_string()}),
    }
}

fn describe(data: &fs::Metadata) -> Value {
    let kind = data.file_type();
    let letter = if kind.is_dir() {
        "d"
    } else if kind.is_symlink() {
        "l"
    } else if kind.is_char_device() {
        "c"
    } else if kind.is_block_device() {
        "b"
    } else if kind.is_fifo() {
        "p"
    } else {
        "f"
    };
    json!({
        "type": letter, "mode": data.mode() & 0o7777, "uid": data.uid(), "gid": data.gid(), "size": data.size(),
        "major": nix::sys::stat::major(data.rdev()), "minor": nix::sys::stat::minor(data.rdev()),
        "device": data.dev(), "inode": data.ino(),
    })
}

fn flags_of(path: &str) -> std::io::Result<Value> {
    let path = std::ffi::CString::new(path)?;
    Ok(json!({"flags": sys::statfs_flags(&path)?}))
}

fn write_existing(path: &str, text: &str) -> std::io::Result<()> {
    let mut file = fs::OpenOptions::new().write(true).open(path)?;
    std::io::Write::write_all(&mut file, text.as_bytes())
}

fn make_node(path: &str, kind: &str, major: &str, minor: &str) -> std::io::Result<Value> {
    let kind = if kind == "b" { SFlag::S_IFBLK } else { SFlag::S_IFCHR };
    let device = makedev(major.parse().unwrap_or(0), minor.parse().unwrap_or(0));
    mknod(path, kind, Mode::from_bits_truncate(0o600), device)?;
    Ok(json!({}))
}

/// How many living processes there are beside the caller in its pid namespace; zombies do not count.
fn others() -> usize {
    let own = std::process::id().to_string();
    let numbers = super::facts::names("/proc").into_iter().filter(|name| name.parse::<u32>().is_ok() && *name != own);
    let stats = numbers.filter_map(|number| fs::read_to_string(format!("/proc/{number}/stat")).ok());
    stats.filter(|stat| !stat.rsplit(')').next().unwrap_or_default().trim_start().starts_with(['Z', 'X'])).count()
}

fn spawn_many(count: usize) -> Value {
    let mut children = Vec::new();
    for _ in 0..count {
        match std::process::Command::new("/probe").arg("sleep:5000").spawn() {
            Ok(child) => children.push(child),
            Err(_) => break,
        }
    }
    let made = children.len();
    for mut child in children {
        let _ = child.kill();
        let _ = child.wait();
    }
    json!({"made": made})
}

fn socket(domain: &str) -> std::io::Result<Value> {
    let family = if domain == "unix" { rustix::net::AddressFamily::UNIX } else { rustix::net::AddressFamily::INET };
    rustix::net::socket(family, rustix::net::SocketType::DGRAM, None)?;
    Ok(json!({}))
}

fn mount_tmpfs(path: &str) -> std::io::Result<Value> {
    nix::mount::mount(Some("tmpfs"), path, Some("tmpfs"), nix::mount::MsFlags::empty(), None::<&str>)?;
    Ok(json!({}))
}

fn bind(from: &str, to: &str) -> std::io::Result<Value> {
    nix::mount::mount(Some(from), to, None::<&str>, nix::mount::MsFlags::MS_BIND, None::<&str>)?;
    Ok(json!({}))
}

fn touch_memory(bytes: usize) -> u64 {
    let mut memory = vec![1_u8; bytes];
    for page in memory.chunks_mut(4096) {
        if let Some(first) = page.first_mut() {
            *first = 2;
        }
    }
    memory.iter().step_by(4096).map(|&byte| u64::from(byte)).sum()
}

fn block_signals() -> std::io::Result<Value> {
    nix::sys::signal::sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::all()), None)?;
    Ok(json!({}))
}

fn wait_for_signal() -> std::io::Result<Value> {
    let mut wanted = SigSet::all();
    wanted.remove(Signal::SIGCHLD);
    let signal = wanted.wait()?;
    Ok(json!({"signal": signal as i32}))
}
