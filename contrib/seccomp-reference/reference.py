#!/usr/bin/python3
"""Writes what libseccomp, driven as runc drives it, makes of profiles: NAME.FAMILY.json and NAME.FAMILY.bpf for each.

    reference.py DIRECTORY [number of random profiles]

The engines' profiles of tests/data/seccomp, for every family of architectures that both know, and random ones for x86. Random profiles keep to what libseccomp defines: at most one
rule with conditions for a call (it orders overlapping ones by a rule of its own, or refuses them) and none of
the calls that it does not map to socketcall(2) or ipc(2), nor those two. Needs Debian's python3-seccomp.
"""

import json
import pathlib
import random
import struct
import sys
import tempfile

import seccomp

ROOT = pathlib.Path(__file__).resolve().parents[2]
X32_BIT = 0x40000000
ARCHITECTURES = {
    "SCMP_ARCH_X86_64": (seccomp.Arch.X86_64, 0xC000003E),
    "SCMP_ARCH_X86": (seccomp.Arch.X86, 0x40000003),
    "SCMP_ARCH_X32": (seccomp.Arch.X32, 0xC000003E),
    "SCMP_ARCH_AARCH64": (seccomp.Arch.AARCH64, 0xC00000B7),
    "SCMP_ARCH_ARM": (seccomp.Arch.ARM, 0x40000028),
    "SCMP_ARCH_RISCV64": (seccomp.Arch.RISCV64, 0xC00000F3),
    "SCMP_ARCH_PPC64LE": (seccomp.Arch.PPC64LE, 0xC0000015),
    "SCMP_ARCH_S390X": (seccomp.Arch.S390X, 0x80000016),
}
X86 = ("SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32")
# loongarch64 is newer than libseccomp 2.5.
FAMILIES = {
    "arm": ["SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM"],
    "riscv": ["SCMP_ARCH_RISCV64"],
    "power": ["SCMP_ARCH_PPC64LE"],
    "s390": ["SCMP_ARCH_S390X"],
}
BIG_ENDIAN = ("SCMP_ARCH_S390X",)
# arm's private calls begin here: they do not tell how far a profile's knowledge goes.
ARM_PRIVATE = 0x0F0000
X32_BIT = 0x40000000
OPERATORS = {
    "SCMP_CMP_NE": seccomp.NE,
    "SCMP_CMP_LT": seccomp.LT,
    "SCMP_CMP_LE": seccomp.LE,
    "SCMP_CMP_EQ": seccomp.EQ,
    "SCMP_CMP_GE": seccomp.GE,
    "SCMP_CMP_GT": seccomp.GT,
    "SCMP_CMP_MASKED_EQ": seccomp.MASKED_EQ,
}
PERMISSIVE = ("SCMP_ACT_ALLOW", "SCMP_ACT_LOG", "SCMP_ACT_TRACE")
UNMAPPED = ("accept", "send", "recv", "semop", "semtimedop", "socketcall", "ipc")
# x32 has it in the kernel's list, not in libseccomp's.
DIFFERENT = ("map_shadow_stack",)


def action(word, errno):
    errno = 1 if errno is None else errno
    return {
        "SCMP_ACT_ALLOW": seccomp.ALLOW,
        "SCMP_ACT_KILL": seccomp.KILL,
        "SCMP_ACT_KILL_THREAD": seccomp.KILL,
        "SCMP_ACT_KILL_PROCESS": seccomp.KILL_PROCESS,
        "SCMP_ACT_TRAP": seccomp.TRAP,
        "SCMP_ACT_LOG": seccomp.LOG,
        "SCMP_ACT_ERRNO": seccomp.ERRNO(errno),
        "SCMP_ACT_TRACE": seccomp.TRACE(errno),
    }[word]


def resolve(arch, name):
    try:
        return seccomp.resolve_syscall(arch, name)
    except ValueError:
        return -1


def compile_profile(profile):
    default = action(profile["defaultAction"], profile.get("defaultErrnoRet"))
    filter_ = seccomp.SyscallFilter(default)
    listed = profile.get("architectures") or []
    if listed and listed[0] not in X86:
        filter_.remove_arch(seccomp.Arch.NATIVE)
    for word in listed:
        if not filter_.exist_arch(ARCHITECTURES[word][0]):
            filter_.add_arch(ARCHITECTURES[word][0])
    for rule in profile.get("syscalls") or []:
        value = action(rule["action"], rule.get("errnoRet"))
        if value == default:
            continue
        args = [
            seccomp.Arg(a["index"], OPERATORS[a["op"]], a["value"], *([a.get("valueTwo", 0)] if "MASKED" in a["op"] else []))
            for a in rule.get("args") or []
        ]
        indices = [a["index"] for a in rule.get("args") or []]
        for name in rule["names"]:
            if resolve(seccomp.Arch.X86_64, name) == -1:
                continue
            if len(set(indices)) < len(indices):
                for arg in args:
                    filter_.add_rule(value, name, arg)
            else:
                filter_.add_rule(value, name, *args)
    with tempfile.TemporaryFile() as file:
        filter_.export_bpf(file)
        file.seek(0)
        program = file.read()
    if listed and listed[0] in BIG_ENDIAN:
        program = b"".join(map(swap, struct.iter_unpack(">HBBI", program)))
    return stub(profile, listed) + program


def swap(instruction):
    """To this machine's order of bytes, in which libseccomp leaves some actions."""
    code, jump_true, jump_false, value = instruction
    if code & 7 == 6 and (value >> 16 not in (0, 3, 5, 0x7FC0, 0x7FF0, 0x7FFC, 0x7FFF, 0x8000) or 0 < value < 0x10000):
        value = int.from_bytes(value.to_bytes(4, "big"), "little")
    return struct.pack("<HBBI", code, jump_true, jump_false, value)


def stub(profile, listed):
    """ENOSYS for calls of listed architectures above the highest number that the profile names."""
    if profile["defaultAction"] in PERMISSIVE:
        return b""
    names = [name for rule in profile.get("syscalls") or [] for name in rule["names"]]
    code = b""
    for word in listed:
        arch, audit = ARCHITECTURES[word]
        # Multiplexed calls resolve to the multiplexer; most have numbers of their own, too.
        numbers = [resolve(arch, name) for name in names] + [DIRECT.get((word, name), -1) for name in names]
        last = max((number for number in numbers if number & ~X32_BIT < ARM_PRIVATE), default=-1)
        if last < 0:
            continue
        body = [(0x20, 0, 0, 0)]
        if word == "SCMP_ARCH_X32":
            body += [(0x45, 0, 2, X32_BIT)]
        if word == "SCMP_ARCH_X86_64":
            body += [(0x45, 2, 0, X32_BIT)]
        body += [(0x25, 0, 1, last), (0x06, 0, 0, 0x50026)]
        instructions = [(0x20, 0, 0, 4), (0x15, 0, len(body), audit)] + body
        code += b"".join(struct.pack("<HBBI", *instruction) for instruction in instructions)
    return code


# socketcall(2)'s and ipc(2)'s calls with numbers of their own on x86 (Linux 4.3 and 5.1).
DIRECT = {("SCMP_ARCH_X86", name): number for name, number in {
    "recvmmsg": 337, "sendmmsg": 345, "socket": 359, "socketpair": 360, "bind": 361, "connect": 362, "listen": 363,
    "accept4": 364, "getsockopt": 365, "setsockopt": 366, "getsockname": 367, "getpeername": 368, "sendto": 369,
    "sendmsg": 370, "recvfrom": 371, "recvmsg": 372, "shutdown": 373, "semget": 393, "semctl": 394, "shmget": 395,
    "shmctl": 396, "shmat": 397, "shmdt": 398, "msgget": 399, "msgsnd": 400, "msgrcv": 401, "msgctl": 402,
}.items()}


def random_profile(rng, names):
    actions = ["SCMP_ACT_ALLOW", "SCMP_ACT_KILL", "SCMP_ACT_KILL_PROCESS", "SCMP_ACT_TRAP", "SCMP_ACT_ERRNO",
               "SCMP_ACT_TRACE", "SCMP_ACT_LOG"]
    values = [0, 1, 2, 16, 2**31, 2**32 - 1, 2**32, 2**32 + 1, 2**40, 2**63, 2**64 - 1]
    value = lambda: rng.choice(values) if rng.random() < 0.7 else rng.getrandbits(rng.choice([8, 32, 64]))

    def errno(entry, key, word):
        if word in ("SCMP_ACT_ERRNO", "SCMP_ACT_TRACE") and rng.random() < 0.5:
            entry[key] = rng.choice([0, 1, 38, 4095])

    default = rng.choice(actions)
    profile = {"defaultAction": default, "syscalls": []}
    errno(profile, "defaultErrnoRet", default)
    if rng.random() < 0.8:
        profile["architectures"] = [word for word in X86 if rng.random() < 0.7]
    conditional = set()
    for _ in range(rng.randrange(12)):
        word = rng.choice(actions)
        rule = {"names": rng.sample(names, rng.choice([1, 2, 5, 100])), "action": word}
        errno(rule, "errnoRet", word)
        if rng.random() < 0.5:
            rule["names"] = [name for name in rule["names"] if name not in conditional][:5] or ["no_such_call"]
            conditional.update(rule["names"])
            rule["args"] = [
                {"index": i, "op": rng.choice(list(OPERATORS)), "value": value(), "valueTwo": value()}
                for i in rng.sample(range(6), rng.choice([1, 1, 2, 3]))
            ]
        profile["syscalls"].append(rule)
    return profile


def main():
    directory = pathlib.Path(sys.argv[1])
    directory.mkdir(parents=True, exist_ok=True)
    profiles = {path.stem: json.loads(path.read_text()) for path in (ROOT / "tests/data/seccomp").glob("*.json")}
    for name, profile in list(profiles.items()):
        for family, words in FAMILIES.items():
            profiles[f"{name}.{family}"] = profile | {"architectures": words}
        profiles[f"{name}.x86"] = profiles.pop(name)
    names = set()
    for arch in (seccomp.Arch.X86_64, seccomp.Arch.X86):
        for number in range(600):
            try:
                name = seccomp.resolve_syscall(arch, number)
            except ValueError:
                continue
            names.add(name.decode() if isinstance(name, bytes) else name)
    names = sorted(names - set(UNMAPPED) - set(DIFFERENT))
    for seed in range(int(sys.argv[2]) if len(sys.argv) > 2 else 0):
        profiles[f"random-{seed}.x86"] = random_profile(random.Random(seed), names)
    refused = 0
    for name, profile in profiles.items():
        try:
            program = compile_profile(profile)
        except RuntimeError:
            # EEXIST: two rules for one call of a multiplexer.
            if not name.startswith("random"):
                raise
            refused += 1
            continue
        (directory / f"{name}.json").write_text(json.dumps(profile))
        (directory / f"{name}.bpf").write_bytes(program)
    print(f"{len(profiles) - refused} profiles, {refused} random ones refused by libseccomp")


main()
