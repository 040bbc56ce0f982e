/* SPDX-License-Identifier: MIT */
/*
 * A quota is time in a period: 150 ms in 100 ms are one and a half CPUs.  The least of a
 * cgroup and those above it holds.  In a container the path of the cgroup may be one of
 * the host's, which is not there: then the mount's root is the container's own.
 */
#include "weir/base/cpus.h"

#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "weir/base/defs.h"

#define PATH_MAX_LEN 4096

/* Two numbers out of two files, or of one; false without a quota. */
struct version {
	const char *mounts[2];
	const char *quota, *period; /* NULL: the quota's file has both */
};

static const struct version v1 = {
    {"/sys/fs/cgroup/cpu", "/sys/fs/cgroup/cpu,cpuacct"}, "cpu.cfs_quota_us", "cpu.cfs_period_us"};
static const struct version v2 = {{"/sys/fs/cgroup", "/sys/fs/cgroup/unified"}, "cpu.max", NULL};

static int read_numbers(const char *directory, const char *name, long long *first,
			long long *second)
{
	char path[PATH_MAX_LEN + 64];
	int n = snprintf(path, sizeof(path), "%s/%s", directory, name);
	FILE *file = n > 0 && (size_t)n < sizeof(path) ? fopen(path, "re") : NULL;
	if (!file)
		return 0;
	n = fscanf(file, "%lld %lld", first, second); /* "max" is no number */
	fclose(file);
	return n;
}

/* CPUs of one cgroup, rounded up; 0: no quota. */
static unsigned quota_of(const struct version *v, const char *directory)
{
	long long quota = 0, period = 0, none;
	int n = read_numbers(directory, v->quota, &quota, &period);
	if (v->period && n == 1)
		n += read_numbers(directory, v->period, &period, &none) > 0;
	if (n != 2 || quota <= 0 || period <= 0 || quota / period > 100000)
		return 0;
	return (unsigned)((quota + period - 1) / period);
}

static unsigned least(unsigned a, unsigned b)
{
	return !a || (b && b < a) ? b : a;
}

/* The least of a cgroup and those above it, up to the mount. */
static unsigned quota_above(const char *root, const struct version *v, const char *mount,
			    const char *cgroup)
{
	char path[PATH_MAX_LEN];
	int len = snprintf(path, sizeof(path), "%s%s%s", root, mount, cgroup);
	size_t stem = strlen(root) + strlen(mount);
	unsigned cpus = 0;
	if (len < 0 || (size_t)len >= sizeof(path))
		return 0;
	for (;;) {
		cpus = least(cpus, quota_of(v, path));
		char *slash = strrchr(path + stem, '/');
		if (!slash)
			return cpus;
		*slash = '\0';
	}
}

/* "3:cpu,cpuacct:/a/b" or "0::/a/b" */
static unsigned quota_of_line(const char *root, char *line)
{
	char *controllers = strchr(line, ':');
	char *cgroup = controllers ? strchr(controllers + 1, ':') : NULL;
	unsigned cpus = 0;
	if (!cgroup || strstr(cgroup, "/../"))
		return 0;
	*cgroup++ = '\0';
	cgroup[strcspn(cgroup, "\n")] = '\0';
	bool is_v2 = controllers[1] == '\0', is_cpu = false;
	for (char *save, *word = strtok_r(controllers + 1, ",", &save); word;
	     word = strtok_r(NULL, ",", &save))
		is_cpu |= strcmp(word, "cpu") == 0;
	const struct version *v = is_v2 ? &v2 : &v1;
	for (size_t i = 0; (is_v2 || is_cpu) && i < ARRAY_LEN(v->mounts); i++)
		cpus = least(cpus, quota_above(root, v, v->mounts[i], cgroup));
	return cpus;
}

unsigned cpus_quota(const char *root)
{
	char path[PATH_MAX_LEN], line[PATH_MAX_LEN];
	unsigned cpus = 0;
	int n = snprintf(path, sizeof(path), "%s/proc/self/cgroup", root);
	FILE *file = n > 0 && (size_t)n < sizeof(path) ? fopen(path, "re") : NULL;
	while (file && fgets(line, sizeof(line), file))
		cpus = least(cpus, quota_of_line(root, line));
	if (file)
		fclose(file);
	return cpus;
}

unsigned cpus_usable(void)
{
	cpu_set_t set;
	long n = sysconf(_SC_NPROCESSORS_ONLN); /* there may be more than the set has room for */
	if (sched_getaffinity(0, sizeof(set), &set) == 0)
		n = CPU_COUNT(&set);
	unsigned cpus = least(n > 0 ? (unsigned)n : 1, cpus_quota(""));
	return cpus ? cpus : 1;
}
