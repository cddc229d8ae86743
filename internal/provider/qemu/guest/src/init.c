// The first process of an Outrigger guest, from the initial RAM disk until the
// machine ends. It is one static program without a shell, because each program
// that is executed costs 10 to 20 ms in an emulated processor.
//
// Until personality() returns, nothing has been read from the root disk, no
// address is set and no server listens. A machine whose memory is saved in that
// state can therefore be resumed with any disk, and becomes somebody new.
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <linux/fs.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "guest.h"

#define ROOT_DISK "/dev/vda"
#define PERSONALITY_DISK "/dev/vdb"

void say(const char *format, ...) {
	char line[512];
	va_list args;
	va_start(args, format);
	int n = vsnprintf(line, sizeof line - 1, format, args);
	va_end(args);
	if (n < 0 || n > (int)sizeof line - 2)
		n = sizeof line - 2;
	line[n] = '\n';
	// One write, so that lines of two processes do not mix.
	if (write(STDERR_FILENO, line, n + 1) < 0)
		return;
}

// The kernel panics when its first process ends, which ends QEMU.
void die(const char *what) {
	say("outrigger: %s: %s", what, strerror(errno));
	_exit(1);
}

static void attach(const char *source, const char *target, const char *type, unsigned long flags, const char *options) {
	mkdir(target, 0755);
	if (mount(source, target, type, flags, options) && errno != EBUSY)
		die(target);
}

static int load(const char *path) {
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		die(path);
	int failed = syscall(SYS_finit_module, fd, "", 0);
	close(fd);
	return failed == 0 || errno == EEXIST;
}

// load_modules tries what is left until nothing more goes in: that is the
// order of their dependencies, whatever the kernel's version.
static void load_modules(void) {
	for (int progress = 1; progress;) {
		progress = 0;
		DIR *dir = opendir("/modules");
		if (!dir)
			die("/modules");
		for (struct dirent *e; (e = readdir(dir));) {
			char path[512];
			snprintf(path, sizeof path, "/modules/%s", e->d_name);
			if (e->d_name[0] != '.' && load(path) && unlink(path) == 0)
				progress = 1;
		}
		closedir(dir);
	}
}

// forget_disk drops what the kernel read from the disk while it looked for
// partitions: the machine that was saved had another disk in its place.
static void forget_disk(void) {
	int fd = open(ROOT_DISK, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		die(ROOT_DISK);
	if (ioctl(fd, BLKFLSBUF, 0))
		die("drop buffers of " ROOT_DISK);
	close(fd);
}

static void enter_root(void) {
	forget_disk();
	// Initialising the inode tables of a fresh file system in the background
	// would fill every machine's overlay with zeros.
	attach(ROOT_DISK, "/root", "ext4", MS_NOATIME, "noinit_itable");
	const char *move[] = {"dev", "proc", "sys", "run"};
	for (size_t i = 0; i < sizeof move / sizeof *move; i++) {
		char from[64], to[64];
		snprintf(from, sizeof from, "/%s", move[i]);
		snprintf(to, sizeof to, "/root/%s", move[i]);
		attach(from, to, NULL, MS_MOVE, NULL);
	}
	if (chdir("/root") || mount(".", "/", NULL, MS_MOVE, NULL) || chroot(".") || chdir("/"))
		die("enter the root file system");
	attach("devpts", "/dev/pts", "devpts", MS_NOSUID | MS_NOEXEC, "gid=5,mode=620,ptmxmode=666");
	attach("shm", "/dev/shm", "tmpfs", MS_NOSUID | MS_NODEV, NULL);
	attach("cgroup2", "/sys/fs/cgroup", "cgroup2", MS_NOSUID | MS_NOEXEC | MS_NODEV, NULL);
	symlink("/proc/self/fd", "/dev/fd");
	symlink("/proc/self/fd/0", "/dev/stdin");
	symlink("/proc/self/fd/1", "/dev/stdout");
	symlink("/proc/self/fd/2", "/dev/stderr");
	int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
	if (null < 0 || dup2(null, STDIN_FILENO) < 0)
		die("/dev/null");
	close(null);
}

static int remove_entry(const char *path, const struct stat *info, int type, struct FTW *walk) {
	(void)info, (void)type, (void)walk;
	return remove(path);
}

// forget_leases removes what an agent left on the disk of the machine that
// this image was saved from: its runs ended with that machine.
static void forget_leases(void) {
	nftw("/root/.outrigger/leases", remove_entry, 16, FTW_DEPTH | FTW_PHYS | FTW_MOUNT);
	nftw("/root/.outrigger/daemon", remove_entry, 16, FTW_DEPTH | FTW_PHYS | FTW_MOUNT);
}

static pid_t start(char *const argv[]) {
	pid_t pid = fork();
	if (pid < 0)
		die("fork");
	if (pid > 0)
		return pid;
	sigset_t none;
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	setsid();
	execv(argv[0], argv);
	die(argv[0]);
	return 0;
}

int main(void) {
	umask(022);
	attach("dev", "/dev", "devtmpfs", MS_NOSUID, NULL);
	attach("proc", "/proc", "proc", MS_NOSUID | MS_NOEXEC | MS_NODEV, NULL);
	attach("sys", "/sys", "sysfs", MS_NOSUID | MS_NOEXEC | MS_NODEV, NULL);
	attach("run", "/run", "tmpfs", MS_NOSUID | MS_NODEV, "mode=755");
	setenv("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", 1);
	setenv("HOME", "/root", 1);
	load_modules();

	struct personality who;
	personality_read(PERSONALITY_DISK, &who);
	personality_entropy(&who);
	personality_clock(&who);
	personality_network(&who);
	enter_root();
	forget_leases();
	personality_files(&who);
	say(UP);

	char *const server[] = SSH_SERVER;
	for (;;) {
		pid_t pid = start(server);
		// Orphans of every session end up here as well.
		for (pid_t ended = 0; ended != pid;)
			ended = wait(NULL);
		say("outrigger: the SSH server ended and is started again");
		sleep(1);
	}
}
