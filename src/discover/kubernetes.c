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
 * What slices say is in kubernetes_slices.c. The token is read for every request, because it is
 * changed (KEP-1205).
 */
#include <stdio.h>
#include <stdlib.h>

#include "ask.h"
#include "kubernetes_slices.h"

#include "weir/base/check.h"
#include "weir/base/clock.h"
#include "weir/base/parse.h"

#define PAGE 500
/* How long the API server goes on with a watch; then it ends in order. */
#define WATCH_S 300
#define SILENCE_US ((WATCH_S + 30) * UINT64_C(1000000))
/* A watch of which nothing came before it ended was no good, unless it went on for so long. */
#define GOOD_US UINT64_C(10000000)
#define PAUSE_US UINT64_C(500000)
#define PAUSE_MAX_US UINT64_C(30000000)
/* So long a watch was worth having. */
#define LASTED_US UINT64_C(1000000)

struct kubernetes {
	struct source *source;
	struct tls_client *tls; /* counted; NULL: plain */
	struct fetch *fetch;
	struct lines lines;
	struct slices slices;
	char version[64];     /* resourceVersion; "": list first */
	char page[1024];      /* `continue` of a list; "": its first page */
	uint64_t watching_us; /* since when; monotonic */
	unsigned n_useless;   /* watches one after the other that were no good */
};

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
	if (strcmp(type, "ERROR") == 0) {
		list_again(k);
		if (json_u64_of(object, "code") != 410)
			source_warn(k->source, "watch: %.100s", json_text_of(object, "message"));
		return false;
	}
	k->n_useless = 0;
	note_version(k, object);
	if (strcmp(type, "ADDED") == 0 || strcmp(type, "MODIFIED") == 0)
		slices_take(&k->slices, object);
	else if (strcmp(type, "DELETED") != 0 || !slices_drop(&k->slices, name))
		return true; /* a bookmark */
	slices_answer(&k->slices);
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
	else
		slices_unlist(&k->slices);
	get(k, query.ptr,
	    &(struct fetch_request){.body_max = ASK_ANSWER_MAX, .keep = true, .done = done});
	str_fini(&query);
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
	json_array_foreach(items, i, item) slices_take(&k->slices, item);
	if (!k->page[0])
		note_version(k, root);
	json_decref(root);
	if (k->page[0]) {
		list(k, on_list);
		return;
	}
	slices_drop_unlisted(&k->slices);
	slices_answer(&k->slices);
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
	k->source = k->slices.source = s;
	k->lines.text = STR_INIT;
	s->state = k;
	kubernetes_ask(s);
}

static void kubernetes_stop(struct source *s)
{
	struct kubernetes *k = s->state;
	fetch_cancel(k->fetch);
	tls_client_put(k->tls);
	slices_fini(&k->slices);
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
