/* SPDX-License-Identifier: MIT */
/*
 * Field lines (RFC 9112 5) and the fields that frame a message (6): read in
 * place, strictly, without a second pass.
 */
#include "h1_head.h"

#include "weir/base/defs.h"
#include "weir/base/parse.h"

/* ---- lines ---- */

enum h1_result h1_line_end(struct h1_head *head, const char *line, const char *p,
			   enum reject control)
{
	if (unlikely((size_t)(p - line) > head->line_bytes))
		return h1_head_bad(head, head->too_long);
	if (likely(is_crlf(p, head->end))) {
		head->pos = p + 2;
		return H1_OK;
	}
	if (p == head->end)
		return H1_MORE;
	if (*p == '\n')
		return h1_head_bad(head, REJECT_BARE_LF);
	if (*p != '\r')
		return h1_head_bad(head, control);
	return head->end - p == 1 ? H1_MORE : h1_head_bad(head, REJECT_BARE_CR);
}

/* The token that began at `line` ended at `p`, but not with a colon. */
static COLD enum h1_result name_verdict(struct h1_head *head, const char *line, const char *p)
{
	if (p < head->end && (*p == ' ' || *p == '\t') && (size_t)(p - line) <= head->line_bytes)
		return h1_head_bad(head, p == line ? REJECT_OBS_FOLD : REJECT_SPACE_BEFORE_COLON);
	enum h1_result result = h1_line_end(head, line, p, REJECT_BAD_HEADER_NAME);
	/* a line without a colon, properly ended */
	return result == H1_OK ? h1_head_bad(head, REJECT_BAD_HEADER_NAME) : result;
}

/* Into its one hot caller, so that a struct walk can live in registers. */
#define HOT inline __attribute__((always_inline))

/*
 * The position in a head and the masks around it.  It lives in local variables
 * of the hot loop, where stores into the table cannot touch it.
 */
struct walk {
	const char *base;
	const char *pos;
	const char *end;
	const char *block_at; /* never behind pos */
	struct block block;
};

static inline struct walk walk_init(const struct h1_head *head)
{
	return (struct walk){
	    .base = head->base,
	    .pos = head->pos,
	    .end = head->end,
	    .block_at = head->pos,
	    .block = block_of(head->base, head->pos, head->end),
	};
}

/* First special (or, if not `specials`, end) byte from p on, or the end of all. */
static HOT const char *walk_find(struct walk *walk, const char *p, bool specials)
{
	for (;;) {
		size_t at = (size_t)(p - walk->block_at);
		uint64_t bits = specials ? walk->block.specials : walk->block.ends;
		if (likely(at < BLOCK && bits >> at))
			return p + __builtin_ctzll(bits >> at);
		if (walk->end - walk->block_at <= BLOCK)
			return walk->end;
		walk->block_at += BLOCK;
		walk->block = block_of(walk->base, walk->block_at, walk->end);
		if (p < walk->block_at)
			p = walk->block_at;
	}
}

static inline enum h1_result blank_line(struct h1_head *head, struct header *hdr, const char *line)
{
	hdr->name = VIEW_NONE;
	head->pos = line + 2;
	return H1_OK;
}

/* No name and a colon at `p`: something to refuse or to wait for. */
static NOINLINE enum h1_result no_field(struct h1_head *head, struct header *hdr, const char *line,
					const char *p)
{
	hdr->name = VIEW_NONE;
	if (p == line && p < head->end && *p == '\r')
		return h1_line_end(head, line, p, REJECT_BARE_CR);
	return name_verdict(head, line, scan_token(head->base, line, head->end));
}

/*
 * The id of the name that ends in `colon`, HDR_N when it is no token.  Between
 * line and colon stands no control byte; that makes the look-up exact.
 */
static HOT enum hdr_id name_id(const struct h1_head *head, struct header *hdr, const char *line,
			       const char *colon)
{
	hdr->name = view_of(line, (size_t)(colon - line));
	hdr->drop = false;
	enum hdr_id id = hdr_of_token(hdr->name);
	if (id != HDR_OTHER || likely(scan_name(head->base, line, head->end) == colon))
		return id;
	/* CGI would make the same variable of X_A and X-A */
	hdr->drop = head->drops_underscore && memchr(line, '_', hdr->name.len);
	return scan_token(head->base, line, colon) == colon ? HDR_OTHER : HDR_N;
}

static HOT enum h1_result field_read(struct h1_head *head, struct walk *walk, struct header *hdr)
{
	const char *line = walk->pos;
	const char *colon = walk_find(walk, line, true);
	if (unlikely(colon == walk->end || *colon != ':' || colon == line))
		return colon == line && is_crlf(line, walk->end) ? blank_line(head, hdr, line)
								 : no_field(head, hdr, line, colon);
	enum hdr_id id = name_id(head, hdr, line, colon);
	if (unlikely(id == HDR_N))
		return no_field(head, hdr, line, colon);
	const char *value = colon + 1;
	const char *stop = walk_find(walk, value, false);
	while (unlikely(stop < walk->end && *stop == '\t'))
		stop = walk_find(walk, stop + 1, false);
	if (unlikely(!is_crlf(stop, walk->end) || (size_t)(stop - line) > head->line_bytes))
		return h1_line_end(head, line, stop, REJECT_BAD_HEADER_VALUE);
	walk->pos = stop + 2;
	hdr->id = (uint8_t)id;
	hdr->line_len = (uint32_t)(walk->pos - line);
	/* one space before the value and none behind is what nearly everybody writes */
	value += *value == ' ';
	hdr->value = view_of(value, (size_t)(stop - value));
	if (unlikely((uint8_t)*value <= ' ' || (uint8_t)stop[-1] <= ' ')) {
		hdr->value = view_trim(hdr->value);
		hdr->line_len = 0; /* not everybody reads tabs as we do: written anew */
	}
	return H1_OK;
}

enum h1_result h1_field_read(struct h1_head *head, struct header *hdr)
{
	struct walk walk = walk_init(head);
	enum h1_result result = field_read(head, &walk, hdr);
	if (result == H1_OK && hdr->name.ptr)
		head->pos = walk.pos;
	return result;
}

/* ---- meaning ---- */

/* Half the range at most, so that sums of lengths cannot wrap. */
static bool read_length(struct view digits, uint64_t *length)
{
	uint64_t n = 0;
	if (digits.len == 0 || digits.len > 18) /* 18 digits cannot overflow */
		return parse_u64(digits, length) && *length <= INT64_MAX;
	for (size_t i = 0; i < digits.len; i++) {
		if (!char_is_digit(digits.ptr[i]))
			return false;
		n = n * 10 + (unsigned)(digits.ptr[i] - '0');
	}
	*length = n;
	return true;
}

/* Without leading zeros, and nothing around it: what goes on is what was understood. */
static void write_anew(struct header *hdr)
{
	while (unlikely(hdr->value.len > 1 && hdr->value.ptr[0] == '0'))
		hdr->value = view_skip(hdr->value, 1);
	if (unlikely(hdr->line_len != hdr->name.len + 2 + hdr->value.len + 2))
		hdr->line_len = 0;
}

static enum h1_result length_meaning(struct h1_head *head, struct header *hdr)
{
	if (head->seen & HDR_BIT(CONTENT_LENGTH))
		return h1_head_bad(head, REJECT_MANY_LENGTHS);
	if (!read_length(hdr->value, &head->length))
		return h1_head_bad(head, REJECT_BAD_LENGTH);
	if (head->seen & HDR_BIT(TRANSFER_ENCODING))
		return h1_head_bad(head, REJECT_LENGTH_AND_CODING);
	write_anew(hdr);
	return H1_OK;
}

static bool is_token(struct view v)
{
	for (size_t i = 0; i < v.len; i++)
		if (!char_is(v.ptr[i], CHAR_TOKEN))
			return false;
	return v.len > 0;
}

/* "xchunked", "chunked;q=1", "chunked-": meant to be read as chunked by somebody else. */
static bool resembles_chunked(struct view coding)
{
	const struct view chunked = VIEW("chunked");
	for (; coding.len >= chunked.len; coding = view_skip(coding, 1))
		if (view_istarts(coding, chunked))
			return true;
	return false;
}

/* Why a Transfer-Encoding that is not a lone "chunked" is refused. */
static enum reject coding_verdict(struct view value)
{
	struct view coding;
	bool unknown = false;
	while (view_next_token(&value, &coding)) {
		bool last = view_is_empty(value);
		bool chunked = view_ieq(coding, VIEW("chunked"));
		if (chunked ? !last : !is_token(coding) || resembles_chunked(coding))
			return REJECT_BAD_CODING;
		unknown |= !chunked;
	}
	return unknown ? REJECT_CODING_UNKNOWN : REJECT_BAD_CODING;
}

static enum h1_result coding_meaning(struct h1_head *head, const struct message *msg,
				     struct view value)
{
	if (msg->version_minor == 0)
		return h1_head_bad(head, REJECT_CODING_IN_HTTP10);
	if (head->seen & HDR_BIT(TRANSFER_ENCODING))
		return h1_head_bad(head, REJECT_BAD_CODING);
	if (!value_is(value, VIEW("chunked")))
		return h1_head_bad(head, coding_verdict(value));
	if (head->seen & HDR_BIT(CONTENT_LENGTH))
		return h1_head_bad(head, REJECT_LENGTH_AND_CODING);
	return H1_OK;
}

static uint8_t conn_option_of(struct view option)
{
	if (value_is(option, VIEW("keep-alive")))
		return CONN_KEEP_ALIVE;
	if (value_is(option, VIEW("close")))
		return CONN_CLOSE;
	return value_is(option, VIEW("upgrade")) ? CONN_UPGRADE : 0;
}

static enum h1_result connection_meaning(struct h1_head *head, struct view value)
{
	struct view option;
	uint8_t alone = conn_option_of(value);
	if (likely(alone)) {
		/* no list, as nearly always; it still counts */
		head->conn |= alone;
		value = VIEW_NONE;
		head->n_conn_options++;
	}
	while (view_next_token(&value, &option)) {
		head->conn |= conn_option_of(option);
		if (++head->n_conn_options > CONN_OPTIONS_MAX)
			break;
	}
	return head->n_conn_options > CONN_OPTIONS_MAX ? h1_head_bad(head, REJECT_BAD_CONNECTION)
						       : H1_OK;
}

static void upgrade_meaning(struct h1_head *head, struct view value)
{
	struct view protocol;
	while (view_next_token(&value, &protocol))
		if (view_ieq(protocol, VIEW("h2c")))
			head->h2c = true;
}

static enum h1_result host_meaning(struct h1_head *head, struct message *msg, struct view value)
{
	struct view host;
	uint16_t port;
	if (head->seen & HDR_BIT(HOST))
		return h1_head_bad(head, REJECT_MANY_HOSTS);
	if (!authority_split(value, &host, &port))
		return h1_head_bad(head, REJECT_BAD_HOST);
	/* the authority of an absolute form stays: they must agree, judged at the end */
	if (view_is_empty(msg->authority))
		msg->authority = authority_plain(value);
	head->host = value;
	return H1_OK;
}

static enum h1_result expect_meaning(struct h1_head *head, struct message *msg, struct header *hdr)
{
	if (!value_is(hdr->value, VIEW("100-continue")))
		return h1_head_bad(head, REJECT_BAD_EXPECT);
	/* an HTTP/1.0 client cannot mean it, RFC 9110 10.1.1 */
	if (msg->version_minor == 0)
		hdr->drop = true;
	else
		msg->expect_continue = true;
	return H1_OK;
}

/* The rows of field_meaning; most fields are none of them. */
#define FRAMING_FIELDS                                                                \
	(HDR_BIT(CONTENT_LENGTH) | HDR_BIT(TRANSFER_ENCODING) | HDR_BIT(CONNECTION) | \
	 HDR_BIT(UPGRADE) | HDR_BIT(HOST) | HDR_BIT(EXPECT))

static enum h1_result field_meaning(struct h1_head *head, struct message *msg, struct header *hdr)
{
	enum h1_result result = H1_OK;
	switch (hdr->id) {
	case HDR_CONTENT_LENGTH:
		result = length_meaning(head, hdr);
		break;
	case HDR_TRANSFER_ENCODING:
		result = coding_meaning(head, msg, hdr->value);
		break;
	case HDR_CONNECTION:
		result = connection_meaning(head, hdr->value);
		break;
	case HDR_UPGRADE:
		upgrade_meaning(head, hdr->value);
		break;
	case HDR_HOST:
		if (head->is_request)
			result = host_meaning(head, msg, hdr->value);
		break;
	case HDR_EXPECT:
		if (head->is_request)
			result = expect_meaning(head, msg, hdr);
		break;
	}
	head->seen |= UINT64_C(1) << hdr->id;
	return result;
}

enum h1_result h1_fields_read(struct h1_head *head, struct message *msg)
{
	struct walk walk = walk_init(head);
	const uint32_t n_max = head->n_headers_max;
	uint32_t n = 0;
	uint64_t ids = 0;
	for (;; n++) {
		struct header beyond;
		struct header *hdr = likely(n < n_max) ? &msg->headers[n] : &beyond;
		enum h1_result result = field_read(head, &walk, hdr);
		if (result != H1_OK || !hdr->name.ptr) {
			msg->n_headers = n;
			msg->ids = ids;
			return result;
		}
		if (unlikely(n == n_max))
			return h1_head_bad(head, REJECT_TOO_MANY_HEADERS);
		if (hdr->id == HDR_OTHER) {
			msg->n_underscore += hdr->drop;
			ids |= (*hdr->name.ptr | 0x20) == 'x';
			continue;
		}
		ids |= UINT64_C(1) << hdr->id;
		if (!(FRAMING_FIELDS >> hdr->id & 1))
			continue;
		result = field_meaning(head, msg, hdr);
		if (unlikely(result != H1_OK))
			return result;
	}
}

/* ---- the whole ---- */

void h1_connection_meaning(const struct h1_head *head, struct message *msg)
{
	bool wants_more = msg->version_minor > 0 || (head->conn & CONN_KEEP_ALIVE);
	msg->keep_alive = wants_more && !(head->conn & CONN_CLOSE);
	/*
	 * Not in HTTP/1.0 (RFC 9110 7.8).  h2c is not offered on: a tunnel of
	 * HTTP/2 would carry requests past every rule of ours.
	 */
	msg->upgrade = msg->version_minor > 0 && (head->conn & CONN_UPGRADE) &&
		       (head->seen & HDR_BIT(UPGRADE)) && !head->h2c;
}

enum h1_result h1_verdict(const struct h1_head *head, enum h1_result result, struct view in,
			  const struct h1_limits *limits, enum reject *why)
{
	*why = REJECT_NONE;
	if (result == H1_BAD) {
		*why = head->why;
	} else if (result == H1_MORE && in.len >= limits->head_bytes) {
		*why = REJECT_HEAD_TOO_LARGE;
		result = H1_BAD;
	}
	return result;
}

void h1_message_reset(struct message *msg)
{
	memset(msg, 0, offsetof(struct message, headers));
}

bool h1_head_may_be_complete(struct view in, size_t seen, const struct h1_limits *limits)
{
	if (in.len >= limits->head_bytes)
		return true;
	if (view_is_empty(in))
		return false;
	const char *end = in.ptr + in.len;
	/* a CRLFCRLF may have begun in the last three bytes seen */
	const char *p = in.ptr + (seen < 3 ? 0 : seen - 3);
	for (; (p = scan_value(in.ptr, p, end)) < end; p += 2) {
		if (end - p == 1 && *p == '\r')
			break;
		/*
		 * The region begins anywhere in a CRLF, so an LF is judged by
		 * the byte before it.
		 */
		if (*p == '\n' && p > in.ptr && p[-1] == '\r') {
			p--;
			continue;
		}
		if (*p != '\r' || p[1] != '\n')
			return true;
		if (end - p >= 4 && p[2] == '\r' && p[3] == '\n')
			return true;
	}
	if (in.len <= limits->line_bytes)
		return false;
	const char *last = memrchr(in.ptr, '\n', in.len);
	return (size_t)(end - (last ? last + 1 : in.ptr)) > limits->line_bytes;
}
