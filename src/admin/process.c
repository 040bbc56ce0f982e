/* SPDX-License-Identifier: MIT */
/* What the system knows of this process: memory, descriptors, CPU time. */
#include "process.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

static uint64_t cpu_us(void)
{
	struct rusage usage;
	if (getrusage(RUSAGE_SELF, &usage))
		return 0;
	return (uint64_t)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1000000 +
	       (uint64_t)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec);
}

static void read_memory(struct process_facts *out)
{
	char text[128];
	unsigned long long size, resident, page = (unsigned long long)sysconf(_SC_PAGESIZE);
	int fd = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return;
	ssize_t n = read(fd, text, sizeof(text) - 1);
	close(fd);
	text[n > 0 ? n : 0] = '\0';
	if (sscanf(text, "%llu %llu", &size, &resident) == 2) {
		out->virtual_bytes = size * page;
		out->resident_bytes = resident * page;
	}
}

/* Since Linux 6.2 the size of the directory: to list ten thousand takes milliseconds. */
static uint64_t count_fds(void)
{
	struct stat st;
	if (stat("/proc/self/fd", &st) == 0 && st.st_size > 0)
		return (uint64_t)st.st_size;
	uint64_t n = 0;
	DIR *dir = opendir("/proc/self/fd");
	if (!dir)
		return 0;
	for (const struct dirent *entry; (entry = readdir(dir));)
		n += entry->d_name[0] != '.';
	closedir(dir);
	return n ? n - 1 : 0; /* less the one of the directory */
}

void process_facts_get(struct process_facts *out)
{
	struct rlimit limit;
	*out = (struct process_facts){.cpu_us = cpu_us(), .open_fds = count_fds()};
	read_memory(out);
	if (getrlimit(RLIMIT_NOFILE, &limit) == 0)
		out->max_fds = limit.rlim_cur;
}
