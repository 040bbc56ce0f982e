/* SPDX-License-Identifier: MIT */
/* GET of the nodes that share. */
#include "api.h"

static void put_node(struct json *j, const struct admin_node *node)
{
	json_object_begin(j);
	json_member_view(j, "node", node->name);
	json_member_view(j, "version", node->version);
	json_member_optional(j, "status", node->status);
	json_member_double(j, "age_s", (double)node->age_us / 1e6);
	json_member_double(j, "in_flight", node->in_flight);
	json_member_double(j, "rate", node->rate);
	json_object_end(j);
}

void api_nodes(struct call *call)
{
	struct admin_status s = {0};
	struct json j;
	call->api->host.status(call->api->host.ctx, call->arena, &s);
	json_init(&j, &call->answer.body, false);
	json_object_begin(&j);
	json_member_bool(&j, "on", s.shared.on);
	json_member_optional(&j, "node", s.shared.node);
	json_member_optional(&j, "redis", s.shared.address);
	json_member_bool(&j, "connected", s.shared.connected);
	json_member_optional(&j, "error", s.shared.why);
	json_key(&j, "others");
	json_array_begin(&j);
	for (size_t i = 0; i < s.shared.n_nodes; i++)
		put_node(&j, &s.shared.nodes[i]);
	json_array_end(&j);
	json_object_end(&j);
}
