/* SPDX-License-Identifier: MIT */
/* What checks speak TLS with: made for each pool, and given back where nobody takes it. */
#include "eject_world.h"

Test(health_clients, those_that_nobody_takes_are_given_back)
{
	static struct conf_pool conf = {.name = VIEW("app"), .tls.on = true, .health.on = true};
	static struct pool pools[3] = {{.conf = &conf}, {.conf = &conf}, {.conf = &conf}};
	begin(2, 0.5);
	health_clients_free(health_clients_new(health, pools, ARRAY_LEN(pools))); /* leaks tell */
	end();
}
