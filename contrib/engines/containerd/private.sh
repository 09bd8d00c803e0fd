# shellcheck shell=bash disable=SC2154 # variables: assigned by lib.sh
# A containerd of the caller's own, with one image. Sourced after `prepare`, never run.
daemon=''

ctr() { timeout --foreground --kill-after 5 30 ctr --address "$dir/containerd.sock" --namespace "$mark" "$@"; }

# run OPTION… ID [COMMAND…]: a container of the image, through the runtime that is being checked.
run() {
    local -a options=()
    while [[ ${1:-} == -* ]]; do
        options+=("$1")
        shift
    done
    ctr run --runc-binary "$wrapper" "${options[@]}" "$image" "$@"
}

# /run is a file system of this check's own: some commands of ctr can be told of no other place for their state.
start_daemon() {
    mount -t tmpfs -o mode=755 tmpfs /run
    sed "s#@DIR@#$dir#" "$top/contrib/engines/containerd/check.toml" >"$dir/config.toml"
    # Next to nothing in the environment, as when a service manager starts it.
    env -i "PATH=$dir/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin" \
        containerd --config "$dir/config.toml" >"$dir/daemon.log" 2>&1 &
    daemon=$!
    eventually ctr version >/dev/null || {
        tail -n 5 "$dir/daemon.log"
        die "containerd does not answer"
    }
    "$top/contrib/image" "$dir/image.tar" "$image"
    ctr image import "$dir/image.tar" >/dev/null
}

# Also after a failure in the middle: containers, shims, daemon, files.
stop_everything() {
    local id
    if [[ -n $daemon ]]; then
        for id in $(ctr task ls --quiet 2>/dev/null); do ctr task rm --force "$id" >/dev/null 2>&1 || true; done
        for id in $(ctr container ls --quiet 2>/dev/null); do ctr container rm "$id" >/dev/null 2>&1 || true; done
        kill "$daemon" 2>/dev/null || true
        wait "$daemon" 2>/dev/null || true
    fi
    for id in /run/containerd/runc/"$mark"/*/; do
        [[ ! -d $id ]] || "$runtime" --root "$(dirname "$id")" delete --force "$(basename "$id")" || true
    done
    kill_by_path
    remove_traces
}
