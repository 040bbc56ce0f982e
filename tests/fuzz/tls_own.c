/* SPDX-License-Identifier: MIT */
/*
 * A client of TLS 1.3 after the handshake: any sequence of records, sealed as they should be
 * or not, cut anywhere.  What comes out is what was put in, in order, and nothing behind the
 * first thing that is forbidden.
 *
 * The input is a list of acts, each a byte that says which and two of length; the bytes of
 * records are the ones that follow.
 */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "h1_fuzz.h"
#include "net/tls.h"

#define ROOM (TLS_RECORD_MAX + 1024)

enum act { DATA, PADDED, UPDATE, SAY, CLOSE_NOTIFY, ANY_TYPE, RAW, N_ACTS };

static struct loop loop;
static struct buf_pool bufs;
static struct tls_local local;
static struct tls_records all;
static SSL_CTX *ctx;

/* Of one run. */
static struct {
	struct tls_conn *conn;
	struct tls_record *peer;
	int ours, theirs;
	char *expected; /* owns */
	size_t n_expected, n_got;
	bool over; /* whatever comes now is not to come out */
	bool dead;
} run;

static void prepare(void)
{
	check(loop_init(&loop, "fuzz") == ERR_OK);
	buf_pool_init(&bufs, 64);
	tls_local_init(&local, &loop, &bufs, 8);
	check(tls_local_prepare(&local) == ERR_OK && tls_records_init(&all, NULL, 8));
	ctx = SSL_CTX_new_ex(local.lib, NULL, TLS_server_method());
	check(ctx != NULL);
}

static void begin(uint32_t cipher)
{
	int fds[2];
	memset(&run, 0, sizeof(run));
	check(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds) == 0);
	run.ours = fds[0];
	run.theirs = fds[1];
	struct tls_conn *c = run.conn = tls_conn_new(&local, ctx);
	c->record = tls_record_new(local.records);
	run.peer = tls_record_new(&all);
	memset(c->record->in.secret, 1, TLS_SECRET_MAX);
	memset(c->record->out.secret, 2, TLS_SECRET_MAX);
	memset(run.peer->out.secret, 1, TLS_SECRET_MAX);
	memset(run.peer->in.secret, 2, TLS_SECRET_MAX);
	check(tls_record_start(local.records, c->record, cipher) &&
	      tls_record_start(&all, run.peer, cipher));
	c->own = true;
	tls_conn_drop_ssl(c);
}

static void end(void)
{
	transport_tls_server.fini(run.conn);
	tls_record_free(&all, run.peer);
	close(run.ours);
	close(run.theirs);
	free(run.expected);
	check(buf_pool_live(&bufs) == 0 && local.conns.n_live == 0);
}

/* ---- what comes out ---- */

static void drain(size_t cap)
{
	static char room[70000];
	while (!run.dead) {
		size_t n;
		enum io io = transport_tls_server.read(run.ours, run.conn, room, cap, &n);
		check(n <= cap && (io == IO_OK) == (n > 0));
		check(n <= run.n_expected - run.n_got);
		check(n == 0 || memcmp(room, run.expected + run.n_got, n) == 0);
		run.n_got += n;
		run.dead = io == IO_EOF || io == IO_ERR;
		check(!run.dead || run.over);
		/* one call has one recv; the descriptor says when there is more */
		if (io == IO_WAIT && recv(run.ours, room, 1, MSG_PEEK) <= 0)
			break;
	}
	if (run.dead)
		check(run.n_got == run.n_expected);
}

/* Everything we say can be opened by the peer. */
static void listen_to(void)
{
	static char record[ROOM], text[ROOM];
	for (;;) {
		size_t n;
		if (recv(run.theirs, record, TLS_RECORD_HEAD, 0) != TLS_RECORD_HEAD)
			return;
		size_t len =
		    (size_t)(unsigned char)record[3] << 8 | (size_t)(unsigned char)record[4];
		check(recv(run.theirs, record + TLS_RECORD_HEAD, len, 0) == (ssize_t)len);
		len += TLS_RECORD_HEAD;
		enum tls_content type = tls_record_open(&all, run.peer, record, len, text, &n);
		check(type == TLS_DATA || type == TLS_HANDSHAKE || type == TLS_ALERT);
		if (type == TLS_HANDSHAKE)
			check(tls_record_update(&all, run.peer, &run.peer->in));
	}
}

/* ---- what goes in ---- */

static void put(const char *bytes, size_t len, size_t cut, size_t cap)
{
	if (cut < len / 32) /* else long records take most of the time */
		cut = len / 32;
	while (len && !run.dead) {
		size_t n = len < cut ? len : cut;
		check(send(run.theirs, bytes, n, MSG_NOSIGNAL) == (ssize_t)n);
		bytes += n;
		len -= n;
		drain(cap);
		listen_to();
	}
}

static void expect(const char *bytes, size_t len)
{
	if (run.over || len == 0)
		return;
	run.expected = realloc(run.expected, run.n_expected + len);
	check(run.expected != NULL);
	memcpy(run.expected + run.n_expected, bytes, len);
	run.n_expected += len;
}

struct input {
	const unsigned char *at;
	size_t left;
	size_t cut, cap;
	unsigned n_barren;
};

static unsigned next_byte(struct input *in)
{
	if (!in->left)
		return 0;
	in->left--;
	return *in->at++;
}

static void seal_and_put(struct input *in, unsigned type, const char *text, size_t len)
{
	static char sealed[ROOM + 64];
	put(sealed, tls_record_seal(&all, run.peer, (enum tls_content)type, text, len, sealed),
	    in->cut, in->cap);
}

static void barren(struct input *in)
{
	if (++in->n_barren > 32)
		run.over = true;
}

static void act(struct input *in)
{
	static char text[ROOM];
	enum act which = next_byte(in) % N_ACTS;
	size_t len = (next_byte(in) << 8 | next_byte(in)) % (TLS_RECORD_MAX + 300);
	size_t have = len < in->left ? len : in->left;
	memset(text, 'x', len);
	memcpy(text, in->at, have);
	in->at += have;
	in->left -= have;
	char update[] = {24, 0, 0, 1, (char)(len & 1)};
	switch (which) {
	case DATA:
		if (len > TLS_RECORD_MAX)
			run.over = true;
		else if (len)
			in->n_barren = 0;
		else
			barren(in);
		expect(text, len);
		seal_and_put(in, TLS_DATA, text, len);
		break;
	case PADDED:
		len %= TLS_RECORD_MAX / 2;
		if (len)
			in->n_barren = 0;
		else
			barren(in);
		expect(text, len);
		text[len] = TLS_DATA;
		memset(text + len + 1, 0, TLS_RECORD_MAX / 2 - 1);
		seal_and_put(in, 0, text, len + TLS_RECORD_MAX / 2);
		break;
	case UPDATE:
		barren(in);
		seal_and_put(in, TLS_HANDSHAKE, update, sizeof(update));
		check(tls_record_update(&all, run.peer, &run.peer->out));
		break;
	case SAY:
		if (!run.dead && run.conn->sending != TLS_BROKEN)
			check(transport_tls_server.write(run.ours, run.conn, text, len, &have) ==
			      IO_OK);
		listen_to();
		break;
	case CLOSE_NOTIFY:
		run.over = true;
		seal_and_put(in, TLS_ALERT, "\1\0", 2);
		break;
	case ANY_TYPE:
		run.over = true; /* a KeyUpdate may be fine, but the next key is not used */
		if (text[0] == 0 || text[0] == TLS_DATA || (text[0] == TLS_ALERT && text[2] == 90))
			text[0] = TLS_HANDSHAKE;
		seal_and_put(in, (unsigned char)text[0], text + 1, len ? len - 1 : 0);
		break;
	default:
		run.over |= len > 0;
		put(text, len, in->cut, in->cap);
	}
}

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size)
{
	static bool ready;
	struct input in = {.at = data, .left = size};
	if (!ready)
		prepare();
	ready = true;
	begin(0x03001301 + next_byte(&in) % TLS_N_SUITES);
	in.cut = 1 + next_byte(&in) * 16;
	in.cap = 64 + next_byte(&in) * 256;
	while (in.left && !run.dead)
		act(&in);
	if (!run.over)
		check(run.n_got == run.n_expected);
	transport_tls_server.goodbye(run.ours, run.conn);
	listen_to();
	end();
	return 0;
}
