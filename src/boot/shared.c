/* SPDX-License-Identifier: MIT */
/* The cluster's place in the process. */
#include "shared.h"

#ifdef WEIR_REDIS

#include <hiredis/hiredis.h>

#include "weir/base/clock.h"
#include "weir/cluster/cluster.h"

#define TEXT_OF(x) #x
#define VERSION(a, b, c) "hiredis " TEXT_OF(a) "." TEXT_OF(b) "." TEXT_OF(c)

const char *shared_library(void)
{
	return VERSION(HIREDIS_MAJOR, HIREDIS_MINOR, HIREDIS_PATCH);
}

struct cluster *shared_new(struct control *control)
{
	return cluster_new(&control->loop, &control->registry);
}

enum err shared_prepare(struct control *control, const struct conf *conf, struct str *why)
{
	if (control->cluster)
		return cluster_prepare(control->cluster, conf, why);
	if (!conf->shared.on)
		return ERR_OK;
	str_text(why, "shared: no memory\n");
	return ERR_NOMEM;
}

void shared_commit(struct control *control)
{
	if (control->cluster)
		cluster_commit(control->cluster);
}

void shared_cancel(struct control *control)
{
	if (control->cluster)
		cluster_cancel(control->cluster);
}

void shared_tick(struct control *control)
{
	if (control->cluster)
		cluster_tick(control->cluster, clock_us());
}

void shared_turn(struct control *control, const struct acme_wish *wish, struct acme_turn *out)
{
	struct cluster_turn turn = {.mine = true, .everywhere = true, .proof = VIEW_NONE};
	struct cluster_wish asked = {wish->wants, wish->proof, wish->shown};
	if (control->cluster)
		cluster_take_turn(control->cluster, &asked, &turn);
	*out =
	    (struct acme_turn){turn.mine, turn.shared, turn.trusted, turn.everywhere, turn.proof};
}

void shared_free(struct control *control)
{
	if (control->cluster && control->handover.state == HANDOVER_DONE)
		cluster_followed(control->cluster);
	cluster_free(control->cluster);
	control->cluster = NULL;
}

void shared_pack(const struct control *control, struct str *out)
{
	if (control->cluster)
		cluster_pack(control->cluster, out);
}

void shared_unpack(struct unpack *in, struct control *control)
{
	if (control->cluster)
		cluster_unpack(in, control->cluster);
}

void shared_status(const struct control *control, struct arena *arena, struct admin_status *out)
{
	if (!control->cluster)
		return;
	struct cluster_state state = cluster_state(control->cluster);
	size_t n;
	const struct cluster_node *nodes = cluster_nodes(control->cluster, arena, &n);
	struct admin_node *rows = arena_array(arena, n, sizeof(*rows));
	for (size_t i = 0; i < n; i++)
		rows[i] = (struct admin_node){
		    .name = nodes[i].name,
		    .status = nodes[i].status,
		    .version = nodes[i].version,
		    .age_us = nodes[i].age_us,
		    .in_flight = nodes[i].in_flight,
		    .rate = nodes[i].rate,
		};
	out->shared.on = state.on;
	out->shared.connected = state.connected;
	out->shared.node = state.node;
	out->shared.address = state.address;
	out->shared.why = view_str(state.why);
	out->shared.published = state.published;
	out->shared.failed = state.failed;
	out->shared.n_limits = state.n_limits;
	out->shared.limits_alone = state.limits_alone;
	out->shared.n_parts = state.n_parts;
	out->shared.pins_told = state.pins.told;
	out->shared.pins_heard = state.pins.heard;
	out->shared.pins_lost = state.pins.lost;
	out->shared.pins_unread = state.pins.unread;
	out->shared.nodes = rows;
	out->shared.n_nodes = n;
}

#else

const char *shared_library(void)
{
	return NULL;
}

struct cluster *shared_new(struct control *control)
{
	(void)control;
	return NULL;
}

enum err shared_prepare(struct control *control, const struct conf *conf, struct str *why)
{
	(void)control;
	if (!conf->shared.on)
		return ERR_OK;
	str_text(why, "shared: this weir was built without hiredis\n");
	return ERR_SYNTAX;
}

void shared_commit(struct control *control)
{
	(void)control;
}

void shared_cancel(struct control *control)
{
	(void)control;
}

void shared_tick(struct control *control)
{
	(void)control;
}

void shared_turn(struct control *control, const struct acme_wish *wish, struct acme_turn *out)
{
	(void)control;
	(void)wish;
	*out = (struct acme_turn){.mine = true, .everywhere = true, .proof = VIEW_NONE};
}

void shared_free(struct control *control)
{
	(void)control;
}

void shared_pack(const struct control *control, struct str *out)
{
	(void)control;
	(void)out;
}

void shared_unpack(struct unpack *in, struct control *control)
{
	(void)in;
	(void)control;
}

void shared_status(const struct control *control, struct arena *arena, struct admin_status *out)
{
	(void)control;
	(void)arena;
	(void)out;
}

#endif
