/* SPDX-License-Identifier: MIT */
/*
 * Files by way of descriptors: what was checked is what is read, whoever changes the path
 * meanwhile.
 */
#include "weir/base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/fsuid.h>
#include <sys/stat.h>
#include <unistd.h>

#define CHUNK 65536
#define LINKS_MAX 8

/* ---- reading ---- */

static const char *kind_of(mode_t mode)
{
	return S_ISFIFO(mode)                   ? "a pipe"
	       : S_ISSOCK(mode)                 ? "a socket"
	       : S_ISCHR(mode) || S_ISBLK(mode) ? "a device"
						: "something else";
}

static bool is_readable(const struct stat *st, int wait_ms, struct str *reason)
{
	if (S_ISREG(st->st_mode) || (S_ISFIFO(st->st_mode) && wait_ms))
		return true;
	if (S_ISDIR(st->st_mode))
		str_text(reason, strerror(EISDIR));
	else
		str_printf(reason, "it is %s, not a file", kind_of(st->st_mode));
	return false;
}

/* Before it is opened, which may mean something to a device, and after: it may be another. */
static int open_readable(const char *path, int wait_ms, struct str *reason)
{
	struct stat st;
	if (stat(path, &st)) {
		str_text(reason, strerror(errno));
		return -1;
	}
	if (!is_readable(&st, wait_ms, reason))
		return -1;
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (fd < 0) {
		str_text(reason, strerror(errno));
		return -1;
	}
	if (fstat(fd, &st) == 0 && is_readable(&st, wait_ms, reason))
		return fd;
	close(fd);
	return -1;
}

/* More than 0: bytes; 0: the end. */
static ssize_t read_some(int fd, char *to, int wait_ms)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};
	for (;;) {
		if (wait_ms && poll(&p, 1, wait_ms) == 0) {
			errno = ETIMEDOUT;
			return -1;
		}
		ssize_t n = read(fd, to, CHUNK);
		if (n >= 0 || (errno != EINTR && !(errno == EAGAIN && wait_ms)))
			return n;
	}
}

static enum err read_all(int fd, size_t max, int wait_ms, struct str *out, struct str *reason)
{
	size_t from = out->len;
	for (;;) {
		if (!str_reserve(out, CHUNK)) {
			str_text(reason, "no memory");
			return ERR_NOMEM;
		}
		ssize_t n = read_some(fd, out->ptr + out->len, wait_ms);
		if (n < 0) {
			str_text(reason, errno == ETIMEDOUT ? "nobody writes into this pipe"
							    : strerror(errno));
			return ERR_IO;
		}
		if (n == 0)
			return ERR_OK;
		out->len += (size_t)n;
		if (out->len - from > max) {
			str_printf(reason, "it is larger than %zu bytes, which it may have at most",
				   max);
			return ERR_RANGE;
		}
	}
}

enum err file_read(const char *path, size_t max, int wait_ms, struct str *out, struct str *reason)
{
	size_t from = out->len;
	int fd = open_readable(path, wait_ms, reason);
	if (fd < 0)
		return ERR_IO;
	enum err err = read_all(fd, max, wait_ms, out, reason);
	close(fd);
	if (err)
		out->len = from;
	if (out->ptr)
		out->ptr[out->len] = '\0';
	return err;
}

/* Without blanks and line ends around it. */
static struct view trim(struct view v)
{
	while (v.len && strchr(" \t\r\n", v.ptr[v.len - 1]))
		v.len--;
	while (v.len && strchr(" \t\r\n", v.ptr[0]))
		v = view_skip(v, 1);
	return v;
}

enum err file_read_secret(const char *path, struct str *out, struct str *reason)
{
	struct str text = STR_INIT;
	enum err err = file_read(path, FILE_SECRET_MAX, 0, &text, reason);
	struct view v = trim(str_as_view(&text));
	if (!err && !v.len) {
		str_text(reason, "is empty");
		err = ERR_RANGE;
	}
	if (!err)
		str_view(out, v);
	if (text.ptr)
		explicit_bzero(text.ptr, text.cap);
	str_fini(&text);
	return err;
}

/* ---- the owner ---- */

static struct {
	bool on;
	uid_t uid;
	gid_t gid;
} owner;

void file_owner_set(uid_t uid, gid_t gid)
{
	owner.on = true;
	owner.uid = uid;
	owner.gid = gid;
}

void file_owner_clear(void)
{
	owner.on = false;
}

bool file_owner(uid_t *uid, gid_t *gid)
{
	*uid = owner.uid;
	*gid = owner.gid;
	return owner.on;
}

/* Not seteuid: it would be for all threads.  The kernel drops the privileges over files. */
void file_owner_begin(void)
{
	if (!owner.on)
		return;
	setfsgid(owner.gid);
	setfsuid(owner.uid);
}

void file_owner_end(void)
{
	if (!owner.on)
		return;
	setfsuid(geteuid());
	setfsgid(getegid());
}

/* ---- directories ---- */

static bool is_roots(const char *path, unsigned depth);

/* A link of root's: what it leads to, and the rest of the path after that. */
static bool link_is_roots(const char *path, size_t len, const char *rest, unsigned depth)
{
	char target[PATH_MAX], whole[2 * PATH_MAX + 2];
	ssize_t n = readlink(path, target, sizeof(target) - 1);
	if (n <= 0)
		return false;
	target[n] = '\0';
	while (len > 0 && path[len - 1] != '/')
		len--;
	int size = target[0] == '/'
		       ? snprintf(whole, sizeof(whole), "%s%s", target, rest)
		       : snprintf(whole, sizeof(whole), "%.*s%s%s", (int)len, path, target, rest);
	return size > 0 && (size_t)size < PATH_MAX && is_roots(whole, depth + 1);
}

/* What is in a directory with the sticky bit can be renamed by its owner only. */
static bool belongs_to_root(const struct stat *st, bool last)
{
	if (st->st_uid != 0)
		return false;
	return S_ISLNK(st->st_mode) || !(st->st_mode & 022) || (!last && st->st_mode & S_ISVTX);
}

static bool is_roots(const char *path, unsigned depth)
{
	char part[PATH_MAX];
	size_t len = strlen(path);
	if (path[0] != '/' || len >= sizeof(part) || depth > LINKS_MAX)
		return false;
	for (size_t end = 1; end <= len; end++) {
		struct stat st;
		if (path[end] != '/' && path[end] != '\0' && end > 1)
			continue;
		memcpy(part, path, end);
		part[end] = '\0';
		if (lstat(part, &st) || !belongs_to_root(&st, path[end] == '\0'))
			return false;
		if (S_ISLNK(st.st_mode))
			return link_is_roots(part, end, path + end, depth);
	}
	return true;
}

bool file_is_roots(const char *directory)
{
	char here[PATH_MAX], whole[2 * PATH_MAX];
	if (directory[0] == '/')
		return is_roots(directory, 0);
	if (!getcwd(here, sizeof(here)))
		return false;
	snprintf(whole, sizeof(whole), "%s/%s", here, directory);
	return is_roots(whole, 0);
}

void file_directory(const char *path, char *out, size_t size)
{
	const char *slash = strrchr(path, '/');
	int len = slash ? (int)(slash - path) : 0;
	while (len > 1 && path[len - 1] == '/')
		len--;
	if (len)
		snprintf(out, size, "%.*s", len, path);
	else
		snprintf(out, size, "%s", slash ? "/" : ".");
}

/* One part after the other, none of them a link but where only root may change what it leads to. */
static int open_without_links(const char *path)
{
	const int flags = O_PATH | O_DIRECTORY | O_CLOEXEC;
	char so_far[PATH_MAX], part[NAME_MAX + 1];
	const char *at = path;
	int fd = open(path[0] == '/' ? "/" : ".", flags);
	while (fd >= 0 && *(at += strspn(at, "/"))) {
		size_t len = strcspn(at, "/");
		int next = -1;
		errno = ENAMETOOLONG;
		if (len < sizeof(part)) {
			snprintf(part, sizeof(part), "%.*s", (int)len, at);
			snprintf(so_far, sizeof(so_far), "%.*s", (int)(at + len - path), path);
			next = openat(fd, part, flags | (file_is_roots(so_far) ? 0 : O_NOFOLLOW));
		}
		int error = errno;
		close(fd);
		errno = error;
		fd = next;
		at += len;
	}
	return fd;
}

int file_open_directory(const char *path, const char **name)
{
	char dir[PATH_MAX];
	const char *slash = strrchr(path, '/');
	*name = slash ? slash + 1 : path;
	file_directory(path, dir, sizeof(dir));
	if (geteuid() == 0 && !file_is_roots(dir))
		return open_without_links(dir);
	return open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
}

/* ---- directories of sockets ---- */

static bool everybody_writes(const char *directory)
{
	struct stat st;
	return stat(directory, &st) == 0 && (st.st_mode & 002);
}

/* Of root, of this user, or of the one that he is going to be. */
static enum err check_ours(const char *dir, struct str *reason)
{
	struct stat st;
	uid_t uid;
	gid_t gid;
	bool on = file_owner(&uid, &gid);
	if (lstat(dir, &st) == 0 && S_ISDIR(st.st_mode) &&
	    (st.st_uid == 0 || st.st_uid == geteuid() || (on && st.st_uid == uid)))
		return ERR_OK;
	str_printf(reason,
		   "the directory %s belongs to somebody else: remove it, or set a path elsewhere",
		   dir);
	return ERR_EXISTS;
}

/* As root in a directory of root's: handed over by descriptor. */
static bool make_and_give(int above, const char *name, mode_t mode)
{
	if (mkdirat(above, name, mode))
		return false;
	int fd = openat(above, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	bool ok = fd >= 0 && fchown(fd, owner.uid, owner.gid) == 0;
	if (fd >= 0)
		close(fd);
	return ok;
}

static bool make_for_owner(const char *dir, mode_t mode)
{
	char above[PATH_MAX];
	const char *name;
	int at = file_open_directory(dir, &name);
	if (at < 0)
		return false;
	file_owner_begin();
	bool made = mkdirat(at, name, mode) == 0;
	file_owner_end();
	int error = errno;
	file_directory(dir, above, sizeof(above));
	if (!made && owner.on && error == EACCES && file_is_roots(above)) {
		made = make_and_give(at, name, mode);
		error = errno;
	}
	close(at);
	errno = error;
	return made;
}

enum err file_make_directory(const char *path, struct str *reason)
{
	char dir[PATH_MAX], above[PATH_MAX];
	struct stat st;
	file_directory(path, dir, sizeof(dir));
	file_directory(dir, above, sizeof(above));
	bool open_to_all = everybody_writes(above);
	if (lstat(dir, &st) && errno == ENOENT && !make_for_owner(dir, open_to_all ? 0700 : 0755)) {
		str_printf(reason, "cannot make the directory %s: %s", dir, strerror(errno));
		return ERR_IO;
	}
	return open_to_all && strcmp(dir, ".") != 0 ? check_ours(dir, reason) : ERR_OK;
}

/* ---- socket files ---- */

struct file_id file_identify(const char *path)
{
	struct stat st;
	if (lstat(path, &st))
		return (struct file_id){.ino = 0};
	return (struct file_id){.dev = st.st_dev, .ino = st.st_ino};
}

static bool is_socket(const struct stat *st, struct file_id id)
{
	return S_ISSOCK(st->st_mode) && st->st_dev == id.dev && st->st_ino == id.ino;
}

void file_remove_socket(const char *path, struct file_id id)
{
	struct stat st;
	const char *name;
	int dir = file_open_directory(path, &name);
	if (dir < 0)
		return;
	if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && is_socket(&st, id))
		unlinkat(dir, name, 0);
	close(dir);
}

bool file_chmod_socket(const char *path, struct file_id id, mode_t mode)
{
	struct stat st;
	const char *name;
	char of_fd[32];
	int dir = file_open_directory(path, &name), fd = -1;
	if (dir >= 0)
		fd = openat(dir, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	bool ok = fd >= 0 && fstat(fd, &st) == 0 && is_socket(&st, id);
	if (ok) { /* the kernel has no fchmod for O_PATH */
		snprintf(of_fd, sizeof(of_fd), "/proc/self/fd/%d", fd);
		ok = chmod(of_fd, mode) == 0;
	}
	if (fd >= 0)
		close(fd);
	if (dir >= 0)
		close(dir);
	return ok;
}
