/* mounts N COMMAND…: runs the command in a mount namespace of its own that has N mounts more than this one: a host on which
 * much is going on. */
#define _GNU_SOURCE
#include <err.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#define MUST(call) ((long)(call) < 0 ? (err(1, "%s", #call), 0) : 0)

int main(int argc, char **argv)
{
	char path[64];

	if (argc < 3)
		errx(2, "usage: mounts N COMMAND…");
	MUST(unshare(CLONE_NEWNS));
	MUST(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL));
	MUST(mount("mounts", "/mnt", "tmpfs", 0, NULL));
	for (long i = strtol(argv[1], NULL, 10); i > 0; i--) {
		snprintf(path, sizeof path, "/mnt/%ld", i);
		MUST(mkdir(path, 0755));
		MUST(mount(path, path, NULL, MS_BIND, NULL));
	}
	execvp(argv[2], argv + 2);
	err(127, "%s", argv[2]);
}
