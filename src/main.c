/* SPDX-License-Identifier: MIT */
/* The process begins in boot/. */
#include "weir/boot/boot.h"

int main(int argc, char **argv)
{
	return boot_main(argc, argv);
}
