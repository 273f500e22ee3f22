/*
 * Lists in pieces, for the store, and their hashes.
 *
 * A chunk is text, a line an entry:
 *
 *     ENTRY LF
 *     ENTRY TAB [EXPIRES] TAB COMMENT LF      EXPIRES in microseconds since 1970
 *     @ NAME LF                               a domain pattern, in a list of names
 *
 * It ends behind an entry whose address hashes to a certain value, which happens once in CUT
 * entries, or when it is full. So a change moves no boundary but those near it.
 */
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>

#include "net/entry.h"
#include "settings/list.h"

enum {
    CUT = 4096,                /* entries, on average */
    CHUNK_ENTRIES_MAX = 16384, /* with comments of full length 9 MB */
    CHUNK_MAX = 16 << 20,
};

#define HEX "0123456789abcdef"

bool settings_hash_of(struct str octets, struct settings_hash *out)
{
    return EVP_Digest(octets.n ? octets.p : "", octets.n, out->octets, NULL, EVP_sha256(), NULL) ==
           1;
}

/* ---- writing ---- */

static bool ends_chunk(const struct settings_list *list, uint32_t entry)
{
    const struct net_prefix *p = &list->entries[entry].prefix;
    uint64_t hi, lo;

    if (p->addr.family == NET_NONE)
        return (str_hash_nocase(str_of(settings_list_pattern(list, entry))) >> 40) % CUT == 0;
    memcpy(&hi, p->addr.octets, 8);
    memcpy(&lo, p->addr.octets + 8, 8);
    hi = (hi ^ lo * UINT64_C(0x9E3779B97F4A7C15) ^ p->length) * UINT64_C(0xD6E8FEB86659FD93);
    return (hi >> 40) % CUT == 0;
}

static void write_line(const struct settings_list *list, uint32_t entry, struct buf *out)
{
    const char *comment = settings_list_comment(list, entry);
    int64_t expires_us = settings_list_expires_us(list, entry);
    char text[SETTINGS_ENTRY_SIZE];

    if (list->entries[entry].prefix.addr.family == NET_NONE) {
        buf_addf(out, "@%s\n", settings_list_pattern(list, entry));
        return;
    }
    settings_entry_format(&list->entries[entry], text);
    buf_add_str(out, str_of(text));
    if (comment || expires_us) {
        BUF_LIT(out, "\t");
        if (expires_us)
            buf_add_u64(out, (uint64_t)expires_us);
        BUF_LIT(out, "\t");
        buf_add_str(out, str_of(comment));
    }
    BUF_LIT(out, "\n");
}

/* The entry behind the last of the chunk that begins at `from`. */
static uint32_t write_chunk(const struct settings_list *list, uint32_t from, struct buf *out)
{
    uint32_t last = PT_MIN(list->count - from, (uint32_t)CHUNK_ENTRIES_MAX) + from, i = from;

    buf_clear(out);
    do
        write_line(list, i, out);
    while (!ends_chunk(list, i) && i + 1 < last && ++i);
    return i + 1;
}

/* The first call for a list, without `show`, sets its hash. */
enum pt_err settings_list_chunks(const struct settings_list *list,
                                 bool (*show)(void *ctx, const struct settings_hash *h,
                                              struct str text),
                                 void *ctx)
{
    EVP_MD_CTX *whole = EVP_MD_CTX_new();
    bool ok = whole && EVP_DigestInit_ex(whole, EVP_sha256(), NULL) == 1, wanted = true;
    struct settings_hash hash;
    struct buf text;

    buf_init(&text, CHUNK_MAX);
    for (uint32_t at = 0; ok && wanted && at < list->count;) {
        at = write_chunk(list, at, &text);
        ok = !text.failed && settings_hash_of(buf_str(&text), &hash) &&
             EVP_DigestUpdate(whole, hash.octets, sizeof hash.octets) == 1;
        if (ok && show)
            wanted = show(ctx, &hash, buf_str(&text));
    }
    if (ok && !show)
        ok = EVP_DigestFinal_ex(whole, ((struct settings_list *)list)->hash.octets, NULL) == 1;
    EVP_MD_CTX_free(whole);
    buf_done(&text);
    if (!ok)
        return PT_ERR_NOMEM;
    return wanted ? PT_ERR_OK : PT_ERR_CLOSED;
}

/* ---- reading ---- */

/* Cuts the next field off. */
static struct str field(struct str *line)
{
    ptrdiff_t tab = str_find(*line, '\t', 0);
    size_t n = tab < 0 ? line->n : (size_t)tab;
    struct str value = str_head(*line, n);

    *line = str_from(*line, tab < 0 ? n : n + 1);
    return value;
}

static bool add_line(struct settings_list_builder *b, struct str line)
{
    struct str text = field(&line), expires = STR_NULL;
    struct net_entry entry;
    uint64_t expires_us = 0;
    const char *why;

    if (text.n > 1 && text.p[0] == '@') {
        settings_list_add_pattern(b, str_from(text, 1));
        return line.n == 0;
    }
    if (line.n > 0)
        expires = field(&line);
    if (!net_entry_parse(text, &entry, &why) || entry.normalised ||
        (expires.n > 0 && !str_to_u64(expires, &expires_us)))
        return false;
    settings_list_add(b, &entry.prefix, entry.masked, line, (int64_t)expires_us);
    return true;
}

bool settings_list_add_chunk(struct settings_list_builder *b, struct str text)
{
    while (text.n > 0) {
        ptrdiff_t end = str_find(text, '\n', 0);

        if (end < 0 || !add_line(b, str_head(text, (size_t)end)))
            return false;
        text = str_from(text, (size_t)end + 1);
    }
    return true;
}

/* ---- names ---- */

static const char prefix[] = "sha256:";

void settings_list_name(const struct settings_hash *hash, char out[SETTINGS_LIST_NAME_SIZE])
{
    char *p = out + sizeof prefix - 1;

    memcpy(out, prefix, sizeof prefix - 1);
    for (size_t i = 0; i < sizeof hash->octets; i++) {
        *p++ = HEX[hash->octets[i] >> 4];
        *p++ = HEX[hash->octets[i] & 15];
    }
    *p = 0;
}

static int digit(char c)
{
    const char *at = c ? strchr(HEX, c) : NULL;

    return at ? (int)(at - HEX) : -1;
}

bool settings_list_name_parse(struct str name, struct settings_hash *out)
{
    struct str hex = str_from(name, PT_MIN(name.n, sizeof prefix - 1));

    if (name.n != SETTINGS_LIST_NAME_SIZE - 1 || memcmp(name.p, prefix, sizeof prefix - 1) != 0)
        return false;
    for (size_t i = 0; i < sizeof out->octets; i++) {
        int high = digit(hex.p[2 * i]), low = digit(hex.p[2 * i + 1]);

        if (high < 0 || low < 0)
            return false;
        out->octets[i] = (uint8_t)(high << 4 | low);
    }
    return true;
}
