/* SPDX-License-Identifier: MIT */
/* Hashes and random numbers: published values where there are some, laws elsewhere. */
#include <criterion/criterion.h>
#include <math.h>

#include "weir/base/hash.h"
#include "weir/base/rng.h"

Test(hash, is_xxh3)
{
	cr_assert_eq(hash_bytes("", 0, 0), UINT64_C(0x2d06800538d394c2));
	cr_assert_eq(hash_view(VIEW("abc"), 0), UINT64_C(0x78af5f94892f3950));
	cr_assert_eq(hash_view(VIEW("abc"), 7), hash_bytes("abc", 3, 7));
	cr_assert_neq(hash_view(VIEW("abc"), 7), hash_view(VIEW("abc"), 8));
}

static uint64_t in_pieces(const char *ptr, size_t len, size_t piece)
{
	struct hash_stream h;
	hash_stream_init(&h);
	for (size_t at = 0; at < len; at += piece)
		hash_stream_add(&h, ptr + at, at + piece < len ? piece : len - at);
	return hash_stream_end(&h);
}

Test(hash, of_a_stream_is_xxh64_whatever_the_pieces)
{
	char text[1000];
	for (size_t i = 0; i < sizeof(text); i++)
		text[i] = (char)(i * 7);
	cr_assert_eq(in_pieces("", 0, 1), UINT64_C(0xef46db3751d8e999));
	cr_assert_eq(in_pieces("abc", 3, 3), UINT64_C(0x44bc2cf5ad770999));
	uint64_t whole = in_pieces(text, sizeof(text), sizeof(text));
	for (size_t piece = 1; piece < sizeof(text); piece++)
		cr_assert_eq(in_pieces(text, sizeof(text), piece), whole);
	cr_assert_neq(in_pieces(text, sizeof(text) - 1, 9), whole);
}

Test(hash, ignores_case_when_asked)
{
	cr_assert_eq(hash_view_ci(VIEW("Example.COM"), 3), hash_view_ci(VIEW("example.com"), 3));
	cr_assert_eq(hash_view_ci(VIEW("example.com"), 3), hash_view(VIEW("example.com"), 3));
	cr_assert_neq(hash_view_ci(VIEW("a["), 3), hash_view_ci(VIEW("a{"), 3));
	cr_assert_eq(hash_view_ci(VIEW_NONE, 3), hash_view_ci(VIEW(""), 3));
}

Test(hash, reads_long_text_to_its_end)
{
	char a[1000], b[1000];
	memset(a, 'X', sizeof(a));
	memset(b, 'x', sizeof(b));
	for (size_t len = 1; len <= sizeof(a); len += 37) {
		uint64_t h = hash_view_ci(view_of(a, len), 1);
		cr_assert_eq(h, hash_view_ci(view_of(b, len), 1));
		b[len - 1] = 'y';
		cr_assert_neq(h, hash_view_ci(view_of(b, len), 1), "byte %zu is not hashed",
			      len - 1);
		b[len - 1] = 'x';
	}
}

Test(hash, seed_lasts_for_the_process)
{
	uint64_t seed = hash_seed();
	cr_assert_neq(seed, 0);
	cr_assert_eq(hash_seed(), seed);
}

Test(hash, mix_turns_half_of_the_bits)
{
	double flipped = 0;
	for (uint64_t x = 1; x <= 1000; x++)
		for (int bit = 0; bit < 64; bit++)
			flipped +=
			    __builtin_popcountll(hash_mix(x) ^ hash_mix(x ^ UINT64_C(1) << bit));
	cr_assert_float_eq(flipped / 64000, 32, 0.2);
}

Test(rng, is_xoshiro256_starstar_seeded_by_splitmix64)
{
	struct rng rng;
	rng_init(&rng, 0);
	cr_assert_eq(rng.s[0], UINT64_C(0xe220a8397b1dcdaf));
	cr_assert_eq(rng.s[1], UINT64_C(0x6e789e6aa1b965f4));
	cr_assert_eq(rng_next(&rng), UINT64_C(0x99ec5f36cb75f2b4));
}

Test(rng, numbers_below_n_are_even)
{
	enum { N = 7, DRAWS = 700000 };
	unsigned count[N] = {0};
	struct rng rng;
	rng_init(&rng, 5);
	for (int i = 0; i < DRAWS; i++) {
		uint32_t x = rng_below(&rng, N);
		cr_assert(x < N);
		count[x]++;
	}
	double chi2 = 0, expected = (double)DRAWS / N;
	for (int i = 0; i < N; i++)
		chi2 += pow(count[i] - expected, 2) / expected;
	cr_assert(chi2 < 22.5, "chi2 %g", chi2); /* 6 degrees of freedom, p = 0.001 */
}

Test(rng, scale_covers_its_range)
{
	cr_assert_eq(rng_scale(0, 10), 0);
	cr_assert_eq(rng_scale(UINT32_MAX, 10), 9);
	cr_assert_eq(rng_scale(UINT32_MAX, 1), 0);
	cr_assert_eq(rng_scale(UINT32_MAX, UINT32_MAX), UINT32_MAX - 1);
}

Test(rng, entropy_differs)
{
	cr_assert_neq(rng_entropy(), rng_entropy());
}
