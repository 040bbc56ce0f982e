/* SPDX-License-Identifier: MIT */
/* Who has a place at the status port, who has to leave, who is turned away. */
#include <criterion/criterion.h>
#include <stdio.h>

#include "admin/places.h"
#include "weir/base/defs.h"
#include "weir/base/view.h"

static struct places places;
static struct place seats[TCP_PLACES + PROBE_PLACES + UNIX_PLACES];
static size_t n_seats;

static void begin(void)
{
	places_init(&places);
	n_seats = 0;
}

TestSuite(places, .init = begin);

static struct place from(const char *text)
{
	struct addr addr;
	cr_assert(addr_parse(view_str(text), &addr), "%s", text);
	return place_of(&addr, true);
}

static struct place from_host(unsigned host)
{
	char text[40];
	snprintf(text, sizeof(text), "10.0.%u.%u:99", host / 250, host % 250);
	return from(text);
}

static struct place *sit(struct place newcomer, enum conn_wait wait, uint64_t since)
{
	struct place *leaver;
	cr_assert(places_find(&places, &newcomer, &leaver));
	cr_assert(!leaver);
	seats[n_seats] = newcomer;
	places_take(&places, &seats[n_seats]);
	place_waits(&seats[n_seats], wait, since);
	return &seats[n_seats++];
}

static void fill(enum conn_wait wait)
{
	for (unsigned i = 0; i < TCP_PLACES; i++)
		sit(from_host(i), wait, 1000 + i);
}

Test(places, the_longest_idle_leaves_first_and_who_is_answered_never)
{
	struct place *leaver, newcomer = from("192.0.2.1:1");
	fill(WAIT_SEND);
	place_waits(&seats[3], WAIT_HEAD, 1);
	place_waits(&seats[4], WAIT_BODY, 1);
	place_waits(&seats[7], WAIT_IDLE, 500);
	place_waits(&seats[9], WAIT_IDLE, 400);
	for (const int *want = (const int[]){9, 7, 3, 4, -1}; *want >= 0; want++) {
		cr_assert(places_find(&places, &newcomer, &leaver));
		cr_assert_eq(leaver, &seats[*want], "%td, not %d", leaver - seats, *want);
		cr_assert(!newcomer.only_probes);
		place_waits(leaver, WAIT_ANSWER, 2000);
	}
}

Test(places, the_last_places_are_for_probes)
{
	struct place *leaver, newcomer = from("192.0.2.1:1");
	fill(WAIT_STREAM);
	for (unsigned i = 0; i < PROBE_PLACES; i++)
		cr_assert(sit(from("192.0.2.1:1"), WAIT_IDLE, 5000 + i)->only_probes);
	cr_assert(places_find(&places, &newcomer, &leaver));
	cr_assert_eq(leaver, &seats[TCP_PLACES], "of these, too, the longest idle leaves");
	for (unsigned i = 0; i < PROBE_PLACES; i++)
		place_waits(&seats[TCP_PLACES + i], WAIT_SEND, 6000);
	cr_assert(!places_find(&places, &newcomer, &leaver));
	struct addr addr = {.sa.sa_family = AF_UNIX};
	sit(place_of(&addr, false), WAIT_IDLE, 1);
	cr_assert(!seats[n_seats - 1].only_probes, "the unix socket has places of its own");
}

Test(places, one_address_has_half_of_them)
{
	struct place *leaver, newcomer = from("10.9.9.9:77");
	for (unsigned i = 0; i < ADDRESS_PLACES; i++)
		sit(from("10.9.9.9:1"), WAIT_IDLE, 100 + i);
	cr_assert(places_find(&places, &newcomer, &leaver));
	cr_assert_eq(leaver, &seats[0]);
	newcomer = from("10.9.9.8:77");
	cr_assert(places_find(&places, &newcomer, &leaver));
	cr_assert(!leaver, "others are not concerned");
}

Test(places, one_network_of_ipv6_counts_as_one_address)
{
	struct place *leaver, newcomer = from("[2001:db8:1:2:ffff::1]:77");
	for (unsigned i = 0; i < ADDRESS_PLACES; i++) {
		char text[60];
		snprintf(text, sizeof(text), "[2001:db8:1:2::%x]:1", i + 1);
		sit(from(text), WAIT_IDLE, 100 + i);
	}
	cr_assert(places_find(&places, &newcomer, &leaver));
	cr_assert_eq(leaver, &seats[0]);
	newcomer = from("[2001:db8:1:3::1]:77");
	cr_assert(places_find(&places, &newcomer, &leaver));
	cr_assert(!leaver);
}
