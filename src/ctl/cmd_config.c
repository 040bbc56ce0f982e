/* SPDX-License-Identifier: MIT */
/* weirctl config and weirctl reload. */
#include "api.h"
#include "commands.h"
#include "text.h"
#include "yaml.h"

static void print_config(struct ctl *ctl, const json_t *config)
{
	put_yaml(&ctl->out, config);
}

enum ctl_exit cmd_config(struct ctl *ctl)
{
	return api_show(ctl, "/v1/config", print_config);
}

enum ctl_exit cmd_reload(struct ctl *ctl)
{
	json_t *answer;
	enum ctl_exit code = api_send(ctl, "POST", "/v1/reload", NULL, &answer);
	if (code == CTL_FAILED && !ctl->json)
		str_text(&ctl->why, "\nnothing was changed: the running configuration stays");
	if (code != CTL_OK)
		return code;
	if (ctl->json)
		api_put_json(ctl, answer);
	else if (has_member(answer, "generation"))
		str_printf(&ctl->out, "reloaded: generation %llu is in force\n",
			   (unsigned long long)get_u64(answer, "generation"));
	else
		str_text(&ctl->out, "reloaded\n");
	if (!ctl->json && *get_text(answer, "diagnostics"))
		put_clean_lines(&ctl->out, get_text(answer, "diagnostics"));
	json_decref(answer);
	return CTL_OK;
}
