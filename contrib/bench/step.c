/* step FILE COMMAND…: executes it and all its children instruction by instruction, and adds to the file the addresses of the
 * program's own code, in hexadecimal, in the order in which they were first executed. For programs that are not position independent, on x86_64. */
#include <err.h>
#include <signal.h>
#include <stdio.h>
#include <sys/ptrace.h>
#include <sys/types.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

/* Where the linker puts such programs. */
enum { BASE = 0x400000, SIZE = 0x1000000 };

static unsigned char seen[SIZE];

int main(int argc, char **argv)
{
	struct user_regs_struct registers;
	int status, passed;
	pid_t command, child;
	FILE *file;

	if (argc < 3)
		errx(2, "usage: step FILE COMMAND…");
	file = fopen(argv[1], "ae");
	if (!file)
		err(1, "%s", argv[1]);
	command = fork();
	if (command < 0)
		err(1, "fork");
	if (command == 0) {
		ptrace(PTRACE_TRACEME, 0, 0, 0);
		raise(SIGSTOP);
		execvp(argv[2], argv + 2);
		err(127, "%s", argv[2]);
	}
	waitpid(command, &status, 0);
	ptrace(PTRACE_SETOPTIONS, command, 0, PTRACE_O_TRACECLONE | PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK);
	ptrace(PTRACE_SINGLESTEP, command, 0, 0);
	/* What is left when the command has ended does not outlive this program's hold on it. */
	while ((child = waitpid(-1, &status, __WALL)) > 0) {
		if (!WIFSTOPPED(status)) {
			if (child == command && fclose(file) == 0)
				return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
			continue;
		}
		if (ptrace(PTRACE_GETREGS, child, 0, &registers) == 0 && registers.rip - BASE < SIZE && !seen[registers.rip - BASE]) {
			seen[registers.rip - BASE] = 1;
			fprintf(file, "%llx\n", registers.rip);
		}
		passed = WSTOPSIG(status) == SIGTRAP || WSTOPSIG(status) == SIGSTOP ? 0 : WSTOPSIG(status);
		ptrace(PTRACE_SINGLESTEP, child, 0, passed);
	}
	return 1;
}
