/* SPDX-License-Identifier: MIT */
/* What weir -t tries beyond the words of the file: the user, files, directories, ports. */
#include "trial.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "control.h"
#include "log_file.h"
#include "shared.h"
#include "tracer_settings.h"

#include "weir/acme/acme.h"
#include "weir/base/file.h"
#include "weir/net/holder.h"
#include "weir/net/socket.h"

/* As discover/file.c reads. */
#define MEMBERS_MAX (8u << 20)

struct rehearsal {
	const struct conf *conf;
	bool failed;
};

static void say(struct rehearsal *t, bool error, const char *fmt, ...) PRINTF_LIKE(3, 4);
static void say(struct rehearsal *t, bool error, const char *fmt, ...)
{
	struct str text = STR_INIT;
	va_list ap;
	t->failed |= error;
	va_start(ap, fmt);
	str_vprintf(&text, fmt, ap);
	va_end(ap);
	conf_hide(t->conf, &text);
	fprintf(stderr, "%s: %s: " VIEW_FMT "\n", t->conf->path.ptr, error ? "error" : "warning",
		VIEW_ARG(str_as_view(&text)));
	str_fini(&text);
}

/* ---- the user ---- */

/* From now on files are tried as the user that weir is going to be. */
static void try_user(struct rehearsal *t)
{
	struct str why = STR_INIT;
	if (geteuid() != 0 && t->conf->user.len && !getpwnam(t->conf->user.ptr))
		say(t, false, "user '%s' does not exist", t->conf->user.ptr);
	else if (privileges_prepare(t->conf, &why))
		say(t, true, "%.*s", (int)why.len - 1, why.ptr);
	str_fini(&why);
}

/* "user 'www' " or "weir " */
static const char *whoever(const struct rehearsal *t, char *room, size_t size)
{
	uid_t uid;
	gid_t gid;
	if (!file_owner(&uid, &gid))
		return "this user";
	snprintf(room, size, "user '%.64s'", t->conf->user.ptr);
	return room;
}

static bool may(const char *path, int mode)
{
	file_owner_begin();
	bool yes = faccessat(AT_FDCWD, path, mode, AT_EACCESS) == 0;
	int error = errno;
	file_owner_end();
	errno = error;
	return yes;
}

/* ---- files that are read ---- */

static void cannot_read(struct rehearsal *t, const char *key, struct view path, const char *why)
{
	char room[80];
	say(t, true, "%s: %s cannot read %s, now or at a reload: %s", key,
	    whoever(t, room, sizeof(room)), path.ptr, why);
}

static bool try_to_open(struct rehearsal *t, const char *key, struct view path, bool directory)
{
	struct stat st;
	if (!path.len)
		return false;
	file_owner_begin();
	int fd = open(path.ptr, O_RDONLY | O_NONBLOCK | O_CLOEXEC), error = errno;
	file_owner_end();
	if (fd >= 0 && !directory && fstat(fd, &st) == 0 && S_ISDIR(st.st_mode))
		error = EISDIR;
	else if (fd >= 0)
		error = 0;
	socket_close(fd);
	if (error)
		cannot_read(t, key, path, strerror(error));
	return !error;
}

static void try_file(struct rehearsal *t, const char *key, struct view path)
{
	(void)try_to_open(t, key, path, false);
}

static void try_secret(struct rehearsal *t, const char *key, struct view path)
{
	struct str text = STR_INIT, why = STR_INIT;
	if (!path.len)
		return;
	file_owner_begin();
	enum err err = file_read_secret(path.ptr, &text, &why);
	file_owner_end();
	if (err)
		cannot_read(t, key, path, why.ptr);
	if (text.ptr)
		explicit_bzero(text.ptr, text.cap);
	str_fini(&text);
	str_fini(&why);
}

/* As the tracer does, without TLS: its authorities are a file of their own. */
static void try_headers(struct rehearsal *t)
{
	struct tracer_settings settings;
	struct conf_tracing conf = t->conf->tracing;
	struct str why = STR_INIT;
	if (!try_to_open(t, "tracing.headers_file", conf.headers_file, false))
		return;
	conf.endpoint.tls = false;
	if (tracer_settings_make(&settings, &conf, NULL, &why))
		tracer_settings_fini(&settings);
	else
		say(t, true, "tracing.headers_file: %.*s", (int)why.len - 1, why.ptr);
	str_fini(&why);
}

static void try_pages(struct rehearsal *t, const struct conf_error_pages *pages)
{
	for (size_t i = 0; i < pages->n; i++)
		try_file(t, "errors", pages->rows[i].page.file);
}

static void try_route_files(struct rehearsal *t, const struct conf_route *route)
{
	try_file(t, "auth.basic.file", route->auth.basic.file);
	try_file(t, "respond.file", route->respond.page.file);
	try_pages(t, &route->errors);
}

/* It was read already, by whoever tries it. */
static void try_itself(struct rehearsal *t)
{
	char room[80];
	uid_t uid;
	gid_t gid;
	if (file_owner(&uid, &gid) && !may(t->conf->path.ptr, R_OK))
		say(t, false, "%s cannot read this file: %s; a reload will fail",
		    whoever(t, room, sizeof(room)), strerror(errno));
}

static void try_listener_files(struct rehearsal *t, const struct conf_listener_tls *tls)
{
	for (size_t i = 0; i < tls->certificates.n; i++) {
		const struct conf_certificate *c = &tls->certificates.rows[i];
		try_file(t, "cert", c->cert);
		try_file(t, "key", c->key);
		try_file(t, "ocsp", c->ocsp);
		try_to_open(t, "directory", c->directory, true);
	}
	try_file(t, "client_ca", tls->client_ca);
	try_file(t, "client_crl", tls->client_crl);
	try_file(t, "ticket_key_file", tls->ticket_key_file);
}

static void try_rows(struct rehearsal *t, const char *path, struct view text)
{
	struct conf_members members;
	struct conf_diags diags;
	conf_diags_init(&diags);
	if (!conf_members_parse(text, path, &members, &diags))
		say(t, true, "discover.file: %s:%u:%u: %s", path, diags.rows[0].line,
		    diags.rows[0].column, diags.rows[0].message);
	conf_members_free(&members);
	conf_diags_fini(&diags);
}

/* Members of a file: a mistake would keep them from coming; one that is not there may come. */
static void try_members(struct rehearsal *t, struct view path)
{
	struct str text = STR_INIT, reason = STR_INIT;
	if (!path.len)
		return;
	file_owner_begin();
	enum err err = file_read(path.ptr, MEMBERS_MAX, 0, &text, &reason);
	file_owner_end();
	if (err)
		say(t, false, "discover.file: %s cannot be read now: %s", path.ptr,
		    reason.ptr ? reason.ptr : err_text(err));
	else
		try_rows(t, path.ptr, str_as_view(&text));
	str_fini(&text);
	str_fini(&reason);
}

static void try_sources(struct rehearsal *t, const struct conf_pool *pool)
{
	if (!pool->discover.on)
		return;
	try_members(t, pool->discover.file);
	try_file(t, "discover.etcd.ca", pool->discover.etcd.ca);
	try_file(t, "discover.etcd.cert", pool->discover.etcd.cert);
	try_file(t, "discover.etcd.key", pool->discover.etcd.key);
	try_file(t, "discover.etcd.password_file", pool->discover.etcd.password_file);
	try_file(t, "discover.consul.ca", pool->discover.consul.ca);
	try_file(t, "discover.consul.cert", pool->discover.consul.cert);
	try_file(t, "discover.consul.key", pool->discover.consul.key);
	try_file(t, "discover.consul.token_file", pool->discover.consul.token_file);
}

static void try_files(struct rehearsal *t)
{
	const struct conf *conf = t->conf;
	try_secret(t, "status.token_file", conf->status.token_file);
	try_headers(t);
	try_file(t, "tracing.ca", conf->tracing.ca);
	try_secret(t, "shared.redis.password_file", conf->shared.password_file);
	try_file(t, "shared.redis.tls.ca", conf->shared.tls.ca);
	try_file(t, "shared.redis.tls.cert", conf->shared.tls.cert);
	try_file(t, "shared.redis.tls.key", conf->shared.tls.key);
	try_file(t, "status.auth.basic.file", conf->status.auth.basic.file);
	for (size_t i = 0; i < conf->n_routes; i++)
		try_route_files(t, &conf->routes[i]);
	if (conf->shared.on && !shared_library())
		say(t, true, "shared: this weir was built without hiredis");
	for (size_t i = 0; i < conf->n_listeners; i++) {
		try_pages(t, &conf->listeners[i].errors);
		if (conf->listeners[i].tls.on)
			try_listener_files(t, &conf->listeners[i].tls);
	}
	for (size_t i = 0; i < conf->n_pools; i++) {
		try_file(t, "tls.ca", conf->pools[i].tls.ca);
		try_file(t, "tls.cert", conf->pools[i].tls.cert);
		try_file(t, "tls.key", conf->pools[i].tls.key);
		try_file(t, "sticky.key_file", conf->pools[i].sticky.key_file);
		try_sources(t, &conf->pools[i]);
	}
}

/* ---- files that are made ---- */

/* Root makes sockets where nobody else may. */
static bool may_make_in(const char *directory, bool is_socket)
{
	struct stat st;
	if (stat(directory, &st) == 0 && !S_ISDIR(st.st_mode)) {
		errno = ENOTDIR;
		return false;
	}
	return may(directory, W_OK | X_OK) ||
	       (is_socket && geteuid() == 0 && file_is_roots(directory));
}

/* A socket or a log is made here. */
static void try_to_make(struct rehearsal *t, const char *key, const char *path, bool is_socket)
{
	char directory[PATH_MAX], room[80];
	file_directory(path, directory, sizeof(directory));
	if (may_make_in(directory, is_socket))
		return;
	say(t, true, "%s: %s cannot make %s: %s", key, whoever(t, room, sizeof(room)), path,
	    strerror(errno));
}

static void try_status_socket(struct rehearsal *t)
{
	struct stat st;
	char directory[PATH_MAX];
	struct view path = t->conf->status.socket;
	if (!path.len)
		return;
	file_directory(path.ptr, directory, sizeof(directory));
	/* a missing directory is made, one that is there is not changed */
	if (stat(directory, &st) && errno == ENOENT)
		try_to_make(t, "status.socket", directory, true);
	else
		try_to_make(t, "status.socket", path.ptr, true);
}

/* A missing directory is made at the start; one that is there has to be writable. */
static void try_directory(struct rehearsal *t, const char *key, const char *directory)
{
	char above[PATH_MAX], room[80];
	struct stat st = {.st_mode = S_IFDIR};
	file_directory(directory, above, sizeof(above));
	bool there = stat(directory, &st) == 0 || errno != ENOENT;
	bool is_file = there && !S_ISDIR(st.st_mode);
	if ((!is_file && may(there ? directory : above, W_OK | X_OK)) ||
	    (!there && geteuid() == 0 && file_is_roots(above)))
		return;
	say(t, true, "%s: %s cannot %s %s: %s", key, whoever(t, room, sizeof(room)),
	    there ? "write to" : "make", directory, strerror(is_file ? ENOTDIR : errno));
}

static void try_state(struct rehearsal *t)
{
	if (t->conf->state.on)
		try_directory(t, "state.directory", t->conf->state.directory.ptr);
}

/* The directory above it is made as well. */
static void try_acme(struct rehearsal *t)
{
	struct str folder = STR_INIT;
	char above[PATH_MAX];
	struct stat st;
	if (!t->conf->acme.on)
		return;
	acme_folder(t->conf, &folder);
	file_directory(folder.ptr, above, sizeof(above));
	bool there = stat(above, &st) == 0 || errno != ENOENT;
	try_directory(t, "acme.state", there ? folder.ptr : above);
	try_file(t, "acme.ca", t->conf->acme.ca);
	try_secret(t, "acme.eab.key_file", t->conf->acme.eab.key_file);
	str_fini(&folder);
}

/* In the directory of the status socket, which is tried, and made, by itself. */
static bool is_beside_status(const struct rehearsal *t, const char *path)
{
	char theirs[PATH_MAX], ours[PATH_MAX];
	if (!t->conf->status.socket.len)
		return false;
	file_directory(path, theirs, sizeof(theirs));
	file_directory(t->conf->status.socket.ptr, ours, sizeof(ours));
	return strcmp(theirs, ours) == 0;
}

static void try_log(struct rehearsal *t)
{
	char room[80];
	const char *path = t->conf->log.access.path.ptr;
	if (path[0] != '/') /* off, stdout */
		return;
	if (access(path, F_OK)) {
		try_to_make(t, "log.access.path", path, false);
		return;
	}
	bool created, may_write = may(path, W_OK);
	int fd = may_write ? log_file_open(path, &created) : -1;
	if (fd >= 0)
		close(fd);
	else
		say(t, true, "log.access.path: %s cannot write to %s: %s",
		    whoever(t, room, sizeof(room)), path, strerror(errno));
}

/* ---- addresses ---- */

/* The file that a process was started with, links resolved. */
static bool file_of(pid_t pid, char out[PATH_MAX])
{
	char path[64], line[8192], joined[PATH_MAX + 64];
	const char *file = OPTIONS_DEFAULT_FILE;
	snprintf(path, sizeof(path), "/proc/%d/cmdline", (int)pid);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd >= 0 ? read(fd, line, sizeof(line) - 1) : -1;
	socket_close(fd);
	if (n <= 0)
		return false;
	line[n] = '\0';
	for (const char *arg = line; arg < line + n; arg += strlen(arg) + 1)
		if (arg[0] == '-' && arg[1] == 'c')
			file = arg[2] ? arg + 2 : arg + 3;
	snprintf(joined, sizeof(joined), "/proc/%d/cwd/%.*s", (int)pid, PATH_MAX, file);
	return realpath(file[0] == '/' ? file : joined, out) != NULL;
}

/* What runs with this file is what will be reloaded, or restarted. */
static bool is_this(const struct rehearsal *t, const struct addr *addr)
{
	struct holder holder;
	char theirs[PATH_MAX], ours[PATH_MAX];
	return holder_find(addr, &holder) && strcmp(holder.name, "weir") == 0 &&
	       file_of(holder.pid, theirs) && realpath(t->conf->path.ptr, ours) &&
	       strcmp(theirs, ours) == 0;
}

static void try_address(struct rehearsal *t, const char *key, const struct addr *addr,
			struct view text)
{
	struct str why = STR_INIT;
	if (!addr->len)
		return;
	if (addr_is_unix(addr) && !is_beside_status(t, addr->un.sun_path))
		try_to_make(t, key, addr->un.sun_path, true);
	int error = socket_try(addr);
	if (error == EADDRINUSE) {
		holder_say(addr, &why);
		if (!is_this(t, addr))
			say(t, false, "%s: nobody can listen on " VIEW_FMT " now: %s", key,
			    VIEW_ARG(text), why.ptr);
	} else if (error) {
		say(t, false, "%s: this machine cannot listen on " VIEW_FMT ": %s", key,
		    VIEW_ARG(text), strerror(error));
	}
	str_fini(&why);
}

static void try_addresses(struct rehearsal *t)
{
	const struct conf *conf = t->conf;
	struct addr socket = {.len = 0};
	struct str path = STR_INIT;
	str_printf(&path, "unix:" VIEW_FMT, VIEW_ARG(conf->status.socket));
	if (conf->status.socket.len && addr_parse(str_as_view(&path), &socket))
		try_address(t, "status.socket", &socket, str_as_view(&path));
	str_fini(&path);
	for (size_t i = 0; i < conf->n_listeners; i++)
		for (size_t k = 0; k < conf->listeners[i].n_binds; k++)
			try_address(t, "bind", &conf->listeners[i].binds[k],
				    conf->listeners[i].bind_texts[k]);
	try_address(t, "status.bind", &conf->status.bind, conf->status.bind_text);
}

bool trial(const struct conf *conf)
{
	struct rehearsal t = {.conf = conf};
	try_user(&t);
	try_itself(&t);
	try_files(&t);
	try_status_socket(&t);
	try_log(&t);
	try_state(&t);
	try_acme(&t);
	try_addresses(&t);
	return !t.failed;
}
