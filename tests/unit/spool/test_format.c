#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "check.h"
#include "spool/format.h"
#include "spool/message.h"

/* The octets of docs/spool-format.md. */

static struct spool_message *example(void)
{
    struct spool_message *m = spool_message_new();

    m->id = 77;
    m->received_us = 1795510446123456;
    m->size = 4321;
    m->ret = 1;
    m->reverse_path = STR("sender@example.org");
    m->envid = STR("QQ314159");
    m->client = STR("2001:db8::25");
    m->helo = STR("client.example.org");
    m->recipient_count = 2;
    m->recipients = arena_zalloc(&m->arena, 2 * sizeof *m->recipients);
    m->recipients[0].address = STR("first@example.com");
    m->recipients[0].orcpt = STR("rfc822;first@example.com");
    m->recipients[0].notify = 5;
    m->recipients[1].address = STR("\"a\\\"b\"@example.com");
    return m;
}

static const struct format_envelope envelope = { .generation = 3,
                                                 .file_id = 0,
                                                 .flags = SPOOL_8BIT | SPOOL_HELD };

static struct str encode(const struct spool_message *m, const struct format_state *states)
{
    uint64_t bound = format_envelope_bound(m, states);
    char *out = malloc(bound), *end = format_envelope_write(out, m, &envelope, states);

    assert_true((uint64_t)(end - out) <= bound);
    return (struct str){ out, (size_t)(end - out) };
}

static void an_envelope_survives(void **state)
{
    struct format_state states[2] = { { .state = SPOOL_DELIVERED, .code = 250, .attempts = 1 },
                                      { .state = SPOOL_QUEUED,
                                        .code = 451,
                                        .attempts = 4000000000u,
                                        .next_attempt_us = INT64_MAX,
                                        .reply = STR("4.3.0 later"),
                                        .delay_told = true } };
    struct spool_message *m = example();

    (void)state;
    for (int merged = 0; merged < 2; merged++) {
        struct str in = encode(m, merged ? states : NULL);
        struct spool_message *back = spool_message_new();
        struct format_envelope e;

        assert_int_equal(format_envelope_read(in, merged, back, &e), PT_ERR_OK);
        free((char *)in.p); /* nothing points into it */
        assert_true(e.generation == 3 && e.file_id == 0 && e.flags == envelope.flags);
        assert_true(back->received_us == m->received_us && back->size == m->size);
        assert_int_equal(back->ret, 1);
        check_lit(back->reverse_path, "sender@example.org");
        check_lit(back->envid, "QQ314159");
        check_lit(back->client, "2001:db8::25");
        check_lit(back->helo, "client.example.org");
        assert_int_equal(back->recipient_count, 2);
        check_lit(back->recipients[0].orcpt, "rfc822;first@example.com");
        assert_int_equal(back->recipients[0].notify, 5);
        check_lit(back->recipients[1].address, "\"a\\\"b\"@example.com");
        assert_int_equal(back->recipients[1].attempts, merged ? 4000000000u : 0);
        assert_true(back->recipients[1].next_attempt_us == (merged ? INT64_MAX : 0));
        assert_true(str_eq(back->recipients[1].reply, merged ? states[1].reply : STR_NULL));
        assert_int_equal(back->recipients[1].delay_told, merged);
        assert_false(back->recipients[0].delay_told);
        spool_message_unref(back);
    }
    spool_message_unref(m);
}

static void a_cut_envelope_is_none(void **state)
{
    struct spool_message *m = example();
    struct str in = encode(m, NULL);

    (void)state;
    for (size_t n = 0; n < in.n; n++) {
        struct spool_message *back = spool_message_new();
        struct format_envelope e;
        char *cut = malloc(n + 1); /* so that a sanitizer sees a step too far */

        memcpy(cut, in.p, n);
        assert_int_equal(format_envelope_read((struct str){ cut, n }, false, back, &e),
                         PT_ERR_INVALID);
        free(cut);
        spool_message_unref(back);
    }
    free((char *)in.p);
    spool_message_unref(m);
}

static void outcomes_survive(void **state)
{
    const struct spool_outcome in[] = {
        { 0, SPOOL_QUEUED, 451, 2, 1795510446123456, STR("4.3.0 later"), false },
        { 99998, SPOOL_IN_DOUBT, 0, 1, 0, STR_NULL, true },
    };
    struct format_outcome_reader r;
    struct spool_outcome out;
    char octets[256];
    size_t n;

    (void)state;
    assert_true(format_outcomes_bound(in, 2) <= sizeof octets);
    n = (size_t)(format_outcomes_write(octets, in, 2) - octets);
    format_outcomes_begin(&r, (struct str){ octets, n });
    assert_true(format_outcomes_next(&r, &out));
    assert_int_equal(out.recipient, 0);
    assert_int_equal(out.code, 451);
    assert_true(out.next_attempt_us == 1795510446123456);
    check_lit(out.reply, "4.3.0 later");
    assert_false(out.delay_told);
    assert_true(format_outcomes_next(&r, &out));
    assert_int_equal(out.recipient, 99998);
    assert_int_equal(out.state, SPOOL_IN_DOUBT);
    assert_true(out.delay_told);
    assert_false(format_outcomes_next(&r, &out));
    assert_false(r.bad);
    for (size_t cut = 0; cut < n; cut++) {
        format_outcomes_begin(&r, (struct str){ octets, cut });
        while (format_outcomes_next(&r, &out)) {
        }
        assert_true(r.bad);
    }
}

/* What makes deliveries cheap: an outcome without a reply, and the end of a message, are small. */
static void small_frames_are_small(void **state)
{
    const struct spool_outcome o = { 0, SPOOL_QUEUED, 250, 1, 1795510446123456, STR_NULL, true };
    char octets[64];

    (void)state;
    assert_true(format_extent((uint32_t)(format_outcomes_write(octets, &o, 1) - octets), 0) < 64);
    assert_int_equal(format_extent(0, 0), 40);
}

static void a_frame_header_holds_in_its_segment_only(void **state)
{
    const struct format_keys keys = { 1, 2, 3 }, others[] = { { 9, 2, 3 }, { 1, 9, 3 } };
    struct format_frame f = { .meta = 10,
                              .content = 1000,
                              .id = 1234567890123,
                              .page = 7,
                              .index = 65535,
                              .type = FRAME_MESSAGE,
                              .flags = FRAME_MERGED,
                              .meta_crc = 5,
                              .content_crc = 6 };
    struct format_frame back;
    char octets[FORMAT_FRAME_SIZE];

    (void)state;
    format_frame_write(octets, &f, &keys);
    assert_true(format_frame_read(octets, &back, &keys));
    assert_true(back.id == f.id && back.meta == 10 && back.content == 1000 && back.page == 7);
    assert_true(back.index == 65535 && back.type == FRAME_MESSAGE && back.flags == FRAME_MERGED);
    assert_false(format_frame_read(octets, &back, &others[0]));
    assert_false(format_frame_read(octets, &back, &others[1]));
    for (unsigned bit = 0; bit < 8 * FORMAT_FRAME_SIZE; bit++) {
        octets[bit / 8] = (char)(octets[bit / 8] ^ 1 << bit % 8);
        assert_false(format_frame_read(octets, &back, &keys));
        octets[bit / 8] = (char)(octets[bit / 8] ^ 1 << bit % 8);
    }
}

static void a_segment_header_is_where_the_page_says(void **state)
{
    const struct format_header h = { .in_use = true,
                                     .epoch = 0x1122334455667788,
                                     .keys = { 1, 2, 3 },
                                     .size = 64 << 20,
                                     .id_mark = 5 };
    struct format_header back;
    char octets[FORMAT_HEADER_SIZE];

    (void)state;
    format_header_write(octets, &h);
    assert_memory_equal(octets, "PTRNSEG1\1\0\0\0\2\0\0\0\x88\x77\x66\x55\x44\x33\x22\x11", 24);
    assert_int_equal(format_header_read(octets, &back), FORMAT_HEADER_OK);
    assert_true(back.in_use && back.epoch == h.epoch && back.size == h.size && back.id_mark == 5);
    octets[12] = 3;
    assert_int_equal(format_header_read(octets, &back), FORMAT_HEADER_BAD);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_envelope_survives),
        cmocka_unit_test(a_cut_envelope_is_none),
        cmocka_unit_test(outcomes_survive),
        cmocka_unit_test(small_frames_are_small),
        cmocka_unit_test(a_frame_header_holds_in_its_segment_only),
        cmocka_unit_test(a_segment_header_is_where_the_page_says),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
