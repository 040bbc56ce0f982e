/* SPDX-License-Identifier: MIT */
/* limits.connections_per_client: who counts as one client, and how many it may have. */
#include <criterion/criterion.h>

#include "weir/proxy/per_client.h"

static void prepare(uint32_t limit)
{
	struct conf_listener listeners[2] = {{.name = VIEW("none")}, {.name = VIEW("web")}};
	struct conf conf = {.listeners = listeners, .n_listeners = 2};
	struct str why = STR_INIT;
	listeners[1].limits.connections_per_client = limit;
	cr_assert(per_client_prepare(&conf, &why), "%s", why.ptr);
	str_fini(&why);
}

/* Its slot; 0: it is not counted.  Refused: UINT32_MAX. */
static uint32_t take(const char *ip, uint32_t limit)
{
	struct addr client;
	uint32_t slot = 1;
	cr_assert(addr_parse_ip(view_str(ip), &client), "%s", ip);
	return per_client_take(&client, limit, &slot) ? slot : UINT32_MAX;
}

Test(per_client, without_a_limit_nobody_is_counted)
{
	prepare(0);
	for (unsigned i = 0; i < 3; i++)
		cr_assert_eq(take("192.0.2.1", 1), 0);
}

Test(per_client, one_too_many_until_one_goes)
{
	prepare(2);
	uint32_t first = take("192.0.2.1", 2), second = take("192.0.2.1", 2);
	cr_assert(first > 0 && first == second);
	cr_assert_eq(take("192.0.2.1", 2), UINT32_MAX);
	cr_assert_lt(take("192.0.2.2", 2), UINT32_MAX);
	per_client_drop(0); /* one that was not counted */
	cr_assert_eq(take("192.0.2.1", 2), UINT32_MAX);
	per_client_drop(first);
	cr_assert_eq(take("192.0.2.1", 2), first);
	cr_assert_eq(take("192.0.2.1", 2), UINT32_MAX);
}

/* Another configuration does not forget who is there. */
Test(per_client, counts_outlive_a_reload)
{
	prepare(1);
	uint32_t slot = take("192.0.2.1", 1);
	prepare(3);
	cr_assert_eq(take("192.0.2.1", 1), UINT32_MAX);
	cr_assert_eq(take("192.0.2.1", 3), slot);
}

Test(per_client, a_network_of_ipv6_is_one)
{
	prepare(1);
	uint32_t slot = take("2001:db8:1:2::1", 1);
	cr_assert(slot > 0 && slot < UINT32_MAX);
	cr_assert_eq(take("2001:db8:1:2:ffff::2", 1), UINT32_MAX);
	cr_assert_lt(take("2001:db8:1:3::1", 1), UINT32_MAX);
}

Test(per_client, an_address_over_either_family)
{
	prepare(1);
	cr_assert_lt(take("192.0.2.1", 1), UINT32_MAX);
	cr_assert_eq(take("::ffff:192.0.2.1", 1), UINT32_MAX);
	cr_assert_lt(take("::ffff:192.0.2.2", 1), UINT32_MAX);
}

Test(per_client, who_comes_by_a_unix_socket_is_nobody)
{
	struct addr local;
	uint32_t slot;
	prepare(1);
	cr_assert(addr_parse(VIEW("unix:/run/x.sock"), &local));
	for (unsigned i = 0; i < 2; i++) {
		cr_assert(per_client_take(&local, 1, &slot));
		cr_assert_eq(slot, 0);
	}
}
