#include "check.h"

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static void show(const char *name, struct str s)
{
    print_error("%s (%zu): ", name, s.n);
    for (size_t i = 0; i < s.n && i < 400; i++)
        print_error(s.p[i] >= 0x20 && s.p[i] < 0x7F ? "%c" : "\\x%02x", (unsigned char)s.p[i]);
    print_error("\n");
}

void check_str_at(struct str got, struct str want, const char *file, int line)
{
    if (str_eq(got, want))
        return;
    show("got ", got);
    show("want", want);
    _fail(file, line);
}

char *check_folder_new(void)
{
    const char *parent = getenv("TMPDIR");
    size_t size = 4096;
    char *path = malloc(size);

    assert_non_null(path);
    snprintf(path, size, "%s/postern-test.XXXXXX", parent && *parent ? parent : "/tmp");
    assert_non_null(mkdtemp(path));
    return path;
}

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *ftw)
{
    (void)st;
    (void)ftw;
    return kind == FTW_DP ? rmdir(path) : unlink(path);
}

void check_folder_remove(char *path)
{
    if (!path)
        return;
    nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    free(path);
}

char *check_file_read(const char *folder, const char *name, size_t *out_n)
{
    char path[8192];
    struct stat st;
    char *octets;
    FILE *f;

    snprintf(path, sizeof path, "%s/%s", folder, name);
    f = fopen(path, "rb");
    assert_non_null(f);
    assert_int_equal(fstat(fileno(f), &st), 0);
    octets = malloc((size_t)st.st_size + 1);
    assert_non_null(octets);
    *out_n = fread(octets, 1, (size_t)st.st_size, f);
    octets[*out_n] = 0;
    fclose(f);
    return octets;
}
