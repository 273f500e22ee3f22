/*
 * An address list file: every line is an entry, an error or nothing; what was read agrees with a
 * table made of it, and reads back the same when written.
 */
#include <stdlib.h>

#include "access/list.h"
#include "fuzz.h"

static void check_items(const struct access_list *list)
{
    uint32_t line = 0, normalised = 0;

    for (uint32_t i = 0; i < list->count; i++) {
        struct net_prefix p = list->items[i].prefix;

        pt_assert(list->items[i].line > line);
        line = list->items[i].line;
        normalised += list->items[i].normalised;
        pt_assert(p.length <= net_addr_bits(&p.addr));
        pt_assert(!net_prefix_clear(&p));
    }
    pt_assert(normalised == list->normalised);
    for (uint32_t i = 0; i < list->error_count && i < ACCESS_LIST_ERRORS_MAX; i++)
        pt_assert(list->errors[i].reason && list->errors[i].line > 0);
}

/* Counts add up, and importing what is there already adds nothing. */
static void check_counts(struct access_list *list)
{
    struct access_row *rows = calloc(list->count + 1, sizeof *rows);
    struct access_counts first, again;
    struct access_table *t;

    pt_assert(rows);
    for (uint32_t i = 0; i < list->count; i++)
        rows[i].prefix = list->items[i].prefix;
    t = access_table_new(rows, list->count);
    pt_assert(t);
    pt_assert(access_list_compare(list, NULL, t, 0, &first) == PT_ERR_OK);
    pt_assert(first.added + first.duplicate == list->count);
    pt_assert(first.contradicted == first.added);
    pt_assert(access_list_compare(list, t, NULL, 0, &again) == PT_ERR_OK);
    pt_assert(again.added == 0);
    for (uint32_t i = 0; i < list->count; i++)
        pt_assert(access_table_find(t, &list->items[i].prefix.addr, 0) != ACCESS_NONE);
    access_table_free(t);
    free(rows);
}

static void check_written(const struct access_list *list)
{
    struct access_list again;
    struct buf out;

    buf_init(&out, 64 << 20);
    for (uint32_t i = 0; i < list->count; i++)
        access_list_write(&out, list->items[i].text, list->items[i].expires_us,
                          list->items[i].comment);
    pt_assert(!out.failed && access_list_parse(buf_str(&out), &again) == PT_ERR_OK);
    pt_assert(again.count == list->count && again.error_count == 0);
    for (uint32_t i = 0; i < list->count; i++) {
        pt_assert(net_addr_eq(&again.items[i].prefix.addr, &list->items[i].prefix.addr));
        pt_assert(again.items[i].prefix.length == list->items[i].prefix.length);
        pt_assert(again.items[i].expires_us == list->items[i].expires_us);
        pt_assert(str_eq(again.items[i].comment, list->items[i].comment));
    }
    access_list_done(&again);
    buf_done(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *octets, size_t n)
{
    struct access_list list;

    pt_assert(access_list_parse((struct str){ (const char *)octets, n }, &list) == PT_ERR_OK);
    check_items(&list);
    check_counts(&list);
    check_written(&list);
    access_list_done(&list);
    return 0;
}
