/* SPDX-License-Identifier: MIT */
/* CPU quotas of cgroups, read below a directory that looks like a system. */
#include "weir/base/cpus.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char root[] = "/tmp/weir-cpus-XXXXXX";

static void setup(void)
{
	cr_assert_not_null(mkdtemp(root));
}

static int drop(const char *path, const struct stat *st, int kind, struct FTW *ftw)
{
	(void)st;
	(void)kind;
	(void)ftw;
	return remove(path);
}

static void teardown(void)
{
	nftw(root, drop, 8, FTW_DEPTH | FTW_PHYS);
}

TestSuite(cpus, .init = setup, .fini = teardown);

/* A file of the system, and the directories it needs. */
static void put(const char *path, const char *text)
{
	char full[512];
	snprintf(full, sizeof(full), "%s%s", root, path);
	for (char *at = full + strlen(root) + 1; (at = strchr(at, '/')); at++) {
		*at = '\0';
		cr_assert(mkdir(full, 0700) == 0 || errno == EEXIST);
		*at = '/';
	}
	FILE *file = fopen(full, "w");
	cr_assert_not_null(file, "%s", full);
	fputs(text, file);
	fclose(file);
}

Test(cpus, none_without_cgroups)
{
	cr_expect_eq(cpus_quota(root), 0);
	put("/proc/self/cgroup", "");
	cr_expect_eq(cpus_quota(root), 0);
	put("/proc/self/cgroup", "0::/a/b\n4:cpu:/c\nnonsense\n::\n0:\n");
	cr_expect_eq(cpus_quota(root), 0);
}

Test(cpus, version_2)
{
	put("/proc/self/cgroup", "0::/system.slice/weir.service\n");
	put("/sys/fs/cgroup/system.slice/weir.service/cpu.max", "max 100000\n");
	cr_expect_eq(cpus_quota(root), 0);
	put("/sys/fs/cgroup/system.slice/weir.service/cpu.max", "200000 100000\n");
	cr_expect_eq(cpus_quota(root), 2);
	put("/sys/fs/cgroup/system.slice/weir.service/cpu.max", "250000 100000\n");
	cr_expect_eq(cpus_quota(root), 3, "rounded up");
	put("/sys/fs/cgroup/system.slice/weir.service/cpu.max", "1000 100000\n");
	cr_expect_eq(cpus_quota(root), 1, "at least one");
	put("/sys/fs/cgroup/system.slice/weir.service/cpu.max", "800000 100000\n");
	put("/sys/fs/cgroup/system.slice/cpu.max", "150000 50000\n");
	cr_expect_eq(cpus_quota(root), 3, "the one above allows less");
}

Test(cpus, version_2_in_a_container)
{
	put("/proc/self/cgroup", "0::/../../kubepods/pod1\n");
	put("/sys/fs/cgroup/cpu.max", "400000 100000\n");
	cr_expect_eq(cpus_quota(root), 0, "paths that lead out are not followed");
	put("/proc/self/cgroup", "0::/\n");
	cr_expect_eq(cpus_quota(root), 4);
	put("/proc/self/cgroup", "0::/docker/0123456789\n");
	cr_expect_eq(cpus_quota(root), 4, "a path of the host's");
}

Test(cpus, version_1)
{
	put("/proc/self/cgroup", "5:memory:/x\n3:cpu,cpuacct:/docker/1\n0::/\n");
	put("/sys/fs/cgroup/cpu,cpuacct/docker/1/cpu.cfs_quota_us", "-1\n");
	put("/sys/fs/cgroup/cpu,cpuacct/docker/1/cpu.cfs_period_us", "100000\n");
	cr_expect_eq(cpus_quota(root), 0);
	put("/sys/fs/cgroup/cpu,cpuacct/docker/1/cpu.cfs_quota_us", "150000\n");
	cr_expect_eq(cpus_quota(root), 2);
	put("/sys/fs/cgroup/cpu,cpuacct/docker/1/cpu.cfs_period_us", "0\n");
	cr_expect_eq(cpus_quota(root), 0, "no period");
	put("/proc/self/cgroup", "3:cpuset:/docker/1\n");
	cr_expect_eq(cpus_quota(root), 0, "another controller");
}

Test(cpus, this_process_has_one_at_least)
{
	cr_expect_geq(cpus_usable(), 1);
}
