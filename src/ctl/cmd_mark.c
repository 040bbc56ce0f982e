/* SPDX-License-Identifier: MIT */
/* weirctl mark: names a moment, so that what was learned before it is not compared with after. */
#include <string.h>

#include "api.h"
#include "backend.h"
#include "commands.h"
#include "text.h"

enum ctl_exit cmd_mark(struct ctl *ctl)
{
	struct backend_ref ref = {.pool = ""};
	json_t *answer = NULL, *body;
	enum ctl_exit code = CTL_OK;
	if (ctl->n_args > 1)
		code = backend_ref_parse(ctl, ctl->args[1], false, &ref);
	if (code != CTL_OK)
		return code;
	body = json_object();
	json_object_set_new(body, "name", json_string(ctl->args[0]));
	if (*ref.pool)
		json_object_set_new(body, "pool", json_string(ref.pool));
	if (ref.backend)
		json_object_set_new(body, "backend", json_string(ref.backend));
	code = api_send(ctl, "POST", "/v1/marks", body, &answer);
	if (code != CTL_OK)
		return code;
	if (ctl->json) {
		api_put_json(ctl, answer);
	} else {
		str_text(&ctl->out, "marked ");
		put_clean(&ctl->out, get_text(answer, "name"));
		str_text(&ctl->out, ": what is learned from now on is not compared with before\n");
	}
	json_decref(answer);
	return CTL_OK;
}
