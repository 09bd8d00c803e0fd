# shellcheck shell=bash disable=SC2034 # what is set here is for the scripts that source this file
# What the checks of all engines share. Sourced, never run.
. "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"

image=local.test/busybox:1
hello=local.test/hello:1

# The script anew in a mount and a network namespace of its own: what an engine mounts, and its bridges and packet
# filters, never reach the host, and are gone with the last process. Orphans, such as the monitors of containers, get a
# parent that reaps them at once: an engine that waits for their end must not depend on this machine's pid 1.
in_private_namespaces() {
    local prctl
    [[ -z ${ENGINE_CHECK_PRIVATE:-} ]] || return 0
    need iproute2 perl-base
    case $(uname -m) in
    x86_64) prctl=157 ;;
    *) prctl=167 ;;
    esac
    # shellcheck disable=SC2016 # for perl and the inner shell
    ENGINE_CHECK_PRIVATE=1 exec unshare --mount --net perl -e '
        syscall(shift, 36, 1, 0, 0, 0) == 0 or die "PR_SET_CHILD_SUBREAPER: $!\n";
        my $child = fork // die "fork: $!\n";
        if (!$child) { exec @ARGV or die "$ARGV[0]: $!\n" }
        my ($pid, $status);
        do { $pid = wait; $status = $? } until $pid == $child;
        exit($status & 127 ? 128 + ($status & 127) : $status >> 8)' \
        $prctl bash -c 'ip link set lo up && exec "$@"' bash "$0" "$@"
}

# prepare RUNTIME: the directory of this check in $dir, the program in $runtime, and the one that engines call
# instead, which puts each call on record, in $wrapper.
prepare() {
    runtime=$(command -v "$1") || die "$1: no such program"
    # Not in TMPDIR: when paths are long, Podman's cleaning up after another user's container is not seen for 20 seconds.
    dir=$(mktemp -d /tmp/coracle-XXXXXX)
    # Roots of other users' containers are looked up in it.
    chmod 711 "$dir"
    # Not `name`: that is a title in pass, fail and verdict, and in what they call.
    mark=check-$$
    mkdir "$dir/bin" "$dir/shared"
    echo 'on the host' >"$dir/shared/file"
    wrapper=$dir/bin/runc
    write_wrapper
    mount_hierarchies
}

# A hierarchy of cgroups that somebody mounted elsewhere is one that every process is in, and containerd's shim measures
# nothing when it cannot find one of them.
mount_hierarchies() {
    local controllers
    while IFS=: read -r _ controllers _; do
        if [[ -n $controllers ]] && ! grep -qE " - cgroup [^ ]+ ([^ ]*,)?$controllers(,|\$)" /proc/self/mountinfo; then
            mkdir -p "$dir/cgroup/$controllers"
            mount -t cgroup -o "$controllers" cgroup "$dir/cgroup/$controllers"
        fi
    done </proc/self/cgroup
}

# NUL would not survive a shell: one call a line, its words quoted when they hold a space.
write_wrapper() {
    cat >"$wrapper" <<END
#!/bin/sh
call=
for word; do
    case \$word in *' '*) word="'\$word'" ;; esac
    call="\$call \$word"
done
echo "\${call# }" >>"$dir/calls"
exec "$runtime" "\$@"
END
    chmod 755 "$wrapper"
    : >"$dir/calls"
    # Engines of other users write it too.
    chmod 666 "$dir/calls"
}

# expect NAME CODE OUTPUT COMMAND…: the command ends with CODE and prints exactly OUTPUT on its standard output.
expect() {
    local name=$1 code=$2 output=$3 real_code=0 real_output
    shift 3
    real_output=$("$@" 2>"$dir/stderr" </dev/null) || real_code=$?
    if [[ $real_code == "$code" && $real_output == "$output" ]]; then
        pass "$name"
    else
        fail "$name" "exit code $real_code instead of $code, output '$real_output' instead of '$output'
$(tail -n 3 "$dir/stderr")"
    fi
}

fails() { ! "$@"; }

# ends CODE COMMAND…: the command ends with CODE.
ends() {
    local code=$1 real_code=0
    shift
    "$@" || real_code=$?
    echo "exit code $real_code instead of $code"
    ((real_code == code))
}

# says TEXT COMMAND…: the command fails with TEXT in its error.
says() {
    local text=$1
    shift
    if "$@" 2>"$dir/stderr"; then return 1; fi
    cat "$dir/stderr"
    grep -qF -- "$text" "$dir/stderr"
}

# prints PATTERN COMMAND…: the command succeeds and prints a line that matches the extended PATTERN.
prints() {
    local pattern=$1 output
    shift
    output=$("$@") || return
    echo "$output"
    grep -qE -- "$pattern" <<<"$output"
}

# eventually COMMAND…: the command succeeds within ten seconds. What engines know they know a moment later.
eventually() {
    local tries output
    for ((tries = 0; tries < 100; tries++)); do
        if output=$("$@" 2>&1); then return 0; fi
        sleep 0.1
    done
    echo "$output"
    return 1
}

# on_terminal COMMAND…: runs it, maybe a function, on a terminal of its own; it must say "a terminal" there, in a line
# that ends as a terminal's do.
on_terminal() {
    local function
    while read -r function; do export -f "${function?}"; done < <(compgen -A function)
    export dir image mark
    # Twice a carriage return: from the terminal inside, and from the one around it.
    # script starts $SHELL, which must be one that passes functions on.
    SHELL=$(command -v bash) script --quiet --return \
        --command "stty rows 31 cols 97; bash -c $(printf '%q' "$(printf '%q ' "$@")")" /dev/null </dev/null |
        tee "$dir/terminal"
    grep -q $'a terminal\r\r*$' "$dir/terminal"
}

# piped TEXT COMMAND…: some clients lose the end of their input when that comes before the program has started.
piped() {
    local text=$1
    shift
    { echo "$text" && sleep 1; } | "$@"
}

# The calls without their paths and ids, each kind once: what an engine asks of a runtime.
kinds_of_calls() {
    sed -E "s#${dir}[^ ]*#…#g; s#/(run|tmp|var|home)/[^ ]*#…#g; s#/proc/[^ ]*#…#g; s/ [0-9a-f]{64}( |\$)/ ID\\1/g
        s/ (fore|back|miss|opt|acc|$mark)[^ ]*\$/ ID/" "$dir/calls" | sort | uniq -c
}

# Each command and flag in the record is one that the runtime's own help tells of.
calls_are_known() {
    local line word words flag command text unknown=''
    local -A seen=()
    while read -r line; do
        command=''
        read -r -a words <<<"$line"
        for word in "${words[@]}"; do
            case $word in
            -*)
                word=${word%%=*}
                # A dash alone is standard input; of a word's dashes one may be missing.
                [[ $word != - && $word != -- ]] || continue
                flag=${word#-}
                [[ -z ${seen[$command $word]:-} ]] || continue
                seen[$command $word]=1
                # shellcheck disable=SC2086 # no command is no word
                text=$("$runtime" $command --help 2>&1)
                grep -qE -- "(^|[ ,])-?-?${flag#-}([ ,=<]|\$)" <<<"$text" || unknown+="$command $word"$'\n'
                ;;
            create | start | run | kill | delete | exec | pause | resume | state | list | ps | spec | features | update | \
                events | checkpoint | restore)
                command=${command:-$word}
                ;;
            esac
        done
    done <"$dir/calls"
    printf '%s' "$unknown"
    [[ -z $unknown ]]
}

# cgroup_file CONTROLLER V1NAME V2NAME PATH: the content of the file of that cgroup, whatever the version.
cgroup_file() {
    if [[ -d /sys/fs/cgroup/$1 && ! -e /sys/fs/cgroup/cgroup.controllers ]]; then
        cat "/sys/fs/cgroup/$1/$4/$2"
    else
        cat "/sys/fs/cgroup/$4/$3"
    fi
}

# Those of containers; BuildKit has a parent of its own. Others' cgroups come and go meanwhile.
cgroups_left() { find /sys/fs/cgroup -type d -path "*/$mark/*" ! -path "*/$mark/buildkit" 2>/dev/null || true; }

# cpu_limit PATH: quota and period of that cgroup.
cpu_limit() {
    local v1=/sys/fs/cgroup/cpu/$1
    if [[ -d $v1 ]]; then
        echo "$(<"$v1/cpu.cfs_quota_us") $(<"$v1/cpu.cfs_period_us")"
    else
        cat "/sys/fs/cgroup/$1/cpu.max"
    fi
}

# kill_by_path: what still runs and names this check's directory on its command line, such as shims.
kill_by_path() {
    local pid
    for pid in $(pgrep -f -- "$dir/" || true); do
        [[ $pid == "$$" || $pid == "$BASHPID" ]] || kill -KILL "$pid" 2>/dev/null || true
    done
}

# Cgroups of the name, mounts below the directory, the directory. The parent of the containers' cgroups is the engine's,
# and it leaves it. What has just been killed is still in its cgroup for a moment. The file has more names, if an engine
# cannot be told of the parent.
remove_traces() {
    eventually no_cgroup || echo "some cgroups named $mark could not be removed" >&2
    awk -v dir="$dir/" 'index($5, dir) == 1 { print $5 }' /proc/self/mountinfo | tac | xargs -r umount -l
    rm -rf "$dir"
}

no_cgroup() {
    local -a left names=("$mark")
    [[ ! -e $dir/cgroups ]] || mapfile -t -O 1 names <"$dir/cgroups"
    mapfile -t left < <(find /sys/fs/cgroup "$dir/cgroup" -depth -type d 2>/dev/null |
        grep -E "/($(tr ' ' '|' <<<"${names[*]}"))(/|\$)")
    ((${#left[@]} == 0)) || rmdir "${left[@]}" 2>/dev/null
}

# shown at the end of each check
record() {
    verdict 'the runtime knows every call and flag of the engine' calls_are_known
    printf '%scalls:%s\n' "$dim" "$plain"
    kinds_of_calls
}

# waiting NAME: a check of something that the runtime does not have yet.
waiting() { printf '%swaiting%s %s\n' "$dim" "$plain" "$1"; }
