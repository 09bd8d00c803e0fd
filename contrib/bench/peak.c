/* peak COMMAND…: runs it, and prints on standard error the peak of its resident memory in KiB. That comes from /proc when the
 * program is about to exit, where the kernel adds it up; what wait4 tells, and the figure of the children that the program itself
 * waited for, may be wrong by 32 pages for each processor and kind of memory (since Linux 6.2). Those count where they are larger
 * by more than that. Without a command it prints its own figure.
 * A child's figure begins with its parent's, so this program is as small as can be: no C library, and a vfork. */
#include <asm/unistd.h>
#include <linux/ptrace.h>
#include <linux/resource.h>

static long call(long n, long a, long b, long c, long d)
{
	long r;
#if defined(__x86_64__)
	register long r10 __asm__("r10") = d;
	__asm__ volatile("syscall" : "=a"(r) : "a"(n), "D"(a), "S"(b), "d"(c), "r"(r10) : "rcx", "r11", "memory");
#elif defined(__aarch64__)
	register long x8 __asm__("x8") = n, x0 __asm__("x0") = a, x1 __asm__("x1") = b;
	register long x2 __asm__("x2") = c, x3 __asm__("x3") = d;
	__asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3) : "memory");
	r = x0;
#else
#error "no system call instruction is written down for this architecture"
#endif
	return r;
}

static void print(long n)
{
	char text[24];
	int i = sizeof text;
	text[--i] = '\n';
	do
		text[--i] = '0' + n % 10;
	while (n /= 10);
	call(__NR_write, 2, (long)(text + i), sizeof text - i, 0);
}

enum { VM = 0x100, VFORK = 0x4000, SIGTRAP = 5, SIGCHLD = 17, AT_CWD = -100, UNCERTAIN = 512 };

/* VmHWM in /proc/PID/status, KiB; 0 if it is not there. */
static long high_water(long pid)
{
	static char text[8192];
	char path[32] = "/proc/", digits[12], *end = path + 6;
	const char *rest = "/status", *name = "\nVmHWM:";
	long file, length, n = 0, i, j;

	for (i = 0; i == 0 || pid > 0; pid /= 10)
		digits[i++] = '0' + pid % 10;
	while (i > 0)
		*end++ = digits[--i];
	while ((*end++ = *rest++))
		;
	file = call(__NR_openat, AT_CWD, (long)path, 0, 0);
	length = call(__NR_read, file, (long)text, sizeof text - 1, 0);
	call(__NR_close, file, 0, 0, 0);
	for (i = 0; i < length; i++) {
		for (j = 0; name[j] && text[i + j] == name[j]; j++)
			;
		if (!name[j]) {
			for (i += j; text[i] == ' ' || text[i] == '\t'; i++)
				;
			for (; text[i] >= '0' && text[i] <= '9'; i++)
				n = n * 10 + text[i] - '0';
			return n;
		}
	}
	return 0;
}

/* Follows the program PID to its end; its peak. */
static long follow(long pid, int *status, struct rusage *usage)
{
	long peak = 0;
	int options = 0;

	while (call(__NR_wait4, pid, (long)status, 0, (long)usage) == pid && (*status & 0xff) == 0x7f) {
		long signal = *status >> 8 & 0xff, event = *status >> 16;
		if (!options) {
			options = 1;
			call(__NR_ptrace, PTRACE_SETOPTIONS, pid, 0, PTRACE_O_TRACEEXIT | PTRACE_O_TRACEEXEC);
		}
		if (event == PTRACE_EVENT_EXIT)
			peak = high_water(pid);
		call(__NR_ptrace, PTRACE_CONT, pid, 0, signal == SIGTRAP ? 0 : signal);
	}
	return peak;
}

__attribute__((used)) void run(long *stack)
{
	long argc = stack[0];
	char **argv = (char **)(stack + 1), **envp = argv + argc + 1;
	struct rusage usage;
	int status = 0;
	long peak = 0;

	if (argc == 1) {
		call(__NR_getrusage, 0, (long)&usage, 0, 0);
	} else {
		/* The child uses this stack below the parent's frame, and the parent waits until it has gone. */
		long pid = call(__NR_clone, VM | VFORK | SIGCHLD, 0, 0, 0);
		if (pid == 0) {
			call(__NR_ptrace, PTRACE_TRACEME, 0, 0, 0);
			call(__NR_execve, (long)argv[1], (long)(argv + 1), (long)envp, 0);
			call(__NR_exit, 127, 0, 0, 0);
		}
		peak = follow(pid, &status, &usage);
	}
	print(usage.ru_maxrss > peak + UNCERTAIN ? usage.ru_maxrss : peak);
	call(__NR_exit_group, status & 0x7f ? 128 + (status & 0x7f) : status >> 8 & 0xff, 0, 0, 0);
}

#if defined(__x86_64__)
__asm__(".globl _start\n_start: mov %rsp, %rdi\n and $-16, %rsp\n call run\n");
#elif defined(__aarch64__)
__asm__(".globl _start\n_start: mov x0, sp\n bl run\n");
#endif
