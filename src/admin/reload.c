/* SPDX-License-Identifier: MIT */
/* GET /v1/config, POST /v1/reload and /v1/drain. */
#include "api.h"

void api_config(struct call *call)
{
	const struct admin_host *host = &call->api->host;
	conf_show_json(host->conf(host->ctx), &call->answer.body);
}

static void refuse_reload(struct call *call, struct view diagnostics)
{
	struct json j;
	call->answer.status = 422;
	json_init(&j, &call->answer.body, false);
	json_object_begin(&j);
	json_member_text(&j, "error", "the configuration was refused");
	json_member_view(&j, "diagnostics", diagnostics);
	json_object_end(&j);
}

void api_reload(struct call *call)
{
	const struct admin_host *host = &call->api->host;
	struct str diagnostics = STR_INIT;
	struct json j;
	enum err err = host->reload(host->ctx, &diagnostics);
	if (err != ERR_OK) {
		if (!diagnostics.len)
			str_text(&diagnostics, err_text(err));
		refuse_reload(call, str_as_view(&diagnostics));
		str_fini(&diagnostics);
		return;
	}
	json_init(&j, &call->answer.body, false);
	json_object_begin(&j);
	put_status(&j, call->api, call->arena, true);
	json_member_view(&j, "diagnostics", str_as_view(&diagnostics));
	json_object_end(&j);
	str_fini(&diagnostics);
}

void api_drain(struct call *call)
{
	const struct admin_host *host = &call->api->host;
	struct json j;
	host->drain(host->ctx);
	json_init(&j, &call->answer.body, false);
	json_object_begin(&j);
	json_member_bool(&j, "draining", true);
	json_object_end(&j);
}
