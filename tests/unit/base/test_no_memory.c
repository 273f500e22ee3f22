#include <stdlib.h>

#include "base/arena.h"
#include "base/block.h"
#include "base/buf.h"
#include "base/log.h"
#include "check.h"
#include "fault.h"

/* What base does when an allocation fails: each one, in turn. */

/* Runs `work` with the n-th allocation failing, for every n; the last run has all its memory and
 * must succeed. `work` says whether it succeeded. */
static void with_each_allocation_failing(bool (*work)(void))
{
    uint64_t n = 0;
    bool ok, failed;

    do {
        fault_begin(n++);
        ok = work();
        failed = fault_end();
        assert_true(n < 10000);
        /* Nothing is done by halves: without memory it did not succeed, with it it did. */
        assert_int_equal(ok, !failed);
    } while (failed);
    assert_true(n > 1);
}

static bool fill_buffer(void)
{
    struct buf b;
    bool ok;

    buf_init(&b, 10000);
    for (int i = 0; i < 500; i++)
        buf_addf(&b, "%d,", i);
    ok = !b.failed;
    assert_true(b.n <= b.max);
    if (ok) {
        assert_int_equal(b.n, 1890);
    } else {
        buf_clear(&b);
        BUF_LIT(&b, "after");
        check_lit(buf_str(&b), "after");
    }
    buf_done(&b);
    return ok;
}

static bool fill_chain(void)
{
    static char octets[3 * BLOCK_SIZE];
    struct block_chain c;
    uint64_t size;
    bool ok;

    block_thread_done();
    block_chain_init(&c);
    ok = block_chain_add(&c, (struct str){ octets, sizeof octets });
    size = 0;
    for (const struct block *b = c.first; b; b = b->next)
        size += b->used;
    assert_true(size == c.size);
    assert_int_equal(ok, c.size == sizeof octets);
    block_chain_done(&c);
    return ok;
}

static bool fill_arena(void)
{
    struct arena a;
    bool ok = true;

    arena_init(&a, 1 << 20);
    for (size_t n = 1; n < 20000 && ok; n += 500) {
        size_t before = a.total;
        char *p = arena_alloc(&a, n);

        ok = p != NULL;
        if (ok)
            memset(p, 1, n);
        else
            assert_int_equal(a.total, before);
    }
    arena_done(&a);
    return ok;
}

static void buffers(void **state)
{
    (void)state;
    with_each_allocation_failing(fill_buffer);
}

static void arenas(void **state)
{
    (void)state;
    with_each_allocation_failing(fill_arena);
}

/* Free blocks are kept on a list that all threads share: only what it cannot give is allocated. */
static void chains(void **state)
{
    uint64_t n = 0;

    (void)state;
    do {
        fault_begin(n++);
        if (fill_chain())
            break;
        assert_true(fault_end());
    } while (n < 100);
    fault_end();
    assert_in_range(n, 1, 99);
}

static void a_copied_string(void **state)
{
    char *copy;

    (void)state;
    fault_begin(0);
    copy = str_dup(STR("x"));
    assert_true(fault_end());
    assert_null(copy);
}

/* A line that finds no memory is lost and counted; the next one is written. */
static void log_lines(void **state)
{
    char *folder = check_folder_new();
    uint64_t before = log_dropped();
    char *octets;
    size_t n;

    (void)state;
    assert_int_equal(log_open(folder, NULL), PT_ERR_OK);
    fault_begin(0);
    log_text(LOG_INFO, "lost", "x");
    assert_true(fault_end());
    assert_true(log_dropped() == before + 1);
    log_text(LOG_INFO, "kept", "x");
    log_close();
    octets = check_file_read(folder, "postern.log", &n);
    assert_null(strstr(octets, "\"lost\""));
    assert_non_null(strstr(octets, "\"kept\""));
    free(octets);
    check_folder_remove(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(chains), /* first: no block was freed yet */
        cmocka_unit_test(buffers),         cmocka_unit_test(arenas),
        cmocka_unit_test(a_copied_string), cmocka_unit_test(log_lines),
    };
    int failed = cmocka_run_group_tests_name("base/no_memory", tests, NULL, NULL);

    block_thread_done();
    return failed;
}
