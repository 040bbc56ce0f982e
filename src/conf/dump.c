/* SPDX-License-Identifier: MIT */
/* The effective configuration. */
#include "env.h"
#include "node.h"
#include "secrets.h"
#include "type.h"
#include "weir/conf/conf.h"

static void dump(const struct conf *conf, bool masked, struct str *out,
		 void (*write)(const struct node *, struct str *))
{
	struct encoder e = {.arena = arena_new(), .conf = conf, .masked = masked};
	struct node *root = encode_map(&e, NULL, conf);
	if (conf->secrets.n)
		secrets_hide(&conf->secrets, e.arena, root);
	env_escape(e.arena, root);
	write(root, out);
	arena_free(e.arena);
}

void conf_dump_yaml(const struct conf *conf, struct str *out)
{
	dump(conf, false, out, node_write_yaml);
}

void conf_dump_json(const struct conf *conf, struct str *out)
{
	dump(conf, false, out, node_write_json);
}

void conf_hide(const struct conf *conf, struct str *text)
{
	if (!conf->secrets.n)
		return;
	struct arena *arena = arena_new();
	struct view said = arena_view(arena, str_as_view(text));
	str_reset(text);
	str_view(text, secrets_hide_said(&conf->secrets, arena, said));
	arena_free(arena);
}

void conf_show_yaml(const struct conf *conf, struct str *out)
{
	dump(conf, true, out, node_write_yaml);
}

void conf_show_json(const struct conf *conf, struct str *out)
{
	dump(conf, true, out, node_write_json);
}
