/* SPDX-License-Identifier: MIT */
/* Numbers, durations and strangers' text, as a terminal shows them. */
#include "text.h"

#include "weir/base/defs.h"
#include "weir/base/text.h"

/* Three significant digits of x < 999.5. */
static void put_3_digits(struct str *out, double x)
{
	str_printf(out, "%.*f", x < 9.995 ? 2 : x < 99.95 ? 1 : 0, x);
}

void put_duration_us(struct str *out, uint64_t us)
{
	if (us < 1000) {
		str_printf(out, "%u us", (unsigned)us);
	} else if (us < 999500) {
		put_3_digits(out, (double)us / 1e3);
		str_text(out, " ms");
	} else if (us < 59950000) {
		put_3_digits(out, (double)us / 1e6);
		str_text(out, " s");
	} else {
		put_age_s(out, us / 1000000 + (us % 1000000 >= 500000));
	}
}

void put_age_s(struct str *out, uint64_t s)
{
	unsigned long long n = s;
	if (s < 60)
		str_printf(out, "%llu s", n);
	else if (s < 3600)
		str_printf(out, "%llu m %llu s", n / 60, n % 60);
	else if (s < 86400)
		str_printf(out, "%llu h %llu m", n / 3600, n / 60 % 60);
	else
		str_printf(out, "%llu d %llu h", n / 86400, n / 3600 % 24);
}

void put_rate(struct str *out, double per_s)
{
	static const char *const units[] = {"", "k", "M", "G"};
	size_t unit = 0;
	for (; per_s >= 999.5 && unit + 1 < ARRAY_LEN(units); unit++)
		per_s /= 1000;
	if (per_s < 0.005)
		str_char(out, '0');
	else
		put_3_digits(out, per_s);
	str_printf(out, "%s/s", units[unit]);
}

void put_bytes(struct str *out, uint64_t bytes)
{
	static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB"};
	double x = (double)bytes;
	size_t unit = 0;
	for (; x >= 999.5 && unit + 1 < ARRAY_LEN(units); unit++)
		x /= 1024;
	if (unit == 0)
		str_printf(out, "%u", (unsigned)bytes);
	else
		put_3_digits(out, x);
	str_printf(out, " %s", units[unit]);
}

static void put_without_controls(struct str *out, const char *text, const char *allowed)
{
	size_t from = out->len;
	str_text(out, text);
	if (out->len == from)
		return;
	out->len = from + text_clean(out->ptr + from, out->len - from, allowed);
	out->ptr[out->len] = '\0';
}

void put_clean(struct str *out, const char *text)
{
	put_without_controls(out, text, "");
}

void put_clean_lines(struct str *out, const char *text)
{
	put_without_controls(out, text, "\n\t");
}

/* Outside of ASCII there is nothing but text in quotes. */
void put_json(struct str *out, const char *json)
{
	size_t len = strlen(json);
	for (size_t i = 0, n; i < len; i += n) {
		n = (unsigned char)json[i] < 0x20 ? 1 : text_harmless_len(json + i, len - i);
		if (n) {
			str_put(out, json + i, n);
			continue;
		}
		n = utf8_len(json + i, len - i);
		if (n)
			str_printf(out, "\\u%04x", utf8_code_point(json + i, n));
		else
			str_text(out, "\\ufffd");
		n += !n;
	}
}

size_t text_width(const char *text, size_t len)
{
	size_t n = 0;
	for (size_t i = 0; i < len; i++)
		n += ((unsigned char)text[i] & 0xc0) != 0x80; /* continuation bytes take no room */
	return n;
}
