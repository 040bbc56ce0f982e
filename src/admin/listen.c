/* SPDX-License-Identifier: MIT */
/*
 * The sockets of the status port: opened whole before the old ones go, so that a reload can be
 * taken back.
 */
#include "listen.h"

#include <errno.h>
#include <string.h>

#include "weir/base/file.h"
#include "weir/net/holder.h"
#include "weir/net/inherit.h"
#include "weir/net/socket.h"

void listening_init(struct listening *l)
{
	*l = (struct listening){.token = STR_INIT};
	for (int i = 0; i < N_ENDS; i++)
		l->ends[i].fd = -1;
}

void endpoint_close(struct endpoint *end)
{
	if (end->fd < 0)
		return;
	/* a socket file that somebody else has put in place meanwhile is not ours to remove */
	if (addr_is_unix(&end->addr) && !inherit_has(&end->addr))
		file_remove_socket(end->addr.un.sun_path, end->file);
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

static enum err refuse(const struct endpoint *end, enum err err, struct str *why)
{
	int error = errno;
	char text[ADDR_TEXT_MAX];
	addr_format(&end->addr, text);
	str_printf(why, "cannot listen on %s for %s: ", text,
		   addr_is_unix(&end->addr) ? "status.socket" : "status.bind");
	if (err == ERR_EXISTS)
		holder_say(&end->addr, why);
	else
		str_text(why, strerror(error));
	return err;
}

/* The directory of the default path does not outlive a reboot: /run is in memory. */
static enum err open_endpoint(struct endpoint *end, struct str *why)
{
	bool is_unix = addr_is_unix(&end->addr);
	struct str reason = STR_INIT;
	enum err err = is_unix ? file_make_directory(end->addr.un.sun_path, &reason) : ERR_OK;
	if (err)
		str_printf(why, "status.socket: " VIEW_FMT, VIEW_ARG(str_as_view(&reason)));
	str_fini(&reason);
	if (err)
		return err;
	err = socket_listen(&end->addr, false, end->mode, &end->fd);
	if (err)
		return refuse(end, err, why);
	if (!is_unix)
		return ERR_OK;
	end->file = file_identify(end->addr.un.sun_path);
	/* one that was inherited has the mode of its time */
	if (end->mode && !file_chmod_socket(end->addr.un.sun_path, end->file, end->mode))
		return refuse(end, ERR_IO, why);
	return ERR_OK;
}

static enum err read_token(struct view path, struct str *token, struct str *why)
{
	struct str reason = STR_INIT;
	enum err err = file_read_secret(path.ptr, token, &reason);
	if (err)
		str_printf(why, "cannot read status.token_file " VIEW_FMT ": " VIEW_FMT,
			   VIEW_ARG(path), VIEW_ARG(str_as_view(&reason)));
	str_fini(&reason);
	return err;
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
