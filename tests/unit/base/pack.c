/* SPDX-License-Identifier: MIT */
/* Values as bytes and back; what is cut or out of range is bad. */
#include "weir/base/pack.h"

#include <criterion/criterion.h>
#include <math.h>

Test(pack, what_goes_in_comes_out)
{
	static const uint64_t numbers[] = {0, 1, 127, 128, 16383, 16384, UINT32_MAX, UINT64_MAX};
	static const double reals[] = {0, -1.5, 1e300, 5e-324};
	uint64_t sparse[100] = {[0] = 7, [42] = UINT64_MAX, [99] = 1}, back[100];
	double real_sparse[50] = {[3] = -0.25, [49] = 1e9}, real_back[50];
	struct str s = STR_INIT;
	for (size_t i = 0; i < ARRAY_LEN(numbers); i++)
		pack_u64(&s, numbers[i]);
	for (size_t i = 0; i < ARRAY_LEN(reals); i++)
		pack_double(&s, reals[i]);
	pack_view(&s, VIEW("a\0b"));
	pack_view(&s, VIEW_NONE);
	pack_sparse(&s, sparse, 100);
	pack_sparse_doubles(&s, real_sparse, 50);
	struct unpack in = unpack_of(str_as_view(&s));
	for (size_t i = 0; i < ARRAY_LEN(numbers); i++)
		cr_expect_eq(unpack_u64(&in), numbers[i]);
	for (size_t i = 0; i < ARRAY_LEN(reals); i++)
		cr_expect(unpack_double(&in) == reals[i]);
	cr_expect(view_eq(unpack_view(&in), VIEW("a\0b")));
	cr_expect_eq(unpack_view(&in).len, 0);
	unpack_sparse(&in, back, 100);
	unpack_sparse_doubles(&in, real_back, 50);
	cr_expect_eq(memcmp(sparse, back, sizeof(back)), 0);
	cr_expect_eq(memcmp(real_sparse, real_back, sizeof(real_back)), 0);
	cr_expect(!in.bad && in.left == 0);
	str_fini(&s);
}

Test(pack, blocks_are_passed_over)
{
	struct str s = STR_INIT;
	struct unpack in, block;
	uint32_t id;
	size_t outer = pack_begin(&s, 300);
	pack_u64(&s, 5);
	size_t inner = pack_begin(&s, 2);
	pack_view(&s, VIEW("deep"));
	pack_end(&s, inner);
	pack_end(&s, outer);
	pack_end(&s, pack_begin(&s, 4));
	in = unpack_of(str_as_view(&s));
	cr_assert(unpack_block(&in, &id, &block) && id == 300);
	cr_expect_eq(unpack_u64(&block), 5);
	cr_assert(unpack_block(&in, &id, &block) && id == 4 && block.left == 0);
	cr_expect(!unpack_block(&in, &id, &block) && !in.bad);
	str_fini(&s);
}

static bool is_bad(struct view bytes, uint64_t (*take)(struct unpack *in))
{
	struct unpack in = unpack_of(bytes);
	uint64_t n = take(&in);
	cr_expect(!in.bad || n == 0);
	return in.bad;
}

static uint64_t take_u8(struct unpack *in)
{
	return unpack_max(in, 255);
}

static uint64_t take_real(struct unpack *in)
{
	return unpack_double(in) != 0;
}

static uint64_t take_text(struct unpack *in)
{
	return unpack_view(in).len;
}

static uint64_t take_count(struct unpack *in)
{
	return unpack_count(in, 1000);
}

static uint64_t take_sparse(struct unpack *in)
{
	uint64_t values[4];
	unpack_sparse(in, values, 4);
	return 0;
}

static uint64_t take_block(struct unpack *in)
{
	struct unpack block;
	uint32_t id;
	return unpack_block(in, &id, &block);
}

Test(pack, cut_and_wild_values_are_bad)
{
	const double wild[] = {NAN, INFINITY, -INFINITY};
	cr_expect(is_bad(VIEW_NONE, unpack_u64));
	cr_expect(is_bad(VIEW("\x80\x80"), unpack_u64));
	cr_expect(is_bad(VIEW("\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02"), unpack_u64), "65 bits");
	cr_expect(is_bad(VIEW("\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"), unpack_u64));
	cr_expect(is_bad(VIEW("\x80\x02"), take_u8), "256");
	cr_expect(!is_bad(VIEW("\xff\x01"), take_u8), "255");
	cr_expect(is_bad(VIEW("1234567"), take_real));
	for (size_t i = 0; i < ARRAY_LEN(wild); i++)
		cr_expect(is_bad(view_of((const char *)&wild[i], sizeof(double)), take_real));
	cr_expect(is_bad(VIEW("\x04"
			      "abc"),
			 take_text));
	cr_expect(is_bad(VIEW("\xff\xff\xff\xff\x0f"
			      "abc"),
			 take_text));
	cr_expect(is_bad(VIEW("\x05"
			      "abcd"),
			 take_count),
		  "more than bytes that are left");
	cr_expect(is_bad(VIEW("\x01\x04\x01"), take_sparse), "behind the end");
	cr_expect(is_bad(VIEW("\x02\x03\x01\x01\x01"), take_sparse), "behind the end, in steps");
	cr_expect(is_bad(VIEW("\x05\x00\x01\x00\x01\x00\x01\x00\x01\x00\x01"), take_sparse));
	cr_expect(is_bad(VIEW("\x01\x05\x00\x00\x00"
			      "abc"),
			 take_block));
	cr_expect(is_bad(VIEW("\x01\x05\x00"), take_block));
}
