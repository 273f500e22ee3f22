/*
 * api/lists: the deny and the permit list, read: in pages with what they did, searched, or whole in
 * the file format, streamed.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/resources.h"
#include "base/clock.h"

enum { PAGE_ITEMS = 100, PAGE_MAX = 1000, PIECE = 256 * 1024 };

enum policy_which api_list_which(const struct http_exchange *x)
{
    const char *pattern = x->match.route->pattern;

    if (strstr(pattern, "/relay_domains"))
        return POLICY_WHICH_RELAY_DOMAINS;
    return strstr(pattern, "/permit") ? POLICY_WHICH_PERMIT : POLICY_WHICH_DENY;
}

struct policy_snapshot *api_list_snapshot(struct http_exchange *x)
{
    struct api *a = api_of(x);
    struct policy_snapshot *snap = a->deps.snapshot(a->deps.ctx);

    if (!snap)
        http_problem(x, 503,
                     "No settings are in force: those that are stored cannot be used. "
                     "Put a document, or restore a revision.");
    return snap;
}

/* ---- pages ---- */

static json_t *item_json(struct http_exchange *x, const struct settings_list *list, uint32_t i,
                         int64_t now_us)
{
    struct api *a = api_of(x);
    const char *comment = settings_list_comment(list, i);
    int64_t expires_us = settings_list_expires_us(list, i), last_us = 0;
    char text[SETTINGS_ENTRY_SIZE], time[CLOCK_RFC3339_SIZE];
    json_t *item = json_object();
    uint64_t hits = 0;

    if (api_list_which(x) == POLICY_WHICH_RELAY_DOMAINS) {
        api_json_set(&item, "domain", json_string(settings_list_pattern(list, i)));
        return item;
    }
    settings_entry_format(&list->entries[i], text);
    a->deps.entry_hits(a->deps.ctx, api_list_which(x), &list->entries[i].prefix, &hits, &last_us);
    api_json_set(&item, "network", json_string(text));
    api_json_set(&item, "comment", comment ? api_json_str(str_of(comment)) : json_null());
    if (expires_us)
        clock_rfc3339_exact(expires_us, time);
    api_json_set(&item, "expires", expires_us ? json_string(time) : json_null());
    api_json_set(&item, "expired", json_boolean(expires_us && expires_us <= now_us));
    api_json_set(&item, "hits", json_integer((json_int_t)hits));
    api_json_set(&item, "last_hit", api_json_time(last_us));
    return item;
}

/* How many entries a search finds. */
static uint64_t count_found(const struct policy_search *search, const struct settings_list *list)
{
    uint64_t found = 0;

    if (search->text.n == 0)
        return list->count;
    for (uint32_t i = policy_search_next(search, list, 0); i < list->count;
         i = policy_search_next(search, list, i + 1))
        found++;
    return found;
}

static void answer_page(struct http_exchange *x, const struct settings_list *list, uint32_t from,
                        uint32_t limit)
{
    json_t *items = json_array(), *next = NULL;
    int64_t now_us = clock_wall_us();
    struct policy_search search;
    char cursor[16];
    uint32_t i;

    policy_search_init(&search, http_exchange_query(x, "q"));
    i = policy_search_next(&search, list, from);
    while (i < list->count && limit > 0) {
        api_json_add(&items, item_json(x, list, i, now_us));
        i = policy_search_next(&search, list, i + 1);
        limit--;
    }
    if (i < list->count) {
        snprintf(cursor, sizeof cursor, "%" PRIu32, i);
        next = json_string(cursor);
    }
    http_answer_json(x, 200, api_json_list(items, next, count_found(&search, list)));
}

static void answer_sorted_page(struct http_exchange *x, const struct settings_list *list,
                               uint64_t from, uint32_t limit)
{
    json_t *items, *next = NULL;
    int64_t now_us = clock_wall_us();
    uint32_t *order, count;
    char cursor[24];
    uint64_t end;

    if (!api_list_sort(x, list, &order, &count))
        return;
    items = json_array();
    end = PT_MIN(from + limit, (uint64_t)count);
    for (uint64_t at = from; at < end; at++)
        api_json_add(&items, item_json(x, list, order[at], now_us));
    free(order);
    if (end < count) {
        snprintf(cursor, sizeof cursor, "%" PRIu64, end);
        next = json_string(cursor);
    }
    http_answer_json(x, 200, api_json_list(items, next, count));
}

/* ---- the file ---- */

struct file {
    const struct settings_list *list; /* a reference */
    uint32_t at;
};

static void file_free(void *user)
{
    struct file *f = user;

    settings_list_unref(f->list);
    free(f);
}

static void next_job(struct http_exchange *x)
{
    struct file *f = x->user;

    f->at = policy_list_write(f->list, f->at, PIECE, &x->response.body);
    if (x->response.body.failed)
        http_exchange_abort(x);
}

static void next_piece(struct http_exchange *x)
{
    api_job(x, next_job);
}

static uint64_t file_size(const struct settings_list *list, struct buf *room)
{
    uint64_t size = 0;

    for (uint32_t at = 0; at < list->count;) {
        buf_clear(room);
        at = policy_list_write(list, at, PIECE, room);
        size += room->n;
    }
    buf_clear(room);
    return size;
}

static void answer_file(struct http_exchange *x, const struct settings_list *list)
{
    struct file *f = calloc(1, sizeof *f);
    uint64_t size;

    if (!f) {
        api_problem(x, PT_ERR_NOMEM, NULL);
        return;
    }
    f->list = settings_list_ref(list);
    x->user = f;
    x->user_free = file_free;
    size = file_size(list, &x->response.body);
    if (x->response.body.failed) {
        api_problem(x, PT_ERR_NOMEM, NULL);
        return;
    }
    http_answer_text(x, 200, "text/plain", STR_NULL);
    next_job(x);
    x->response.total = size;
    x->response.more = next_piece;
}

/* ---- GET ---- */

/* True if text is asked for and JSON is not. */
static bool wants_text(const struct http_exchange *x)
{
    struct str accept = http_request_header(x->request, "accept");
    bool text = false;

    for (size_t at = 0; accept.p && at < accept.n;) {
        ptrdiff_t comma = str_find(accept, ',', at);
        size_t end = comma < 0 ? accept.n : (size_t)comma;
        struct str type = { accept.p + at, end - at };
        ptrdiff_t semicolon = str_find(type, ';', 0);

        type = str_trim(semicolon < 0 ? type : str_head(type, (size_t)semicolon));
        if (str_eq_nocase(type, STR("application/json")))
            return false;
        text = text || str_eq_nocase(type, STR("text/plain"));
        at = end + 1;
    }
    return text;
}

static void get_list(struct http_exchange *x, const struct policy_snapshot *snap)
{
    const struct settings_list *list = policy_which_list(snap, api_list_which(x));
    uint64_t cursor;
    uint32_t limit;

    if (!api_query_limit(x, PAGE_ITEMS, PAGE_MAX, &limit))
        return;
    if (!http_exchange_query_u64(x, "cursor", 0, &cursor)) {
        http_problem(x, 400, "cursor must be one that this list gave.");
        return;
    }
    api_set_etag(x, policy_snapshot_settings(snap)->revision);
    if (wants_text(x))
        answer_file(x, list);
    else if (http_exchange_query(x, "sort").n > 0)
        answer_sorted_page(x, list, PT_MIN(cursor, list->count), limit);
    else
        answer_page(x, list, (uint32_t)PT_MIN(cursor, list->count), limit);
}

static void get_job(struct http_exchange *x)
{
    struct policy_snapshot *snap = api_list_snapshot(x);

    if (snap)
        get_list(x, snap);
    policy_snapshot_unref(snap);
}

void api_list_get(struct http_exchange *x)
{
    api_job(x, get_job);
}
