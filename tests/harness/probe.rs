//! Runs inside of a container, as its program or beside it, and prints what it sees or manages to do. The
//! judging is done by the tests outside. Static and without dependence on anything in the root file system.
#![allow(clippy::unwrap_used)]

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::time::{Duration, Instant};

use nix::sys::ptrace;
use nix::time::{ClockId, clock_gettime};
use nix::unistd::Pid;

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let words: Vec<&str> = arguments.iter().skip(1).map(String::as_str).collect();
    match words.as_slice() {
        ["fds"] => fds(),
        ["clocks"] => clocks(),
        ["overwrite", millis, device, inode] => {
            let victim = (device.parse().unwrap(), inode.parse().unwrap());
            overwrite(Duration::from_millis(millis.parse().unwrap()), victim);
        }
        ["attach", millis] => attach(Duration::from_millis(millis.parse().unwrap())),
        ["thread", path] => thread(path),
        ["print", words @ ..] => words.iter().for_each(|word| println!("{word}")),
        _ => {
            eprintln!("probe fds|clocks|overwrite MILLIS DEVICE INODE|attach MILLIS|thread PATH|print WORD…");
            std::process::exit(2);
        }
    }
}

/// Every open descriptor and where it leads, without the one that reads the directory.
fn fds() {
    let entries: Vec<_> = fs::read_dir("/proc/self/fd").unwrap().map(|e| e.unwrap().path()).collect();
    for path in entries {
        if let Ok(target) = fs::read_link(&path) {
            println!("{} {}", path.file_name().unwrap().to_string_lossy(), target.to_string_lossy());
        }
    }
}

/// Makes a directory in a thread of its own, and tells when that thread is gone.
fn thread(path: &str) {
    let threads = || fs::read_dir("/proc/self/task").unwrap().count();
    let path = path.to_owned();
    let thread = std::thread::spawn(move || fs::create_dir(path));
    // Not joined: a thread that the kernel killed leaves no result behind.
    while threads() > 1 {
        std::thread::sleep(Duration::from_millis(1));
    }
    drop(thread);
    println!("the others went on");
}

/// Monotonic and boot time in nanoseconds.
fn clocks() {
    for (name, clock) in [("monotonic", ClockId::CLOCK_MONOTONIC), ("boottime", ClockId::CLOCK_BOOTTIME)] {
        let time = clock_gettime(clock).unwrap();
        println!("{name} {}", i128::from(time.tv_sec()) * 1_000_000_000 + i128::from(time.tv_nsec()));
    }
}

/// Process ids that are neither ours nor that of our children.
fn others() -> impl Iterator<Item = i32> {
    let own = std::process::id();
    let names = fs::read_dir("/proc").unwrap().flatten().filter_map(|e| e.file_name().to_str()?.parse::<i32>().ok());
    names.filter(move |&pid| u32::try_from(pid) != Ok(own))
}

/// Attack 1: gets hold of the victim's executable while a process runs it, and tries to write to it, also later, when the
/// process has gone and ETXTBSY no longer protects the file. Writes to nothing but the victim (device and inode): a
/// program of the host that passes by is not the test's to ruin.
fn overwrite(limit: Duration, victim: (u64, u64)) {
    let end = Instant::now() + limit;
    let mut kept = None;
    println!("ready");
    while Instant::now() < end {
        if kept.is_none() {
            kept = others().find_map(|pid| {
                let exe = format!("/proc/{pid}/exe");
                let file = OpenOptions::new().read(true).custom_flags(libc::O_PATH).open(exe).ok()?;
                file.metadata().is_ok_and(|m| (m.dev(), m.ino()) == victim).then_some(file)
            });
        }
        if let Some(file) = &kept {
            // Not truncated, and a success is told: the test's comparison shall say what happened.
            let path = format!("/proc/self/fd/{}", file.as_raw_fd());
            let written = || OpenOptions::new().write(true).open(path)?.write_all(b"#!overwritten");
            if written().is_ok() {
                println!("overwrote");
                break;
            }
        }
    }
    println!("done");
}

/// Attack 13: tries to get hold of every other process that is not in the list of the start.
fn attach(limit: Duration) {
    let end = Instant::now() + limit;
    let known: Vec<i32> = others().collect();
    println!("ready");
    let mut tries = 0u64;
    while Instant::now() < end {
        for pid in others().filter(|pid| !known.contains(pid)) {
            tries += 1;
            // The payload itself may be traced: what counts is whether the runtime was still there.
            let program = || fs::read_link(format!("/proc/{pid}/exe")).map(|p| p.to_string_lossy().into_owned());
            let foreign = |name: &str| !name.starts_with("/bin/");
            if fs::File::open(format!("/proc/{pid}/mem")).is_ok() {
                // Opened first, looked at second: a payload that has been executed since shows up as /bin.
                if let Ok(name) = program()
                    && foreign(&name)
                {
                    println!("memory of {name}");
                }
            }
            for directory in ["fd", "map_files"] {
                for entry in fs::read_dir(format!("/proc/{pid}/{directory}")).into_iter().flatten().flatten() {
                    if let (Ok(target), Ok(name)) = (fs::read_link(entry.path()), program())
                        && foreign(&name)
                    {
                        println!("{directory} of {name}: {}", target.display());
                    }
                }
            }
            let target = Pid::from_raw(pid);
            if ptrace::seize(target, ptrace::Options::empty()).is_ok() {
                if let Ok(name) = program()
                    && foreign(&name)
                {
                    println!("traced {name}");
                }
                let _ = ptrace::interrupt(target);
                let _ = nix::sys::wait::waitpid(target, Some(nix::sys::wait::WaitPidFlag::__WALL));
                let _ = ptrace::detach(target, None);
            }
        }
    }
    println!("done after {tries} tries");
}
