/* SPDX-License-Identifier: MIT */
/* Keys of tickets go to the process that takes over: sessions that were begun are resumed. */
#include "boot/control.h"

#include <criterion/criterion.h>
#include <string.h>

#define AGE_US 60000000

static struct control old, taker;

static void hand_over(void)
{
	struct str bytes = STR_INIT;
	tls_pack(&old, &bytes);
	struct unpack in = unpack_of(str_as_view(&bytes));
	tls_unpack(&in, &taker);
	str_fini(&bytes);
}

/* So many keys, as hours of running make them. */
static void make(unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		old.tickets_us -= old.tickets ? UINT64_C(48) * 3600 * 1000000 : 0;
		tls_tick(&old);
	}
	cr_assert_eq(old.tickets->n, n);
}

Test(tickets, each_number_of_keys_is_taken_over_in_order)
{
	for (unsigned n = 1; n < TLS_TICKET_KEYS_MAX; n++) {
		make(n);
		old.tickets_us -= AGE_US;
		hand_over();
		cr_assert_not_null(taker.tickets, "%u keys", n);
		cr_assert_eq(taker.tickets->n, n);
		cr_expect_eq(memcmp(taker.tickets->keys, old.tickets->keys,
				    n * sizeof(old.tickets->keys[0])),
			     0);
		cr_expect_eq(taker.tickets_us, old.tickets_us, "their age, too");
		struct tls_ticket_ring *ring = taker.tickets;
		tls_tick(&taker);
		cr_expect_eq(taker.tickets, ring, "they are good, and not made anew");
		tls_tickets_put(old.tickets);
		old = (struct control){.tickets = NULL};
	}
	tls_tickets_put(taker.tickets);
}

Test(tickets, where_there_are_none_the_next_makes_its_own)
{
	hand_over();
	cr_assert_null(taker.tickets);
	tls_tick(&taker);
	cr_assert_not_null(taker.tickets);
	tls_tickets_put(taker.tickets);
}

/* What is not of this form is left alone as a whole. */
Test(tickets, keys_of_another_length_are_refused)
{
	struct str bytes = STR_INIT;
	pack_u64(&bytes, 0);
	pack_view(&bytes, VIEW("this is no key"));
	struct unpack in = unpack_of(str_as_view(&bytes));
	tls_unpack(&in, &taker);
	cr_expect_null(taker.tickets);
	str_fini(&bytes);
}

Test(tickets, more_keys_than_there_is_room_for_are_refused)
{
	static const char key[sizeof(struct tls_ticket_key)];
	for (unsigned n = TLS_TICKET_KEYS_MAX; n <= TLS_TICKET_KEYS_MAX + 1; n++) {
		struct str bytes = STR_INIT;
		pack_u64(&bytes, 0);
		for (unsigned i = 0; i < n; i++)
			pack_view(&bytes, view_of(key, sizeof(key)));
		struct unpack in = unpack_of(str_as_view(&bytes));
		tls_unpack(&in, &taker);
		cr_expect_eq(taker.tickets != NULL, n == TLS_TICKET_KEYS_MAX, "%u keys", n);
		tls_tickets_put(taker.tickets);
		taker.tickets = NULL;
		str_fini(&bytes);
	}
}
