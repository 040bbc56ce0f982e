/* SPDX-License-Identifier: MIT */
/* Requests to an authority: signed, with a nonce, once more where that was refused. */
#include "ca.h"

#include <time.h>

#include "jose.h"

#include "weir/base/check.h"
#include "weir/base/clock.h"
#include "weir/http/retry_after.h"

/* A busy authority may take long to sign. */
#define TIMEOUT_US UINT64_C(30000000)
#define ANSWER_MAX (256 * 1024)
/* Of one request, when each nonce is refused. */
#define TRIES_MAX 10
/* Longer nobody is believed. */
#define RETRY_MAX_S (7 * UINT64_C(86400))
/* An authority's own words, in one line of ours. */
#define DETAIL_MAX 400

void ca_init(struct ca *ca, struct fetcher *fetcher)
{
	*ca = (struct ca){.fetcher = fetcher,
			  .kid = STR_INIT,
			  .nonce_url = STR_INIT,
			  .nonce = STR_INIT,
			  .url = STR_INIT,
			  .payload = STR_INIT};
}

void ca_stop(struct ca *ca)
{
	fetch_cancel(ca->fetch);
	ca->fetch = NULL;
	ca->state = CA_IDLE;
}

void ca_fini(struct ca *ca)
{
	ca_stop(ca);
	tls_client_put(ca->tls);
	str_fini(&ca->kid);
	str_fini(&ca->nonce_url);
	str_fini(&ca->nonce);
	str_fini(&ca->url);
	str_fini(&ca->payload);
}

/* ---- answers ---- */

const char *ca_text(const json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));
	return text ? text : "";
}

static const char *last_part(const char *type)
{
	const char *colon = strrchr(type, ':');
	return colon ? colon + 1 : type;
}

static void put_line(struct str *out, const char *text)
{
	for (size_t i = 0; text[i] && i < DETAIL_MAX; i++)
		str_char(out, (unsigned char)text[i] < ' ' || text[i] == 0x7f ? ' ' : text[i]);
}

void ca_problem(const json_t *problem, struct str *out)
{
	const json_t *rows = json_object_get(problem, "subproblems"), *row;
	const char *detail = ca_text(problem, "detail");
	const char *type = last_part(ca_text(problem, "type"));
	size_t i;
	put_line(out, *detail ? detail : "it does not say why");
	if (*type)
		str_printf(out, " (%.60s)", type);
	json_array_foreach(rows, i, row)
	{
		if (out->len > 2 * DETAIL_MAX)
			break;
		str_text(out, "; ");
		put_line(out, ca_text(json_object_get(row, "identifier"), "value"));
		str_text(out, ": ");
		put_line(out, ca_text(row, "detail"));
	}
}

static struct view field_of(struct message *msg, struct view name)
{
	struct header *h = msg ? message_find_name(msg, name) : NULL;
	return h ? h->value : VIEW_NONE;
}

static void take_nonce(struct ca *ca, const struct fetch_answer *a)
{
	struct view nonce = field_of(a->msg, VIEW("Replay-Nonce"));
	str_reset(&ca->nonce);
	str_view(&ca->nonce, nonce);
}

static uint64_t retry_after(const struct fetch_answer *a)
{
	struct view value = field_of(a->msg, VIEW("Retry-After"));
	uint64_t s = value.len ? retry_after_s(value, clock_wall_us() / 1000000) : 0;
	return s < RETRY_MAX_S ? s : RETRY_MAX_S;
}

static void explain(const struct fetch_answer *a, const json_t *root, struct str *why)
{
	if (a->end != FETCH_OK) {
		str_text(why, a->why);
	} else if (json_is_object(root) && *ca_text(root, "type")) {
		ca_problem(root, why);
	} else {
		str_printf(why, "status %u: ", a->status);
		put_line(why, a->body.len ? a->body.ptr : "nothing more");
	}
}

/* The caller is free to begin the next request. */
static void give(struct ca *ca, const struct fetch_answer *a, json_t *root)
{
	struct str why = STR_INIT;
	struct ca_answer answer = {
	    .ok = a->end == FETCH_OK && a->status / 100 == 2,
	    .status = a->end == FETCH_OK ? a->status : 0,
	    .root = root,
	    .body = a->body,
	    .location = field_of(a->msg, VIEW("Location")),
	    .retry_after_s = retry_after(a),
	    .error = "",
	};
	if (!answer.ok) {
		answer.error = last_part(ca_text(root, "type"));
		explain(a, root, &why);
	}
	answer.why = why.ptr ? why.ptr : "";
	ca->state = CA_IDLE;
	ca->done(ca->arg, &answer);
	str_fini(&why);
}

static void fail(struct ca *ca, const char *sentence)
{
	struct ca_answer answer = {.error = "", .why = sentence};
	ca->state = CA_IDLE;
	ca->done(ca->arg, &answer);
}

/* ---- requests ---- */

static void post(struct ca *ca);

static void on_answer(void *arg, const struct fetch_answer *a)
{
	struct ca *ca = arg;
	ca->fetch = NULL;
	if (a->end == FETCH_OK && ca->state == CA_POSTING)
		take_nonce(ca, a);
	json_t *root = a->end == FETCH_OK ? json_loadb(a->body.ptr, a->body.len, 0, NULL) : NULL;
	bool bad_nonce = ca->state == CA_POSTING && a->status == 400 &&
			 strcmp(last_part(ca_text(root, "type")), "badNonce") == 0;
	if (bad_nonce && ++ca->n_tries < TRIES_MAX)
		post(ca);
	else
		give(ca, a, root);
	json_decref(root);
}

static void on_nonce(void *arg, const struct fetch_answer *a)
{
	struct ca *ca = arg;
	ca->fetch = NULL;
	if (a->end == FETCH_OK && a->status / 100 == 2)
		take_nonce(ca, a);
	if (a->end != FETCH_OK || a->status / 100 != 2)
		give(ca, a, NULL);
	else if (!ca->nonce.len)
		fail(ca, "the authority gives no nonce");
	else
		post(ca);
}

static void get(struct ca *ca, struct view url,
		void (*done)(void *arg, const struct fetch_answer *answer))
{
	ca->fetch = fetch_begin(ca->fetcher, &(struct fetch_request){
						 .method = VIEW("GET"),
						 .url = url,
						 .tls = ca->tls,
						 .timeout_us = TIMEOUT_US,
						 .body_max = ANSWER_MAX,
						 .keep = true,
						 .done = done,
						 .arg = ca,
					     });
}

static void send(struct ca *ca, struct view body)
{
	static const char headers[] = "Content-Type: application/jose+json\r\n";
	ca->state = CA_POSTING;
	/* an authority refuses the second of two: its nonce has been used */
	ca->fetch = fetch_begin(ca->fetcher, &(struct fetch_request){
						 .method = VIEW("POST"),
						 .url = str_as_view(&ca->url),
						 .headers = view_str(headers),
						 .body = body,
						 .tls = ca->tls,
						 .timeout_us = TIMEOUT_US,
						 .body_max = ANSWER_MAX,
						 .keep = true,
						 .repeat = true,
						 .done = on_answer,
						 .arg = ca,
					     });
}

/* A nonce is good for one request. */
static void post(struct ca *ca)
{
	struct str body = STR_INIT;
	struct jose_header header = {.kid = str_as_view(&ca->kid),
				     .nonce = str_as_view(&ca->nonce),
				     .url = str_as_view(&ca->url)};
	if (!ca->nonce.len) {
		ca->state = CA_NONCE;
		get(ca, str_as_view(&ca->nonce_url), on_nonce);
		return;
	}
	if (jose_sign(ca->key, &header, str_as_view(&ca->payload), &body))
		send(ca, str_as_view(&body));
	else
		fail(ca, "the request cannot be signed");
	str_reset(&ca->nonce);
	str_fini(&body);
}

void ca_get(struct ca *ca, struct view url)
{
	check(ca->state == CA_IDLE);
	ca->state = CA_READING;
	get(ca, url, on_answer);
}

void ca_post(struct ca *ca, struct view url, struct view payload)
{
	check(ca->state == CA_IDLE);
	str_reset(&ca->url);
	str_view(&ca->url, url);
	str_reset(&ca->payload);
	str_view(&ca->payload, payload);
	ca->n_tries = 0;
	post(ca);
}
