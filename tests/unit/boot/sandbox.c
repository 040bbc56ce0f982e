/* SPDX-License-Identifier: MIT */
/* What somebody would try who has got hold of a worker, in a thread of its own in the sandbox;
 * and what workers do all day. */
#include "boot/sandbox.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/sockios.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

static char key[] = "/tmp/weir-key-XXXXXX";
static int listening; /* made before, as the control thread does */
static struct sockaddr_in here;

static unsigned parts; /* of the sandbox that this kernel has */

struct trial {
	const char *what;
	bool (*succeeds)(void);
	unsigned stopped_by;
};

/* ---- what must not succeed ---- */

static bool runs_a_program(void)
{
	char name[] = "true", *argv[] = {name, NULL}, *envp[] = {NULL};
	pid_t pid;
	return posix_spawn(&pid, "/bin/true", NULL, NULL, argv, envp) == 0;
}

static bool replaces_the_program(void)
{
	return syscall(SYS_execve, "/nonexistent", NULL, NULL) == 0 || errno != EPERM;
}

static bool replaces_it_by_descriptor(void)
{
	return syscall(SYS_execveat, -1, "", NULL, NULL, 0) == 0 || errno != EPERM;
}

static bool forks(void)
{
	pid_t pid = fork();
	if (pid == 0)
		_exit(0);
	return pid > 0;
}

static void *nothing(void *arg)
{
	return arg;
}

static bool starts_a_thread(void)
{
	pthread_t thread;
	return pthread_create(&thread, NULL, nothing, NULL) == 0;
}

static bool opened(int fd)
{
	if (fd >= 0)
		close(fd);
	return fd >= 0;
}

static bool reads_the_key(void)
{
	return opened(open(key, O_RDONLY));
}

static bool reads_passwd(void)
{
	return opened(open("/etc/passwd", O_RDONLY));
}

static bool reads_its_memory(void)
{
	return opened(open("/proc/self/mem", O_RDONLY));
}

static bool lists_a_directory(void)
{
	return opened(open("/tmp", O_RDONLY | O_DIRECTORY));
}

static bool writes_the_key(void)
{
	return opened(open(key, O_WRONLY));
}

static bool creates_a_file(void)
{
	return opened(open("/tmp/weir-sandbox-new", O_RDWR | O_CREAT, 0600));
}

static bool opens_with_openat2(void)
{
	uint64_t how[3] = {O_RDONLY, 0, 0};
	return opened((int)syscall(SYS_openat2, AT_FDCWD, "/etc/passwd", how, sizeof(how)));
}

static bool removes_the_key(void)
{
	return unlink(key) == 0;
}

static bool changes_its_mode(void)
{
	return chmod(key, 0666) == 0;
}

static bool binds(void)
{
	struct sockaddr_in any = {.sin_family = AF_INET};
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	bool ok = fd >= 0 && bind(fd, (struct sockaddr *)&any, sizeof(any)) == 0;
	opened(fd);
	return ok;
}

static bool listens(void)
{
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	bool ok = fd >= 0 && listen(fd, 1) == 0;
	opened(fd);
	return ok;
}

static bool asks_the_network_layer(void)
{
	return opened(socket(AF_NETLINK, SOCK_RAW, 0));
}

static bool has_raw_packets(void)
{
	return opened(socket(AF_PACKET, SOCK_RAW, 0));
}

static bool makes_code(void)
{
	void *p = mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS,
		       -1, 0);
	return p != MAP_FAILED;
}

static bool turns_data_into_code(void)
{
	void *p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	return p != MAP_FAILED && mprotect(p, 4096, PROT_READ | PROT_EXEC) == 0;
}

static bool hides_a_program(void)
{
	return opened((int)syscall(SYS_memfd_create, "x", 0));
}

static bool traces_another(void)
{
	return ptrace(PTRACE_ATTACH, getppid(), NULL, NULL) == 0 || errno != EPERM;
}

static bool reads_another(void)
{
	return syscall(SYS_process_vm_readv, getppid(), NULL, 0, NULL, 0, 0) == 0 || errno != EPERM;
}

static bool kills_another(void)
{
	return kill(getppid(), 0) == 0;
}

static bool signals_a_thread_of_another(void)
{
	return syscall(SYS_tgkill, getppid(), getppid(), 0) == 0;
}

/* A descriptor may send its owner any signal, KILL as well. */
static bool has_a_descriptor_signal_another(void)
{
	return fcntl(listening, F_SETOWN, getppid()) == 0 ||
	       fcntl(listening, F_SETSIG, SIGKILL) == 0;
}

static bool has_a_socket_signal_another(void)
{
	pid_t other = getppid();
	int on = 1;
	return ioctl(listening, FIOSETOWN, &other) == 0 || ioctl(listening, FIOASYNC, &on) == 0;
}

static bool has_io_uring(void)
{
	return syscall(SYS_io_uring_setup, 1, NULL) >= 0 || errno != EPERM;
}

static bool leaves_by_namespace(void)
{
	return unshare(CLONE_NEWUSER) == 0;
}

static bool changes_its_privileges(void)
{
	return prctl(PR_SET_DUMPABLE, 1, 0, 0, 0) == 0;
}

static const struct trial hostile[] = {
    {"runs a program", runs_a_program, SANDBOX_SECCOMP},
    {"replaces the program", replaces_the_program, SANDBOX_SECCOMP},
    {"replaces it by descriptor", replaces_it_by_descriptor, SANDBOX_SECCOMP},
    {"forks", forks, SANDBOX_SECCOMP},
    {"starts a thread", starts_a_thread, SANDBOX_SECCOMP},
    {"reads the key", reads_the_key, SANDBOX_LANDLOCK},
    {"reads passwd", reads_passwd, SANDBOX_LANDLOCK},
    {"reads its memory", reads_its_memory, SANDBOX_LANDLOCK},
    {"lists a directory", lists_a_directory, SANDBOX_LANDLOCK},
    {"writes the key", writes_the_key, SANDBOX_SECCOMP},
    {"creates a file", creates_a_file, SANDBOX_SECCOMP},
    {"opens with openat2", opens_with_openat2, SANDBOX_SECCOMP},
    {"removes the key", removes_the_key, SANDBOX_SECCOMP},
    {"changes its mode", changes_its_mode, SANDBOX_SECCOMP},
    {"binds", binds, SANDBOX_SECCOMP},
    {"listens", listens, SANDBOX_SECCOMP},
    {"asks the network layer", asks_the_network_layer, SANDBOX_SECCOMP},
    {"has raw packets", has_raw_packets, SANDBOX_SECCOMP},
    {"makes code", makes_code, SANDBOX_SECCOMP},
    {"turns data into code", turns_data_into_code, SANDBOX_SECCOMP},
    {"hides a program", hides_a_program, SANDBOX_SECCOMP},
    {"traces another", traces_another, SANDBOX_SECCOMP},
    {"reads another", reads_another, SANDBOX_SECCOMP},
    {"kills another", kills_another, SANDBOX_SECCOMP},
    {"signals a thread of another", signals_a_thread_of_another, SANDBOX_SECCOMP},
    {"has a descriptor signal another", has_a_descriptor_signal_another, SANDBOX_SECCOMP},
    {"has a socket signal another", has_a_socket_signal_another, SANDBOX_SECCOMP},
    {"has io_uring", has_io_uring, SANDBOX_SECCOMP},
    {"leaves by namespace", leaves_by_namespace, SANDBOX_SECCOMP},
    {"changes its privileges", changes_its_privileges, SANDBOX_SECCOMP},
};

/* ---- what has to ---- */

static bool connects_and_accepts(void)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	bool ok = fd >= 0 && connect(fd, (struct sockaddr *)&here, sizeof(here)) == 0;
	int other = ok ? accept4(listening, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC) : -1;
	char byte = 'x';
	ok = other >= 0 && send(fd, &byte, 1, MSG_NOSIGNAL) == 1 && recv(other, &byte, 1, 0) == 1;
	opened(fd);
	opened(other);
	return ok;
}

static bool has_pipes(void)
{
	int ends[2];
	char byte = 'x';
	bool ok = pipe2(ends, O_NONBLOCK | O_CLOEXEC) == 0 && write(ends[1], &byte, 1) == 1 &&
		  splice(ends[0], NULL, ends[1], NULL, 1, SPLICE_F_NONBLOCK) < 0 && errno != EPERM;
	opened(ends[0]);
	opened(ends[1]);
	return ok;
}

static bool waits(void)
{
	struct epoll_event event = {.events = EPOLLIN};
	int fd = epoll_create1(EPOLL_CLOEXEC);
	bool ok = fd >= 0 && epoll_ctl(fd, EPOLL_CTL_ADD, listening, &event) == 0 &&
		  epoll_wait(fd, &event, 1, 0) >= 0;
	opened(fd);
	return ok;
}

static bool handles_descriptors(void)
{
	int n, fd = fcntl(listening, F_DUPFD_CLOEXEC, 0);
	bool ok = fd >= 0 && fcntl(fd, F_SETFL, fcntl(fd, F_GETFL)) == 0 &&
		  fcntl(fd, F_SETFD, FD_CLOEXEC) == 0 &&
		  (ioctl(fd, SIOCOUTQ, &n) == 0 || errno != EPERM) &&
		  (ioctl(fd, FIONREAD, &n) == 0 || errno != EPERM);
	opened(fd);
	return ok;
}

static bool has_memory(void)
{
	char *p = malloc(64u << 20);
	if (!p)
		return false;
	memset(p, 1, 64u << 20);
	p = realloc(p, 128u << 20);
	bool ok = p != NULL;
	free(p);
	return ok;
}

static bool has_chance(void)
{
	char bytes[16];
	return syscall(SYS_getrandom, bytes, sizeof(bytes), 0) == sizeof(bytes);
}

/* Where Debian keeps them; a link to elsewhere. */
static bool reads_authorities(void)
{
	struct stat st;
	const char *name = "/etc/ssl/certs/ca-certificates.crt";
	return stat(name, &st) != 0 || opened(open(name, O_RDONLY));
}

/* SSL_CERT_DIR is a list: a link that was there, and a file that came later. */
static char roots[] = "/tmp/weir-roots-XXXXXX";
static const char *const in_roots[] = {"linked.pem", "second/link.pem", "second/later.pem"};

static void in_root(const char *name, char out[256])
{
	snprintf(out, 256, "%s/%s", roots, name);
}

static bool reads_listed_folders(void)
{
	char path[256];
	for (size_t i = 1; i < sizeof(in_roots) / sizeof(in_roots[0]); i++) {
		in_root(in_roots[i], path);
		if (!opened(open(path, O_RDONLY)))
			return false;
	}
	return true;
}

static void make_file(const char *name)
{
	char path[256];
	in_root(name, path);
	cr_assert(opened(open(path, O_WRONLY | O_CREAT | O_EXCL, 0644)));
}

static void prepare_roots(void)
{
	char list[512], from[256], to[256];
	cr_assert(mkdtemp(roots));
	in_root("second", to);
	cr_assert_eq(mkdir(to, 0755), 0);
	make_file(in_roots[0]);
	in_root(in_roots[0], from);
	in_root(in_roots[1], to);
	cr_assert_eq(symlink(from, to), 0);
	snprintf(list, sizeof(list), "/etc/ssl/certs:%s/none::%s/second", roots, roots);
	setenv("SSL_CERT_DIR", list, 1);
}

static void remove_roots(void)
{
	char path[256];
	for (size_t i = 0; i < sizeof(in_roots) / sizeof(in_roots[0]); i++) {
		in_root(in_roots[i], path);
		unlink(path);
	}
	in_root("second", path);
	rmdir(path);
	rmdir(roots);
}

static const struct trial needed[] = {
    {"connects and accepts", connects_and_accepts, 0},
    {"has pipes", has_pipes, 0},
    {"waits", waits, 0},
    {"handles descriptors", handles_descriptors, 0},
    {"has memory", has_memory, 0},
    {"has chance", has_chance, 0},
    {"reads authorities", reads_authorities, 0},
    {"reads listed folders", reads_listed_folders, 0},
};

/* ---- both, in a thread ---- */

static void *in_the_sandbox(void *arg)
{
	parts = sandbox_enter(arg);
	for (size_t i = 0; i < sizeof(hostile) / sizeof(hostile[0]); i++)
		if (parts & hostile[i].stopped_by)
			cr_expect_not(hostile[i].succeeds(), "it %s", hostile[i].what);
	for (size_t i = 0; i < sizeof(needed) / sizeof(needed[0]); i++)
		cr_expect(needed[i].succeeds(), "it %s: %s", needed[i].what, strerror(errno));
	return NULL;
}

static void prepare(void)
{
	socklen_t len = sizeof(here);
	int fd = mkstemp(key);
	cr_assert(fd >= 0 && write(fd, "secret", 6) == 6);
	close(fd);
	here = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
	listening = socket(AF_INET, SOCK_STREAM, 0);
	cr_assert(bind(listening, (struct sockaddr *)&here, sizeof(here)) == 0 &&
		  listen(listening, 16) == 0 &&
		  getsockname(listening, (struct sockaddr *)&here, &len) == 0);
}

Test(sandbox, a_hijacked_worker_gets_nowhere, .timeout = 60)
{
	struct str why = STR_INIT;
	prepare_roots();
	struct sandbox *sandbox = sandbox_new(&why);
	pthread_t thread;
	make_file(in_roots[2]);
	if (!sandbox) {
		remove_roots();
		cr_assert(why.len);
		str_fini(&why);
		cr_skip_test("it cannot be had here");
	}
	prepare();
	cr_assert_eq(pthread_create(&thread, NULL, in_the_sandbox, sandbox), 0);
	pthread_join(thread, NULL);
	/* the thread that made it is as free as before */
	cr_assert(reads_the_key() && forks() && runs_a_program() && binds());
	sandbox_free(sandbox);
	remove_roots();
	close(listening);
	unlink(key);
}
