/* Lists searched and written. */
#include "access/list.h"
#include "net/entry.h"
#include "policy/list_view.h"

void policy_search_init(struct policy_search *search, struct str text)
{
    struct net_entry entry;
    const char *why;

    *search = (struct policy_search){ .text = str_trim(text) };
    if (search->text.n > 0 && net_entry_parse(search->text, &entry, &why)) {
        search->is_network = true;
        search->network = entry.prefix;
    }
}

static bool has_text(struct str in, struct str text)
{
    for (size_t at = 0; at + text.n <= in.n; at++)
        if (str_eq_nocase((struct str){ in.p + at, text.n }, text))
            return true;
    return false;
}

static bool found(const struct policy_search *s, const struct settings_list *list, uint32_t entry)
{
    const struct settings_entry *e = &list->entries[entry];
    const char *comment = settings_list_comment(list, entry);
    char text[SETTINGS_ENTRY_SIZE];

    if (e->prefix.addr.family == NET_NONE)
        return has_text(str_of(settings_list_pattern(list, entry)), s->text);
    if (s->is_network)
        return net_prefix_has(&e->prefix, &s->network.addr) ||
               net_prefix_has(&s->network, &e->prefix.addr);
    if (comment && has_text(str_of(comment), s->text))
        return true;
    settings_entry_format(e, text);
    return has_text(str_of(text), s->text);
}

uint32_t policy_search_next(const struct policy_search *search, const struct settings_list *list,
                            uint32_t from)
{
    while (search->text.n > 0 && from < list->count && !found(search, list, from))
        from++;
    return PT_MIN(from, list->count);
}

uint32_t policy_list_write(const struct settings_list *list, uint32_t from, size_t size,
                           struct buf *out)
{
    char text[SETTINGS_ENTRY_SIZE];

    for (; from < list->count && out->n < size; from++) {
        if (list->entries[from].prefix.addr.family == NET_NONE) {
            buf_addf(out, "%s\n", settings_list_pattern(list, from));
            continue;
        }
        settings_entry_format(&list->entries[from], text);
        access_list_write(out, str_of(text), settings_list_expires_us(list, from),
                          str_of(settings_list_comment(list, from)));
    }
    return from;
}
