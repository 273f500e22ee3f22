#include "settings/value.h"

#include <stdlib.h>

#include "net/entry.h"
#include "settings/auth.h"
#include "settings/client_checks.h"
#include "settings/limits.h"
#include "settings/lists.h"

/* Larger than what an arena takes from the pool of message blocks: that memory is for messages. */
enum { CHUNK = 16 * 1024, ALIGN = _Alignof(max_align_t) };

struct builder {
    const struct settings_check *check;
    struct settings *s;
    struct arena *arena;
    char *chunk;
    size_t left;
    bool failed;
};

/* Not aligned; NULL when memory is short. */
static char *take_octets(struct builder *b, size_t n)
{
    char *p;

    if (n > b->left) {
        size_t size = PT_MAX((size_t)CHUNK, n);

        b->chunk = arena_zalloc(b->arena, size);
        b->left = b->chunk ? size : 0;
        b->failed |= !b->chunk;
        if (!b->chunk)
            return NULL;
    }
    p = b->chunk;
    b->chunk += n;
    b->left -= n;
    return p;
}

/* Zeroed; NULL for nothing, and when memory is short. */
static void *take(struct builder *b, size_t n)
{
    size_t skew = (size_t)(-(uintptr_t)b->chunk % ALIGN);

    if (n == 0)
        return NULL;
    if (skew <= b->left) {
        b->chunk += skew;
        b->left -= skew;
    } else {
        b->left = 0;
    }
    return take_octets(b, n);
}

static const char *copy(struct builder *b, const json_t *string)
{
    struct str s = settings_json_str(string);
    char *p;

    if (!string || json_is_null(string))
        return NULL;
    p = take_octets(b, s.n + 1);
    if (!p)
        return "";
    memcpy(p, s.p, s.n);
    p[s.n] = 0;
    return p;
}

/* Which of the names, in the order of its enum, the string is. */
static unsigned choice(const json_t *string, const char *const *names)
{
    unsigned i = 0;

    while (names[i] && strcmp(names[i], json_string_value(string)) != 0)
        i++;
    return i;
}

static uint32_t number(const json_t *object, const char *key)
{
    return (uint32_t)json_integer_value(json_object_get(object, key));
}

static struct net_entry entry_of(const json_t *text)
{
    struct net_entry entry = { 0 };
    const char *why;

    pt_assert(net_entry_parse(settings_json_str(text), &entry, &why));
    return entry;
}

static void build_interface(struct builder *b, const json_t *from)
{
    static const char *const names[] = { "loopback", "all", NULL };
    const json_t *address = json_object_get(from, "address");

    b->s->interface.listen = choice(address, names);
    if (b->s->interface.listen == SETTINGS_LISTEN_ADDRESS)
        pt_assert(net_addr_parse(settings_json_str(address), &b->s->interface.address));
    b->s->interface.port = (uint16_t)number(from, "port");
    b->s->interface.idle_timeout_minutes = number(from, "idle_timeout_minutes");
    b->s->interface.max_connections = number(from, "max_connections");
}

struct settings_list *settings_value_list(const json_t *entries)
{
    struct settings_list_builder b;
    json_t *value;
    size_t i;

    settings_list_begin(&b, (uint32_t)json_array_size(entries));
    json_array_foreach((json_t *)entries, i, value)
    {
        const json_t *network = json_is_string(value) ? value : json_object_get(value, "network");
        const json_t *expires = json_object_get(value, "expires");
        const json_t *comment = json_object_get(value, "comment");
        struct net_entry entry = entry_of(network);
        int64_t expires_us = 0;

        if (expires)
            pt_assert(settings_time_parse(settings_json_str(expires), &expires_us));
        settings_list_add(&b, &entry.prefix, entry.masked && !entry.normalised,
                          comment ? settings_json_str(comment) : STR_NULL, expires_us);
    }
    return settings_list_end(&b);
}

/* A reference to a list of the settings in force that says the same, in place of `list`. */
static const struct settings_list *shared(const struct builder *b, const struct settings_list *list)
{
    const struct settings *s = b->check->host->in_force;
    const struct settings_list *other = s ? settings_list_with_hash(s, &list->hash) : NULL;

    if (!other)
        return list;
    settings_list_unref(list);
    return settings_list_ref(other);
}

static struct settings_list *patterns(const json_t *names)
{
    struct settings_list_builder b;
    json_t *name;
    size_t i;

    settings_list_begin(&b, (uint32_t)json_array_size(names));
    json_array_foreach((json_t *)names, i, name)
        settings_list_add_pattern(&b, settings_json_str(name));
    return settings_list_end(&b);
}

static const struct settings_list *build_list(struct builder *b, enum settings_list_of which,
                                              const json_t *from)
{
    const struct settings_list *known = b->check->lists[which], *list;

    list = known                                  ? settings_list_ref(known)
           : which == SETTINGS_LIST_RELAY_DOMAINS ? patterns(from)
                                                  : settings_value_list(from);
    if (!list)
        b->failed = true;
    return list ? shared(b, list) : NULL;
}

static void build_control(struct builder *b, const json_t *from)
{
    static const char *const names[] = { "accept_all_except", "deny_all_except", NULL };

    b->s->control.mode = choice(json_object_get(from, "mode"), names);
    b->s->control.deny_list = build_list(b, SETTINGS_LIST_DENY, json_object_get(from, "deny_list"));
    b->s->control.permit_list =
        build_list(b, SETTINGS_LIST_PERMIT, json_object_get(from, "permit_list"));
}

static uint32_t build_strings(struct builder *b, const json_t *from, const char ***out)
{
    json_t *value;
    size_t i;

    *out = take(b, json_array_size(from) * sizeof **out);
    if (!*out)
        return 0;
    json_array_foreach((json_t *)from, i, value)(*out)[i] = copy(b, value);
    return (uint32_t)json_array_size(from);
}

/* Prefixes with their texts; returns how many. */
static uint32_t build_networks(struct builder *b, const json_t *from, const char ***texts,
                               struct net_prefix **out)
{
    uint32_t count = build_strings(b, from, texts);

    *out = take(b, count * sizeof **out);
    if (!*out)
        return 0;
    for (uint32_t i = 0; i < count; i++)
        (*out)[i] = entry_of(json_array_get(from, i)).prefix;
    return count;
}

static void build_relay(struct builder *b, const json_t *from)
{
    static const char *const names[] = { "host_only", "same_subnet", "same_class", "specified",
                                         NULL };
    struct settings *s = b->s;

    s->message_rules.relay_hosts = choice(json_object_get(from, "hosts"), names);
    s->message_rules.relay_network_count =
        build_networks(b, json_object_get(from, "networks"), &s->message_rules.relay_network_texts,
                       &s->message_rules.relay_networks);
}

static void build_limits(struct builder *b, const json_t *from)
{
    settings_value_limits(from, b->s);
    b->s->limits.exempt_count = build_networks(b, json_object_get(from, "exempt"),
                                               &b->s->limits.exempt_texts, &b->s->limits.exempt);
}

static void build_message_rules(struct builder *b, const json_t *from)
{
    b->s->message_rules.max_message_size = (uint64_t)number(from, "max_message_size_mb") * 1048576;
    b->s->message_rules.max_recipients = number(from, "max_recipients");
    b->s->message_rules.max_messages_per_connection = number(from, "max_messages_per_connection");
    b->s->message_rules.relay_domains =
        build_list(b, SETTINGS_LIST_RELAY_DOMAINS, json_object_get(from, "relay_domains"));
    build_relay(b, json_object_get(from, "permitted_relay"));
    settings_value_client_checks(from, b->s);
}

static void build_tls(struct builder *b, const json_t *from)
{
    static const char *const names[] = { "off", "request", "require", NULL };
    const json_t *certificate = json_object_get(from, "certificate");
    const json_t *clients = json_object_get(from, "client_certificates");
    struct settings *s = b->s;

    s->tls.incoming = json_is_true(json_object_get(from, "incoming"));
    s->tls.incoming_required = json_is_true(json_object_get(from, "incoming_required"));
    s->tls.outgoing = json_is_true(json_object_get(from, "outgoing"));
    s->tls.implicit_port = (uint16_t)number(from, "implicit_port");
    s->tls.client_ca = copy(b, json_object_get(from, "client_ca"));
    if (json_is_string(clients))
        s->tls.client_certificates = choice(clients, names);
    if (json_is_string(certificate)) {
        s->tls.certificates = take(b, sizeof *s->tls.certificates);
        if (s->tls.certificates)
            s->tls.certificates[s->tls.certificate_count++] = copy(b, certificate);
    } else if (json_is_array(certificate)) {
        s->tls.certificate_count = build_strings(b, certificate, &s->tls.certificates);
    }
}

static void build_auth(struct builder *b, json_t *from, struct settings_route *r)
{
    struct settings_auth_room *room = from ? take(b, sizeof *room) : NULL;

    if (!room)
        return;
    r->auth = &room->auth;
    b->failed |= !settings_value_auth(b->check->host, from, room);
}

static void build_route(struct builder *b, const json_t *from, struct settings_route *r)
{
    static const char *const tls_names[] = { "none", "opportunistic", "encrypt", "verify", NULL };
    const json_t *hops = json_object_get(from, "next_hops"), *tls = json_object_get(from, "tls");
    const json_t *source = json_object_get(from, "source");
    const json_t *protocol = json_object_get(from, "protocol");
    size_t count = json_array_size(hops);

    r->domain = copy(b, json_object_get(from, "domain"));
    r->via = hops ? SETTINGS_VIA_NEXT_HOPS : SETTINGS_VIA_MX;
    r->max_concurrency = number(from, "max_concurrency");
    r->max_messages_per_minute = number(from, "max_messages_per_minute");
    r->max_message_size = (uint64_t)number(from, "max_message_size_mb") * 1048576;
    r->ca = copy(b, json_object_get(from, "ca"));
    build_auth(b, json_object_get(from, "auth"), r);
    r->lmtp = json_is_string(protocol) && str_eq(settings_json_str(protocol), STR("lmtp"));
    PT_IGNORE(!json_is_string(source) || net_addr_parse(settings_json_str(source), &r->source),
              "the format was checked");
    if (json_is_string(tls))
        r->tls = SETTINGS_ROUTE_TLS_NONE + choice(tls, tls_names);
    r->next_hops = take(b, count * sizeof *r->next_hops);
    if (!r->next_hops)
        return;
    for (size_t i = 0; i < count; i++) {
        const json_t *hop = json_array_get(hops, i);

        r->next_hops[i].host = copy(b, json_object_get(hop, "host"));
        r->next_hops[i].port = (uint16_t)number(hop, "port");
        r->ordered |= json_is_integer(json_object_get(hop, "order"));
        r->next_hops[i].order = r->ordered ? number(hop, "order") : (uint32_t)i;
        r->next_hops[i].weight = PT_MAX(number(hop, "weight"), 1u);
    }
    r->next_hop_count = (uint32_t)count;
}

static void build_routes(struct builder *b, const json_t *from)
{
    size_t count = json_array_size(from);
    const char **domains = take(b, count * sizeof *domains);

    b->s->routes = take(b, count * sizeof *b->s->routes);
    if (b->failed)
        return;
    for (size_t i = 0; i < count; i++) {
        build_route(b, json_array_get(from, i), &b->s->routes[i]);
        domains[i] = b->s->routes[i].domain;
        b->s->routes_limit_size |= b->s->routes[i].max_message_size != 0;
    }
    b->s->route_count = (uint32_t)count;
    b->s->private->routes = settings_domains_new(domains, b->s->route_count);
    b->failed |= !b->s->private->routes;
}

static void build_retry(struct builder *b, const json_t *from)
{
    const json_t *notice = json_object_get(from, "delay_notice_after_minutes");

    b->s->retry.first_after_seconds = number(from, "first_after_seconds");
    b->s->retry.at_least_every_minutes = number(from, "at_least_every_minutes");
    b->s->retry.delay_notice_after_minutes = number(from, "delay_notice_after_minutes");
    b->s->retry.no_delay_notices = json_is_integer(notice) && json_integer_value(notice) == 0;
    b->s->retry.give_up_after_hours = number(from, "give_up_after_hours");
}

/* What stands for a list in the document. */
static json_t *list_value(const struct settings_list *list)
{
    char name[SETTINGS_LIST_NAME_SIZE];
    struct buf text;
    json_t *value;

    if (list->count > SETTINGS_LIST_INLINE_MAX) {
        settings_list_name(&list->hash, name);
        return json_string(name);
    }
    buf_init(&text, 1 << 20);
    BUF_LIT(&text, "[");
    settings_list_write_json(list, 0, list->count, &text);
    BUF_LIT(&text, "]");
    value = text.failed ? NULL : json_loadb(text.p, text.n, 0, NULL);
    buf_done(&text);
    return value;
}

/* The document as text, long lists by name. */
static char *document_text(struct builder *b, json_t *document)
{
    for (int i = 0; i < SETTINGS_LISTS; i++) {
        const struct settings_list *list = settings_list_of(b->s, (enum settings_list_of)i);
        bool as_read = !b->check->lists[i] && list->count <= SETTINGS_LIST_INLINE_MAX;

        if (!as_read &&
            json_object_set_new(settings_list_parent(document, (enum settings_list_of)i),
                                settings_list_places[i].key, list_value(list)) != 0)
            return NULL;
    }
    return json_dumps(document, JSON_COMPACT);
}

static void build_all(struct builder *b, json_t *document)
{
    struct settings *s = b->s;
    const json_t *identity = json_object_get(document, "identity");
    const json_t *connections = json_object_get(document, "connections");
    const json_t *resolver = json_object_get(document, "resolver");

    s->identity.hostname = copy(b, json_object_get(identity, "hostname"));
    s->identity.greeting = copy(b, json_object_get(identity, "greeting"));
    build_interface(b, json_object_get(connections, "interface"));
    build_control(b, json_object_get(connections, "control"));
    build_tls(b, json_object_get(connections, "tls"));
    build_limits(b, json_object_get(connections, "limits"));
    build_message_rules(b, json_object_get(document, "message_rules"));
    build_routes(b, settings_json_at(document, "delivery", "routes", NULL));
    build_retry(b, settings_json_at(document, "delivery", "retry", NULL));
    s->resolver.server_count =
        build_strings(b, json_object_get(resolver, "servers"), &s->resolver.servers);
    s->resolver.trust_anchor = copy(b, json_object_get(resolver, "trust_anchor"));
    if (!b->failed)
        s->document = document_text(b, document);
    b->failed |= !s->document;
}

struct settings *settings_value_new(const struct settings_check *c, json_t *document)
{
    struct builder b = { .check = c, .s = calloc(1, sizeof *b.s) };
    struct settings_private *private = calloc(1, sizeof *private);

    if (!b.s || !private) {
        free(b.s);
        free(private);
        return NULL;
    }
    arena_init(&private->arena, (size_t)8 << 30);
    private->hazards = c->hazards;
    private->hostname_from_host = c->hostname_from_host;
    b.s->private = private;
    b.arena = &private->arena;
    atomic_init(&b.s->refs, 1);
    build_all(&b, document);
    if (!b.failed)
        return b.s;
    settings_unref(b.s);
    return NULL;
}

/* ---- the value's life ---- */

struct settings *settings_ref(const struct settings *s)
{
    struct settings *mine = (struct settings *)s;

    atomic_fetch_add_explicit(&mine->refs, 1, memory_order_relaxed);
    return mine;
}

void settings_unref(const struct settings *s)
{
    struct settings *mine = (struct settings *)s;

    if (!s || atomic_fetch_sub_explicit(&mine->refs, 1, memory_order_acq_rel) != 1)
        return;
    for (uint32_t i = 0; i < s->route_count; i++)
        settings_value_wipe_auth(&mine->routes[i]);
    settings_domains_free(s->private->routes);
    for (int i = 0; i < SETTINGS_LISTS; i++)
        settings_list_unref(settings_list_of(s, (enum settings_list_of)i));
    arena_done(&s->private->arena);
    free(s->private);
    free((char *)s->document);
    free(mine);
}

void settings_set_revision(struct settings *s, uint64_t revision)
{
    s->revision = revision;
}

unsigned settings_hazards(const struct settings *s)
{
    return s->private->hazards;
}

uint32_t settings_relay_domain(const struct settings *s, struct str domain)
{
    char name[SETTINGS_DOMAIN_SIZE];
    bool is_name = settings_domain_normalise(domain, name);

    return settings_list_find_domain(s->message_rules.relay_domains,
                                     is_name ? str_of(name) : STR_NULL);
}

const struct settings_route *settings_route_for(const struct settings *s, struct str domain)
{
    char name[SETTINGS_DOMAIN_SIZE];
    bool is_name = settings_domain_normalise(domain, name);
    uint32_t i = settings_domains_find(s->private->routes, is_name ? str_of(name) : STR_NULL);

    return i == SETTINGS_DOMAIN_NONE ? NULL : &s->routes[i];
}

const char *settings_names_certificate(const struct settings *s, struct str id)
{
    for (uint32_t i = 0; i < s->tls.certificate_count; i++)
        if (str_eq(str_of(s->tls.certificates[i]), id))
            return "/connections/tls/certificate";
    if (s->tls.client_ca && str_eq(str_of(s->tls.client_ca), id))
        return "/connections/tls/client_ca";
    for (uint32_t i = 0; i < s->route_count; i++)
        if (s->routes[i].ca && str_eq(str_of(s->routes[i].ca), id))
            return "/delivery/routes";
    return NULL;
}

char *settings_document_to_store(const struct settings *s)
{
    static const char before[] = "{\"identity\":{", key[] = "\"hostname\":\"", after[] = "\",";
    size_t keep = sizeof before - 1, cut = sizeof key - 1 + sizeof after - 1, size;
    char *text;

    if (!s->private->hostname_from_host)
        return str_dup(str_of(s->document));
    cut += strlen(s->identity.hostname);
    pt_assert(strncmp(s->document, before, keep) == 0 &&
              strncmp(s->document + keep, key, sizeof key - 1) == 0);
    size = strlen(s->document) + 1;
    text = malloc(size - cut);
    if (!text)
        return NULL;
    memcpy(text, s->document, keep);
    memcpy(text + keep, s->document + keep + cut, size - keep - cut);
    return text;
}
