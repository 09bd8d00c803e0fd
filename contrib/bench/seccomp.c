/* Times what a system call filter costs: libseccomp's compilation, the kernel's loading, and calls under it.
 *
 *     seccomp RULES DIRECTORY NAME=PROGRAM…
 *
 * RULES has the default action's errno, then the architectures, then a line for each rule of each call: NAME ACTION ERRNO
 * and up to six times INDEX OP VALUE VALUETWO. libseccomp compiles it linear and as a tree; the programs go
 * into DIRECTORY. Each NAME=PROGRAM is another filter to load and call under. Output: a line `NAME KEY VALUE…` for
 * each figure, times in nanoseconds, minimum and median. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <seccomp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { COMPILATIONS = 15, LOADS = 300, SAMPLES = 40, CALLS = 5000, LONGEST = 65536 };

static void check(int good, const char *what)
{
    if (!good) {
        perror(what);
        exit(1);
    }
}

static long now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000L + t.tv_nsec;
}

static int ascending(const void *a, const void *b)
{
    long x = *(const long *)a, y = *(const long *)b;
    return (x > y) - (x < y);
}

static void tell(const char *name, const char *key, long *times, int count, double each)
{
    qsort(times, count, sizeof *times, ascending);
    printf("%s %s %.1f %.1f\n", name, key, times[0] / each, times[count / 2] / each);
}

static scmp_filter_ctx compile(const char *rules, int tree)
{
    FILE *file = fopen(rules, "r");
    check(file != NULL, rules);
    int error;
    char word[64], architectures[256];
    check(fscanf(file, "%d %255s", &error, architectures) == 2, "first lines");
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ERRNO(error));
    check(filter != NULL, "seccomp_init");
    if (tree)
        check(seccomp_attr_set(filter, SCMP_FLTATR_CTL_OPTIMIZE, 2) == 0, "optimize");
    char *rest = architectures;
    for (char *arch; (arch = strsep(&rest, ",")) != NULL;) {
        uint32_t token = seccomp_arch_resolve_name(arch);
        check(token != 0, arch);
        if (seccomp_arch_exist(filter, token) == -EEXIST)
            check(seccomp_arch_add(filter, token) == 0, arch);
    }
    char action[64];
    int count;
    while (fscanf(file, "%63s %63s %d %d", word, action, &error, &count) == 4) {
        struct scmp_arg_cmp args[6];
        for (int i = 0; i < count; i++) {
            unsigned index;
            int op;
            unsigned long long value, two;
            check(fscanf(file, "%u %d %llu %llu", &index, &op, &value, &two) == 4, "argument");
            args[i] = (struct scmp_arg_cmp){ index, op, value, two };
        }
        int number = seccomp_syscall_resolve_name(word);
        if (number == __NR_SCMP_ERROR)
            continue;
        uint32_t what = strcmp(action, "SCMP_ACT_ALLOW") == 0 ? SCMP_ACT_ALLOW : SCMP_ACT_ERRNO(error);
        check(seccomp_rule_add_array(filter, what, number, count, args) == 0, word);
    }
    fclose(file);
    return filter;
}

static void time_compilation(const char *rules, int tree, const char *name, const char *path)
{
    static char discarded[LONGEST * 8];
    long times[COMPILATIONS];
    for (int i = 0; i < COMPILATIONS; i++) {
        int memory = memfd_create("program", 0);
        long start = now();
        scmp_filter_ctx filter = compile(rules, tree);
        check(seccomp_export_bpf(filter, memory) == 0, "export");
        times[i] = now() - start;
        seccomp_release(filter);
        lseek(memory, 0, SEEK_SET);
        ssize_t length = read(memory, discarded, sizeof discarded);
        int file = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644);
        check(write(file, discarded, length) == length, path);
        close(file);
        close(memory);
    }
    tell(name, "compile", times, COMPILATIONS, 1);
}

/* Of Docker's profile: allowed whatever the arguments. */
static void allowed(int i)
{
    (void)i;
    syscall(SYS_getppid);
}

/* Allowed for five values of the argument; this is the last. */
static void personality(int i)
{
    (void)i;
    syscall(SYS_personality, 0xffffffffUL);
}

/* Allowed for all families but one: the kernel knows none of this number. */
static void family(int i)
{
    (void)i;
    syscall(SYS_socket, 9999, 0, 0);
}

/* Denied, without harm if they were not: no argument means anything. */
static const int denied_calls[] = {
    SYS_acct, SYS_add_key, SYS_bpf, SYS_delete_module, SYS_fanotify_init, SYS_init_module, SYS_kexec_load, SYS_keyctl,
    SYS_lookup_dcookie, SYS_mount, SYS_move_mount, SYS_move_pages, SYS_open_by_handle_at, SYS_perf_event_open,
    SYS_pivot_root, SYS_quotactl, SYS_request_key, SYS_setns, SYS_swapoff, SYS_swapon, SYS_umount2, SYS_userfaultfd,
};

static void denied(int i)
{
    syscall(denied_calls[i % (sizeof denied_calls / sizeof *denied_calls)], -1, -1, -1, -1, -1, -1);
}

/* Newer than any profile: ENOSYS. */
static void newer(int i)
{
    (void)i;
    syscall(4000);
}

static const struct {
    const char *key;
    void (*call)(int);
} kinds[] = { { "allowed", allowed }, { "personality", personality }, { "socket", family }, { "denied", denied }, { "newer", newer } };
enum { KINDS = sizeof kinds / sizeof *kinds };

static struct sock_fprog read_program(const char *path)
{
    struct sock_fprog program = { 0, malloc(LONGEST * 8) };
    int file = open(path, O_RDONLY);
    check(file >= 0, path);
    program.len = read(file, program.filter, LONGEST * 8) / 8;
    close(file);
    return program;
}

static void load(const struct sock_fprog *program)
{
    check(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0, "no_new_privs");
    check(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, program) == 0, "load");
}

static void wait_for(pid_t child)
{
    int status;
    check(waitpid(child, &status, 0) == child && status == 0, "child");
}

static void time_loading(const char *name, const struct sock_fprog *program, long *shared)
{
    for (int i = 0; i < LOADS; i++) {
        pid_t child = fork();
        if (child == 0) {
            check(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0, "no_new_privs");
            long start = now();
            long result = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, program);
            shared[i] = now() - start;
            _exit(result != 0);
        }
        wait_for(child);
    }
    tell(name, "load", shared, LOADS, 1);
}

/* One sample of every kind of call under a filter (or none), in a process of its own. */
static void sample(const struct sock_fprog *program, long *times)
{
    pid_t child = fork();
    if (child == 0) {
        if (program->len > 0)
            load(program);
        for (int kind = 0; kind < KINDS; kind++) {
            long start = now();
            for (int i = 0; i < CALLS; i++)
                kinds[kind].call(i);
            times[kind] = now() - start;
        }
        _exit(0);
    }
    wait_for(child);
}

int main(int argc, char **argv)
{
    check(argc >= 3, "usage: seccomp RULES DIRECTORY NAME=PROGRAM...");
    static struct sock_fprog programs[16];
    static const char *names[16] = { "none" };
    static char linear[4096], tree[4096];
    snprintf(linear, sizeof linear, "%s/linear.bpf", argv[2]);
    snprintf(tree, sizeof tree, "%s/tree.bpf", argv[2]);
    time_compilation(argv[1], 0, "linear", linear);
    time_compilation(argv[1], 1, "tree", tree);
    int count = 1;
    names[count] = "linear", programs[count++] = read_program(linear);
    names[count] = "tree", programs[count++] = read_program(tree);
    for (int i = 3; i < argc && count < 16; i++) {
        char *path = strchr(argv[i], '=');
        check(path != NULL, argv[i]);
        *path++ = 0;
        names[count] = argv[i], programs[count++] = read_program(path);
    }
    size_t size = (LOADS + KINDS) * sizeof(long);
    long *shared = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    static long times[16][KINDS][SAMPLES];
    /* Turn by turn, so that a noisy moment hits all alike. */
    for (int i = 0; i < SAMPLES; i++)
        for (int filter = 0; filter < count; filter++) {
            sample(&programs[filter], shared);
            for (int kind = 0; kind < KINDS; kind++)
                times[filter][kind][i] = shared[kind];
        }
    for (int filter = 0; filter < count; filter++) {
        for (int kind = 0; kind < KINDS; kind++)
            tell(names[filter], kinds[kind].key, times[filter][kind], SAMPLES, CALLS);
        if (programs[filter].len > 0) {
            printf("%s instructions %d %d\n", names[filter], programs[filter].len, programs[filter].len);
            fflush(stdout);
            time_loading(names[filter], &programs[filter], shared);
        }
    }
    return 0;
}
