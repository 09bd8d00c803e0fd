# shellcheck shell=bash disable=SC2034 # what is set here is for the scripts that source this file
# Functions that the scripts of this folder share. Sourced, never run.

top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
passed=0
failed=0
# A service manager may start a program without it; cargo and rustup need one.
export HOME=${HOME:-$(getent passwd "$EUID" | cut -d: -f6)}

# A script that ends because a command failed says where.
set -E
trap 'echo "${BASH_SOURCE[0]##*/}: line $LINENO: $BASH_COMMAND: exit code $?" >&2' ERR

if [[ -t 1 && -z ${NO_COLOR:-} ]]; then
    bold=$'\e[1m' dim=$'\e[2m' red=$'\e[31m' green=$'\e[32m' plain=$'\e[0m'
else
    bold='' dim='' red='' green='' plain=''
fi

die() {
    printf '%s: %s\n' "${0##*/}" "$*" >&2
    exit 1
}

# A check's verdicts. A part of the check ends with `finish`, whose line the caller adds up.
pass() {
    passed=$((passed + 1))
    printf '%sok%s    %s\n' "$green" "$plain" "$1"
}

# fail NAME [TEXT]: TEXT is shown indented below the name.
fail() {
    failed=$((failed + 1))
    printf '%sFAIL%s  %s\n' "$red" "$plain" "$1"
    if [[ -n ${2:-} ]]; then printf '        %s\n' "${2//$'\n'/$'\n        '}"; fi
}

# verdict NAME COMMAND…: passes when the command succeeds; its output is shown only when it fails.
verdict() {
    local name=$1 output
    shift
    if output=$("$@" 2>&1); then pass "$name"; else fail "$name" "$output"; fi
}

finish() {
    printf '%d passed, %d failed\n' "$passed" "$failed"
    if ((failed > 0 || passed == 0)); then exit 1; fi
}

# Builds all tests at once, on every processor: one by one they take twice as long.
build_tests() { (cd "$top" && cargo test --locked --quiet --no-run); }

# cargo_test ARGUMENT…: runs `cargo test` and counts its tests. No test at all is a failure, since a filter
# that matches nothing would otherwise pass for ever.
cargo_test() {
    local log ok bad ended=0
    log=$(mktemp)
    printf '%scargo test %s%s\n' "$dim" "$*" "$plain"
    (cd "$top" && cargo test --locked --quiet "$@") 2>&1 | tee "$log" || ended=1
    read -r ok bad < <(awk '/^test result:/ { ok += $4; bad += $6 } END { print ok + 0, bad + 0 }' "$log")
    rm -f "$log"
    passed=$((passed + ok))
    failed=$((failed + bad))
    if ((ended && bad == 0)); then fail "cargo test $* ended early"; fi
    if ((ok + bad == 0)); then fail "cargo test $* ran no test"; fi
}

need_root() {
    ((EUID == 0)) || die "needs root: run it with sudo"
}

# need PACKAGE…: installs Debian packages that are missing.
need() {
    local package
    local -a missing=()
    for package in "$@"; do
        [[ $(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null) == installed ]] || missing+=("$package")
    done
    ((${#missing[@]})) || return 0
    command -v apt-get >/dev/null || die "needs ${missing[*]} (names of Debian packages)"
    ((EUID == 0)) || die "needs packages that are not here; run: sudo apt-get install ${missing[*]}"
    printf '%sinstalling %s%s\n' "$dim" "${missing[*]}" "$plain"
    apt_install "${missing[@]}" || die "could not install ${missing[*]}"
}

# Waits for another apt that is at work, at most two minutes.
apt_get() {
    DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=120 "$@"
}

apt_install() {
    local log status=0
    log=$(mktemp)
    { apt_get install -y --no-install-recommends "$@" ||
        { apt_get update && apt_get install -y --no-install-recommends "$@"; }
    } >"$log" 2>&1 || status=1
    ((status == 0)) || tail -n 5 "$log" >&2
    rm -f "$log"
    return $status
}

# at_least VERSION WANTED
at_least() {
    [[ $(printf '%s\n%s\n' "$2" "$1" | sort -V | head -n 1) == "$2" ]]
}

# Makes `cargo` usable and chooses the target: musl where the toolchain has it or can fetch it, otherwise
# glibc linked statically.
toolchain() {
    local wanted musl
    wanted=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' "$top/Cargo.toml")
    PATH=$PATH:${CARGO_HOME:-$HOME/.cargo}/bin
    rust_is_new "$wanted" || install_rust "$wanted"
    command -v cc >/dev/null || need gcc libc6-dev
    [[ -z ${CARGO_BUILD_TARGET:-} ]] || return 0
    musl=$(uname -m)-unknown-linux-musl
    if [[ ! -d $(rustc --print target-libdir --target "$musl") ]] && command -v rustup >/dev/null; then
        rustup --quiet target add "$musl" || true
    fi
    if [[ -d $(rustc --print target-libdir --target "$musl") ]]; then
        export CARGO_BUILD_TARGET=$musl
    else
        echo "this Rust has no $musl: linking the C library of this machine statically instead"
        export CARGO_BUILD_TARGET=${musl%musl}gnu
        export RUSTFLAGS="-C target-feature=+crt-static -C relocation-model=static"
    fi
}

rust_is_new() {
    local version
    version=$(rustc --version 2>/dev/null | cut -d' ' -f2) && command -v cargo >/dev/null || return 1
    at_least "$version" "$1"
}

install_rust() {
    local wanted=$1 candidate
    echo "no Rust $wanted or newer here: looking for one among Debian's packages"
    ((EUID == 0)) || die "needs Rust $wanted or newer: see https://rustup.rs, or run this once as root"
    apt_get update >/dev/null
    for candidate in rustup cargo-web cargo; do
        if install_rust_from "$candidate" "$wanted"; then
            hash -r
            if rust_is_new "$wanted"; then return 0; fi
        fi
    done
    die "Debian's packages here have no Rust $wanted: install it from https://rustup.rs and start again"
}

# install_rust_from PACKAGE WANTED: rustup fetches the current toolchain; Debian's own compiler is taken only
# when new enough (the packages rustc-web and cargo-web are the ones that keep up in a stable release).
install_rust_from() {
    local version
    version=$(apt-cache policy "$1" | sed -n 's/^ *Candidate: *//p')
    case $1:$version in
    *: | *:'(none)') return 1 ;;
    rustup:*) apt_install rustup && rustup --quiet default stable ;;
    *) at_least "$version" "$2" && apt_install "$1" "rustc${1#cargo}" ;;
    esac
}

# Builds the release program; its path is in $coracle afterwards.
build_release() {
    toolchain
    (cd "$top" && cargo build --locked --release --quiet)
    coracle=${CARGO_TARGET_DIR:-$top/target}/$CARGO_BUILD_TARGET/release/coracle
}

# The program under test: $RUNTIME, or coracle, built now. In $runtime afterwards.
runtime_under_test() {
    if [[ -n ${RUNTIME:-} ]]; then
        runtime=$(command -v "$RUNTIME") || die "RUNTIME=$RUNTIME: no such program"
        runtime=$(realpath "$runtime")
    else
        build_release
        runtime=$coracle
    fi
}

# bundle_of_true DIR RUNTIME: the bundle that its `spec` describes, with a program that ends at once.
bundle_of_true() {
    "$top/contrib/bundle" "$1" "$2"
    jq '.process.args = ["/bin/true"]' "$1/config.json" >"$1/config.json.new"
    mv "$1/config.json.new" "$1/config.json"
}

# need_rounds WHERE NUMBER: of what WHERE asks for, one at least.
need_rounds() { [[ $2 =~ ^[1-9][0-9]{0,5}$ ]] || die "$1: '$2' is no number from 1 to 999999"; }

# calls_and_tasks TRACE COMMAND…: how many system calls it makes the second time, with how many tasks; the first
# time makes what others find. What strace writes stays in TRACE.
calls_and_tasks() {
    local trace=$1
    shift
    "$@" </dev/null >/dev/null
    strace --follow-forks --quiet=all --string-limit 200 --output "$trace" "$@" </dev/null >/dev/null
    # A call that another task's line interrupts has two lines, the second of which says so.
    awk '!seen[$1]++ { tasks++ }
        !/<\.\.\. [^ ]+ resumed>/ && !/^[0-9]+ +(---|\+\+\+)/ { calls++ }
        END { print calls + 0, tasks + 0 }' "$trace"
}

# Some runtimes refuse a machine that has cgroups of both versions with a controller on each. In a mount namespace
# of our own the second version is hidden, for every program that is compared. Call it first: it starts the
# script anew.
without_hybrid_cgroups() {
    [[ -z ${CORACLE_HYBRID_HIDDEN:-} && -e /sys/fs/cgroup/unified/cgroup.controllers ]] || return 0
    CORACLE_HYBRID_HIDDEN=1 exec unshare --mount bash -c \
        'mount -t tmpfs none /sys/fs/cgroup/unified && exec "$@"' bash "$0" "$@"
}
