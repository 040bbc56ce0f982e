/* SPDX-License-Identifier: MIT */
/*
 * Certificates and users that change on disk: noticed, read, used.
 *
 * The files are looked at every three seconds.  stat(2) follows whatever certbot, Kubernetes or
 * an operator replaces, a file, a link to it or a link on the way to its directory, on any file
 * system; inotify(7) would need a watch on each directory and link of each way, and tells
 * nothing on NFS or FUSE.  A look costs some microseconds a file.
 */
#include "tls_watch.h"

#include <dirent.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "weir/admin/admin.h"
#include "weir/base/clock.h"
#include "weir/base/hash.h"
#include "weir/base/log.h"

#define LOOK_US UINT64_C(3000000)
#define QUIET_US UINT64_C(900000) /* a second, as ticks come */
#define GRACE_US UINT64_C(4000000)

/* ---- the mark ---- */

/* As little as tells one version of a file from another. */
struct print {
	uint64_t dev, ino, size;
	int64_t mtime_s, mtime_ns, ctime_s, ctime_ns;
};

static uint64_t mark_stat(const struct stat *st, uint64_t seed)
{
	struct print print = {
	    .dev = st->st_dev,
	    .ino = st->st_ino,
	    .size = (uint64_t)st->st_size,
	    .mtime_s = st->st_mtim.tv_sec,
	    .mtime_ns = st->st_mtim.tv_nsec,
	    .ctime_s = st->st_ctim.tv_sec,
	    .ctime_ns = st->st_ctim.tv_nsec,
	};
	return hash_bytes(&print, sizeof(print), seed);
}

static void mark_file(uint64_t *mark, struct view path)
{
	struct stat st;
	if (!path.len)
		return;
	*mark = hash_view(path, *mark);
	if (stat(path.ptr, &st) == 0)
		*mark = mark_stat(&st, *mark);
}

/* Entries come in any order: their sum does not depend on it. */
static void mark_directory(uint64_t *mark, struct view path)
{
	DIR *dir = opendir(path.ptr);
	uint64_t sum = 0;
	struct stat st;
	for (struct dirent *entry; dir && (entry = readdir(dir));) {
		if (entry->d_name[0] == '.')
			continue;
		uint64_t name = hash_view(view_str(entry->d_name), *mark);
		sum +=
		    fstatat(dirfd(dir), entry->d_name, &st, 0) == 0 ? mark_stat(&st, name) : name;
	}
	if (dir)
		closedir(dir);
	*mark = hash_bytes(&sum, sizeof(sum), hash_view(path, *mark));
}

static void mark_listener(uint64_t *mark, const struct conf_listener_tls *tls)
{
	for (size_t i = 0; i < tls->certificates.n; i++) {
		const struct conf_certificate *c = &tls->certificates.rows[i];
		if (c->directory.len)
			mark_directory(mark, c->directory);
		mark_file(mark, c->cert);
		mark_file(mark, c->key);
		mark_file(mark, c->ocsp);
	}
	mark_file(mark, tls->client_ca);
	mark_file(mark, tls->client_crl);
	mark_file(mark, tls->ticket_key_file);
}

uint64_t tls_mark(const struct conf *conf)
{
	uint64_t mark = 0;
	for (size_t i = 0; i < conf->n_listeners; i++)
		mark_listener(&mark, &conf->listeners[i].tls);
	for (size_t i = 0; i < conf->n_pools; i++) {
		mark_file(&mark, conf->pools[i].tls.ca);
		mark_file(&mark, conf->pools[i].tls.cert);
		mark_file(&mark, conf->pools[i].tls.key);
	}
	return mark;
}

uint64_t users_mark(const struct conf *conf)
{
	uint64_t mark = 0;
	if (conf->status.auth.basic.on)
		mark_file(&mark, conf->status.auth.basic.file);
	for (size_t i = 0; i < conf->n_routes; i++)
		if (conf->routes[i].auth.basic.on)
			mark_file(&mark, conf->routes[i].auth.basic.file);
	return mark;
}

/* ---- what follows ---- */

static void settle(struct tls_watch *watch)
{
	watch->refused = 0;
	str_reset(&watch->error);
}

static void complain(struct tls_watch *watch)
{
	struct view why = str_as_view(&watch->why);
	str_reset(&watch->error);
	str_view(&watch->error, why);
	log_error("%s have changed and cannot be used, those of before stay: " VIEW_FMT,
		  watch->what, VIEW_ARG(why));
	event_add(EVENT_RELOAD_FAILED, VIEW_NONE, VIEW_NONE,
		  "%s have changed and cannot be used, those of before stay: " VIEW_FMT,
		  watch->what, VIEW_ARG(why));
}

static void try_it(struct tls_watch *watch, uint64_t now,
		   enum err (*rebuild)(void *ctx, struct str *why), void *ctx)
{
	str_reset(&watch->why);
	if (rebuild(ctx, &watch->why) == ERR_OK) {
		settle(watch);
		log_info("%s have changed: they are in use", watch->what);
		event_add(EVENT_RELOAD, VIEW_NONE, VIEW_NONE, "%s have changed: they are in use",
			  watch->what);
		return;
	}
	while (watch->why.len && watch->why.ptr[watch->why.len - 1] == '\n')
		watch->why.len--;
	if (!watch->refused)
		watch->refused_us = now;
	watch->refused = watch->seen;
}

void tls_watch_tick(struct tls_watch *watch, const struct conf *conf, uint64_t in_use,
		    enum err (*rebuild)(void *ctx, struct str *why), void *ctx)
{
	uint64_t now = clock_us();
	bool at_rest = watch->seen == in_use && !watch->refused;
	if (at_rest && now - watch->looked_us < LOOK_US - QUIET_US / 2)
		return;
	watch->looked_us = now;
	uint64_t mark = watch->mark(conf);
	if (mark == in_use) {
		watch->seen = mark;
		settle(watch);
	} else if (mark != watch->seen) {
		watch->seen = mark;
		watch->seen_us = now;
	} else if (mark != watch->refused && now - watch->seen_us >= QUIET_US) {
		try_it(watch, now, rebuild, ctx);
	}
	if (watch->refused && now - watch->refused_us >= GRACE_US &&
	    !view_eq(str_as_view(&watch->error), str_as_view(&watch->why)))
		complain(watch);
}

void tls_watch_fini(struct tls_watch *watch)
{
	str_fini(&watch->why);
	str_fini(&watch->error);
}
