/* SPDX-License-Identifier: MIT */
/*
 * etcd version 3 by its JSON gateway:
 *
 *   (authenticate -->) range of the prefix at revision R --> watch from R + 1 --> events ...
 *                            ^                                    |
 *                            +-- cut, silent, compacted, cancelled+   (each time a whole look)
 *
 * A key has one member as its value.  A value that cannot be understood changes nothing about
 * the member that the key had.
 */
#include <openssl/evp.h>
#include <stdlib.h>

#include "ask.h"

#include "weir/base/base64.h"
#include "weir/base/check.h"

/* A watch says nothing while nothing changes: after so long all is looked at anew. */
#define SILENCE_US UINT64_C(60000000)
#define KEYS_MAX SOURCE_MEMBERS_MAX

struct entry {
	char *key;                   /* owns */
	struct str value;            /* as it was understood; owns */
	struct conf_members members; /* one, or none so far */
	bool named;                  /* by the range at hand */
};

struct etcd {
	struct source *source;
	struct tls_client *tls; /* counted; NULL: plain */
	size_t endpoint;        /* the one in use */
	struct fetch *fetch;
	struct lines lines;
	struct str token;      /* owns; empty: none */
	struct entry *entries; /* owns */
	size_t n, cap;
	uint64_t revision;
};

static void look(struct source *s);

/* ---- base64, as the gateway has keys and values ---- */

static void put_base64(struct str *out, struct view v)
{
	if (!str_reserve(out, v.len * 4 / 3 + 8))
		return;
	out->len += (size_t)EVP_EncodeBlock((unsigned char *)out->ptr + out->len,
					    (const unsigned char *)v.ptr, (int)v.len);
}

/* Owned text, terminated; NULL: malformed. */
static char *from_base64(const char *text, size_t *len)
{
	size_t cap = strlen(text) / 4 * 3;
	char *out = malloc(cap + 1);
	check(out != NULL);
	ptrdiff_t n = base64_read(view_str(text), BASE64_PADDED, out, cap);
	if (n < 0) {
		free(out);
		return NULL;
	}
	*len = (size_t)n;
	out[n] = '\0';
	return out;
}

/* ---- entries, in order of their keys ---- */

static size_t place_of(const struct etcd *e, const char *key)
{
	size_t from = 0, to = e->n;
	while (from < to) {
		size_t mid = (from + to) / 2;
		if (strcmp(e->entries[mid].key, key) < 0)
			from = mid + 1;
		else
			to = mid;
	}
	return from;
}

static struct entry *entry_find(struct etcd *e, const char *key)
{
	size_t i = place_of(e, key);
	return i < e->n && strcmp(e->entries[i].key, key) == 0 ? &e->entries[i] : NULL;
}

static void entry_fini(struct entry *entry)
{
	free(entry->key);
	str_fini(&entry->value);
	conf_members_free(&entry->members);
}

static void entries_drop(struct etcd *e)
{
	for (size_t i = 0; i < e->n; i++)
		entry_fini(&e->entries[i]);
	e->n = 0;
}

static struct entry *entry_add(struct etcd *e, const char *key)
{
	size_t i = place_of(e, key);
	char *copy = strdup(key);
	if (e->n == e->cap) {
		e->cap = e->cap ? 2 * e->cap : 16;
		e->entries = realloc(e->entries, e->cap * sizeof(*e->entries));
	}
	check(copy != NULL && e->entries != NULL);
	memmove(&e->entries[i + 1], &e->entries[i], (e->n - i) * sizeof(*e->entries));
	e->entries[i] = (struct entry){.key = copy, .value = STR_INIT};
	e->n++;
	return &e->entries[i];
}

static void entry_del(struct etcd *e, const char *key)
{
	struct entry *entry = entry_find(e, key);
	if (!entry)
		return;
	entry_fini(entry);
	size_t i = (size_t)(entry - e->entries);
	e->n--;
	memmove(entry, entry + 1, (e->n - i) * sizeof(*entry));
}

/* What is wrong with the value goes to `why`; the key keeps what it had. */
static void entry_set(struct etcd *e, const char *key, struct view value, struct str *why)
{
	struct conf_members members;
	struct conf_diags diags;
	struct entry *entry = entry_find(e, key);
	if ((entry && view_eq(value, str_as_view(&entry->value))) || (!entry && e->n >= KEYS_MAX))
		return;
	conf_diags_init(&diags);
	if (conf_members_parse(value, key, &members, &diags)) {
		entry = entry ? entry : entry_add(e, key);
		conf_members_free(&entry->members);
		entry->members = members;
		str_reset(&entry->value);
		str_view(&entry->value, value);
	} else {
		str_reset(why);
		str_printf(why, "%s: %s", key, diags.n ? diags.rows[0].message : "no member");
	}
	conf_diags_fini(&diags);
}

/* One of a range, or of an event. */
static void take_pair(struct etcd *e, const json_t *kv, bool gone, struct str *why)
{
	size_t key_len, len;
	char *key = from_base64(json_text_of(kv, "key"), &key_len);
	char *value = from_base64(json_text_of(kv, "value"), &len);
	if (key && gone)
		entry_del(e, key);
	else if (key && value)
		entry_set(e, key, view_of(value, len), why);
	free(key);
	free(value);
}

static void answer(struct etcd *e, const struct str *why)
{
	struct arena *arena = arena_new();
	size_t n = 0;
	for (size_t i = 0; i < e->n; i++)
		n += e->entries[i].members.n;
	struct found *rows = arena_array(arena, n, sizeof(*rows));
	n = 0;
	for (size_t i = 0; i < e->n; i++)
		for (size_t k = 0; k < e->entries[i].members.n; k++)
			rows[n++] = (struct found){.backend = e->entries[i].members.rows[k],
						   .cause = view_str(e->entries[i].key)};
	source_answer(e->source, rows, n, why->len ? why->ptr : NULL);
	arena_free(arena);
}

/* ---- asking ---- */

static void post(struct etcd *e, const char *path, const struct str *body,
		 struct fetch_request *req)
{
	const struct conf_views *endpoints = &e->source->pool->discover.etcd.endpoints;
	struct str url = STR_INIT, headers = STR_INIT;
	struct view base = endpoints->rows[e->endpoint % endpoints->n];
	while (view_ends(base, VIEW("/")))
		base.len--;
	str_printf(&url, VIEW_FMT "%s", VIEW_ARG(base), path);
	str_text(&headers, "Content-Type: application/json\r\n");
	if (e->token.len)
		str_printf(&headers, "Authorization: %s\r\n", e->token.ptr);
	req->method = VIEW("POST");
	req->url = str_as_view(&url);
	req->headers = str_as_view(&headers);
	req->body = str_as_view(body);
	req->tls = e->tls;
	req->timeout_us = ASK_TIMEOUT_US;
	req->repeat = true;
	req->arg = e;
	e->fetch = fetch_begin(e->source->discover->fetcher, req);
	str_fini(&url);
	str_fini(&headers);
}

/* Another endpoint may do better, and a token may have expired. */
static void failed(struct etcd *e, const char *what, const struct fetch_answer *a)
{
	e->endpoint++;
	str_reset(&e->token);
	ask_fail(e->source, what, a);
}

/* The key, and the end of its range: the prefix with its last byte one higher. */
static void put_range(const struct etcd *e, struct str *body)
{
	struct view prefix = e->source->pool->discover.etcd.prefix;
	struct str end = STR_INIT;
	str_view(&end, prefix);
	while (end.len && (unsigned char)end.ptr[end.len - 1] == 0xff)
		end.len--;
	if (end.len)
		end.ptr[end.len - 1]++;
	str_text(body, "\"key\":\"");
	put_base64(body, prefix);
	str_text(body, "\",\"range_end\":\"");
	put_base64(body, str_as_view(&end));
	str_text(body, "\"");
	str_fini(&end);
}

/* ---- the watch ---- */

/* True: go on with this stream. */
static bool take_events(struct etcd *e, const json_t *result)
{
	const json_t *events = json_object_get(result, "events"), *event;
	struct str why = STR_INIT;
	size_t i;
	if (json_is_true(json_object_get(result, "canceled")))
		return false; /* compacted, most often */
	json_array_foreach(events, i, event)
	    take_pair(e, json_object_get(event, "kv"),
		      strcmp(json_text_of(event, "type"), "DELETE") == 0, &why);
	if (json_array_size(events))
		answer(e, &why);
	str_fini(&why);
	return true;
}

static bool on_line(void *arg, struct view line)
{
	struct etcd *e = arg;
	json_t *root = json_loadb(line.ptr, line.len, 0, NULL);
	const json_t *result = json_object_get(root, "result");
	bool ok = result && take_events(e, result);
	json_decref(root);
	if (ok)
		return true;
	fetch_cancel(e->fetch);
	e->fetch = NULL;
	source_again(e->source, 1000000);
	return false;
}

static void on_piece(void *arg, struct view bytes)
{
	struct etcd *e = arg;
	if (lines_feed(&e->lines, bytes, on_line, e))
		return;
	fetch_cancel(e->fetch);
	e->fetch = NULL;
	source_fail(e->source, "a line of the watch is too long");
}

/* A watch that ends is no failure as long as the look after it is good. */
static void on_watch_over(void *arg, const struct fetch_answer *a)
{
	struct etcd *e = arg;
	e->fetch = NULL;
	if (a->status == 200)
		source_again(e->source, 1000000);
	else
		failed(e, "watch", a);
}

static void watch(struct etcd *e)
{
	struct str body = STR_INIT;
	str_text(&body, "{\"create_request\":{");
	put_range(e, &body);
	str_printf(&body, ",\"start_revision\":\"%llu\"}}", (unsigned long long)e->revision + 1);
	str_reset(&e->lines.text);
	post(e, "/v3/watch", &body,
	     &(struct fetch_request){
		 .silence_us = SILENCE_US, .piece = on_piece, .done = on_watch_over});
	str_fini(&body);
}

/* ---- the whole ---- */

/* What no key names any more goes; a key whose value cannot be understood keeps its member. */
static void keep_named(struct etcd *e, const json_t *kvs)
{
	const json_t *kv;
	size_t i, len, kept = 0;
	for (i = 0; i < e->n; i++)
		e->entries[i].named = false;
	json_array_foreach(kvs, i, kv)
	{
		char *key = from_base64(json_text_of(kv, "key"), &len);
		struct entry *entry = key ? entry_find(e, key) : NULL;
		if (entry)
			entry->named = true;
		free(key);
	}
	for (i = 0; i < e->n; i++) {
		if (e->entries[i].named)
			e->entries[kept++] = e->entries[i];
		else
			entry_fini(&e->entries[i]);
	}
	e->n = kept;
}

static void on_range(void *arg, const struct fetch_answer *a)
{
	struct etcd *e = arg;
	e->fetch = NULL;
	json_t *root = a->end == FETCH_OK && a->status == 200
			   ? json_loadb(a->body.ptr, a->body.len, 0, NULL)
			   : NULL;
	uint64_t revision = json_u64_of(json_object_get(root, "header"), "revision");
	if (!revision) {
		json_decref(root);
		failed(e, "range", a);
		return;
	}
	const json_t *kvs = json_object_get(root, "kvs"), *kv;
	struct str why = STR_INIT;
	size_t i;
	keep_named(e, kvs);
	json_array_foreach(kvs, i, kv) take_pair(e, kv, false, &why);
	e->revision = revision;
	json_decref(root);
	answer(e, &why);
	str_fini(&why);
	watch(e);
}

static void range(struct etcd *e)
{
	struct str body = STR_INIT;
	str_char(&body, '{');
	put_range(e, &body);
	str_printf(&body, ",\"limit\":\"%d\"}", KEYS_MAX);
	post(e, "/v3/kv/range", &body,
	     &(struct fetch_request){.body_max = ASK_ANSWER_MAX, .keep = true, .done = on_range});
	str_fini(&body);
}

static void on_token(void *arg, const struct fetch_answer *a)
{
	struct etcd *e = arg;
	e->fetch = NULL;
	json_t *root = a->end == FETCH_OK && a->status == 200
			   ? json_loadb(a->body.ptr, a->body.len, 0, NULL)
			   : NULL;
	str_reset(&e->token);
	str_text(&e->token, json_text_of(root, "token"));
	json_decref(root);
	for (size_t i = 0; i < e->token.len; i++)
		if ((unsigned char)e->token.ptr[i] <= ' ')
			str_reset(&e->token);
	if (e->token.len)
		range(e);
	else
		failed(e, "authenticate", a);
}

static void authenticate(struct etcd *e)
{
	struct view user = e->source->pool->discover.etcd.username;
	struct view path = e->source->pool->discover.etcd.password_file;
	struct str password = STR_INIT, why = STR_INIT;
	if (path.len && !ask_secret(path, &password, &why)) {
		source_fail(e->source, "%s", why.ptr);
		str_fini(&why);
		str_fini(&password);
		return;
	}
	json_t *root = json_pack("{s:s%,s:s%}", "name", user.ptr, user.len, "password",
				 password.ptr ? password.ptr : "", password.len);
	char *text = root ? json_dumps(root, JSON_COMPACT) : NULL;
	struct str body = STR_INIT;
	str_text(&body, text ? text : "{}");
	post(e, "/v3/auth/authenticate", &body,
	     &(struct fetch_request){.body_max = 65536, .done = on_token});
	free(text);
	json_decref(root);
	str_fini(&body);
	str_fini(&password);
}

static void look(struct source *s)
{
	struct etcd *e = s->state;
	fetch_cancel(e->fetch);
	e->fetch = NULL;
	if (s->pool->discover.etcd.username.len && !e->token.len)
		authenticate(e);
	else
		range(e);
}

/* ---- life ---- */

static bool make_tls(struct etcd *e, struct str *why)
{
	const struct conf_pool *pool = e->source->pool;
	bool wanted = false;
	for (size_t i = 0; i < pool->discover.etcd.endpoints.n; i++)
		wanted |= view_starts(pool->discover.etcd.endpoints.rows[i], VIEW("https:"));
	if (!wanted)
		return true;
	e->tls = fetch_tls_new(e->source->discover->fetcher,
			       &(struct fetch_tls_options){.ca = pool->discover.etcd.ca,
							   .cert = pool->discover.etcd.cert,
							   .key = pool->discover.etcd.key},
			       why);
	return e->tls != NULL;
}

/* Certificates may be there later: then they are read. */
static void etcd_ask(struct source *s)
{
	struct etcd *e = s->state;
	struct str why = STR_INIT;
	if (e->tls || make_tls(e, &why))
		look(s);
	else
		source_fail(s, "%s", why.ptr ? why.ptr : "no TLS");
	str_fini(&why);
}

static void etcd_start(struct source *s)
{
	struct etcd *e = calloc(1, sizeof(*e));
	check(e != NULL);
	e->source = s;
	e->lines.text = e->token = STR_INIT;
	s->state = e;
	etcd_ask(s);
}

static void etcd_stop(struct source *s)
{
	struct etcd *e = s->state;
	fetch_cancel(e->fetch);
	tls_client_put(e->tls);
	entries_drop(e);
	free(e->entries);
	str_fini(&e->lines.text);
	str_fini(&e->token);
	free(e);
	s->state = NULL;
}

const struct source_kind source_etcd = {
    .keyword = "etcd",
    .watches = true,
    .start = etcd_start,
    .stop = etcd_stop,
    .ask = etcd_ask,
};
