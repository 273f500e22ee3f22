#include "base/block.h"

#include <pthread.h>
#include <stdlib.h>

#include "base/arena.h"
#include "base/rng.h"
#include "check.h"

static void a_chain_gives_back_what_was_added(void **state)
{
    enum { SIZE = 100000 };
    static char in[SIZE], out[SIZE];
    struct block_chain c;
    struct rng r;

    (void)state;
    rng_seed(&r, 1);
    for (size_t i = 0; i < SIZE; i++)
        in[i] = (char)rng_next(&r);
    block_chain_init(&c);
    for (size_t at = 0; at < SIZE;) {
        size_t n = (size_t)rng_below(&r, 3 * BLOCK_ROOM);

        n = PT_MIN(n, SIZE - at);
        assert_true(block_chain_add(&c, (struct str){ in + at, n }));
        at += n;
    }
    assert_int_equal(c.size, SIZE);
    for (int i = 0; i < 2000; i++) {
        size_t from = (size_t)rng_below(&r, SIZE);
        size_t n = (size_t)rng_below(&r, SIZE - from + 1);

        block_chain_copy(&c, from, out, n);
        assert_memory_equal(out, in + from, n);
    }
    block_chain_copy(&c, SIZE, out, 0);
    block_chain_done(&c);
    assert_int_equal(c.size, 0);
    assert_null(c.first);
}

static void blocks_are_filled_to_the_end(void **state)
{
    static char octets[3 * BLOCK_SIZE];
    struct block_chain c;
    unsigned blocks = 0;

    (void)state;
    block_chain_init(&c);
    assert_true(block_chain_add(&c, (struct str){ octets, 2 * BLOCK_ROOM }));
    for (const struct block *b = c.first; b; b = b->next, blocks++)
        assert_int_equal(b->used, BLOCK_ROOM);
    assert_int_equal(blocks, 2);
    assert_true(block_chain_add(&c, (struct str){ octets, 1 }));
    assert_int_equal(c.last->used, 1);
    block_chain_done(&c);
}

static void a_slice_keeps_its_octets_and_no_others(void **state)
{
    enum { SIZE = 3 * BLOCK_ROOM };
    static const struct {
        uint64_t offset, n;
    } slices[] = { { 0, SIZE },       { 0, 0 },
                   { 0, 1 },          { 5, 100 },
                   { SIZE, 10 },      { SIZE + 9, 1 },
                   { BLOCK_ROOM, 1 }, { BLOCK_ROOM - 1, 2 },
                   { 7, SIZE },       { BLOCK_ROOM + 3, BLOCK_ROOM } };
    static char in[SIZE], out[SIZE];

    (void)state;
    for (size_t i = 0; i < SIZE; i++)
        in[i] = (char)(i * 7 + i / 256);
    for (size_t i = 0; i < PT_ARRAY_LEN(slices); i++) {
        uint64_t offset = PT_MIN(slices[i].offset, (uint64_t)SIZE);
        uint64_t n = PT_MIN(slices[i].n, SIZE - offset);
        struct block_chain c = { 0 };

        assert_true(block_chain_add(&c, (struct str){ in, SIZE }));
        block_chain_slice(&c, slices[i].offset, slices[i].n);
        assert_int_equal(c.size, n);
        assert_true((c.first == NULL) == (n == 0) && (c.last == NULL) == (n == 0));
        block_chain_copy(&c, 0, out, n);
        assert_memory_equal(out, in + offset, n);
        assert_true(block_chain_add(&c, STR("x")));
        block_chain_done(&c);
    }
}

static void moving_joins_two_chains(void **state)
{
    struct block_chain a, b;
    char out[9];

    (void)state;
    block_chain_init(&a);
    block_chain_init(&b);
    block_chain_move(&a, &b); /* nothing to nothing */
    assert_true(block_chain_add(&b, STR("content")));
    block_chain_move(&a, &b);
    assert_int_equal(b.size, 0);
    assert_null(b.first);
    assert_true(block_chain_add(&b, STR("s!")));
    block_chain_move(&a, &b);
    assert_int_equal(a.size, 9);
    block_chain_copy(&a, 0, out, 9);
    assert_memory_equal(out, "contents!", 9);
    /* What is added now goes into the block that was last in the other. */
    assert_true(block_chain_add(&a, STR("+")));
    assert_int_equal(a.last->used, 3);
    block_chain_done(&a);
}

/* ---- threads ---- */

enum { ROUNDS = 400, PER_ROUND = 200 };

struct hand_over {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct block_chain chain;
    bool full, over;
};

static void *consumer(void *ctx)
{
    struct hand_over *h = ctx;

    pthread_mutex_lock(&h->lock);
    for (;;) {
        struct block_chain mine;

        while (!h->full && !h->over)
            pthread_cond_wait(&h->changed, &h->lock);
        if (!h->full)
            break;
        block_chain_init(&mine);
        block_chain_move(&mine, &h->chain);
        h->full = false;
        pthread_cond_signal(&h->changed);
        pthread_mutex_unlock(&h->lock);
        block_chain_done(&mine);
        pthread_mutex_lock(&h->lock);
    }
    pthread_mutex_unlock(&h->lock);
    block_thread_done();
    return NULL;
}

/* Taken on one thread, dropped on another, again and again: nothing piles up, nothing is lost. */
static void blocks_wander_between_threads(void **state)
{
    static char octets[PER_ROUND * BLOCK_SIZE];
    struct hand_over h = { .lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER };
    uint64_t before;
    pthread_t thread;

    (void)state;
    block_thread_done();
    before = block_in_use();
    assert_int_equal(pthread_create(&thread, NULL, consumer, &h), 0);
    for (int i = 0; i < ROUNDS; i++) {
        struct block_chain c;

        block_chain_init(&c);
        assert_true(block_chain_add(&c, (struct str){ octets, PER_ROUND * BLOCK_ROOM }));
        pthread_mutex_lock(&h.lock);
        while (h.full)
            pthread_cond_wait(&h.changed, &h.lock);
        block_chain_move(&h.chain, &c);
        h.full = true;
        pthread_cond_signal(&h.changed);
        pthread_mutex_unlock(&h.lock);
    }
    pthread_mutex_lock(&h.lock);
    h.over = true;
    pthread_cond_signal(&h.changed);
    pthread_mutex_unlock(&h.lock);
    pthread_join(thread, NULL);
    block_thread_done();
    assert_true(block_in_use() == before);
}

/* ---- arena ---- */

static void an_arena_aligns_and_keeps_apart(void **state)
{
    struct arena a;
    struct rng r;
    struct {
        unsigned char *p;
        size_t n;
    } got[300];

    (void)state;
    rng_seed(&r, 2);
    arena_init(&a, 10 << 20);
    for (size_t i = 0; i < PT_ARRAY_LEN(got); i++) {
        got[i].n = (size_t)rng_below(&r, i % 10 == 0 ? 3 * BLOCK_SIZE : 200);
        got[i].p = arena_alloc(&a, got[i].n);
        assert_non_null(got[i].p);
        assert_int_equal((uintptr_t)got[i].p % _Alignof(max_align_t), 0);
        memset(got[i].p, (int)i, got[i].n);
    }
    for (size_t i = 0; i < PT_ARRAY_LEN(got); i++)
        for (size_t k = 0; k < got[i].n; k++)
            assert_int_equal(got[i].p[k], (unsigned char)i);
    arena_done(&a);
    assert_int_equal(a.total, 0);
}

static void an_arena_has_a_ceiling(void **state)
{
    struct arena a;
    size_t taken = 0;

    (void)state;
    arena_init(&a, 20000);
    while (arena_alloc(&a, 160))
        taken += 160;
    assert_true(taken > 20000 - 160 && taken <= 20000);
    assert_null(arena_alloc(&a, SIZE_MAX));
    assert_null(arena_alloc(&a, SIZE_MAX - 15));
    arena_done(&a);
    /* The whole of it is there again. */
    assert_null(arena_alloc(&a, 20001));
    assert_non_null(arena_alloc(&a, 20000));
    arena_done(&a);
}

static void an_arena_copies_strings_and_clears(void **state)
{
    struct arena a;
    struct str s;
    const char *zero;

    (void)state;
    arena_init(&a, 1000);
    s = arena_str(&a, STR("a\0b"));
    check_lit(s, "a\0b");
    assert_int_equal(s.p[3], 0);
    s = arena_str(&a, STR_NULL);
    assert_non_null(s.p);
    assert_int_equal(s.n, 0);
    zero = arena_zalloc(&a, 100);
    for (int i = 0; i < 100; i++)
        assert_int_equal(zero[i], 0);
    s = arena_str(&a, (struct str){ zero, 5000 });
    assert_null(s.p);
    arena_done(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_chain_gives_back_what_was_added),
        cmocka_unit_test(blocks_are_filled_to_the_end),
        cmocka_unit_test(a_slice_keeps_its_octets_and_no_others),
        cmocka_unit_test(moving_joins_two_chains),
        cmocka_unit_test(blocks_wander_between_threads),
        cmocka_unit_test(an_arena_aligns_and_keeps_apart),
        cmocka_unit_test(an_arena_has_a_ceiling),
        cmocka_unit_test(an_arena_copies_strings_and_clears),
    };
    int failed = cmocka_run_group_tests_name("base/block", tests, NULL, NULL);

    block_thread_done();
    return failed;
}
