#pragma once
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/str.h"

/*
 * What unit tests share: cmocka with what its header needs, strings, and folders of their own.
 */

/* Fails at the caller's line unless the octets are those; both are shown. */
#define check_str(got, want) check_str_at((got), (want), __FILE__, __LINE__)
#define check_lit(got, lit) check_str_at((got), STR(lit), __FILE__, __LINE__)

void check_str_at(struct str got, struct str want, const char *file, int line);

/* A new, empty folder below $TMPDIR. The caller frees the path with check_folder_remove(), which
 * removes everything in the folder too. */
char *check_folder_new(void);
void check_folder_remove(char *path);

/* The octets of a file, with a NUL behind them; the caller frees them. Fails if there is none. */
char *check_file_read(const char *folder, const char *name, size_t *out_n);
