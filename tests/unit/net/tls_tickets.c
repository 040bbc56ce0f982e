/* SPDX-License-Identifier: MIT */
/* Keys of session tickets: which are read, which are kept, and that what is refused is given back.
 */
#include <criterion/criterion.h>
#include <malloc.h>
#include <string.h>

#include "weir/base/hex.h"
#include "weir/net/tls.h"

/* A line of so many digits `digit`, with an end. */
static void put_key(struct str *text, char digit, size_t len, const char *end)
{
	for (size_t i = 0; i < len; i++)
		str_char(text, digit);
	str_text(text, end);
}

#define DIGITS ((size_t)2 * TLS_TICKET_KEY_LEN)

Test(tls_tickets, a_key_a_line)
{
	struct str text = STR_INIT, why = STR_INIT;
	put_key(&text, '1', DIGITS, "\n\n");
	put_key(&text, 'a', DIGITS, " \n");
	put_key(&text, 'c', DIGITS, "");
	struct tls_ticket_ring *ring = tls_tickets_read(str_as_view(&text), &why);
	cr_assert(ring, "%s", why.ptr);
	cr_expect_eq(ring->n, 3);
	static const char bytes[] = {0x11, (char)0xaa, (char)0xcc};
	for (unsigned i = 0; i < ring->n; i++)
		for (size_t k = 0; k < TLS_TICKET_KEY_LEN; k++)
			cr_assert_eq(((const char *)&ring->keys[i])[k], bytes[i]);
	tls_tickets_put(ring);
	str_fini(&text);
	str_fini(&why);
}

/* The newest of all, then the two newest of before. */
Test(tls_tickets, a_new_one_comes_first_and_three_stay)
{
	struct tls_ticket_ring *rings[4] = {NULL};
	for (unsigned i = 0; i < 4; i++) {
		rings[i] = tls_tickets_rotate(i ? rings[i - 1] : NULL);
		cr_assert(rings[i]);
		cr_expect_eq(rings[i]->n, i < 2 ? i + 1 : 3);
		for (unsigned k = 1; k < rings[i]->n; k++)
			cr_expect_arr_eq(&rings[i]->keys[k], &rings[i - 1]->keys[k - 1],
					 TLS_TICKET_KEY_LEN);
		for (unsigned k = 1; k < rings[i]->n; k++)
			cr_expect_arr_neq(&rings[i]->keys[0], &rings[i]->keys[k],
					  TLS_TICKET_KEY_LEN);
	}
	for (unsigned i = 0; i < 4; i++)
		tls_tickets_put(rings[i]);
}

/* Without an assertion, which takes memory as well. */
static bool is_refused(const char *text, const char *wanted)
{
	struct str why = STR_INIT;
	bool refused = !tls_tickets_read(view_str(text), &why) && strstr(why.ptr, wanted);
	str_fini(&why);
	return refused;
}

/* A file is read again each time that it changes, wrong as it may be. */
Test(tls_tickets, what_is_no_file_of_keys_is_refused_and_given_back)
{
	struct str many = STR_INIT, odd = STR_INIT;
	for (int i = 0; i <= TLS_TICKET_KEYS_MAX; i++)
		put_key(&many, '1', DIGITS, "\n");
	put_key(&odd, '1', DIGITS, "\n");
	put_key(&odd, '1', DIGITS - 1, "\n");
	size_t before = 0;
	bool all = true;
	for (int i = 0; i < 64; i++) {
		all &= is_refused("", "it holds no key") &&
		       is_refused("\n \n", "it holds no key") &&
		       is_refused(odd.ptr, "line 2 is no key") &&
		       is_refused(many.ptr, "is no key: at most");
		if (i == 31) /* the caches of the C library are full by then */
			before = mallinfo2().uordblks;
	}
	size_t after = mallinfo2().uordblks;
	cr_expect(all);
	/* not of a sanitizer's build, which looks for itself */
	cr_expect_eq(after, before);
	str_fini(&many);
	str_fini(&odd);
}
