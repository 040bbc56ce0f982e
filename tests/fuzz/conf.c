/* SPDX-License-Identifier: MIT */
/*
 * Any bytes as a configuration.  What loads must dump to something that loads
 * again and dumps to the same; what does not load must say why.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "weir/base/check.h"
#include "weir/conf/conf.h"

static struct conf *load(struct view text, struct conf_diags *diags)
{
	conf_diags_init(diags);
	return conf_load_text(text, "/etc/weir/weir.yaml", diags);
}

static void check_stable(const struct conf *conf)
{
	struct str first = STR_INIT, second = STR_INIT, json = STR_INIT;
	struct conf_diags diags;
	conf_dump_yaml(conf, &first);
	struct conf *again = load(str_as_view(&first), &diags);
	if (!again) {
		conf_diags_format(&diags, &second, false);
		fprintf(stderr, "%s\n---\n%s", first.ptr, second.ptr);
	}
	check(again);
	conf_dump_yaml(again, &second);
	check(view_eq(str_as_view(&first), str_as_view(&second)));
	conf_free(again);
	conf_diags_fini(&diags);

	/* JSON is YAML too, but for characters that only JSON allows as they are */
	conf_dump_json(conf, &json);
	again = load(str_as_view(&json), &diags);
	check(again || strstr(diags.rows[0].message, "write it as an escape"));
	str_reset(&second);
	if (again)
		conf_dump_yaml(again, &second);
	check(!again || view_eq(str_as_view(&first), str_as_view(&second)));
	conf_free(again);
	conf_diags_fini(&diags);
	str_fini(&first);
	str_fini(&second);
	str_fini(&json);
}

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size);

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size)
{
	struct conf_diags diags;
	struct str text = STR_INIT;
	if (memmem(data, size, "include", 7)) /* files are not part of the input */
		return 0;
	struct conf *conf = load(view_of((const char *)data, size), &diags);
	conf_diags_format(&diags, &text, true);
	check((conf == NULL) == (diags.n_errors > 0));
	check(diags.n_errors == 0 || text.len > 0);
	if (conf)
		check_stable(conf);
	conf_free(conf);
	conf_diags_fini(&diags);
	str_fini(&text);
	return 0;
}
