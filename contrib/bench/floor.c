/* floor [--docker BUNDLE] ROOTFS CGROUP COMMAND…: what the kernel charges for one run of the bundle that `spec` writes, and nothing
 * else: clone, cgroups, mounts, devices, masks, pivot, credentials, execve, wait, removal. No configuration is read, no state
 * is kept, nothing is checked twice. Below this a runtime cannot go; how near it comes is the figure of interest.
 * CGROUP is the name of the container's cgroup. ROOTFS has bin, dev, proc and sys. With --docker it is what Docker's usual
 * bundle adds to that: three files of BUNDLE bound over files of etc, two sysctls and a filter of as many instructions as coracle's.
 * With $TIMINGS it appends to that file what coracle's --timings does. */
#define _GNU_SOURCE
#include <dirent.h>
#include <err.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define CGROUPS "/sys/fs/cgroup"
#define COUNT(array) (sizeof(array) / sizeof *(array))
#define MUST(call) ((long)(call) < 0 ? (err(1, "%s", #call), 0) : 0)

enum { QUIET = MS_NOSUID | MS_NOEXEC | MS_NODEV };

static char hierarchies[16][64]; /* of version 1; none on a machine with version 2 alone */
static size_t hierarchy_count;
static const char *cgroup;
static const char *docker; /* its bundle */
static int timings = -1;

static void mark(const char *phase)
{
	struct timespec now;
	char line[128];
	int length;

	if (timings < 0)
		return;
	clock_gettime(CLOCK_MONOTONIC, &now);
	length = snprintf(line, sizeof line, "{\"at\":%lld.%06ld,\"pid\":%d,\"phase\":\"%s\"}\n", (long long)now.tv_sec,
			  now.tv_nsec / 1000, getpid(), phase);
	MUST(write(timings, line, length));
}

static void write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	MUST(fd);
	MUST(write(fd, text, strlen(text)));
	close(fd);
}

static void find_hierarchies(void)
{
	DIR *dir = opendir(CGROUPS);
	struct dirent *entry;
	char path[PATH_MAX];

	if (!dir)
		err(1, CGROUPS);
	while ((entry = readdir(dir)) && hierarchy_count < COUNT(hierarchies)) {
		snprintf(path, sizeof path, CGROUPS "/%s/tasks", entry->d_name);
		if (entry->d_type == DT_DIR && entry->d_name[0] != '.' && access(path, F_OK) == 0)
			snprintf(hierarchies[hierarchy_count++], sizeof *hierarchies, "%.63s", entry->d_name);
	}
	closedir(dir);
}

static void inherit(const char *hierarchy, const char *file)
{
	char path[PATH_MAX], text[256];
	ssize_t n;
	int fd;

	snprintf(path, sizeof path, CGROUPS "/%s/%s", hierarchy, file);
	MUST(fd = open(path, O_RDONLY | O_CLOEXEC));
	MUST(n = read(fd, text, sizeof text - 1));
	close(fd);
	text[n] = 0;
	snprintf(path, sizeof path, CGROUPS "/%s/%s/%s", hierarchy, cgroup, file);
	write_file(path, text);
}

static void allow_devices(const char *hierarchy)
{
	static const char *const rules[] = { "c *:* m",   "b *:* m",   "c 1:3 rwm", "c 1:5 rwm",   "c 1:7 rwm",
					     "c 1:8 rwm", "c 1:9 rwm", "c 5:0 rwm", "c 136:* rwm", "c 5:2 rwm" };
	char path[PATH_MAX];
	int fd;

	snprintf(path, sizeof path, CGROUPS "/%s/%s/devices.deny", hierarchy, cgroup);
	write_file(path, "a");
	snprintf(path, sizeof path, CGROUPS "/%s/%s/devices.allow", hierarchy, cgroup);
	MUST(fd = open(path, O_WRONLY | O_CLOEXEC));
	for (size_t i = 0; i < COUNT(rules); i++)
		MUST(write(fd, rules[i], strlen(rules[i])));
	close(fd);
}

/* A descriptor of the cgroup of version 2, or -1. */
static int make_cgroups(void)
{
	char path[PATH_MAX];
	int fd;

	for (size_t i = 0; i < hierarchy_count; i++) {
		snprintf(path, sizeof path, CGROUPS "/%s/%s", hierarchies[i], cgroup);
		MUST(mkdir(path, 0755));
		if (!strcmp(hierarchies[i], "cpuset")) {
			inherit("cpuset", "cpuset.cpus");
			inherit("cpuset", "cpuset.mems");
		} else if (!strcmp(hierarchies[i], "devices")) {
			allow_devices("devices");
		}
	}
	if (hierarchy_count)
		return -1;
	snprintf(path, sizeof path, CGROUPS "/%s", cgroup);
	MUST(mkdir(path, 0755));
	MUST(fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC));
	return fd;
}

static void remove_cgroups(void)
{
	char path[PATH_MAX];

	for (size_t i = 0; i < hierarchy_count; i++) {
		snprintf(path, sizeof path, CGROUPS "/%s/%s", hierarchies[i], cgroup);
		MUST(rmdir(path));
	}
	snprintf(path, sizeof path, CGROUPS "/%s", cgroup);
	if (!hierarchy_count)
		MUST(rmdir(path));
}

/* One thread that moves itself: a write of a pid to cgroup.procs would wait for an RCU grace period. */
static void join_cgroups(void)
{
	char path[PATH_MAX];

	for (size_t i = 0; i < hierarchy_count; i++) {
		snprintf(path, sizeof path, CGROUPS "/%s/%s/tasks", hierarchies[i], cgroup);
		write_file(path, "0");
	}
}

static void mount_cgroups(void)
{
	char from[PATH_MAX], to[PATH_MAX];

	if (!hierarchy_count) {
		MUST(mount("cgroup", "sys/fs/cgroup", "cgroup2", QUIET | MS_RDONLY, NULL));
		return;
	}
	MUST(mount("tmpfs", "sys/fs/cgroup", "tmpfs", QUIET, "mode=755"));
	for (size_t i = 0; i < hierarchy_count; i++) {
		snprintf(from, sizeof from, CGROUPS "/%s/%s", hierarchies[i], cgroup);
		snprintf(to, sizeof to, "sys/fs/cgroup/%s", hierarchies[i]);
		MUST(mkdir(to, 0755));
		MUST(mount(from, to, NULL, MS_BIND, NULL));
		MUST(mount(NULL, to, NULL, MS_BIND | MS_REMOUNT | MS_RDONLY | QUIET, NULL));
	}
	MUST(mount(NULL, "sys/fs/cgroup", NULL, MS_BIND | MS_REMOUNT | MS_RDONLY | QUIET, NULL));
}

static void fill_dev(void)
{
	static const struct {
		const char *path;
		int major, minor;
	} nodes[] = { { "dev/null", 1, 3 },   { "dev/zero", 1, 5 },    { "dev/full", 1, 7 },
		      { "dev/random", 1, 8 }, { "dev/urandom", 1, 9 }, { "dev/tty", 5, 0 } };
	static const char *const links[][2] = { { "/proc/self/fd", "dev/fd" },
						{ "/proc/self/fd/0", "dev/stdin" },
						{ "/proc/self/fd/1", "dev/stdout" },
						{ "/proc/self/fd/2", "dev/stderr" },
						{ "pts/ptmx", "dev/ptmx" } };

	umask(0);
	for (size_t i = 0; i < COUNT(nodes); i++)
		MUST(mknod(nodes[i].path, S_IFCHR | 0666, makedev(nodes[i].major, nodes[i].minor)));
	for (size_t i = 0; i < COUNT(links); i++)
		MUST(symlink(links[i][0], links[i][1]));
	umask(022);
}

static void bind_files(void)
{
	static const char *const names[] = { "resolv.conf", "hostname", "hosts" };
	char from[PATH_MAX], to[PATH_MAX];

	for (size_t i = 0; i < COUNT(names); i++) {
		snprintf(from, sizeof from, "%s/%s", docker, names[i]);
		snprintf(to, sizeof to, "etc/%s", names[i]);
		MUST(mount(from, to, NULL, MS_BIND | MS_REC, NULL));
	}
}

/* Where the numbers from LOW to HIGH lead, `at` being the place of the first instruction: a search that halves them. Gives the place
 * after the last one. */
static size_t fill_filter(struct sock_filter *code, size_t at, unsigned low, unsigned high)
{
	unsigned middle = (low + high + 1) / 2;
	size_t upper;

	if (low == high) {
		code[at] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
		return at + 1;
	}
	upper = fill_filter(code, at + 1, low, middle - 1);
	code[at] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, middle * 4, upper - at - 1, 0);
	return fill_filter(code, upper, middle, high);
}

/* Allows everything: 112 ranges of numbers, found as fast as can be, in as many instructions as coracle needs for Docker's profile.
 * The kernel tries a filter with each number when it is loaded, so that a hundred instructions one after another cost it four times
 * as much. */
static void load_filter(void)
{
	struct sock_filter code[224];
	struct sock_fprog program = { COUNT(code), code };

	code[0] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr));
	fill_filter(code, 1, 0, COUNT(code) / 2 - 1);
	MUST(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program));
}

static void enter_root(const char *rootfs)
{
	MUST(mount("", "/", NULL, MS_SLAVE | MS_REC, NULL));
	MUST(mount(rootfs, rootfs, NULL, MS_BIND | MS_REC, NULL));
	MUST(chdir(rootfs));
	MUST(mount("proc", "proc", "proc", 0, NULL));
	MUST(mount("tmpfs", "dev", "tmpfs", MS_NOSUID | MS_STRICTATIME, "mode=755,size=65536k"));
	MUST(mkdir("dev/pts", 0755));
	MUST(mount("devpts", "dev/pts", "devpts", MS_NOSUID | MS_NOEXEC, "newinstance,ptmxmode=0666,mode=0620,gid=5"));
	MUST(mkdir("dev/shm", 0755));
	MUST(mount("shm", "dev/shm", "tmpfs", QUIET, "mode=1777,size=65536k"));
	MUST(mkdir("dev/mqueue", 0755));
	MUST(mount("mqueue", "dev/mqueue", "mqueue", QUIET, NULL));
	MUST(mount("sysfs", "sys", "sysfs", QUIET | MS_RDONLY, NULL));
	mount_cgroups();
	if (docker)
		bind_files();
	mark("mounts");
	fill_dev();
	mark("devices");
	MUST(syscall(SYS_pivot_root, ".", "."));
	MUST(umount2(".", MNT_DETACH));
	MUST(chdir("/"));
	if (!docker)
		MUST(mount(NULL, "/", NULL, MS_BIND | MS_REMOUNT | MS_RDONLY, NULL));
	mark("pivoted");
}

static void mask(void)
{
	static const char *const readonly[] = { "/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger" };
	static const char *const masked[] = { "/proc/acpi", "/proc/asound", "/proc/kcore", "/proc/keys",
					      "/proc/latency_stats", "/proc/timer_list", "/proc/timer_stats",
					      "/proc/sched_debug", "/sys/firmware", "/proc/scsi" };
	struct stat status;

	for (size_t i = 0; i < COUNT(readonly); i++)
		if (mount(readonly[i], readonly[i], NULL, MS_BIND | MS_REC, NULL) == 0)
			MUST(mount(NULL, readonly[i], NULL, MS_BIND | MS_REMOUNT | MS_RDONLY, NULL));
	for (size_t i = 0; i < COUNT(masked); i++) {
		if (stat(masked[i], &status) < 0)
			continue;
		if (S_ISDIR(status.st_mode))
			MUST(mount("tmpfs", masked[i], "tmpfs", MS_RDONLY, "nr_blocks=1,nr_inodes=1"));
		else
			MUST(mount("/dev/null", masked[i], NULL, MS_BIND, NULL));
	}
}

static void drop_privileges(void)
{
	const uint32_t kept = 1u << CAP_KILL | 1u << CAP_NET_BIND_SERVICE | 1u << CAP_AUDIT_WRITE;
	struct __user_cap_header_struct header = { _LINUX_CAPABILITY_VERSION_3, 0 };
	struct __user_cap_data_struct sets[2] = { { kept, kept, 0 }, { 0, 0, 0 } };
	struct rlimit files = { 1024, 1024 };

	MUST(setrlimit(RLIMIT_NOFILE, &files));
	for (int capability = 0; capability <= CAP_LAST_CAP; capability++)
		if (capability > 31 || !(kept >> capability & 1))
			prctl(PR_CAPBSET_DROP, capability, 0, 0, 0);
	MUST(setgroups(0, NULL));
	MUST(setresgid(0, 0, 0));
	MUST(setresuid(0, 0, 0));
	MUST(syscall(SYS_capset, &header, sets));
	MUST(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
}

/* The loopback device of a new network namespace, which every runtime sets up. */
static void set_loopback_up(void)
{
	struct ifreq request = { .ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING };
	int fd;

	MUST(fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
	MUST(ioctl(fd, SIOCSIFFLAGS, &request));
	close(fd);
}

static void be_the_container(const char *rootfs, char **command)
{
	char *environment[] = { "PATH=/bin", "TERM=xterm", NULL };

	mark("begin");
	join_cgroups();
	mark("cgroups joined");
	MUST(setsid());
	MUST(sethostname("floor", 5));
	set_loopback_up();
	mark("namespaces entered");
	enter_root(rootfs);
	if (docker) {
		write_file("/proc/sys/net/ipv4/ip_unprivileged_port_start", "0");
		write_file("/proc/sys/net/ipv4/ping_group_range", "0 2147483647");
	}
	mask();
	mark("masks");
	drop_privileges();
	if (docker)
		load_filter();
	mark("privileges dropped");
	execve(command[0], command, environment);
	err(127, "%s", command[0]);
}

int main(int argc, char **argv)
{
	struct clone_args args = { .flags = CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWNET,
				   .exit_signal = SIGCHLD };
	int status, directory;
	long pid;

	if (argc > 2 && !strcmp(argv[1], "--docker")) {
		docker = argv[2];
		argv += 2;
		argc -= 2;
	}
	if (argc < 4)
		errx(2, "usage: floor [--docker BUNDLE] ROOTFS CGROUP COMMAND…");
	if (getenv("TIMINGS"))
		MUST(timings = open(getenv("TIMINGS"), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644));
	mark("begin");
	cgroup = argv[2];
	find_hierarchies();
	directory = make_cgroups();
	if (directory >= 0) {
		args.flags |= CLONE_NEWCGROUP | CLONE_INTO_CGROUP;
		args.cgroup = directory;
	}
	mark("cgroups made");
	MUST(pid = syscall(SYS_clone3, &args, sizeof args));
	if (pid == 0)
		be_the_container(argv[1], argv + 3);
	mark("init made");
	MUST(waitpid(pid, &status, 0));
	mark("program ended");
	remove_cgroups();
	mark("deleted");
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
