#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "mime/header.h"

/* A message as its header and what comes behind it. */
#define HEADER(header, rest) .content = STR(header rest), .size = sizeof(header) - 1

static const struct header_case {
    const char *name;
    struct str content;
    uint64_t size;
    struct str message_id;
    uint32_t received;
    bool date, from, auto_submitted, has_8bit;
} cases[] = {
    { "empty message", HEADER("", "") },
    { "blank line alone", HEADER("\r\n", "Date: x\r\n") },
    { "an ordinary header",
      HEADER("Received: a\r\nReceived: b\r\n\tby c\r\nFrom: x\r\nDate: y\r\n"
             "Message-ID: <1@x>\r\nSubject: z\r\n\r\n",
             "Received: body\r\nFrom: \xe9\r\n"),
      .message_id = STR("<1@x>"), .received = 2, .date = true, .from = true },
    { "names in any case, space before the colon",
      HEADER("RECEIVED :a\r\nfrom\t: b\r\nmessage-id:<2@x>\r\n\r\n", ""),
      .message_id = STR("<2@x>"), .received = 1, .from = true },
    { "names that only begin like it",
      HEADER("Received-SPF: pass\r\nX-Date: x\r\nFrom-X: y\r\nDateX: z\r\n\r\n", "") },
    { "a folded Message-ID", HEADER("Message-ID:\r\n <long@\r\n\tx>\r\nReceived: a\r\n\r\n", ""),
      .message_id = STR("<long@\tx>"), .received = 1 },
    { "the first Message-ID counts", HEADER("Message-ID: <1@x>\r\nMessage-ID: <2@x>\r\n\r\n", ""),
      .message_id = STR("<1@x>") },
    { "Auto-Submitted", HEADER("Auto-Submitted: auto-replied (vacation)\r\n\r\n", ""),
      .auto_submitted = true },
    { "Auto-Submitted: no is none",
      HEADER("Auto-Submitted: No (really)\r\nAuto-Submitted:\r\n\r\n", "") },
    { "Auto-Submitted folded", HEADER("Auto-Submitted:\r\n auto-generated\r\n\r\n", ""),
      .auto_submitted = true },
    { "8-bit header", HEADER("Subject: caf\xc3\xa9\r\n\r\n", "x"), .has_8bit = true },
    { "8-bit body only", HEADER("Subject: x\r\n\r\n", "\xc3\xa9") },
    { "8-bit in a continuation", HEADER("Subject: x\r\n \xc3\xa9\r\n\r\n", ""), .has_8bit = true },
    { "8-bit in the last line, which has no end", HEADER("Subject: \xe9", ""), .has_8bit = true },
    { "a line that is no field ends it",
      HEADER("Received: a\r\n", "hello there \xe9\r\nReceived: b\r\n\r\n"), .received = 1 },
    { "a mailbox line is passed over", HEADER("From someone Tue Nov 24\r\nDate: x\r\n\r\n", ""),
      .date = true },
    { "but only in the first line", HEADER("Date: x\r\n", "From someone\r\nReceived: x\r\n\r\n"),
      .date = true },
    { "a continuation of nothing", HEADER("", " x\r\nDate: x\r\n\r\n") },
    { "a name that is empty", HEADER("", ": x\r\nDate: x\r\n\r\n") },
    { "no blank line", HEADER("Date: x\r\nFrom: y", ""), .date = true, .from = true },
    { "the end in a value", HEADER("Message-ID: <3@x>", ""), .message_id = STR("<3@x>") },
    { "a long name",
      HEADER("X-MS-Exchange-CrossTenant-OriginalArrivalTime: x\r\nDate: y\r\n\r\n", ""),
      .date = true },
    { "a long value before others",
      HEADER("Subject: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n"
             "Message-ID: <aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa@x>\r\n\r\n",
             ""),
      .message_id = STR("<aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa@x>") },
};

static void check(const struct header_case *c, size_t size)
{
    struct str rest = c->content;
    struct mime_header h;

    mime_header_init(&h);
    while (rest.n) {
        struct str piece = str_head(rest, size);

        mime_header_feed(&h, piece);
        rest = str_from(rest, piece.n);
    }
    mime_header_end(&h);
    assert_true(h.done);
    assert_int_equal(h.size, c->size);
    assert_int_equal(h.received, c->received);
    assert_int_equal(h.has_date, c->date);
    assert_int_equal(h.has_from, c->from);
    assert_int_equal(h.auto_submitted, c->auto_submitted);
    assert_int_equal(h.has_8bit, c->has_8bit);
    assert_true(str_eq(mime_header_message_id(&h), c->message_id));
}

static void every_cut_gives_the_same_header(void **state)
{
    (void)state;
    for (size_t i = 0; i < PT_ARRAY_LEN(cases); i++)
        for (size_t size = 1; size <= cases[i].content.n + 1; size++) {
            print_message("%s, %zu at a time\n", cases[i].name, size);
            check(&cases[i], size);
        }
}

static void a_header_of_any_size_is_counted(void **state)
{
    static char line[100000];
    struct mime_header h;

    (void)state;
    memset(line, 'a', sizeof line);
    mime_header_init(&h);
    for (int i = 0; i < 1000; i++) {
        mime_header_feed(&h, STR("Received: "));
        mime_header_feed(&h, (struct str){ line, sizeof line });
        mime_header_feed(&h, STR("\r\n"));
    }
    assert_false(h.done);
    mime_header_feed(&h, STR("\r\n"));
    assert_true(h.done);
    assert_int_equal(h.received, 1000);
    assert_int_equal(h.size, 1000 * (sizeof line + 12) + 2);
}

static void a_long_message_id_is_cut_for_the_log(void **state)
{
    static char id[1000];
    struct mime_header h;

    (void)state;
    memset(id, 'a', sizeof id);
    mime_header_init(&h);
    mime_header_feed(&h, STR("Message-ID: "));
    mime_header_feed(&h, (struct str){ id, sizeof id });
    mime_header_feed(&h, STR("\r\n\r\n"));
    assert_int_equal(h.message_id_n, MIME_MESSAGE_ID_MAX);
    assert_memory_equal(h.message_id, id, MIME_MESSAGE_ID_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_cut_gives_the_same_header),
        cmocka_unit_test(a_header_of_any_size_is_counted),
        cmocka_unit_test(a_long_message_id_is_cut_for_the_log),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
