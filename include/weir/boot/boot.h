/* SPDX-License-Identifier: MIT */
/* The daemon from argv to exit code. */
#ifndef WEIR_BOOT_BOOT_H
#define WEIR_BOOT_BOOT_H

/* 0 ok, 1 configuration or runtime error, 2 usage. */
int boot_main(int argc, char **argv);

#endif
