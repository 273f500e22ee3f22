#include "access/list.h"

#include <stdlib.h>

#include "base/clock.h"
#include "net/entry.h"

#define EXPIRES "[expires "
#define NEVER "never"

/* ---- reading ---- */

static bool keep_error(struct access_list *list, uint32_t line, struct str text, const char *reason)
{
    if (list->error_count < ACCESS_LIST_ERRORS_MAX) {
        if (!list->errors)
            list->errors = malloc(ACCESS_LIST_ERRORS_MAX * sizeof *list->errors);
        if (!list->errors)
            return false;
        list->errors[list->error_count] = (struct access_error){ line, text, reason };
    }
    list->error_count++;
    return true;
}

static bool keep_item(struct access_list *list, const struct access_item *item)
{
    if (list->count == list->cap) {
        uint32_t cap = list->cap ? list->cap + list->cap / 2 : 64;
        struct access_item *bigger = realloc(list->items, cap * sizeof *bigger);

        if (!bigger)
            return false;
        list->items = bigger;
        list->cap = cap;
    }
    list->items[list->count++] = *item;
    list->normalised += item->normalised;
    return true;
}

/* NULL: it is right. */
static const char *comment_error(struct str comment)
{
    if (comment.n > ACCESS_COMMENT_MAX)
        return "the comment is longer than 500 octets";
    if (!str_is_utf8(comment))
        return "the comment is not UTF-8";
    for (size_t i = 0; i < comment.n; i++)
        if (((unsigned char)comment.p[i] < 0x20 && comment.p[i] != '\t') || comment.p[i] == 0x7F)
            return "the comment has control characters";
    return NULL;
}

/* Takes "[expires TIME]" off the front of a comment. NULL, or what is wrong with it. */
static const char *take_expiry(struct str *comment, int64_t *out_us)
{
    ptrdiff_t end = str_find(*comment, ']', 0);
    size_t n = sizeof EXPIRES - 1;
    struct str time;

    if (comment->n < n || memcmp(comment->p, EXPIRES, n) != 0)
        return NULL;
    if (end < 0)
        return "\"[expires\" has no \"]\"";
    time = str_trim((struct str){ comment->p + n, (size_t)end - n });
    *comment = str_trim(str_from(*comment, (size_t)end + 1));
    if (str_eq(time, STR(NEVER)))
        return NULL;
    return clock_rfc3339_parse(time, out_us) ? NULL
                                             : "it expires at no time such as 2030-01-31T18:00:00Z";
}

/* False: memory is short. */
static bool read_line(struct access_list *list, uint32_t line, struct str text)
{
    struct access_item item = { .line = line };
    struct net_entry entry;
    const char *reason;
    ptrdiff_t hash;

    text = str_trim(text);
    hash = str_find(text, '#', 0);
    item.text = hash < 0 ? text : str_trim(str_head(text, (size_t)hash));
    if (item.text.n == 0)
        return true;
    if (hash >= 0)
        item.comment = str_trim(str_from(text, (size_t)hash + 1));
    reason = take_expiry(&item.comment, &item.expires_us);
    if (!reason)
        reason = comment_error(item.comment);
    if (reason || !net_entry_parse(item.text, &entry, &reason))
        return keep_error(list, line, text, reason);
    item.prefix = entry.prefix;
    item.normalised = entry.normalised;
    item.masked = entry.masked && !entry.normalised;
    return keep_item(list, &item);
}

enum pt_err access_list_parse(struct str file, struct access_list *out)
{
    static const struct str mark = { "\xEF\xBB\xBF", 3 };
    struct access_list list = { 0 };
    size_t at = file.n >= mark.n && str_eq(str_head(file, mark.n), mark) ? mark.n : 0;

    for (uint32_t line = 1; at < file.n; line++) {
        const char *end = memchr(file.p + at, '\n', file.n - at);
        size_t next = end ? (size_t)(end - file.p) : file.n;

        if (!read_line(&list, line, (struct str){ file.p + at, next - at })) {
            access_list_done(&list);
            return PT_ERR_NOMEM;
        }
        at = next + 1;
    }
    *out = list;
    return PT_ERR_OK;
}

void access_list_done(struct access_list *list)
{
    free(list->items);
    free(list->errors);
    *list = (struct access_list){ 0 };
}

/* ---- comparing ---- */

static struct access_table *table_of(const struct access_list *list)
{
    struct access_row *rows = calloc(list->count ? list->count : 1, sizeof *rows);
    struct access_table *t = NULL;

    for (uint32_t i = 0; rows && i < list->count; i++)
        rows[i].prefix = list->items[i].prefix;
    if (rows)
        t = access_table_new(rows, list->count);
    free(rows);
    return t;
}

static bool has_cover(const struct access_table *t, const struct net_prefix *p)
{
    return t && access_table_find_cover(t, p) != ACCESS_NONE;
}

static bool has(const struct access_table *t, const struct net_prefix *p, int64_t now_us)
{
    uint32_t row = access_table_find_prefix(t, p);

    return row != ACCESS_NONE && access_table_lives(t, row, now_us);
}

enum pt_err access_list_compare(struct access_list *list, const struct access_table *present,
                                const struct access_table *other, int64_t now_us,
                                struct access_counts *out)
{
    struct access_table *own = table_of(list);
    struct access_counts counts = { 0 };

    if (!own)
        return PT_ERR_NOMEM;
    for (uint32_t i = 0; i < list->count; i++) {
        struct access_item *item = &list->items[i];

        item->duplicate = access_table_find_prefix(own, &item->prefix) != i ||
                          (present && has(present, &item->prefix, now_us));
        item->covered = has_cover(own, &item->prefix) || has_cover(present, &item->prefix);
        item->contradicted = other && access_table_overlaps(other, &item->prefix);
        if (item->duplicate) {
            counts.duplicate++;
            continue;
        }
        counts.added++;
        counts.normalised += item->normalised;
        counts.covered += item->covered;
        counts.contradicted += item->contradicted;
    }
    access_table_free(own);
    *out = counts;
    return PT_ERR_OK;
}

/* ---- writing ---- */

void access_list_write(struct buf *out, struct str entry, int64_t expires_us, struct str comment)
{
    size_t n = sizeof EXPIRES - 1;
    char time[CLOCK_RFC3339_SIZE] = NEVER;
    bool looks_so = comment.n >= n && memcmp(comment.p, EXPIRES, n) == 0;

    buf_add_str(out, entry);
    if (comment.n > 0 || expires_us)
        BUF_LIT(out, "  #");
    if (expires_us)
        clock_rfc3339_exact(expires_us, time);
    if (expires_us || looks_so)
        buf_addf(out, " " EXPIRES "%s]", time);
    if (comment.n > 0) {
        BUF_LIT(out, " ");
        buf_add_str(out, comment);
    }
    BUF_LIT(out, "\n");
}
