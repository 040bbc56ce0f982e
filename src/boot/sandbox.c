/* SPDX-License-Identifier: MIT */
/* What a worker can do no more: system calls by seccomp, files by Landlock. */
#include "sandbox.h"

#ifdef WEIR_SANDBOX

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/landlock.h>
#include <linux/sockios.h>
#include <openssl/x509.h>
#include <pthread.h>
#include <seccomp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "weir/base/check.h"

struct sandbox {
	pthread_mutex_t
	    lock; /* of the filter: the library does not say that threads may share it */
	scmp_filter_ctx filter; /* owns */
	int ruleset;            /* owns; -1: this kernel has no Landlock */
};

/* ---- Landlock ---- */

/* All that its first version knows: what may be done with files, but for their names. */
#define ALL_OF_FILES                                                      \
	(LANDLOCK_ACCESS_FS_EXECUTE | LANDLOCK_ACCESS_FS_WRITE_FILE |     \
	 LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR |     \
	 LANDLOCK_ACCESS_FS_REMOVE_DIR | LANDLOCK_ACCESS_FS_REMOVE_FILE | \
	 LANDLOCK_ACCESS_FS_MAKE_CHAR | LANDLOCK_ACCESS_FS_MAKE_DIR |     \
	 LANDLOCK_ACCESS_FS_MAKE_REG | LANDLOCK_ACCESS_FS_MAKE_SOCK |     \
	 LANDLOCK_ACCESS_FS_MAKE_FIFO | LANDLOCK_ACCESS_FS_MAKE_BLOCK |   \
	 LANDLOCK_ACCESS_FS_MAKE_SYM)

static int ruleset_new(void)
{
	struct landlock_ruleset_attr attr = {.handled_access_fs = ALL_OF_FILES};
	return (int)syscall(SYS_landlock_create_ruleset, &attr, sizeof(attr), 0);
}

/* One file, or all that is below a directory. */
static void allow_reading(int ruleset, const char *path, bool is_directory)
{
	struct landlock_path_beneath_attr rule = {
	    .allowed_access = LANDLOCK_ACCESS_FS_READ_FILE,
	    .parent_fd = open(path, O_PATH | O_CLOEXEC),
	};
	if (is_directory)
		rule.allowed_access |= LANDLOCK_ACCESS_FS_READ_DIR;
	if (rule.parent_fd < 0)
		return;
	syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &rule, 0);
	close(rule.parent_fd);
}

bool sandbox_keep_to(const char *directory)
{
	struct landlock_path_beneath_attr rule = {
	    .allowed_access = ALL_OF_FILES & ~LANDLOCK_ACCESS_FS_EXECUTE,
	    .parent_fd = open(directory, O_PATH | O_CLOEXEC),
	};
	int ruleset = ruleset_new();
	bool kept =
	    rule.parent_fd >= 0 && ruleset >= 0 &&
	    syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &rule, 0) == 0 &&
	    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
	    syscall(SYS_landlock_restrict_self, ruleset, 0) == 0;
	if (rule.parent_fd >= 0)
		close(rule.parent_fd);
	if (ruleset >= 0)
		close(ruleset);
	return kept;
}

static const char *or_default(const char *variable, const char *otherwise)
{
	const char *value = getenv(variable);
	return value && *value ? value : otherwise;
}

/* Where Debian keeps what its links name, also those that are made later. */
static const char *const linked_from[] = {"/usr/share/ca-certificates",
					  "/usr/local/share/ca-certificates"};

/* A folder of authorities: what lies in it now or later, and what its links name. */
static void allow_folder(int ruleset, const char *folder)
{
	char path[PATH_MAX], file[PATH_MAX];
	DIR *dir = opendir(folder);
	allow_reading(ruleset, folder, true);
	for (struct dirent *entry; dir && (entry = readdir(dir));) {
		/* some file systems do not say what it is */
		bool may_be_link = entry->d_type == DT_LNK || entry->d_type == DT_UNKNOWN;
		int n = snprintf(path, sizeof(path), "%s/%s", folder, entry->d_name);
		if (may_be_link && *entry->d_name != '.' && n > 0 && (size_t)n < sizeof(path) &&
		    realpath(path, file))
			allow_reading(ruleset, file, false);
	}
	if (dir)
		closedir(dir);
}

/* OpenSSL looks an authority up when it is asked for, in folders that are a list as in PATH. */
static void allow_authorities(int ruleset)
{
	const char *rest = or_default("SSL_CERT_DIR", X509_get_default_cert_dir());
	for (size_t i = 0; i < ARRAY_LEN(linked_from); i++)
		allow_reading(ruleset, linked_from[i], true);
	while (*rest) {
		char folder[PATH_MAX];
		size_t len = strcspn(rest, ":");
		if (len > 0 && len < sizeof(folder)) {
			memcpy(folder, rest, len);
			folder[len] = '\0';
			allow_folder(ruleset, folder);
		}
		rest += len + (rest[len] == ':');
	}
	allow_reading(ruleset, or_default("SSL_CERT_FILE", X509_get_default_cert_file()), false);
}

/* ---- seccomp ---- */

#define MASKED(n, mask, value)  \
	((struct scmp_arg_cmp){ \
	    .arg = (n), .op = SCMP_CMP_MASKED_EQ, .datum_a = (mask), .datum_b = (value)})
#define EQUAL(n, value) ((struct scmp_arg_cmp){.arg = (n), .op = SCMP_CMP_EQ, .datum_a = (value)})

static int allow_if(scmp_filter_ctx filter, int call, struct scmp_arg_cmp condition)
{
	return seccomp_rule_add_array(filter, SCMP_ACT_ALLOW, call, 1, &condition);
}

static int allow_calls(scmp_filter_ctx filter)
{
	static const char *const names[] = {
#define CALL(name) #name,
#include "weir/tbl/sandbox_calls.def"
#undef CALL
	};
	int error = 0;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		int call = seccomp_syscall_resolve_name(names[i]);
		if (call != __NR_SCMP_ERROR) /* older libraries do not know all */
			error |= seccomp_rule_add(filter, SCMP_ACT_ALLOW, call, 0);
	}
	return error;
}

#define IS(n, value) MASKED(n, UINT32_MAX, (uint32_t)(value)) /* an int, whatever is above it */

/* Without those that say whom a descriptor signals: that could be KILL, to any other process. */
static int allow_of_descriptors(scmp_filter_ctx filter)
{
	static const int of_fcntl[] = {F_DUPFD, F_DUPFD_CLOEXEC, F_GETFD,
				       F_SETFD, F_GETFL,         F_SETFL};
	static const unsigned of_ioctl[] = {FIONBIO, FIONREAD, SIOCOUTQ, TCGETS};
	int error = 0;
	for (size_t i = 0; i < ARRAY_LEN(of_fcntl); i++)
		error |= allow_if(filter, SCMP_SYS(fcntl), IS(1, of_fcntl[i]));
	for (size_t i = 0; i < ARRAY_LEN(of_ioctl); i++)
		error |= allow_if(filter, SCMP_SYS(ioctl), IS(1, of_ioctl[i]));
	return error;
}

/* Of others only ever EPERM, so that a library that can do without goes on. */
static int allow_with_arguments(scmp_filter_ctx filter)
{
	static const int families[] = {AF_INET, AF_INET6, AF_UNIX};
	const unsigned writing = O_WRONLY | O_RDWR | O_CREAT | O_TRUNC | O_APPEND;
	int error = 0;
	for (size_t i = 0; i < sizeof(families) / sizeof(families[0]); i++)
		error |= allow_if(filter, SCMP_SYS(socket), EQUAL(0, (unsigned)families[i]));
	error |= allow_if(filter, SCMP_SYS(open), MASKED(1, writing, 0));
	error |= allow_if(filter, SCMP_SYS(openat), MASKED(2, writing, 0));
	error |= allow_if(filter, SCMP_SYS(mmap), MASKED(2, PROT_EXEC, 0));
	error |= allow_if(filter, SCMP_SYS(mprotect), MASKED(2, PROT_EXEC, 0));
	/* abort(3), to itself */
	return error | allow_if(filter, SCMP_SYS(tgkill), EQUAL(0, (unsigned)getpid()));
}

static scmp_filter_ctx filter_new(void)
{
	scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ERRNO(EPERM));
	if (!filter)
		return NULL;
	/* what is always allowed costs nothing, and other mitigations stay as they are */
	seccomp_attr_set(filter, SCMP_FLTATR_CTL_SSB, 1);
	seccomp_attr_set(filter, SCMP_FLTATR_CTL_OPTIMIZE, 2);
	if (allow_calls(filter) == 0 && allow_of_descriptors(filter) == 0 &&
	    allow_with_arguments(filter) == 0)
		return filter;
	seccomp_release(filter);
	return NULL;
}

/* ---- both ---- */

/* Valgrind makes new code all the time, and asks the kernel for it in our name. */
static bool is_translated(void)
{
	const char *preload = getenv("LD_PRELOAD");
	return preload && strstr(preload, "/vgpreload_");
}

struct sandbox *sandbox_new(struct str *why)
{
	if (is_translated()) {
		str_text(why, "this process runs in valgrind");
		return NULL;
	}
	struct sandbox *s = calloc(1, sizeof(*s));
	check(s != NULL);
	pthread_mutex_init(&s->lock, NULL);
	s->ruleset = ruleset_new();
	if (s->ruleset >= 0)
		allow_authorities(s->ruleset);
	s->filter = filter_new();
	if (s->filter || s->ruleset >= 0)
		return s;
	str_text(why, "neither seccomp nor Landlock can be had from this kernel");
	sandbox_free(s);
	return NULL;
}

unsigned sandbox_enter(struct sandbox *s)
{
	unsigned got = 0;
	pthread_mutex_lock(&s->lock);
	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	if (s->ruleset >= 0 && syscall(SYS_landlock_restrict_self, s->ruleset, 0) == 0)
		got |= SANDBOX_LANDLOCK;
	if (s->filter && seccomp_load(s->filter) == 0) /* of this thread alone */
		got |= SANDBOX_SECCOMP;
	pthread_mutex_unlock(&s->lock);
	return got;
}

void sandbox_free(struct sandbox *s)
{
	if (!s)
		return;
	if (s->filter)
		seccomp_release(s->filter);
	if (s->ruleset >= 0)
		close(s->ruleset);
	pthread_mutex_destroy(&s->lock);
	free(s);
}

const char *sandbox_library(void)
{
	static char text[32];
	const struct scmp_version *v = seccomp_version();
	snprintf(text, sizeof(text), "libseccomp %u.%u.%u", v->major, v->minor, v->micro);
	return text;
}

#else

struct sandbox *sandbox_new(struct str *why)
{
	str_text(why, "weir was built without it");
	return NULL;
}

unsigned sandbox_enter(struct sandbox *s)
{
	(void)s;
	return 0;
}

void sandbox_free(struct sandbox *s)
{
	(void)s;
}

bool sandbox_keep_to(const char *directory)
{
	(void)directory;
	return false;
}

const char *sandbox_library(void)
{
	return NULL;
}

#endif
