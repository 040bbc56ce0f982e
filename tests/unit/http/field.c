/* SPDX-License-Identifier: MIT */
#include "weir/http/field.h"

#include <criterion/criterion.h>

static unsigned traits(struct view name)
{
	return field_traits_of(hdr_lookup(name), name);
}

Test(http_field, what_says_who_the_client_is_belongs_to_the_peer_in_front)
{
	static const struct view names[] = {
	    VIEW("X-Forwarded-For"),      VIEW("x-forwarded-prefix"), VIEW("X-Forwarded-Ssl"),
	    VIEW("X-Forwarded"),          VIEW("Forwarded"),          VIEW("X-Real-IP"),
	    VIEW("X-Client-Cert-Issuer"), VIEW("X_Forwarded_User"),   VIEW("x_client-cert_subject"),
	};
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		cr_assert_eq(traits(names[i]), FIELD_KEPT | FIELD_HEAD | FIELD_PEER, "%s",
			     names[i].ptr);
	cr_assert_eq(traits(VIEW("X-Forwardedx")), 0);
	cr_assert_eq(traits(VIEW("X-Client-Certificate")), 0);
	cr_assert_eq(traits(VIEW("X-Own")), 0);
	cr_assert_eq(traits(VIEW("")), 0);
}

Test(http_field, every_known_field_is_one_of_a_head)
{
	for (unsigned id = HDR_OTHER + 1; id < HDR_N; id++)
		cr_assert(field_traits_of((enum hdr_id)id, VIEW_NONE) & FIELD_HEAD, "%s",
			  hdr_name((enum hdr_id)id).ptr);
}

Test(http_field, cgi_makes_the_same_variable)
{
	cr_assert(field_same(VIEW("X_Real-ip"), VIEW("x-real_IP")));
	cr_assert_not(field_same(VIEW("X-Real"), VIEW("X-Real-")));
	cr_assert_not(field_same(VIEW("X+Real"), VIEW("X-Real")));
}

Test(http_field, what_an_auth_service_is_not_told)
{
	static const char *const not_told[] = {"content-length", "Content_Length", "If-Range",
					       "UPGRADE", "x-forwarded-uri"};
	static const char *const told[] = {"Cookie", "Host", "X-Forwarded-For", "If-Rangers", ""};
	for (size_t i = 0; i < sizeof(not_told) / sizeof(*not_told); i++)
		cr_expect(field_is_of_request(view_str(not_told[i])), "%s", not_told[i]);
	for (size_t i = 0; i < sizeof(told) / sizeof(*told); i++)
		cr_expect(!field_is_of_request(view_str(told[i])), "%s", told[i]);
}

Test(http_field, what_of_its_answer_is_for_clients)
{
	struct header h = {.name = VIEW("set-cookie")};
	cr_expect(field_is_for_client(&h));
	h.drop = true;
	cr_expect(!field_is_for_client(&h));
	h = (struct header){.name = VIEW("Content-Length")};
	cr_expect(!field_is_for_client(&h));
}
