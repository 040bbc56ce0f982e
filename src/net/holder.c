/* SPDX-License-Identifier: MIT */
/*
 * /proc/net/tcp says which socket listens at an address, by its inode; the descriptors
 * of processes say whose it is.  Of a unix socket the kernel tells who connects to it.
 */
#include "weir/net/holder.h"

#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "weir/net/socket.h"

#define STATE_LISTEN 0x0a
/* Where there are more processes, or one has more descriptors, the rest is not asked. */
#define PROCESSES_MAX 65536
#define FDS_MAX 65536

static bool find_inode(const char *table, uint16_t port, unsigned long *inode)
{
	char line[512];
	bool found = false;
	FILE *file = fopen(table, "re");
	while (file && !found && fgets(line, sizeof(line), file)) {
		unsigned at, state;
		found = sscanf(line,
			       " %*u: %*[0-9A-Fa-f]:%x %*[0-9A-Fa-f]:%*x %x %*x:%*x %*x:%*x %*x "
			       "%*u %*u %lu",
			       &at, &state, inode) == 3 &&
			at == port && state == STATE_LISTEN;
	}
	if (file)
		fclose(file);
	return found;
}

static bool has_socket(const char *pid, const char *wanted)
{
	char path[64], link[64];
	bool found = false;
	snprintf(path, sizeof(path), "/proc/%.20s/fd", pid);
	DIR *dir = opendir(path);
	const struct dirent *entry;
	for (int n = 0; dir && !found && n < FDS_MAX && (entry = readdir(dir)); n++) {
		ssize_t len = readlinkat(dirfd(dir), entry->d_name, link, sizeof(link) - 1);
		link[len > 0 ? len : 0] = '\0';
		found = strcmp(link, wanted) == 0;
	}
	if (dir)
		closedir(dir);
	return found;
}

static void read_name(struct holder *holder)
{
	char path[64];
	snprintf(path, sizeof(path), "/proc/%d/comm", (int)holder->pid);
	FILE *file = fopen(path, "re");
	if (!file || !fgets(holder->name, sizeof(holder->name), file))
		holder->name[0] = '\0';
	holder->name[strcspn(holder->name, "\n")] = '\0';
	if (file)
		fclose(file);
}

static bool find_process(unsigned long inode, struct holder *holder)
{
	char wanted[64];
	snprintf(wanted, sizeof(wanted), "socket:[%lu]", inode);
	DIR *proc = opendir("/proc");
	const struct dirent *entry;
	for (int n = 0; proc && !holder->pid && n < PROCESSES_MAX && (entry = readdir(proc)); n++)
		if (isdigit((unsigned char)entry->d_name[0]) && has_socket(entry->d_name, wanted))
			holder->pid = (pid_t)strtol(entry->d_name, NULL, 10);
	if (proc)
		closedir(proc);
	if (holder->pid)
		read_name(holder);
	return holder->pid != 0;
}

/* Whoever called listen(2); none of another PID namespace. */
static bool find_peer(const struct addr *addr, struct holder *out)
{
	struct ucred peer = {.pid = 0};
	socklen_t len = sizeof(peer);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd >= 0 && connect(fd, &addr->sa, addr->len) == 0 &&
	    getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) == 0)
		out->pid = peer.pid;
	socket_close(fd);
	if (out->pid)
		read_name(out);
	return out->pid != 0;
}

bool holder_find(const struct addr *addr, struct holder *out)
{
	unsigned long inode;
	*out = (struct holder){.pid = 0};
	if (!addr->len)
		return false;
	if (addr_is_unix(addr))
		return find_peer(addr, out);
	uint16_t port = addr_port(addr);
	return (find_inode("/proc/net/tcp", port, &inode) ||
		find_inode("/proc/net/tcp6", port, &inode)) &&
	       find_process(inode, out);
}

void holder_say(const struct addr *addr, struct str *why)
{
	struct holder holder;
	struct stat st;
	if (addr_is_unix(addr) && stat(addr->un.sun_path, &st) == 0 && !S_ISSOCK(st.st_mode)) {
		str_text(why, "what is there is no socket");
		return;
	}
	str_text(why, "it is in use");
	if (!holder_find(addr, &holder))
		return;
	str_printf(why, ": process %d (%s) listens there", (int)holder.pid, holder.name);
	if (strcmp(holder.name, "weir") == 0)
		str_printf(why, "; a second weir cannot share the %s, SIGUSR2 hands it over",
			   addr_is_unix(addr) ? "socket" : "port");
}
