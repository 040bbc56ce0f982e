/* SPDX-License-Identifier: MIT */
#include "listen.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "weir/net/inherit.h"
#include "weir/net/socket.h"

#define TOKEN_FILE_MAX 4096

void listening_init(struct listening *l)
{
	*l = (struct listening){.token = STR_INIT};
	for (int i = 0; i < N_ENDS; i++)
		l->ends[i].fd = -1;
}

/* A socket file that somebody else has put in place meanwhile is not ours to remove. */
static void remove_file(const struct endpoint *end)
{
	struct stat st;
	const char *path = end->addr.un.sun_path;
	if (!inherit_has(&end->addr) && lstat(path, &st) == 0 && S_ISSOCK(st.st_mode) &&
	    st.st_dev == end->dev && st.st_ino == end->ino)
		unlink(path);
}

void endpoint_close(struct endpoint *end)
{
	if (end->fd < 0)
		return;
	if (addr_is_unix(&end->addr))
		remove_file(end);
	socket_close(end->fd);
	end->fd = -1;
}

void listening_close(struct listening *l)
{
	for (int i = 0; i < N_ENDS; i++)
		if (!l->ends[i].kept)
			endpoint_close(&l->ends[i]);
	str_fini(&l->token);
	listening_init(l);
}

/* ---- opening ---- */

/* The directory of the default path does not outlive a reboot: /run is in memory. */
static void make_directory(const char *path)
{
	char dir[sizeof(((struct sockaddr_un *)NULL)->sun_path)];
	const char *slash = strrchr(path, '/');
	if (!slash || slash == path)
		return;
	memcpy(dir, path, (size_t)(slash - path));
	dir[slash - path] = '\0';
	mkdir(dir, 0755);
}

static enum err refuse(const struct endpoint *end, enum err err, struct str *why)
{
	int error = errno;
	char text[ADDR_TEXT_MAX];
	addr_format(&end->addr, text);
	str_printf(why, "cannot listen on %s for %s: %s", text,
		   addr_is_unix(&end->addr) ? "status.socket" : "status.bind",
		   err == ERR_EXISTS ? "it is in use" : strerror(error));
	return err;
}

static enum err open_endpoint(struct endpoint *end, struct str *why)
{
	struct stat st;
	enum err err = socket_listen(&end->addr, false, end->mode, &end->fd);
	if (err != ERR_OK && errno == ENOENT && addr_is_unix(&end->addr)) {
		make_directory(end->addr.un.sun_path);
		err = socket_listen(&end->addr, false, end->mode, &end->fd);
	}
	if (err != ERR_OK)
		return refuse(end, err, why);
	if (addr_is_unix(&end->addr) && lstat(end->addr.un.sun_path, &st) == 0) {
		end->dev = st.st_dev;
		end->ino = st.st_ino;
	}
	return ERR_OK;
}

static enum err read_token(struct view path, struct str *token, struct str *why)
{
	char name[4096], text[TOKEN_FILE_MAX + 1];
	if (path.len >= sizeof(name)) {
		str_text(why, "the name in status.token_file is too long");
		return ERR_RANGE;
	}
	memcpy(name, path.ptr, path.len);
	name[path.len] = '\0';
	int fd = open(name, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text));
	int error = errno;
	socket_close(fd);
	if (n < 0) {
		str_printf(why, "cannot read status.token_file %s: %s", name, strerror(error));
		return ERR_IO;
	}
	struct view v = view_of(text, (size_t)n);
	while (v.len && strchr(" \t\r\n", v.ptr[v.len - 1]))
		v.len--;
	while (v.len && strchr(" \t\r\n", v.ptr[0]))
		v = view_skip(v, 1);
	if (!v.len || n > TOKEN_FILE_MAX) {
		str_printf(why, "status.token_file %s %s", name,
			   v.len ? "is larger than 4096 bytes" : "is empty");
		return ERR_RANGE;
	}
	str_view(token, v);
	return ERR_OK;
}

/* The addresses that `conf` wants; len 0 where it wants none. */
static bool wanted(struct listening *out, const struct conf_status *conf)
{
	struct str path = STR_INIT;
	bool ok = true;
	if (conf->socket.len) {
		str_printf(&path, "unix:" VIEW_FMT, VIEW_ARG(conf->socket));
		ok = addr_parse(str_as_view(&path), &out->ends[END_UNIX].addr);
		out->ends[END_UNIX].mode = conf->mode;
	}
	out->ends[END_TCP].addr = conf->bind;
	/* a unix path in status.bind is as open as its directory */
	out->ends[END_TCP].mode = conf->mode;
	str_fini(&path);
	return ok;
}

enum err listening_open(struct listening *out, const struct listening *old,
			const struct conf_status *conf, struct str *why)
{
	enum err err = ERR_OK;
	listening_init(out);
	if (!wanted(out, conf)) {
		str_text(why, "status.socket is no path of a unix socket");
		return ERR_RANGE;
	}
	if (conf->token_file.len)
		err = read_token(conf->token_file, &out->token, why);
	for (int i = 0; i < N_ENDS && err == ERR_OK; i++) {
		struct endpoint *end = &out->ends[i];
		const struct endpoint *before = &old->ends[i];
		if (!end->addr.len)
			continue;
		end->kept = before->fd >= 0 && addr_eq(&before->addr, &end->addr);
		if (!end->kept)
			err = open_endpoint(end, why);
	}
	if (err != ERR_OK)
		listening_close(out);
	return err;
}
