/* SPDX-License-Identifier: MIT */
/* Asking the daemon, and taking its JSON apart. */
#include "api.h"

#include <stdlib.h>
#include <string.h>

#include "client.h"
#include "text.h"

#define READ_TIMEOUT_S 10
#define CONNECT_TIMEOUT_S 2
#define CHANGE_TIMEOUT_S 60 /* a reload opens certificates and compiles regexes */

/* A refusal in the API's words, diagnostics included. */
static enum ctl_exit refuse(struct ctl *ctl, int status, const json_t *answer)
{
	const char *error = get_text(answer, "error");
	const char *diagnostics = get_text(answer, "diagnostics");
	if (*error)
		str_text(&ctl->why, error);
	else
		str_printf(&ctl->why, "weir answered with status %d", status);
	if (status == 401)
		str_text(&ctl->why, " (--password-file, --token-file)");
	if (*diagnostics) {
		size_t len = strlen(diagnostics);
		while (len && diagnostics[len - 1] == '\n')
			len--;
		str_printf(&ctl->why, "\n%.*s", (int)len, diagnostics);
	}
	return CTL_FAILED;
}

static enum client_result ask(struct ctl *ctl, const struct client_request *req, int *status,
			      struct str *body)
{
	return ctl->node ? client_call_node(ctl->node, req, status, body, &ctl->why)
			 : client_call(ctl->socket, req, status, body, &ctl->why);
}

static enum ctl_exit call(struct ctl *ctl, const struct client_request *req, json_t **out)
{
	struct str body = STR_INIT;
	int status = 0;
	json_error_t error;
	*out = NULL;
	switch (ask(ctl, req, &status, &body)) {
	case CLIENT_OK:
		break;
	case CLIENT_FORBIDDEN:
		ctl->forbidden = true;
		str_fini(&body);
		return CTL_UNREACHABLE;
	case CLIENT_UNREACHABLE:
		str_fini(&body);
		return CTL_UNREACHABLE;
	case CLIENT_BROKEN:
		str_fini(&body);
		return CTL_FAILED;
	}
	json_t *answer =
	    body.len ? json_loadb(body.ptr, body.len, JSON_ALLOW_NUL, &error) : json_pack("{}");
	str_fini(&body);
	if (status >= 400) {
		enum ctl_exit code = refuse(ctl, status, answer);
		json_decref(answer);
		return code;
	}
	if (!answer)
		return ctl_fail(ctl, CTL_FAILED, "the answer to %s %s is not JSON: %s", req->method,
				req->path, error.text);
	*out = answer;
	return CTL_OK;
}

enum ctl_exit api_get(struct ctl *ctl, const char *path, json_t **out)
{
	struct client_request req = {.method = "GET",
				     .path = path,
				     .timeout_s = READ_TIMEOUT_S,
				     .connect_s = CONNECT_TIMEOUT_S,
				     .token = ctl->user.len ? VIEW_NONE : ctl->token,
				     .user = ctl->user};
	return ctl->fleet ? ctl->get_of_all(ctl, path, out) : call(ctl, &req, out);
}

enum ctl_exit api_send(struct ctl *ctl, const char *method, const char *path, json_t *body,
		       json_t **out)
{
	char *text = body ? json_dumps(body, JSON_COMPACT) : NULL;
	struct client_request req = {.method = method,
				     .path = path,
				     .body = view_str(text),
				     .timeout_s = CHANGE_TIMEOUT_S,
				     .connect_s = CONNECT_TIMEOUT_S,
				     .token = ctl->token,
				     .user = ctl->user};
	enum ctl_exit code = call(ctl, &req, out);
	free(text);
	json_decref(body);
	return code;
}

void api_history_path(struct str *out, const char *pool, const char *backend, uint64_t seconds)
{
	str_text(out, "/v1/history?pool=");
	client_escape(out, pool);
	if (backend) {
		str_text(out, "&backend=");
		client_escape(out, backend);
	}
	str_printf(out, "&seconds=%llu", (unsigned long long)seconds);
}

enum ctl_exit api_show(struct ctl *ctl, const char *path,
		       void (*print)(struct ctl *ctl, const json_t *answer))
{
	json_t *answer;
	enum ctl_exit code = api_get(ctl, path, &answer);
	if (code != CTL_OK)
		return code;
	if (ctl->json)
		api_put_json(ctl, answer);
	else
		print(ctl, answer);
	json_decref(answer);
	return CTL_OK;
}

void api_put_json(struct ctl *ctl, const json_t *answer)
{
	bool one_of_many = ctl->watch_s > 0 || ctl->follow;
	size_t layout = one_of_many ? JSON_COMPACT : JSON_INDENT(2);
	char *text = json_dumps(answer, layout | JSON_REAL_PRECISION(15) | JSON_ENCODE_ANY);
	if (!text)
		return;
	put_json(&ctl->out, text);
	str_char(&ctl->out, '\n');
	free(text);
}

const char *get_text(const json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));
	return text ? text : "";
}

uint64_t get_u64(const json_t *object, const char *key)
{
	double x = get_real(object, key);
	const json_t *value = json_object_get(object, key);
	if (json_is_integer(value))
		return x < 0 ? 0 : (uint64_t)json_integer_value(value);
	return x > 0 ? (uint64_t)x : 0;
}

double get_real(const json_t *object, const char *key)
{
	return json_number_value(json_object_get(object, key));
}

bool get_bool(const json_t *object, const char *key)
{
	return json_is_true(json_object_get(object, key));
}

bool has_member(const json_t *object, const char *key)
{
	const json_t *value = json_object_get(object, key);
	return value && !json_is_null(value);
}
