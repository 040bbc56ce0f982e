/* SPDX-License-Identifier: MIT */
/*
 * What the process before this one still has at backends, after a hand-over (boot/before.c): it
 * holds places there, so it counts against limits, and whoever waits until nothing is in flight
 * waits for it, too.
 */
#include "registry.h"

#include "weir/pool/pack.h"

void pool_registry_before_pack(const struct pool_registry *reg, struct str *out)
{
	list_each (it, &reg->backends) {
		const struct backend *b = list_entry(it, struct backend, registry_link);
		if (backend_is_idle(b))
			continue;
		pack_view(out, b->key);
		pack_u64(out, backend_in_flight(b));
		pack_u64(out, b->before_untold != 0);
	}
}

/* True when there is more room than there was. */
static bool set_before(struct backend *b, uint32_t n)
{
	return atomic_exchange(&b->before, n) > n;
}

void pool_registry_before_unpack(struct unpack *in, struct pool_registry *reg, uint32_t question)
{
	bool room = false;
	while (in->left && !in->bad) {
		struct view key = unpack_view(in);
		uint32_t n = (uint32_t)unpack_max(in, UINT32_MAX);
		bool untold = unpack_bool(in);
		struct backend *b = in->bad ? NULL : registry_backend_find(reg, key);
		if (!b)
			continue;
		b->before_said = question;
		if (untold && b->before_untold <= question)
			b->before_untold = question + 1; /* the one before that one */
		room |= set_before(b, n);
	}
	list_each (it, &reg->backends) {
		struct backend *b = list_entry(it, struct backend, registry_link);
		if (b->before_said != question)
			room |= set_before(b, 0);
		if (b->before_untold <= question)
			b->before_untold = 0;
	}
	if (room)
		registry_wake_all(reg);
}

void pool_registry_before_gone(struct pool_registry *reg)
{
	list_each (it, &reg->backends) {
		struct backend *b = list_entry(it, struct backend, registry_link);
		set_before(b, 0);
		b->before_untold = b->before_said = 0;
		b->before_news = false;
	}
	registry_wake_all(reg);
}
