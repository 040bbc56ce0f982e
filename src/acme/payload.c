/* SPDX-License-Identifier: MIT */
/* What is sent to a CA, as JSON: accounts, orders, requests for certificates. */
#include "payload.h"

#include "jose.h"

#include "weir/base/json.h"

void payload_account(const struct conf_acme *conf, struct view binding, struct str *out)
{
	struct json j;
	json_init(&j, out, false);
	json_object_begin(&j);
	json_member_bool(&j, "termsOfServiceAgreed", conf->agree);
	if (conf->email.len) {
		json_key(&j, "contact");
		json_array_begin(&j);
		json_textf(&j, "mailto:" VIEW_FMT, VIEW_ARG(conf->email));
		json_array_end(&j);
	}
	if (binding.len) {
		json_key(&j, "externalAccountBinding");
		json_raw(&j, binding);
	}
	json_object_end(&j);
}

void payload_order(const struct conf_views *names, struct view replaces, struct str *out)
{
	struct json j;
	json_init(&j, out, false);
	json_object_begin(&j);
	json_key(&j, "identifiers");
	json_array_begin(&j);
	for (size_t i = 0; i < names->n; i++) {
		json_object_begin(&j);
		json_member_text(&j, "type", "dns");
		json_member_view(&j, "value", names->rows[i]);
		json_object_end(&j);
	}
	json_array_end(&j);
	if (replaces.len)
		json_member_view(&j, "replaces", replaces);
	json_object_end(&j);
}

void payload_finalize(struct view csr, struct str *out)
{
	str_text(out, "{\"csr\":\"");
	jose_base64(csr, out);
	str_text(out, "\"}");
}
