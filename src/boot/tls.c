/* SPDX-License-Identifier: MIT */
/*
 * From the configuration to TLS contexts: checks while it is loaded, a context for each
 * worker in each generation, keys of tickets for all of them.
 */
#include "weir/net/tls.h"

#include <stdlib.h>
#include <string.h>

#include "control.h"

#include "weir/acme/acme.h"
#include "weir/base/check.h"
#include "weir/base/file.h"
#include "weir/filter/users.h"

#define ROTATE_US (12 * UINT64_C(3600000000))
#define KEY_FILE_MAX 4096

/* ---- checks ---- */

static void report(struct conf_sink *sink, enum tls_bad bad, struct str *why)
{
	static const char *const keys[] = {[TLS_GOOD] = "cert",
					   [TLS_BAD_CERT] = "cert",
					   [TLS_BAD_KEY] = "key",
					   [TLS_BAD_OCSP] = "ocsp"};
	if (bad != TLS_GOOD || why->len)
		sink->say(sink, bad == TLS_GOOD ? CONF_WARNING : CONF_ERROR, keys[bad],
			  str_as_view(why).ptr);
	str_reset(why);
}

/* The files of one entry; true with *files of the arena. */
static bool files_of(const struct conf_certificate *c, struct arena *arena,
		     struct tls_files **files, size_t *n, struct str *why)
{
	if (c->directory.len)
		return tls_directory(c->directory, arena, files, n, why) == ERR_OK;
	*files = arena_zalloc(arena, sizeof(**files));
	**files = (struct tls_files){.cert = c->cert, .key = c->key, .ocsp = c->ocsp};
	*n = 1;
	return true;
}

static void check_certificate(const struct conf_certificate *c, struct conf_sink *sink)
{
	struct arena *arena = arena_new();
	struct str why = STR_INIT;
	struct tls_files *files;
	struct tls_cert_info info;
	size_t n = 0;
	if (!c->acme.n && !files_of(c, arena, &files, &n, &why))
		sink->say(sink, CONF_ERROR, "directory", str_as_view(&why).ptr);
	for (size_t i = 0; i < n; i++)
		report(sink, tls_cert_check(&files[i], arena, &info, &why), &why);
	str_fini(&why);
	arena_free(arena);
}

static struct tls_ticket_ring *read_ring(struct view path, struct str *why)
{
	struct str text = STR_INIT, reason = STR_INIT;
	struct tls_ticket_ring *ring = NULL;
	str_printf(why, "'" VIEW_FMT "': ", VIEW_ARG(path));
	if (file_read(path.ptr, KEY_FILE_MAX, 0, &text, &reason) == ERR_OK)
		ring = tls_tickets_read(str_as_view(&text), why);
	else
		str_printf(why, "cannot be read: " VIEW_FMT, VIEW_ARG(str_as_view(&reason)));
	if (text.ptr)
		explicit_bzero(text.ptr, text.cap);
	str_fini(&text);
	str_fini(&reason);
	return ring;
}

static void check_listener(const struct conf_listener_tls *tls, struct conf_sink *sink)
{
	struct str why = STR_INIT;
	if (tls->client_ca.len && !tls_ca_check(tls->client_ca, &why))
		sink->say(sink, CONF_ERROR, "client_ca", str_as_view(&why).ptr);
	str_reset(&why);
	if (tls->client_crl.len && !tls_crl_check(tls->client_crl, &why))
		sink->say(sink, CONF_ERROR, "client_crl", str_as_view(&why).ptr);
	str_reset(&why);
	struct tls_ticket_ring *ring =
	    tls->ticket_key_file.len ? read_ring(tls->ticket_key_file, &why) : NULL;
	if (tls->ticket_key_file.len && !ring)
		sink->say(sink, CONF_ERROR, "ticket_key_file", str_as_view(&why).ptr);
	tls_tickets_put(ring);
	str_fini(&why);
}

static void check_pool(const struct conf_pool_tls *tls, struct conf_sink *sink)
{
	struct str why = STR_INIT;
	if (tls->ca.len && !tls_ca_check(tls->ca, &why))
		sink->say(sink, CONF_ERROR, "ca", str_as_view(&why).ptr);
	str_reset(&why);
	if (tls->cert.len) {
		struct tls_files files = {.cert = tls->cert, .key = tls->key};
		struct arena *arena = arena_new();
		struct tls_cert_info info;
		report(sink, tls_cert_check(&files, arena, &info, &why), &why);
		arena_free(arena);
	}
	str_fini(&why);
}

static void check_users(const struct conf_auth_basic *basic, struct conf_sink *sink)
{
	struct str why = STR_INIT;
	struct users *users = users_get(basic->file, &why);
	if (!users)
		sink->say(sink, CONF_ERROR, "file", str_as_view(&why).ptr);
	users_put(users);
	str_fini(&why);
}

void tls_set_checks(void)
{
	static const struct conf_checks checks = {.certificate = check_certificate,
						  .listener_tls = check_listener,
						  .pool_tls = check_pool,
						  .users = check_users};
	conf_set_checks(&checks);
}

/* ---- contexts ---- */

struct build {
	struct control *control;
	struct generation *gen;
	struct str *why;
	/* of the listener at hand */
	struct tls_files *files;
	size_t n_files;
	struct tls_ticket_ring *ring;
};

/* The texts live as long as the generation is being made. */
static struct tls_files files_of_acme(const struct build *b, const struct conf_views *names)
{
	struct view file, pem = acme_pem(b->control->acme, names, &file);
	return (struct tls_files){.cert = arena_view(b->gen->arena, file), .pem = pem};
}

static bool gather_files(struct build *b, const struct conf_listener_tls *tls)
{
	struct arena *arena = b->gen->arena;
	b->files = NULL;
	b->n_files = 0;
	for (size_t i = 0; i < tls->certificates.n; i++) {
		const struct conf_certificate *c = &tls->certificates.rows[i];
		struct tls_files of_acme, *more = &of_acme;
		size_t n = 1;
		if (c->acme.n)
			of_acme = files_of_acme(b, &c->acme);
		else if (!files_of(c, arena, &more, &n, b->why))
			return false;
		struct tls_files *all = arena_array(arena, b->n_files + n, sizeof(*all));
		if (b->n_files)
			memcpy(all, b->files, b->n_files * sizeof(*all));
		memcpy(all + b->n_files, more, n * sizeof(*all));
		b->files = all;
		b->n_files += n;
	}
	return true;
}

static struct view alpn_wire(unsigned alpn)
{
	static const char both[] = "\x02h2\x08http/1.1";
	if (alpn & CONF_ALPN_H2)
		return view_of(both, alpn & CONF_ALPN_HTTP11 ? 12 : 3);
	return view_of(both + 3, 9);
}

static bool build_servers(struct build *b, const struct conf_listener *listener, size_t index)
{
	const struct conf_listener_tls *tls = &listener->tls;
	struct tls_server_options options = {
	    .name = listener->name,
	    .files = b->files,
	    .n_files = b->n_files,
	    .only_13 = tls->min_version == CONF_TLS_13,
	    .library_records = tls->records == CONF_RECORDS_OPENSSL,
	    .client_auth = (enum tls_client_auth)tls->client_auth,
	    .client_ca = tls->client_ca,
	    .client_crl = tls->client_crl,
	    .alpn = alpn_wire(listener->limits.h2_streams ? tls->alpn : CONF_ALPN_HTTP11),
	    .tickets = b->ring,
	};
	if (b->gen->conf->acme.on)
		options.challenges = acme_challenges(b->control->acme, &options.n_challenges);
	for (unsigned w = 0; w < b->gen->n_workers; w++) {
		struct gen_local *gl = &b->gen->local[w];
		gl->servers[index] = tls_server_new(&gl->worker->tls, &options, b->why);
		if (!gl->servers[index])
			return false;
	}
	return true;
}

static void add_inventory(struct build *b, const struct conf_listener *listener)
{
	struct tls_inventory *all = b->gen->certificates;
	struct arena *arena = b->gen->arena;
	struct tls_used *rows = arena_array(arena, all->n + b->n_files, sizeof(*rows));
	struct str ignored = STR_INIT;
	if (all->n)
		memcpy(rows, all->rows, all->n * sizeof(*rows));
	all->rows = rows;
	for (size_t i = 0; i < b->n_files; i++) {
		struct tls_used *used = &rows[all->n];
		used->listener = listener->name;
		if (tls_cert_check(&b->files[i], arena, &used->info, &ignored) == TLS_GOOD)
			all->n++;
	}
	str_fini(&ignored);
}

static bool build_listener(struct build *b, size_t index)
{
	const struct conf_listener *listener = &b->gen->conf->listeners[index];
	struct view path = listener->tls.ticket_key_file;
	if (!listener->tls.on)
		return true;
	size_t before = b->why->len;
	b->ring = path.len ? read_ring(path, b->why) : NULL;
	if (path.len && !b->ring)
		return false;
	b->why->len = before;
	bool ok = gather_files(b, &listener->tls) && build_servers(b, listener, index);
	if (ok)
		add_inventory(b, listener);
	tls_tickets_put(b->ring);
	return ok;
}

static bool build_pool(struct build *b, uint32_t index)
{
	const struct conf_pool *conf = &b->gen->conf->pools[index];
	const struct conf_pool_tls *tls = &conf->tls;
	static const unsigned offers[] = {
	    [CONF_PROTOCOL_HTTP1] = CONF_ALPN_HTTP11,
	    [CONF_PROTOCOL_H2] = CONF_ALPN_H2,
	    [CONF_PROTOCOL_AUTO] = CONF_ALPN_H2 | CONF_ALPN_HTTP11,
	};
	struct tls_client_options options = {
	    .verify = tls->verify,
	    .ca = tls->ca,
	    .sni = tls->sni,
	    .cert = tls->cert,
	    .key = tls->key,
	    .alpn = alpn_wire(offers[conf->protocol]),
	};
	for (unsigned w = 0; tls->on && w < b->gen->n_workers; w++) {
		struct gen_local *gl = &b->gen->local[w];
		gl->views[index].tls = tls_client_new(&gl->worker->tls, &options, b->why);
		if (!gl->views[index].tls)
			return false;
	}
	return true;
}

static bool uses_tls(const struct conf *conf)
{
	bool any = false;
	for (size_t i = 0; i < conf->n_listeners; i++)
		any |= conf->listeners[i].tls.on;
	for (size_t i = 0; i < conf->n_pools; i++)
		any |= conf->pools[i].tls.on;
	return any;
}

bool tls_build(struct control *control, struct generation *gen, struct str *why)
{
	struct build b = {.control = control, .gen = gen, .why = why};
	const struct conf *conf = gen->conf;
	gen->tls_mark = tls_mark(conf); /* before they are read */
	gen->certificates = arena_zalloc(gen->arena, sizeof(*gen->certificates));
	if (conf->acme.on) {
		gen->acme = arena_view(gen->arena, acme_thumbprint(control->acme));
		gen->acme_guest = arena_view(gen->arena, acme_guest(control->acme));
	}
	for (unsigned w = 0; w < gen->n_workers; w++)
		gen->local[w].servers =
		    arena_array(gen->arena, conf->n_listeners, sizeof(struct tls_server *));
	bool ok = true;
	for (unsigned w = 0; ok && uses_tls(conf) && w < gen->n_workers; w++)
		ok = tls_local_prepare(&control->workers[w]->tls) == ERR_OK;
	for (size_t i = 0; ok && i < conf->n_listeners; i++)
		ok = build_listener(&b, i);
	for (uint32_t i = 0; ok && i < conf->n_pools; i++)
		ok = build_pool(&b, i);
	if (!ok)
		str_char(why, '\n');
	return ok;
}

void tls_release(struct generation *gen)
{
	for (unsigned w = 0; w < gen->n_workers; w++) {
		struct gen_local *gl = &gen->local[w];
		for (size_t i = 0; gl->servers && i < gen->conf->n_listeners; i++)
			tls_server_put(gl->servers[i]);
		for (uint32_t i = 0; i < gen->n_pools; i++)
			tls_client_put(gl->views[i].tls);
	}
}

/* ---- keys of tickets ---- */

static void take_tickets(struct worker *w, void *arg)
{
	tls_local_set_tickets(&w->tls, arg);
}

static void set_tickets(struct control *control, struct tls_ticket_ring *ring, uint64_t made_us)
{
	tls_tickets_put(control->tickets);
	control->tickets = ring;
	control->tickets_us = made_us;
	tls_tickets_get(ring, control->n_workers);
	workers_call(control, take_tickets, ring);
}

void tls_tick(struct control *control)
{
	uint64_t now = clock_us();
	if (control->tickets && now - control->tickets_us < ROTATE_US)
		return;
	struct tls_ticket_ring *ring = tls_tickets_rotate(control->tickets);
	if (ring) /* else the next second brings another try */
		set_tickets(control, ring, now);
}

void tls_pack(const struct control *control, struct str *out)
{
	const struct tls_ticket_ring *ring = control->tickets;
	pack_u64(out, control->tickets_us);
	for (unsigned i = 0; ring && i < ring->n; i++)
		pack_view(out, view_of((const char *)&ring->keys[i], sizeof(ring->keys[i])));
}

void tls_unpack(struct unpack *in, struct control *control)
{
	struct tls_ticket_ring *ring = calloc(1, sizeof(*ring));
	uint64_t made_us = unpack_max(in, clock_us());
	check(ring != NULL);
	ring->refs = 1;
	while (in->left && !in->bad) {
		struct view key = unpack_view(in);
		in->bad |= key.len != sizeof(ring->keys[0]) || ring->n == TLS_TICKET_KEYS_MAX;
		if (!in->bad)
			memcpy(&ring->keys[ring->n++], key.ptr, key.len);
	}
	if (in->bad || !ring->n)
		tls_tickets_put(ring);
	else
		set_tickets(control, ring, made_us);
}
