/*
 * api/lists_sort: the entries of a list in another order than that of the list.
 *
 * All that a search finds are sorted for each page: of 200,000 that takes some 50 ms, on a job
 * thread. Equal ones keep the order of the list.
 */
#include <stdlib.h>
#include <string.h>

#include "api/resources.h"

struct row {
    uint32_t index;
    uint64_t number;  /* hits, a time; of no meaning for texts */
    const char *text; /* NULL: none, which comes last */
    const struct net_prefix *prefix;
};

static int by_index(const struct row *a, const struct row *b)
{
    return a->index < b->index ? -1 : a->index > b->index;
}

static int by_number(const void *left, const void *right)
{
    const struct row *a = left, *b = right;

    return a->number != b->number ? (a->number < b->number ? -1 : 1) : by_index(a, b);
}

static int by_text(const void *left, const void *right)
{
    const struct row *a = left, *b = right;
    int order;

    if (!a->text || !b->text)
        return a->text ? -1 : b->text ? 1 : by_index(a, b);
    order = strcasecmp(a->text, b->text);
    return order ? order : by_index(a, b);
}

/* IPv4 before IPv6, by address, the wider group first. */
static int by_network(const void *left, const void *right)
{
    const struct row *a = left, *b = right;
    int order;

    if (a->prefix->addr.family != b->prefix->addr.family)
        return a->prefix->addr.family < b->prefix->addr.family ? -1 : 1;
    order = memcmp(a->prefix->addr.octets, b->prefix->addr.octets, sizeof a->prefix->addr.octets);
    if (order)
        return order;
    return a->prefix->length != b->prefix->length ? (a->prefix->length < b->prefix->length ? -1 : 1)
                                                  : by_index(a, b);
}

typedef int compare_fn(const void *left, const void *right);

static compare_fn *comparison(struct str sort)
{
    if (str_eq(sort, STR("network")))
        return by_network;
    if (str_eq(sort, STR("comment")))
        return by_text;
    if (str_eq(sort, STR("expires")) || str_eq(sort, STR("hits")) || str_eq(sort, STR("last_hit")))
        return by_number;
    return NULL;
}

static struct row row_of(struct http_exchange *x, struct str sort, const struct settings_list *list,
                         uint32_t i)
{
    struct api *a = api_of(x);
    struct row row = { .index = i,
                       .text = settings_list_comment(list, i),
                       .prefix = &list->entries[i].prefix };
    uint64_t hits = 0;
    int64_t last_us = 0;

    if (str_eq(sort, STR("expires"))) {
        row.number = (uint64_t)settings_list_expires_us(list, i);
        if (!row.number)
            row.number = UINT64_MAX; /* never */
    } else if (str_eq(sort, STR("hits")) || str_eq(sort, STR("last_hit"))) {
        a->deps.entry_hits(a->deps.ctx, api_list_which(x), row.prefix, &hits, &last_us);
        row.number = str_eq(sort, STR("hits")) ? hits : (uint64_t)last_us;
    }
    return row;
}

bool api_list_sort(struct http_exchange *x, const struct settings_list *list, uint32_t **out,
                   uint32_t *out_count)
{
    struct str sort = http_exchange_query(x, "sort"), order = http_exchange_query(x, "order");
    compare_fn *compare = comparison(sort);
    bool descending = str_eq(order, STR("desc"));
    struct policy_search search;
    uint32_t n = 0, *indexes = calloc((size_t)list->count + 1, sizeof *indexes);
    struct row *rows = calloc((size_t)list->count + 1, sizeof *rows);

    if (!compare || (order.n > 0 && !descending && !str_eq(order, STR("asc"))))
        http_problem(
            x, 400, "sort must be network, comment, expires, hits or last_hit, order asc or desc.");
    else if (!rows || !indexes)
        api_problem(x, PT_ERR_NOMEM, NULL);
    else {
        policy_search_init(&search, http_exchange_query(x, "q"));
        for (uint32_t i = policy_search_next(&search, list, 0); i < list->count;
             i = policy_search_next(&search, list, i + 1))
            rows[n++] = row_of(x, sort, list, i);
        qsort(rows, n, sizeof *rows, compare);
        for (uint32_t i = 0; i < n; i++)
            indexes[i] = rows[descending ? n - 1 - i : i].index;
        free(rows);
        *out = indexes;
        *out_count = n;
        return true;
    }
    free(rows);
    free(indexes);
    return false;
}
