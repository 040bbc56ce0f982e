/* SPDX-License-Identifier: MIT */
/* What `shared` of a configuration says, read and kept. */
#include "settings.h"

#include "weir/base/arena.h"
#include "weir/base/file.h"

void settings_fini(struct settings *s)
{
	tls_client_put(s->tls);
	arena_free(s->arena);
	*s = (struct settings){.arena = NULL};
}

static bool read_password(struct settings *s, struct str *why)
{
	struct str text = STR_INIT, reason = STR_INIT;
	struct view path = s->conf.password_file;
	if (!path.len)
		return true;
	enum err err = file_read_secret(path.ptr, &text, &reason);
	if (err)
		str_printf(why,
			   "cannot read shared.redis.password_file " VIEW_FMT ": " VIEW_FMT "\n",
			   VIEW_ARG(path), VIEW_ARG(str_as_view(&reason)));
	s->password = arena_view(s->arena, str_as_view(&text));
	str_fini(&text);
	str_fini(&reason);
	return !err;
}

static bool make_tls(struct tls_local *local, struct settings *s, struct str *why)
{
	const struct conf_pool_tls *tls = &s->conf.tls;
	struct tls_client_options options = {.verify = tls->verify,
					     .ca = tls->ca,
					     .sni = tls->sni,
					     .cert = tls->cert,
					     .key = tls->key};
	if (!tls->on)
		return true;
	s->tls = tls_client_new(local, &options, why);
	if (!s->tls)
		str_char(why, '\n');
	return s->tls != NULL;
}

static struct conf_shared copy_conf(struct arena *arena, const struct conf_shared *from)
{
	struct conf_shared to = *from;
	to.redis.text = arena_view(arena, from->redis.text);
	to.redis.host = arena_view(arena, from->redis.host);
	to.username = arena_view(arena, from->username);
	to.password_file = arena_view(arena, from->password_file);
	to.prefix = arena_view(arena, from->prefix);
	to.node = arena_view(arena, from->node);
	to.tls.ca = arena_view(arena, from->tls.ca);
	to.tls.sni = arena_view(arena, from->tls.sni);
	to.tls.cert = arena_view(arena, from->tls.cert);
	to.tls.key = arena_view(arena, from->tls.key);
	return to;
}

static bool is_any(const struct addr *addr)
{
	if (!addr->len || addr->sa.sa_family == AF_UNIX)
		return false;
	return addr->sa.sa_family == AF_INET6 ? IN6_IS_ADDR_UNSPECIFIED(&addr->in6.sin6_addr)
					      : addr->in4.sin_addr.s_addr == htonl(INADDR_ANY);
}

enum err settings_make(struct settings *s, const struct conf *conf, struct tls_local *tls,
		       struct str *why)
{
	*s = (struct settings){.arena = NULL};
	if (!conf->shared.on)
		return ERR_OK;
	s->arena = arena_new();
	s->conf = copy_conf(s->arena, &conf->shared);
	s->status = arena_view(s->arena, conf->status.bind_text);
	for (size_t i = 0; i < conf->n_pools; i++)
		s->pins |= conf->pools[i].sticky.shared;
	s->any_port = is_any(&conf->status.bind) ? addr_port(&conf->status.bind) : 0;
	if (read_password(s, why) && make_tls(tls, s, why))
		return ERR_OK;
	settings_fini(s);
	return ERR_IO;
}

bool settings_same_server(const struct settings *a, const struct settings *b)
{
	return a->conf.on == b->conf.on && view_eq(a->conf.redis.text, b->conf.redis.text) &&
	       view_eq(a->conf.username, b->conf.username) && view_eq(a->password, b->password) &&
	       !a->conf.tls.on && !b->conf.tls.on;
}

bool settings_known_as(const struct settings *a, const struct settings *b)
{
	return a->conf.on == b->conf.on && view_eq(a->conf.redis.text, b->conf.redis.text) &&
	       view_eq(a->conf.prefix, b->conf.prefix) && view_eq(a->conf.node, b->conf.node);
}
