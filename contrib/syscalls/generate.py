#!/usr/bin/env python3
"""Writes src/plan/seccomp/syscalls/*.rs: the system call tables that seccomp profiles are resolved with.

The numbers are the kernel's own (arch/*/include/generated/uapi/asm/unistd*.h), taken from the crate
linux-raw-sys, which the build depends on already (through rustix) and which is generated from the headers of
a released kernel.

    contrib/syscalls/generate.py [directory of the crate]

Run it after the crate was updated in Cargo.lock. Needs cargo and nothing else.
"""

import json
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
OUT = ROOT / "src/plan/seccomp/syscalls"
ABSENT = 0xFFFF
X32_BIT = 0x40000000
ARM_PRIVATE = 0x0F0000

# File of the family, its columns (native first) as (heading, directory in the crate).
FAMILIES = [
    ("x86", [("x86_64", "x86_64"), ("x86", "x86"), ("x32", "x32")]),
    ("arm", [("aarch64", "aarch64"), ("arm", "arm")]),
    ("riscv", [("riscv64", "riscv64")]),
    ("power", [("ppc64le", "powerpc64")]),
    ("s390", [("s390x", "s390x")]),
    ("loongarch", [("loongarch64", "loongarch64")]),
]

# Families with an architecture that has socketcall(2) and ipc(2): all of their calls exist there, some without a
# number of their own.
MULTIPLEXING = ("x86", "power", "s390")

# include/uapi/linux/net.h, SYS_*: position in this list + 1.
SOCKETCALL = (
    "socket bind connect listen accept getsockname getpeername socketpair send recv sendto recvfrom shutdown "
    "setsockopt getsockopt sendmsg recvmsg accept4 recvmmsg sendmmsg"
).split()
# include/uapi/linux/ipc.h.
IPC = {
    "semop": 1, "semget": 2, "semctl": 3, "semtimedop": 4,
    "msgsnd": 11, "msgrcv": 12, "msgget": 13, "msgctl": 14,
    "shmat": 21, "shmdt": 22, "shmget": 23, "shmctl": 24,
}


def crate_directory():
    if len(sys.argv) > 1:
        return pathlib.Path(sys.argv[1])
    metadata = json.loads(
        subprocess.run(
            ["cargo", "metadata", "--format-version=1", "--locked", "--filter-platform=x86_64-unknown-linux-musl"],
            cwd=ROOT,
            check=True,
            stdout=subprocess.PIPE,
        ).stdout
    )
    manifests = [p["manifest_path"] for p in metadata["packages"] if p["name"] == "linux-raw-sys"]
    return pathlib.Path(max(manifests)).parent


def table(crate, directory):
    """name -> number as the column stores it."""
    numbers = {}
    text = (crate / "src" / directory / "general.rs").read_text()
    for prefix, name, value in re.findall(r"pub const __(ARM_)?NR_(\w+): u32 = (\d+);", text):
        number = int(value)
        if name in ("OABI_SYSCALL_BASE", "SYSCALL_BASE", "SYSCALL_MASK", "syscalls"):
            continue
        if prefix:
            if name == "BASE":
                continue
            assert ARM_PRIVATE < number < ARM_PRIVATE + 0xFFF
            number = 0xF000 + (number - ARM_PRIVATE)
        elif directory == "x32":
            assert number & X32_BIT, name
            number &= ~X32_BIT
        assert number < ABSENT, (directory, name, number)
        numbers[name] = number
    if directory == "arm":
        # One call, two names: the kernel's headers and the C libraries disagree.
        numbers.setdefault("sync_file_range2", numbers["arm_sync_file_range"])
    assert "read" in numbers and "execve" in numbers
    return numbers


def mux(name):
    if name in SOCKETCALL:
        return f"Socket({SOCKETCALL.index(name) + 1})"
    if name in IPC:
        return f"Ipc({IPC[name]})"
    return "No"


def render(family, columns, version):
    tables = [numbers for _, numbers in columns]
    names = set().union(*tables)
    if family in MULTIPLEXING:
        names |= set(SOCKETCALL) | set(IPC)
    names = sorted(names)
    newest = max((n, name) for t in tables for name, n in t.items() if n < 0xF000 and t is tables[0])
    lines = [
        f"//! System calls of {', '.join(h for h, _ in columns)} in {version}; the newest is {newest[1]}.",
        "//! Written by contrib/syscalls/generate.py: change that.",
        "",
        "use super::Mux::{Ipc, No, Socket};" if any(mux(n) != "No" for n in names) else "use super::Mux::No;",
        "use super::{ABSENT as A, Row, row};",
        "",
        "#[rustfmt::skip]",
        f"pub(super) static ROWS: [Row; {len(names)}] = [",
    ]
    line = "   "
    for name in names:
        numbers = [str(t[name]) if name in t else "A" for t in tables]
        numbers += ["A"] * (3 - len(numbers))
        entry = f' row("{name}", {mux(name)}, [{", ".join(numbers)}]),'
        if len(line) + len(entry) > 120:
            lines.append(line)
            line = "   "
        line += entry
    lines += [line, "];", ""]
    (OUT / f"{family}.rs").write_text("\n".join(lines))
    print(f"{family}: {len(names)} names, newest {newest}")


def main():
    crate = crate_directory()
    version = re.search(r'^version = "(.*)"', (crate / "Cargo.toml").read_text(), re.M).group(1)
    code = re.search(r"LINUX_VERSION_CODE: u32 = (\d+)", (crate / "src/x86_64/general.rs").read_text()).group(1)
    version = f"Linux {int(code) >> 16}.{int(code) >> 8 & 255} (linux-raw-sys {version})"
    OUT.mkdir(parents=True, exist_ok=True)
    for family, columns in FAMILIES:
        render(family, [(heading, table(crate, directory)) for heading, directory in columns], version)


main()
