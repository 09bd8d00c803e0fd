# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_coracle_global_optspecs
    string join \n root= log= log-format= log-level= debug systemd-cgroup cgroup-manager= rootless= criu= v/version h/help
end

function __fish_coracle_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_coracle_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_coracle_using_subcommand
    set -l cmd (__fish_coracle_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c coracle -n "__fish_coracle_needs_command" -l root -d 'Where state is kept [default: /run/coracle, rootless $XDG_RUNTIME_DIR/coracle]' -r
complete -c coracle -n "__fish_coracle_needs_command" -l log -d 'Append records to FILE' -r
complete -c coracle -n "__fish_coracle_needs_command" -l log-format -d 'Form of the records: text or json' -r -f -a "text\t''
json\t''"
complete -c coracle -n "__fish_coracle_needs_command" -l log-level -d 'Least serious record to write: error, warning, info or debug' -r -f -a "error\t''
warning\t''
warn\t''
info\t''
debug\t''"
complete -c coracle -n "__fish_coracle_needs_command" -l cgroup-manager -d 'Who makes cgroups: cgroupfs, systemd or disabled' -r -f -a "cgroupfs\t''
systemd\t''
disabled\t''"
complete -c coracle -n "__fish_coracle_needs_command" -l rootless -d 'Run without privileges: true, false or auto' -r -f -a "true\t''
false\t''
auto\t''"
complete -c coracle -n "__fish_coracle_needs_command" -l criu -d 'Accepted and not used: criu is found in $PATH' -r
complete -c coracle -n "__fish_coracle_needs_command" -l debug -d 'The same as --log-level debug'
complete -c coracle -n "__fish_coracle_needs_command" -l systemd-cgroup -d 'The same as --cgroup-manager systemd'
complete -c coracle -n "__fish_coracle_needs_command" -s v -l version -d 'Print the version'
complete -c coracle -n "__fish_coracle_needs_command" -s h -l help -d 'Print help'
complete -c coracle -n "__fish_coracle_needs_command" -f -a "create" -d 'Create a container from a bundle; its program waits for start'
complete -c coracle -n "__fish_coracle_needs_command" -f -a "start" -d 'Start the program of a created container'
complete -c coracle -n "__fish_coracle_needs_command" -f -a "run" -d 'Create a container, start it, wait for its end and delete it'
complete -c coracle -n "__fish_coracle_needs_command" -f -a "kill" -d 'Send a signal to a container\'s first process'
complete -c coracle -n "__fish_coracle_needs_command" -f -a "delete" -d 'Remove a stopped container'
complete -c coracle -n "__fish_coracle_needs_command" -f -a "exec" -d 'Run one more program in a container'
complete -c coracle -n "__fish_coracle_needs_command" -f -a "pause" -d 'Freeze every process of a container'
complete -c coracle -n "__fish_coracle_needs_command" -f -a "resume" -d 'Let a paused container run again'
complete -c coracle -n "__fish_coracle_needs_command" -f -a "update" -d 'Change the limits of a container'
complete -c coracle -n "__fish_coracle_needs_command" -f -a "state" -d 'Print the state of a container as JSON'
complete -c coracle -n "__fish_coracle_needs_command" -f -a "list" -d 'List the containers'
complete -c coracle -n "__fish_coracle_needs_command" -f -a "ps" -d 'Show the processes of a container'
complete -c coracle -n "__fish_coracle_needs_command" -f -a "spec" -d 'Write a config.json to begin with'
complete -c coracle -n "__fish_coracle_needs_command" -f -a "features" -d 'Print what this runtime implements as JSON'
complete -c coracle -n "__fish_coracle_needs_command" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c coracle -n "__fish_coracle_using_subcommand create" -s b -l bundle -d 'Directory with config.json [default: the current one]' -r
complete -c coracle -n "__fish_coracle_using_subcommand create" -l console-socket -d 'AF_UNIX socket that gets the master of the terminal' -r
complete -c coracle -n "__fish_coracle_using_subcommand create" -l pidfd-socket -d 'AF_UNIX socket that gets a pidfd of the first process' -r
complete -c coracle -n "__fish_coracle_using_subcommand create" -l pid-file -d 'Write the process id of the first process to FILE' -r
complete -c coracle -n "__fish_coracle_using_subcommand create" -l preserve-fds -d 'Pass N more file descriptors, from 3 on' -r
complete -c coracle -n "__fish_coracle_using_subcommand create" -l no-pivot -d 'Enter the root by a move mount, where pivot_root is impossible (a ramdisk)'
complete -c coracle -n "__fish_coracle_using_subcommand create" -l no-new-keyring -d 'Keep the caller\'s session keyring'
complete -c coracle -n "__fish_coracle_using_subcommand create" -s h -l help -d 'Print help'
complete -c coracle -n "__fish_coracle_using_subcommand start" -s h -l help -d 'Print help'
complete -c coracle -n "__fish_coracle_using_subcommand run" -s b -l bundle -d 'Directory with config.json [default: the current one]' -r
complete -c coracle -n "__fish_coracle_using_subcommand run" -l console-socket -d 'AF_UNIX socket that gets the master of the terminal' -r
complete -c coracle -n "__fish_coracle_using_subcommand run" -l pidfd-socket -d 'AF_UNIX socket that gets a pidfd of the first process' -r
complete -c coracle -n "__fish_coracle_using_subcommand run" -l pid-file -d 'Write the process id of the first process to FILE' -r
complete -c coracle -n "__fish_coracle_using_subcommand run" -l preserve-fds -d 'Pass N more file descriptors, from 3 on' -r
complete -c coracle -n "__fish_coracle_using_subcommand run" -l no-pivot -d 'Enter the root by a move mount, where pivot_root is impossible (a ramdisk)'
complete -c coracle -n "__fish_coracle_using_subcommand run" -l no-new-keyring -d 'Keep the caller\'s session keyring'
complete -c coracle -n "__fish_coracle_using_subcommand run" -s d -l detach -d 'Return once the program runs'
complete -c coracle -n "__fish_coracle_using_subcommand run" -l keep -d 'Keep the container after its end'
complete -c coracle -n "__fish_coracle_using_subcommand run" -l no-subreaper -d 'Do not become the reaper of the container\'s orphans'
complete -c coracle -n "__fish_coracle_using_subcommand run" -s h -l help -d 'Print help'
complete -c coracle -n "__fish_coracle_using_subcommand kill" -s a -l all -d 'Send it to every process of the container'
complete -c coracle -n "__fish_coracle_using_subcommand kill" -s h -l help -d 'Print help'
complete -c coracle -n "__fish_coracle_using_subcommand delete" -s f -l force -d 'Kill it first if it still runs'
complete -c coracle -n "__fish_coracle_using_subcommand delete" -s h -l help -d 'Print help'
complete -c coracle -n "__fish_coracle_using_subcommand exec" -s p -l process -d 'Take everything about the process from FILE, a process section as JSON' -r
complete -c coracle -n "__fish_coracle_using_subcommand exec" -l cwd -d 'Working directory' -r
complete -c coracle -n "__fish_coracle_using_subcommand exec" -s e -l env -d 'Set an environment variable (may be repeated)' -r
complete -c coracle -n "__fish_coracle_using_subcommand exec" -s u -l user -d 'Run as this user and group, given as numbers' -r
complete -c coracle -n "__fish_coracle_using_subcommand exec" -s g -l additional-gids -d 'Add a supplementary group (may be repeated)' -r
complete -c coracle -n "__fish_coracle_using_subcommand exec" -s c -l cap -d 'Add a capability (may be repeated)' -r
complete -c coracle -n "__fish_coracle_using_subcommand exec" -l process-label -d 'SELinux label' -r
complete -c coracle -n "__fish_coracle_using_subcommand exec" -l apparmor -d 'AppArmor profile' -r
complete -c coracle -n "__fish_coracle_using_subcommand exec" -l cgroup -d 'Run it in this cgroup below the container\'s (may be repeated)' -r
complete -c coracle -n "__fish_coracle_using_subcommand exec" -l preserve-fds -d 'Pass N more file descriptors, from 3 on' -r
complete -c coracle -n "__fish_coracle_using_subcommand exec" -l pid-file -d 'Write the process id to FILE' -r
complete -c coracle -n "__fish_coracle_using_subcommand exec" -l console-socket -d 'AF_UNIX socket that gets the master of the terminal' -r
complete -c coracle -n "__fish_coracle_using_subcommand exec" -l pidfd-socket -d 'AF_UNIX socket that gets a pidfd of the process' -r
complete -c coracle -n "__fish_coracle_using_subcommand exec" -s t -l tty -d 'Give it a terminal'
complete -c coracle -n "__fish_coracle_using_subcommand exec" -l no-new-privs -d 'Never let it gain privileges by execve'
complete -c coracle -n "__fish_coracle_using_subcommand exec" -l ignore-paused -d 'Do it in a paused container too'
complete -c coracle -n "__fish_coracle_using_subcommand exec" -s d -l detach -d 'Return once the program runs'
complete -c coracle -n "__fish_coracle_using_subcommand exec" -s h -l help -d 'Print help'
complete -c coracle -n "__fish_coracle_using_subcommand pause" -s h -l help -d 'Print help'
complete -c coracle -n "__fish_coracle_using_subcommand resume" -s h -l help -d 'Print help'
complete -c coracle -n "__fish_coracle_using_subcommand update" -s r -l resources -d 'Take the limits from FILE, a resources section as JSON (- for standard input)' -r
complete -c coracle -n "__fish_coracle_using_subcommand update" -l memory -d 'Memory, as 512m; -1 for no limit' -r
complete -c coracle -n "__fish_coracle_using_subcommand update" -l memory-reservation -d 'Memory that reclaim spares' -r
complete -c coracle -n "__fish_coracle_using_subcommand update" -l memory-swap -d 'Memory and swap together; -1 for no limit' -r
complete -c coracle -n "__fish_coracle_using_subcommand update" -l cpu-share -d 'Weight of its CPU time, 1024 by default' -r
complete -c coracle -n "__fish_coracle_using_subcommand update" -l cpu-period -d 'Period of the quota' -r
complete -c coracle -n "__fish_coracle_using_subcommand update" -l cpu-quota -d 'CPU time in a period; -1 for no limit' -r
complete -c coracle -n "__fish_coracle_using_subcommand update" -l cpu-burst -d 'Unused time that may be saved up' -r
complete -c coracle -n "__fish_coracle_using_subcommand update" -l cpu-idle -d '1: only run when no one else does' -r
complete -c coracle -n "__fish_coracle_using_subcommand update" -l cpu-rt-period -d 'Period of the real-time limit' -r
complete -c coracle -n "__fish_coracle_using_subcommand update" -l cpu-rt-runtime -d 'Real-time CPU time in a period' -r
complete -c coracle -n "__fish_coracle_using_subcommand update" -l cpuset-cpus -d 'CPUs to use, as 0-3,7' -r
complete -c coracle -n "__fish_coracle_using_subcommand update" -l cpuset-mems -d 'Memory nodes to use' -r
complete -c coracle -n "__fish_coracle_using_subcommand update" -l pids-limit -d 'Number of tasks; -1 for no limit' -r
complete -c coracle -n "__fish_coracle_using_subcommand update" -l blkio-weight -d 'Weight of its block I/O, 10 to 1000' -r
complete -c coracle -n "__fish_coracle_using_subcommand update" -l kernel-memory -d 'Accepted: the kernel has no such limit any more' -r
complete -c coracle -n "__fish_coracle_using_subcommand update" -l kernel-memory-tcp -d 'Memory of TCP buffers (cgroup v1)' -r
complete -c coracle -n "__fish_coracle_using_subcommand update" -l l3-cache-schema -d 'Lines for the L3 cache in its Intel RDT class' -r
complete -c coracle -n "__fish_coracle_using_subcommand update" -l mem-bw-schema -d 'Line for memory bandwidth in its Intel RDT class' -r
complete -c coracle -n "__fish_coracle_using_subcommand update" -s h -l help -d 'Print help'
complete -c coracle -n "__fish_coracle_using_subcommand state" -s h -l help -d 'Print help'
complete -c coracle -n "__fish_coracle_using_subcommand list" -s f -l format -d 'table or json' -r -f -a "table\t''
json\t''"
complete -c coracle -n "__fish_coracle_using_subcommand list" -s q -l quiet -d 'Print only the ids'
complete -c coracle -n "__fish_coracle_using_subcommand list" -s h -l help -d 'Print help'
complete -c coracle -n "__fish_coracle_using_subcommand ps" -s f -l format -d 'table or json' -r -f -a "table\t''
json\t''"
complete -c coracle -n "__fish_coracle_using_subcommand ps" -s h -l help -d 'Print help'
complete -c coracle -n "__fish_coracle_using_subcommand spec" -s b -l bundle -d 'Directory to write it into [default: the current one]' -r
complete -c coracle -n "__fish_coracle_using_subcommand spec" -l rootless -d 'For a container that an ordinary user runs'
complete -c coracle -n "__fish_coracle_using_subcommand spec" -s h -l help -d 'Print help'
complete -c coracle -n "__fish_coracle_using_subcommand features" -s h -l help -d 'Print help'
complete -c coracle -n "__fish_coracle_using_subcommand help; and not __fish_seen_subcommand_from create start run kill delete exec pause resume update state list ps spec features help" -f -a "create" -d 'Create a container from a bundle; its program waits for start'
complete -c coracle -n "__fish_coracle_using_subcommand help; and not __fish_seen_subcommand_from create start run kill delete exec pause resume update state list ps spec features help" -f -a "start" -d 'Start the program of a created container'
complete -c coracle -n "__fish_coracle_using_subcommand help; and not __fish_seen_subcommand_from create start run kill delete exec pause resume update state list ps spec features help" -f -a "run" -d 'Create a container, start it, wait for its end and delete it'
complete -c coracle -n "__fish_coracle_using_subcommand help; and not __fish_seen_subcommand_from create start run kill delete exec pause resume update state list ps spec features help" -f -a "kill" -d 'Send a signal to a container\'s first process'
complete -c coracle -n "__fish_coracle_using_subcommand help; and not __fish_seen_subcommand_from create start run kill delete exec pause resume update state list ps spec features help" -f -a "delete" -d 'Remove a stopped container'
complete -c coracle -n "__fish_coracle_using_subcommand help; and not __fish_seen_subcommand_from create start run kill delete exec pause resume update state list ps spec features help" -f -a "exec" -d 'Run one more program in a container'
complete -c coracle -n "__fish_coracle_using_subcommand help; and not __fish_seen_subcommand_from create start run kill delete exec pause resume update state list ps spec features help" -f -a "pause" -d 'Freeze every process of a container'
complete -c coracle -n "__fish_coracle_using_subcommand help; and not __fish_seen_subcommand_from create start run kill delete exec pause resume update state list ps spec features help" -f -a "resume" -d 'Let a paused container run again'
complete -c coracle -n "__fish_coracle_using_subcommand help; and not __fish_seen_subcommand_from create start run kill delete exec pause resume update state list ps spec features help" -f -a "update" -d 'Change the limits of a container'
complete -c coracle -n "__fish_coracle_using_subcommand help; and not __fish_seen_subcommand_from create start run kill delete exec pause resume update state list ps spec features help" -f -a "state" -d 'Print the state of a container as JSON'
complete -c coracle -n "__fish_coracle_using_subcommand help; and not __fish_seen_subcommand_from create start run kill delete exec pause resume update state list ps spec features help" -f -a "list" -d 'List the containers'
complete -c coracle -n "__fish_coracle_using_subcommand help; and not __fish_seen_subcommand_from create start run kill delete exec pause resume update state list ps spec features help" -f -a "ps" -d 'Show the processes of a container'
complete -c coracle -n "__fish_coracle_using_subcommand help; and not __fish_seen_subcommand_from create start run kill delete exec pause resume update state list ps spec features help" -f -a "spec" -d 'Write a config.json to begin with'
complete -c coracle -n "__fish_coracle_using_subcommand help; and not __fish_seen_subcommand_from create start run kill delete exec pause resume update state list ps spec features help" -f -a "features" -d 'Print what this runtime implements as JSON'
complete -c coracle -n "__fish_coracle_using_subcommand help; and not __fish_seen_subcommand_from create start run kill delete exec pause resume update state list ps spec features help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
