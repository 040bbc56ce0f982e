/* SPDX-License-Identifier: MIT */
/* Addresses as text and back; networks. */
#include "weir/base/addr.h"

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <stdio.h>

#include "weir/base/parse.h"

static bool text_of(struct view v, char *out, size_t size)
{
	if (v.len == 0 || v.len >= size || memchr(v.ptr, '\0', v.len))
		return false;
	memcpy(out, v.ptr, v.len);
	out[v.len] = '\0';
	return true;
}

bool addr_parse_ip(struct view text, struct addr *out)
{
	char ip[ADDR_IP_TEXT_MAX];
	memset(out, 0, sizeof(*out));
	bool bracketed = text.len >= 2 && text.ptr[0] == '[' && text.ptr[text.len - 1] == ']';
	if (bracketed)
		text = view_of(text.ptr + 1, text.len - 2);
	if (!text_of(text, ip, sizeof(ip)))
		return false;
	if (!bracketed && inet_pton(AF_INET, ip, &out->in4.sin_addr) == 1) {
		out->in4.sin_family = AF_INET;
		out->len = sizeof(out->in4);
		return true;
	}
	if (inet_pton(AF_INET6, ip, &out->in6.sin6_addr) == 1) {
		out->in6.sin6_family = AF_INET6;
		out->len = sizeof(out->in6);
		return true;
	}
	return false;
}

static bool parse_unix(struct view path, struct addr *out)
{
	memset(out, 0, sizeof(*out));
	if (!text_of(path, out->un.sun_path, sizeof(out->un.sun_path)))
		return false;
	out->un.sun_family = AF_UNIX;
	out->len = sizeof(out->un);
	return true;
}

bool addr_parse(struct view text, struct addr *out)
{
	if (view_starts(text, VIEW("unix:")))
		return parse_unix(view_skip(text, 5), out);
	size_t colon = text.len;
	while (colon > 0 && text.ptr[colon - 1] != ':')
		colon--;
	uint64_t port;
	if (colon == 0 || !parse_u64(view_skip(text, colon), &port) || port > 65535)
		return false;
	struct view host = view_head(text, colon - 1);
	bool bracketed = host.len && host.ptr[0] == '[';
	if (!bracketed && view_chr(host, ':') >= 0)
		return false; /* IPv6 with a port needs brackets */
	if (view_eq(host, VIEW("*")))
		host = VIEW("::");
	if (!addr_parse_ip(host, out))
		return false;
	if (out->sa.sa_family == AF_INET)
		out->in4.sin_port = htons((uint16_t)port);
	else
		out->in6.sin6_port = htons((uint16_t)port);
	return true;
}

uint16_t addr_port(const struct addr *addr)
{
	if (addr->len && addr->sa.sa_family == AF_INET)
		return ntohs(addr->in4.sin_port);
	if (addr->len && addr->sa.sa_family == AF_INET6)
		return ntohs(addr->in6.sin6_port);
	return 0;
}

size_t addr_format_ip(const struct addr *addr, char out[ADDR_IP_TEXT_MAX])
{
	const char *text = NULL;
	if (addr->len && addr->sa.sa_family == AF_INET)
		text = inet_ntop(AF_INET, &addr->in4.sin_addr, out, ADDR_IP_TEXT_MAX);
	else if (addr->len && addr->sa.sa_family == AF_INET6 &&
		 addr_ip_is_mapped(addr->in6.sin6_addr.s6_addr))
		text = inet_ntop(AF_INET, &addr->in6.sin6_addr.s6_addr[12], out, ADDR_IP_TEXT_MAX);
	else if (addr->len && addr->sa.sa_family == AF_INET6)
		text = inet_ntop(AF_INET6, &addr->in6.sin6_addr, out, ADDR_IP_TEXT_MAX);
	if (!text)
		strcpy(out, addr->len ? "unix" : "unknown");
	return strlen(out);
}

size_t addr_format(const struct addr *addr, char out[ADDR_TEXT_MAX])
{
	char ip[ADDR_IP_TEXT_MAX];
	int n;
	if (addr_is_unix(addr))
		n = snprintf(out, ADDR_TEXT_MAX, "unix:%s", addr->un.sun_path);
	else if (addr->len == 0)
		n = snprintf(out, ADDR_TEXT_MAX, "-");
	else {
		addr_format_ip(addr, ip);
		bool v6 = strchr(ip, ':') != NULL;
		n = snprintf(out, ADDR_TEXT_MAX, v6 ? "[%s]:%u" : "%s:%u", ip, addr_port(addr));
	}
	return n < 0 ? 0 : n >= ADDR_TEXT_MAX ? ADDR_TEXT_MAX - 1 : (size_t)n;
}

struct addr_packed addr_pack(const struct addr *addr)
{
	struct addr_packed p = {.family = addr->len ? addr->sa.sa_family : 0};
	if (p.family == AF_INET) {
		p.port = addr->in4.sin_port;
		memcpy(p.ip, &addr->in4.sin_addr, 4);
	} else if (p.family == AF_INET6) {
		p.port = addr->in6.sin6_port;
		memcpy(p.ip, &addr->in6.sin6_addr, 16);
	}
	return p;
}

struct addr_packed addr_pack_client(const struct addr *addr)
{
	struct addr_packed p = addr_pack(addr);
	p.port = 0;
	/* those of IPv4 on a socket for both are one each */
	if (p.family == AF_INET6 && !addr_ip_is_mapped(p.ip))
		memset(p.ip + 8, 0, 8);
	return p;
}

/* Not all of `out` is written: this runs for each request. */
void addr_unpack(const struct addr_packed *packed, struct addr *out)
{
	switch (packed->family) {
	case AF_INET:
		out->len = sizeof(out->in4);
		out->in4 = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = packed->port};
		memcpy(&out->in4.sin_addr, packed->ip, 4);
		break;
	case AF_INET6:
		out->len = sizeof(out->in6);
		out->in6 =
		    (struct sockaddr_in6){.sin6_family = AF_INET6, .sin6_port = packed->port};
		memcpy(&out->in6.sin6_addr, packed->ip, 16);
		break;
	case AF_UNIX:
		out->len = sizeof(out->sa.sa_family);
		out->un.sun_family = AF_UNIX;
		out->un.sun_path[0] = '\0';
		break;
	default:
		out->len = 0;
	}
}

bool addr_eq(const struct addr *a, const struct addr *b)
{
	if (a->len != b->len)
		return false;
	if (a->len == 0)
		return true;
	if (a->sa.sa_family != b->sa.sa_family || addr_port(a) != addr_port(b))
		return false;
	switch (a->sa.sa_family) {
	case AF_INET:
		return a->in4.sin_addr.s_addr == b->in4.sin_addr.s_addr;
	case AF_INET6:
		return memcmp(&a->in6.sin6_addr, &b->in6.sin6_addr, 16) == 0;
	default:
		return strcmp(a->un.sun_path, b->un.sun_path) == 0;
	}
}

static bool ip_bytes(const struct addr *addr, uint8_t out[16])
{
	if (addr->len == 0)
		return false;
	if (addr->sa.sa_family == AF_INET) {
		memset(out, 0, 10);
		out[10] = out[11] = 0xff;
		memcpy(out + 12, &addr->in4.sin_addr, 4);
		return true;
	}
	if (addr->sa.sa_family == AF_INET6) {
		memcpy(out, &addr->in6.sin6_addr, 16);
		return true;
	}
	return false;
}

static void mask_bits(uint8_t ip[16], uint8_t bits)
{
	for (unsigned i = 0; i < 16; i++) {
		if (bits >= (i + 1) * 8)
			continue;
		ip[i] = bits <= i * 8 ? 0 : (uint8_t)(ip[i] & (0xff << (8 - (bits - i * 8))));
	}
}

bool cidr_parse(struct view text, struct cidr *out)
{
	ptrdiff_t slash = view_chr(text, '/');
	struct addr addr;
	if (!addr_parse_ip(slash < 0 ? text : view_head(text, (size_t)slash), &addr))
		return false;
	uint64_t max = addr.sa.sa_family == AF_INET ? 32 : 128, bits = max;
	if (slash >= 0 && (!parse_u64(view_skip(text, (size_t)slash + 1), &bits) || bits > max))
		return false;
	ip_bytes(&addr, out->ip);
	out->bits = (uint8_t)(max == 32 ? bits + 96 : bits);
	mask_bits(out->ip, out->bits);
	return true;
}

bool cidr_has(const struct cidr *net, const struct addr *addr)
{
	uint8_t ip[16];
	if (!ip_bytes(addr, ip))
		return false;
	mask_bits(ip, net->bits);
	return memcmp(ip, net->ip, 16) == 0;
}

bool cidr_any(const struct cidr *nets, size_t n, const struct addr *addr)
{
	for (size_t i = 0; i < n; i++)
		if (cidr_has(&nets[i], addr))
			return true;
	return false;
}

void addr_interfaces_free(struct addr_interfaces *own)
{
	freeifaddrs(own->all);
	*own = (struct addr_interfaces){0};
}

static bool is_of(const struct ifaddrs *at, const uint8_t ip[16])
{
	struct addr each = {.len = 0};
	uint8_t own[16];
	int family = at->ifa_addr ? at->ifa_addr->sa_family : AF_UNSPEC;
	each.len = family == AF_INET ? sizeof(each.in4) : family == AF_INET6 ? sizeof(each.in6) : 0;
	if (each.len)
		memcpy(&each.sa, at->ifa_addr, each.len);
	return ip_bytes(&each, own) && memcmp(ip, own, sizeof(own)) == 0;
}

bool addr_is_here(struct addr_interfaces *own, const struct addr *addr)
{
	static const struct cidr loopback[] = {
	    {{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 127}, 104}, /* 127.0.0.0/8 */
	    {{[15] = 1}, 128},
	};
	uint8_t ip[16];
	if (!ip_bytes(addr, ip))
		return false;
	if (cidr_any(loopback, ARRAY_LEN(loopback), addr))
		return true;
	if (!own->asked && getifaddrs(&own->all))
		own->all = NULL;
	own->asked = true;
	for (const struct ifaddrs *at = own->all; at; at = at->ifa_next)
		if (is_of(at, ip))
			return true;
	return false;
}

const char *addr_unreachable(const struct addr *addr)
{
	static const char *const listens = "is where a server listens, on all of its addresses: "
					   "name one that reaches it, such as 127.0.0.1";
	uint32_t v4 = ntohl(addr->in4.sin_addr.s_addr);
	const struct in6_addr *v6 = &addr->in6.sin6_addr;
	bool is_v4 = addr->len && addr->sa.sa_family == AF_INET;
	if (addr->len && addr->sa.sa_family == AF_INET6) {
		if (IN6_IS_ADDR_UNSPECIFIED(v6))
			return listens;
		if (IN6_IS_ADDR_MULTICAST(v6))
			return "is a multicast address: connections go to one machine";
		if (!addr_ip_is_mapped(v6->s6_addr))
			return NULL;
		memcpy(&v4, v6->s6_addr + 12, sizeof(v4));
		v4 = ntohl(v4);
		is_v4 = true;
	}
	if (!is_v4)
		return NULL;
	if (v4 == INADDR_ANY)
		return listens;
	if (v4 == INADDR_BROADCAST)
		return "is the broadcast address: connections go to one machine";
	return IN_MULTICAST(v4) ? "is a multicast address: connections go to one machine" : NULL;
}
