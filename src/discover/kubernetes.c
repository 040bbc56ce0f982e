/* SPDX-License-Identifier: MIT */
/*
 * EndpointSlices of a service in Kubernetes (discovery.k8s.io/v1):
 *
 *   list (page by page) at resourceVersion R --> watch from R --> events, bookmarks ...
 *         ^                                          |
 *         +---- 410 Gone ----------------------------+
 *                 watch ended in order, or cut: from the last resourceVersion seen,
 *                 later each time while it says nothing before it ends
 *
 * A service has several slices; its members are those of all. An endpoint that is ready, or of
 * which nobody says (nil), takes traffic; one that still serves while it terminates drains;
 * others are none. The token is read for every request, because it is changed (KEP-1205).
 */
#include <stdio.h>
#include <stdlib.h>

#include "ask.h"

#include "weir/base/check.h"
#include "weir/base/clock.h"
#include "weir/base/parse.h"

#define PAGE 500
#define SLICES_MAX 1000
/* How long the API server goes on with a watch; then it ends in order. */
#define WATCH_S 300
#define SILENCE_US ((WATCH_S + 30) * UINT64_C(1000000))
/* A watch of which nothing came before it ended was no good, unless it went on for so long. */
#define GOOD_US UINT64_C(10000000)
#define PAUSE_US UINT64_C(500000)
#define PAUSE_MAX_US UINT64_C(30000000)
/* So long a watch was worth having. */
#define LASTED_US UINT64_C(1000000)

struct slice {
	char *name;
	struct arena *arena; /* owns its rows */
	struct found *rows;
	size_t n;
	bool listed; /* by the list at hand */
};

struct kubernetes {
	struct source *source;
	struct tls_client *tls; /* counted; NULL: plain */
	struct fetch *fetch;
	struct lines lines;
	struct slice *slices; /* owns */
	size_t n;
	char version[64];     /* resourceVersion; "": list first */
	char page[1024];      /* `continue` of a list; "": its first page */
	uint64_t watching_us; /* since when; monotonic */
	unsigned n_useless;   /* watches one after the other that were no good */
	char trouble[120];
};

/* ---- slices ---- */

static struct slice *slice_find(struct kubernetes *k, const char *name)
{
	for (size_t i = 0; i < k->n; i++)
		if (strcmp(k->slices[i].name, name) == 0)
			return &k->slices[i];
	return NULL;
}

static void slice_fini(struct slice *slice)
{
	free(slice->name);
	arena_free(slice->arena);
}

static void slice_del(struct kubernetes *k, struct slice *slice)
{
	slice_fini(slice);
	*slice = k->slices[--k->n];
}

static struct slice *slice_get(struct kubernetes *k, const char *name)
{
	struct slice *slice = slice_find(k, name);
	if (slice || k->n == SLICES_MAX)
		return slice;
	if (!k->slices)
		k->slices = calloc(SLICES_MAX, sizeof(*k->slices));
	char *copy = strdup(name);
	check(k->slices != NULL && copy != NULL);
	k->slices[k->n] = (struct slice){.name = copy};
	return &k->slices[k->n++];
}

/* The port that is wanted, of the slice's; 0: it has none such. */
static uint16_t port_of(const struct kubernetes *k, const json_t *slice)
{
	struct view wanted = k->source->pool->discover.kubernetes.port;
	const json_t *ports = json_object_get(slice, "ports"), *port;
	uint64_t number = 0;
	size_t i;
	bool by_number = parse_u64(wanted, &number);
	json_array_foreach(ports, i, port)
	{
		uint64_t n = json_u64_of(port, "port");
		bool same =
		    by_number ? n == number : view_eq(view_str(json_text_of(port, "name")), wanted);
		if (n && n <= UINT16_MAX && (wanted.len ? same : json_array_size(ports) == 1))
			return (uint16_t)n;
	}
	return 0;
}

/* Absent and null mean the same: nobody says. */
static bool condition(const json_t *endpoint, const char *name, bool unsaid)
{
	const json_t *value = json_object_get(json_object_get(endpoint, "conditions"), name);
	return json_is_boolean(value) ? json_is_true(value) : unsaid;
}

static bool state_of(const json_t *endpoint, uint8_t *state)
{
	bool ready = condition(endpoint, "ready", true);
	bool serving = condition(endpoint, "serving", ready);
	bool terminating = condition(endpoint, "terminating", false);
	*state = terminating ? CONF_MEMBER_DRAINING : CONF_MEMBER_HERE;
	return terminating ? serving : ready;
}

static void take_endpoint(struct slice *slice, const json_t *endpoint, uint16_t port)
{
	const json_t *ip = json_array_get(json_object_get(endpoint, "addresses"), 0);
	const char *pod = json_text_of(json_object_get(endpoint, "targetRef"), "name");
	struct found *row = &slice->rows[slice->n];
	struct addr addr;
	uint8_t state;
	if (!json_is_string(ip) || !addr_parse_ip(view_str(json_string_value(ip)), &addr) ||
	    !state_of(endpoint, &state))
		return;
	if (addr.sa.sa_family == AF_INET6)
		addr.in6.sin6_port = htons(port);
	else
		addr.in4.sin_port = htons(port);
	if (addr_unreachable(&addr))
		return;
	*row = (struct found){.backend = {.weight = 1, .member = state}};
	row->cause =
	    view_str(arena_printf(slice->arena, "%s%s%s", slice->name, *pod ? " " : "", pod));
	found_set_address(row, &addr, slice->arena);
	slice->n++;
}

static void take_slice(struct kubernetes *k, const json_t *object)
{
	const json_t *endpoints = json_object_get(object, "endpoints"), *endpoint;
	const char *name = json_text_of(json_object_get(object, "metadata"), "name");
	struct slice *slice = *name ? slice_get(k, name) : NULL;
	uint16_t port = port_of(k, object);
	size_t i;
	if (!slice)
		return;
	arena_free(slice->arena);
	slice->arena = arena_new();
	slice->rows = arena_array(slice->arena, json_array_size(endpoints), sizeof(*slice->rows));
	slice->n = 0;
	slice->listed = true;
	if (!port && json_array_size(endpoints))
		snprintf(k->trouble, sizeof(k->trouble), "slice %.60s has no such port, or several",
			 name);
	json_array_foreach(endpoints, i, endpoint) if (port) take_endpoint(slice, endpoint, port);
}

/* One that is in two slices for a moment takes traffic if either says so. */
static int by_state(const void *a, const void *b)
{
	const struct found *x = a, *y = b;
	return (int)x->backend.member - (int)y->backend.member;
}

static void answer(struct kubernetes *k)
{
	struct arena *arena = arena_new();
	size_t n = 0;
	for (size_t i = 0; i < k->n; i++)
		n += k->slices[i].n;
	struct found *rows = arena_array(arena, n, sizeof(*rows));
	n = 0;
	for (size_t i = 0; i < k->n; i++)
		for (size_t j = 0; j < k->slices[i].n; j++)
			rows[n++] = k->slices[i].rows[j];
	if (n)
		qsort(rows, n, sizeof(*rows), by_state);
	source_answer(k->source, rows, n, k->trouble[0] ? k->trouble : NULL);
	k->trouble[0] = '\0';
	arena_free(arena);
}

/* ---- asking ---- */

/* "https://10.0.0.1:443" of the cluster that this process is in; false: it is in none. */
static bool put_api(const struct kubernetes *k, struct str *url)
{
	const struct conf_endpoint *api = &k->source->pool->discover.kubernetes.api;
	const char *host = getenv("KUBERNETES_SERVICE_HOST");
	const char *port = getenv("KUBERNETES_SERVICE_PORT");
	struct view text = api->text;
	while (view_ends(text, VIEW("/")))
		text.len--;
	if (text.len)
		str_view(url, text);
	else if (host && strchr(host, ':'))
		str_printf(url, "https://[%s]:%s", host, port ? port : "443");
	else if (host)
		str_printf(url, "https://%s:%s", host, port ? port : "443");
	return url->len > 0;
}

static bool put_headers(struct kubernetes *k, struct str *headers)
{
	struct view path = k->source->pool->discover.kubernetes.token_file;
	struct str token = STR_INIT, why = STR_INIT;
	bool ok = !path.len || ask_secret(path, &token, &why);
	str_text(headers, "Accept: application/json\r\n");
	if (token.len)
		str_printf(headers, "Authorization: Bearer %s\r\n", token.ptr);
	if (!ok)
		source_fail(k->source, "%s", why.ptr);
	str_fini(&token);
	str_fini(&why);
	return ok;
}

static void get(struct kubernetes *k, const char *query, struct fetch_request *req)
{
	const struct conf_pool *pool = k->source->pool;
	struct str url = STR_INIT, headers = STR_INIT;
	if (put_headers(k, &headers)) {
		put_api(k, &url);
		str_printf(
		    &url,
		    "/apis/discovery.k8s.io/v1/namespaces/" VIEW_FMT
		    "/endpointslices?labelSelector=kubernetes.io%%2Fservice-name%%3D" VIEW_FMT "%s",
		    VIEW_ARG(pool->discover.kubernetes.namespace),
		    VIEW_ARG(pool->discover.kubernetes.service), query);
		req->method = VIEW("GET");
		req->url = str_as_view(&url);
		req->headers = str_as_view(&headers);
		req->tls = k->tls;
		req->timeout_us = ASK_TIMEOUT_US;
		req->arg = k;
		k->fetch = fetch_begin(k->source->discover->fetcher, req);
	}
	str_fini(&url);
	str_fini(&headers);
}

static void note_version(struct kubernetes *k, const json_t *object)
{
	const char *version = json_text_of(json_object_get(object, "metadata"), "resourceVersion");
	bool fits = *version && strlen(version) < sizeof(k->version) &&
		    strspn(version, "0123456789abcdefABCDEF") == strlen(version);
	if (fits)
		memcpy(k->version, version, strlen(version) + 1);
}

/* From the start: what it had stays until the list is here. */
static void forget(struct kubernetes *k)
{
	k->version[0] = k->page[0] = '\0';
}

/* ---- the watch ---- */

/*
 * A new one, from where the last one was; later each time when they are no good.  One that
 * somebody between cuts after a second or more is no burden: it is waited for no longer than it
 * lasted, so that what changes meanwhile is not late by more.
 */
static void watch_again(struct kubernetes *k, bool cut)
{
	uint64_t lasted = clock_us() - k->watching_us, us = PAUSE_US;
	k->n_useless = lasted > GOOD_US ? 0 : k->n_useless + 1;
	us <<= k->n_useless < 6 ? k->n_useless : 6;
	us = us < PAUSE_MAX_US ? us : PAUSE_MAX_US;
	source_again(k->source, cut && lasted >= LASTED_US && lasted < us ? lasted : us);
}

/* That it is too old is said by 410 in place of a watch, or by the watch. */
static void list_again(struct kubernetes *k)
{
	fetch_cancel(k->fetch);
	k->fetch = NULL;
	forget(k);
	watch_again(k, false);
}

static bool take_event(struct kubernetes *k, const json_t *event)
{
	const char *type = json_text_of(event, "type");
	const json_t *object = json_object_get(event, "object");
	const char *name = json_text_of(json_object_get(object, "metadata"), "name");
	struct slice *slice;
	if (strcmp(type, "ERROR") == 0) {
		list_again(k);
		if (json_u64_of(object, "code") != 410)
			source_warn(k->source, "watch: %.100s", json_text_of(object, "message"));
		return false;
	}
	k->n_useless = 0;
	note_version(k, object);
	if (strcmp(type, "ADDED") == 0 || strcmp(type, "MODIFIED") == 0)
		take_slice(k, object);
	else if (strcmp(type, "DELETED") == 0 && (slice = slice_find(k, name)))
		slice_del(k, slice);
	else
		return true; /* a bookmark */
	answer(k);
	return true;
}

static bool on_line(void *arg, struct view line)
{
	struct kubernetes *k = arg;
	json_t *event = json_loadb(line.ptr, line.len, 0, NULL);
	bool goes_on = event && take_event(k, event);
	if (!event) {
		list_again(k);
		source_warn(k->source, "watch: a line is no JSON");
	}
	json_decref(event);
	return goes_on;
}

static void on_piece(void *arg, struct view bytes)
{
	struct kubernetes *k = arg;
	if (lines_feed(&k->lines, bytes, on_line, k))
		return;
	fetch_cancel(k->fetch);
	k->fetch = NULL;
	forget(k);
	source_fail(k->source, "a line of the watch is too long");
}

/* A watch that ends in order, or is cut, goes on from where it was. */
static void on_watch_over(void *arg, const struct fetch_answer *a)
{
	struct kubernetes *k = arg;
	k->fetch = NULL;
	if (a->status == 200) {
		watch_again(k, true);
	} else if (a->end == FETCH_OK && a->status == 410) {
		list_again(k);
	} else {
		forget(k);
		ask_fail(k->source, "watch", a);
	}
}

static void watch(struct kubernetes *k)
{
	char query[160];
	snprintf(query, sizeof(query),
		 "&watch=1&allowWatchBookmarks=true&timeoutSeconds=%d&resourceVersion=%s", WATCH_S,
		 k->version);
	str_reset(&k->lines.text);
	k->watching_us = clock_us();
	get(k, query,
	    &(struct fetch_request){
		.silence_us = SILENCE_US, .piece = on_piece, .done = on_watch_over});
}

/* ---- the list ---- */

/* The token for the next page goes back as it came; it is base64, made safe for a URL.  False:
 * it is longer than any. */
static bool take_page(struct kubernetes *k, const json_t *root)
{
	struct str page = str_fixed(k->page, sizeof(k->page));
	const char *token = json_text_of(json_object_get(root, "metadata"), "continue");
	for (; *token; token++) {
		bool plain = (char_lower(*token) >= 'a' && char_lower(*token) <= 'z') ||
			     char_is_digit(*token) || *token == '-' || *token == '_';
		if (plain)
			str_char(&page, *token);
		else
			str_printf(&page, "%%%02X", (unsigned char)*token);
	}
	return !page.overflow;
}

static void list(struct kubernetes *k, void (*done)(void *arg, const struct fetch_answer *a))
{
	struct str query = STR_INIT;
	str_printf(&query, "&limit=%d", PAGE);
	if (k->page[0])
		str_printf(&query, "&continue=%s", k->page);
	for (size_t i = 0; !k->page[0] && i < k->n; i++)
		k->slices[i].listed = false;
	get(k, query.ptr,
	    &(struct fetch_request){.body_max = ASK_ANSWER_MAX, .keep = true, .done = done});
	str_fini(&query);
}

static void drop_unlisted(struct kubernetes *k)
{
	for (size_t i = k->n; i-- > 0;)
		if (!k->slices[i].listed)
			slice_del(k, &k->slices[i]);
}

static void on_list(void *arg, const struct fetch_answer *a)
{
	struct kubernetes *k = arg;
	k->fetch = NULL;
	json_t *root = a->end == FETCH_OK && a->status == 200
			   ? json_loadb(a->body.ptr, a->body.len, 0, NULL)
			   : NULL;
	const json_t *items = json_object_get(root, "items"), *item;
	bool stale = a->end == FETCH_OK && a->status == 410 && k->page[0];
	size_t i;
	if (!json_is_array(items) || !take_page(k, root)) {
		json_decref(root);
		forget(k);
		if (stale) /* the pages took too long */
			source_again(k->source, PAUSE_US);
		else
			ask_fail(k->source, "list", a);
		return;
	}
	json_array_foreach(items, i, item) take_slice(k, item);
	if (!k->page[0])
		note_version(k, root);
	json_decref(root);
	if (k->page[0]) {
		list(k, on_list);
		return;
	}
	drop_unlisted(k);
	answer(k);
	watch(k);
}

/* ---- life ---- */

/* False: it failed, and said so. */
static bool make_tls(struct kubernetes *k, const struct str *url)
{
	struct str why = STR_INIT;
	if (k->tls || !view_starts(str_as_view(url), VIEW("https:")))
		return true;
	k->tls = fetch_tls_new(
	    k->source->discover->fetcher,
	    &(struct fetch_tls_options){.ca = k->source->pool->discover.kubernetes.ca}, &why);
	if (!k->tls)
		source_fail(k->source, "%s", why.ptr ? why.ptr : "no TLS");
	str_fini(&why);
	return k->tls != NULL;
}

static void kubernetes_ask(struct source *s)
{
	struct kubernetes *k = s->state;
	struct str url = STR_INIT;
	fetch_cancel(k->fetch);
	k->fetch = NULL;
	if (!put_api(k, &url))
		source_fail(s, "weir runs in no cluster: 'api' says where one is");
	else if (make_tls(k, &url)) {
		if (k->version[0])
			watch(k);
		else
			list(k, on_list);
	}
	str_fini(&url);
}

static void kubernetes_start(struct source *s)
{
	struct kubernetes *k = calloc(1, sizeof(*k));
	check(k != NULL);
	k->source = s;
	k->lines.text = STR_INIT;
	s->state = k;
	kubernetes_ask(s);
}

static void kubernetes_stop(struct source *s)
{
	struct kubernetes *k = s->state;
	fetch_cancel(k->fetch);
	tls_client_put(k->tls);
	for (size_t i = 0; i < k->n; i++)
		slice_fini(&k->slices[i]);
	free(k->slices);
	str_fini(&k->lines.text);
	free(k);
	s->state = NULL;
}

const struct source_kind source_kubernetes = {
    .keyword = "kubernetes",
    .watches = true,
    .start = kubernetes_start,
    .stop = kubernetes_stop,
    .ask = kubernetes_ask,
};
