/* SPDX-License-Identifier: MIT */
/* What the TLS connections of one thread share: scratch areas, slabs, the library's context,
 * tickets. */
#include <stdlib.h>

#include "tls.h"

void tls_local_init(struct tls_local *local, struct loop *loop, struct buf_pool *bufs,
		    uint32_t max_conns)
{
	*local = (struct tls_local){.loop = loop, .bufs = bufs};
	slab_init(&local->conns, sizeof(struct tls_conn), max_conns);
	list_init(&local->warm);
}

enum err tls_local_prepare(struct tls_local *local)
{
	if (local->records)
		return ERR_OK;
	local->in = malloc(TLS_IN_MAX);
	local->out = malloc(TLS_OUT_MAX);
	local->records = calloc(1, sizeof(*local->records));
	if (tls_lib_new(&local->lib))
		local->ticket_aes = tls_cipher_get(local->lib, "AES-256-CBC");
	if (local->in && local->out && local->ticket_aes && local->records &&
	    tls_records_init(local->records, local->lib, local->conns.max))
		return ERR_OK;
	struct loop *loop = local->loop;
	struct buf_pool *bufs = local->bufs;
	uint32_t max_conns = local->conns.max;
	tls_local_fini(local);
	tls_local_init(local, loop, bufs, max_conns);
	return ERR_NOMEM;
}

void tls_local_fini(struct tls_local *local)
{
	tls_cipher_put(local->ticket_aes);
	if (local->records)
		tls_records_fini(local->records);
	free(local->records);
	tls_lib_free(local->lib);
	tls_tickets_put(local->tickets);
	free(local->in);
	free(local->out);
	slab_fini(&local->conns);
}

void tls_local_watch(struct tls_local *local, struct slab_watch *watch, unsigned kind)
{
	if (!local->records || local->conns.watch)
		return;
	slab_watch_add(watch, &local->conns, kind);
	slab_watch_add(watch, &local->records->slab, kind);
}

void tls_local_set_tickets(struct tls_local *local, struct tls_ticket_ring *ring)
{
	tls_tickets_put(local->tickets);
	local->tickets = ring;
}
