/* What the table cannot say: rules about several values, and what must be confirmed. */
#include <stdlib.h>

#include "net/entry.h"
#include "settings/auth.h"
#include "settings/check.h"
#include "settings/client_checks.h"
#include "settings/errors.h"
#include "settings/limits.h"

static void problem(struct settings_check *c, enum settings_severity severity, const char *pointer,
                    const char *text)
{
    settings_errors_add(c->errors, severity, pointer, "%s", text);
}

static bool is_word(const json_t *value, const char *word)
{
    return json_is_string(value) && str_eq(settings_json_str(value), str_of(word));
}

/* ---- rules ---- */

static void check_idle_timeout(struct settings_check *c, const json_t *document)
{
    const json_t *minutes =
        settings_json_at(document, "connections", "interface", "idle_timeout_minutes", NULL);

    if (minutes && json_integer_value(minutes) < 5)
        problem(c, SETTINGS_WARNING, "/connections/interface/idle_timeout_minutes",
                "RFC 5321 section 4.5.3.2.7 asks for 5 minutes or more; slow clients may be cut "
                "off");
}

static void check_retry(struct settings_check *c, const json_t *document)
{
    const json_t *hours =
        settings_json_at(document, "delivery", "retry", "give_up_after_hours", NULL);
    const json_t *notice =
        settings_json_at(document, "delivery", "retry", "delay_notice_after_minutes", NULL);
    json_int_t life = hours ? json_integer_value(hours) : 120;

    if (life < 96)
        problem(c, SETTINGS_WARNING, "/delivery/retry/give_up_after_hours",
                "RFC 5321 section 4.5.4.1 asks for 96 hours or more; mail for a host that is down "
                "over a weekend goes back");
    if (notice && json_integer_value(notice) >= life * 60)
        problem(c, SETTINGS_WARNING, "/delivery/retry/delay_notice_after_minutes",
                "is not before the message is given up: nobody is told of a delay");
}

/* Who would be turned away is better known before. */
static void check_required_tls(struct settings_check *c, const json_t *tls)
{
    const struct settings_host *host = c->host;
    unsigned percent;

    if (!json_is_true(json_object_get(tls, "incoming_required")) || host->messages_clear == 0 ||
        (host->in_force && host->in_force->tls.incoming_required))
        return;
    percent = (unsigned)((host->messages_clear * 100 + host->messages - 1) / host->messages);
    settings_errors_add(c->errors, SETTINGS_WARNING, "/connections/tls/incoming_required",
                        "%llu of the %llu messages accepted since the start (%u %%) came in clear; "
                        "clients that send so get 530 5.7.0 from now on",
                        (unsigned long long)host->messages_clear,
                        (unsigned long long)host->messages, percent);
}

static void check_incoming_tls(struct settings_check *c, const json_t *document)
{
    const json_t *tls = settings_json_at(document, "connections", "tls", NULL);
    const json_t *implicit = json_object_get(tls, "implicit_port");
    const json_t *port = settings_json_at(document, "connections", "interface", "port", NULL);
    const json_t *clients = json_object_get(tls, "client_certificates");
    bool incoming = json_is_true(json_object_get(tls, "incoming"));
    bool clear = json_is_false(json_object_get(tls, "incoming"));
    bool certificate = !json_is_null(json_object_get(tls, "certificate"));

    check_required_tls(c, tls);
    if (json_is_true(json_object_get(tls, "incoming_required")) && clear)
        problem(c, SETTINGS_ERROR, "/connections/tls/incoming_required",
                "is possible only together with \"incoming\": true");
    if (incoming && !certificate)
        problem(c, SETTINGS_ERROR, "/connections/tls/incoming",
                "needs a \"certificate\": install one first");
    if (json_is_integer(implicit) && !certificate)
        problem(c, SETTINGS_ERROR, "/connections/tls/implicit_port",
                "needs a \"certificate\": install one first");
    if (json_is_integer(implicit) && json_equal((json_t *)implicit, (json_t *)port))
        problem(c, SETTINGS_ERROR, "/connections/tls/implicit_port",
                "is the port of the interface already; take another one");
    if (clients && !is_word(clients, "off") && !json_is_string(json_object_get(tls, "client_ca")) &&
        c->errors->error_count == 0)
        problem(c, SETTINGS_ERROR, "/connections/tls/client_ca",
                "is missing: certificates of clients are checked against it");
}

/* Leaves the index of each route's domain in a set, to find the second one. */
static void check_doubles(struct settings_check *c, const json_t *routes)
{
    json_t *seen = json_object(), *route;
    size_t i;

    json_array_foreach((json_t *)routes, i, route)
    {
        const char *domain = json_string_value(json_object_get(route, "domain"));
        const json_t *first = domain ? json_object_get(seen, domain) : NULL;
        size_t mark = settings_check_enter_index(c, i);

        settings_check_enter(c, STR("domain"));
        if (first)
            settings_errors_add(c->errors, SETTINGS_ERROR, settings_check_pointer(c),
                                "stands in /delivery/routes/%lld already",
                                (long long)json_integer_value(first));
        else if (domain && json_object_set_new(seen, domain, json_integer((json_int_t)i)) != 0)
            c->no_memory = true;
        settings_check_leave(c, mark);
    }
    json_decref(seen);
}

static void check_route(struct settings_check *c, const json_t *route)
{
    const json_t *via = json_object_get(route, "via"), *tls = json_object_get(route, "tls");
    bool hops = json_object_get(route, "next_hops");
    size_t mark = c->pointer.n;

    if (hops && is_word(via, "mx")) {
        settings_check_enter(c, STR("next_hops"));
        problem(c, SETTINGS_ERROR, settings_check_pointer(c),
                "contradicts \"via\": \"mx\"; leave one of them out");
    } else if (!hops && is_word(via, "next_hops") && c->errors->error_count == 0) {
        settings_check_enter(c, STR("next_hops"));
        problem(c, SETTINGS_ERROR, settings_check_pointer(c), "is missing");
    }
    settings_check_leave(c, mark);
    if (json_object_get(route, "ca") && !is_word(tls, "verify") &&
        (tls || c->errors->error_count == 0)) {
        settings_check_enter(c, STR("ca"));
        problem(c, SETTINGS_ERROR, settings_check_pointer(c),
                "is used only with \"tls\": \"verify\"");
    }
    settings_check_leave(c, mark);
}

static void check_protocol(struct settings_check *c, const json_t *route)
{
    json_t *hops = json_object_get(route, "next_hops"), *hop;
    size_t i, inner, mark = c->pointer.n;

    if (!is_word(json_object_get(route, "protocol"), "lmtp"))
        return;
    if (!hops) {
        settings_check_enter(c, STR("protocol"));
        problem(c, SETTINGS_ERROR, settings_check_pointer(c),
                "\"lmtp\" needs \"next_hops\": hosts that the DNS names speak SMTP");
    }
    settings_check_leave(c, mark);
    settings_check_enter(c, STR("next_hops"));
    json_array_foreach(hops, i, hop)
    {
        inner = settings_check_enter_index(c, i);
        settings_check_enter(c, STR("port"));
        if (json_integer_value(json_object_get(hop, "port")) == 25)
            problem(c, SETTINGS_WARNING, settings_check_pointer(c),
                    "is the port of SMTP; LMTP is not spoken there (RFC 2033 section 5), but at "
                    "port 24 for example");
        settings_check_leave(c, inner);
    }
    settings_check_leave(c, mark);
}

/* An order for some would leave open where the others stand. */
static void check_order(struct settings_check *c, const json_t *route)
{
    json_t *hops = json_object_get(route, "next_hops"), *hop;
    size_t i, inner, mark = settings_check_enter(c, STR("next_hops"));
    bool ordered = false;

    json_array_foreach(hops, i, hop) ordered |= json_is_integer(json_object_get(hop, "order"));
    json_array_foreach(hops, i, hop)
    {
        bool has_order = json_is_integer(json_object_get(hop, "order"));

        inner = settings_check_enter_index(c, i);
        if (ordered && !has_order) {
            settings_check_enter(c, STR("order"));
            problem(c, SETTINGS_ERROR, settings_check_pointer(c),
                    "is missing: another next hop of this route has one");
        } else if (!ordered && json_is_integer(json_object_get(hop, "weight"))) {
            settings_check_enter(c, STR("weight"));
            problem(c, SETTINGS_ERROR, settings_check_pointer(c),
                    "needs an \"order\": those with the same one share by weight");
        }
        settings_check_leave(c, inner);
    }
    settings_check_leave(c, mark);
}

static void check_route_size(struct settings_check *c, const json_t *document, const json_t *route)
{
    const json_t *of_route = json_object_get(route, "max_message_size_mb");
    const json_t *of_all = settings_json_at(document, "message_rules", "max_message_size_mb", NULL);
    size_t mark = settings_check_enter(c, STR("max_message_size_mb"));

    if (json_is_integer(of_route) && json_is_integer(of_all) &&
        json_integer_value(of_route) > json_integer_value(of_all))
        problem(c, SETTINGS_WARNING, settings_check_pointer(c),
                "is larger than /message_rules/max_message_size_mb, which counts");
    settings_check_leave(c, mark);
}

static bool is_source_in_force(const struct settings_check *c, const struct net_addr *a)
{
    const struct settings *s = c->host->in_force;

    for (uint32_t i = 0; s && i < s->route_count; i++)
        if (net_addr_eq(&s->routes[i].source, a))
            return true;
    return false;
}

static void check_source(struct settings_check *c, const json_t *source)
{
    size_t mark = settings_check_enter(c, STR("source"));
    struct net_addr a;

    if (c->host->has_address && json_is_string(source) &&
        net_addr_parse(settings_json_str(source), &a) && !is_source_in_force(c, &a) &&
        !c->host->has_address(&a))
        problem(c, SETTINGS_ERROR, settings_check_pointer(c), "is not an address of this host");
    settings_check_leave(c, mark);
}

static void check_routes(struct settings_check *c, const json_t *document)
{
    json_t *routes = settings_json_at(document, "delivery", "routes", NULL), *route;
    size_t i, mark;

    settings_check_enter(c, STR("delivery"));
    settings_check_enter(c, STR("routes"));
    json_array_foreach(routes, i, route)
    {
        mark = settings_check_enter_index(c, i);
        check_route(c, route);
        check_protocol(c, route);
        settings_check_auth(c, route);
        check_order(c, route);
        check_route_size(c, document, route);
        check_source(c, json_object_get(route, "source"));
        settings_check_leave(c, mark);
    }
    check_doubles(c, routes);
    settings_check_leave(c, 0);
    if (routes && json_array_size(routes) == 0)
        problem(c, SETTINGS_WARNING, "/delivery/routes", "without a route no mail leaves");
}

static void check_relay_width(struct settings_check *c, const json_t *document)
{
    json_t *list = settings_json_at(document, "message_rules", "permitted_relay", "networks", NULL),
           *text;
    struct net_entry entry;
    const char *why;
    size_t i;

    settings_check_enter(c, STR("message_rules"));
    settings_check_enter(c, STR("permitted_relay"));
    settings_check_enter(c, STR("networks"));
    json_array_foreach(list, i, text)
    {
        size_t mark = settings_check_enter_index(c, i);

        if (json_is_string(text) && net_entry_parse(settings_json_str(text), &entry, &why) &&
            entry.prefix.length > 0 &&
            entry.prefix.length < (entry.prefix.addr.family == NET_IPV4 ? 8 : 16))
            problem(c, SETTINGS_WARNING, settings_check_pointer(c),
                    "is a large part of the Internet; all of it may relay");
        settings_check_leave(c, mark);
    }
    settings_check_leave(c, 0);
}

void settings_check_rules(struct settings_check *c, const json_t *document)
{
    check_idle_timeout(c, document);
    check_retry(c, document);
    check_incoming_tls(c, document);
    check_routes(c, document);
    check_relay_width(c, document);
    settings_check_client_checks(c, document);
    settings_check_recipient_check(c, document);
    settings_check_limits(c, settings_json_at(document, "connections", "limits", NULL));
}

/* ---- what must be confirmed ---- */

static const struct {
    enum settings_confirm what;
    const char *name;
} confirm_names[] = {
    { SETTINGS_CONFIRM_EMPTY_PERMIT_LIST, "empty_permit_list" },
    { SETTINGS_CONFIRM_OPEN_RELAY, "open_relay" },
    { SETTINGS_CONFIRM_EXPIRED_CERTIFICATE, "expired_certificate" },
};

const char *settings_confirm_name(enum settings_confirm what)
{
    for (size_t i = 0; i < PT_ARRAY_LEN(confirm_names); i++)
        if (confirm_names[i].what == what)
            return confirm_names[i].name;
    return "";
}

static unsigned confirm_word(const json_t *word)
{
    for (size_t i = 0; i < PT_ARRAY_LEN(confirm_names); i++)
        if (is_word(word, confirm_names[i].name))
            return confirm_names[i].what;
    return 0;
}

static unsigned read_confirm(struct settings_check *c, const json_t *confirm)
{
    unsigned given = 0, what;
    json_t *word;
    size_t i;

    if (!confirm)
        return 0;
    if (!json_is_array(confirm)) {
        problem(c, SETTINGS_ERROR, "/confirm", "must be a list of words");
        return 0;
    }
    settings_check_enter(c, STR("confirm"));
    json_array_foreach((json_t *)confirm, i, word)
    {
        size_t mark = settings_check_enter_index(c, i);

        what = confirm_word(word);
        if (!what)
            problem(c, SETTINGS_ERROR, settings_check_pointer(c),
                    "must be \"empty_permit_list\", \"open_relay\" or \"expired_certificate\"");
        given |= what;
        settings_check_leave(c, mark);
    }
    settings_check_leave(c, 0);
    return given;
}

static void hazard(struct settings_check *c, unsigned confirmed, enum settings_confirm what,
                   const char *text)
{
    c->hazards |= what;
    if (confirmed & what)
        return;
    c->errors->unconfirmed |= what;
    settings_errors_add(c->errors, SETTINGS_ERROR, settings_check_pointer(c),
                        "%s; to do so all the same, confirm \"%s\"", text,
                        settings_confirm_name(what));
}

/* True if every entry has expired, as it is for an empty list. */
static bool none_alive(const struct settings_check *c, const json_t *list)
{
    json_t *entry;
    size_t i;

    if (c->lists[1])
        return settings_list_all_expired(c->lists[1], c->host->now_us);
    json_array_foreach((json_t *)list, i, entry)
    {
        const json_t *expires = json_object_get(entry, "expires");
        int64_t when;

        if (!expires || !c->host->now_us ||
            !settings_time_parse(settings_json_str(expires), &when) || when > c->host->now_us)
            return false;
    }
    return true;
}

static void check_permit_list(struct settings_check *c, const json_t *document, unsigned confirmed)
{
    const json_t *control = settings_json_at(document, "connections", "control", NULL);
    const json_t *mode = json_object_get(control, "mode");
    const json_t *list = json_object_get(control, "permit_list");

    if (!list || !is_word(mode, "deny_all_except") || !none_alive(c, list))
        return;
    settings_check_enter(c, STR("connections"));
    settings_check_enter(c, STR("control"));
    settings_check_enter(c, STR("permit_list"));
    hazard(c, confirmed, SETTINGS_CONFIRM_EMPTY_PERMIT_LIST,
           json_array_size(list) || (c->lists[1] && c->lists[1]->count)
               ? "all its entries have expired, and that refuses every client"
               : "an empty permit list refuses every client");
    settings_check_leave(c, 0);
}

static bool is_everything(const json_t *text)
{
    struct net_entry entry;
    const char *why;

    return json_is_string(text) && net_entry_parse(settings_json_str(text), &entry, &why) &&
           entry.prefix.length == 0;
}

static void check_open_networks(struct settings_check *c, const json_t *document,
                                unsigned confirmed)
{
    const json_t *relay = settings_json_at(document, "message_rules", "permitted_relay", NULL);
    json_t *networks = json_object_get(relay, "networks"), *text;
    size_t i;

    if (!is_word(json_object_get(relay, "hosts"), "specified"))
        return;
    settings_check_enter(c, STR("message_rules"));
    settings_check_enter(c, STR("permitted_relay"));
    settings_check_enter(c, STR("networks"));
    json_array_foreach(networks, i, text)
    {
        size_t mark = settings_check_enter_index(c, i);

        if (is_everything(text))
            hazard(c, confirmed, SETTINGS_CONFIRM_OPEN_RELAY,
                   "lets everyone relay, which makes an open relay");
        settings_check_leave(c, mark);
    }
    settings_check_leave(c, 0);
}

static void check_open_domains(struct settings_check *c, const json_t *document, unsigned confirmed)
{
    json_t *domains = settings_json_at(document, "message_rules", "relay_domains", NULL), *text;
    size_t i;

    settings_check_enter(c, STR("message_rules"));
    settings_check_enter(c, STR("relay_domains"));
    if (c->lists[SETTINGS_LIST_RELAY_DOMAINS]) {
        uint32_t any = settings_list_find_domain(c->lists[SETTINGS_LIST_RELAY_DOMAINS], STR_NULL);
        size_t mark = settings_check_enter_index(c, any);

        if (any != SETTINGS_NO_ENTRY)
            hazard(c, confirmed, SETTINGS_CONFIRM_OPEN_RELAY,
                   "is every domain, which makes an open relay");
        settings_check_leave(c, mark);
    }
    json_array_foreach(domains, i, text)
    {
        size_t mark = settings_check_enter_index(c, i);

        if (is_word(text, "*"))
            hazard(c, confirmed, SETTINGS_CONFIRM_OPEN_RELAY,
                   "is every domain, which makes an open relay");
        settings_check_leave(c, mark);
    }
    settings_check_leave(c, 0);
}

/* ---- certificates: what an ID stands for ---- */

/* One whose file is lost and that is named already does not stand in the way of other changes. */
static enum settings_certificate what_is(const struct settings_check *c, const json_t *id)
{
    enum settings_certificate what;

    if (!c->host->certificate || !json_is_string(id))
        return SETTINGS_CERTIFICATE_UNKNOWN;
    what = c->host->certificate(c->host->certificate_ctx, settings_json_str(id));
    if (what == SETTINGS_CERTIFICATE_MISSING && c->host->in_force &&
        settings_names_certificate(c->host->in_force, settings_json_str(id)))
        return SETTINGS_CERTIFICATE_UNKNOWN;
    return what;
}

static void check_server_id(struct settings_check *c, const json_t *id, unsigned confirmed)
{
    switch (what_is(c, id)) {
    case SETTINGS_CERTIFICATE_MISSING:
        problem(c, SETTINGS_ERROR, settings_check_pointer(c),
                "no certificate with this ID was uploaded");
        break;
    case SETTINGS_CERTIFICATE_CA:
        problem(c, SETTINGS_ERROR, settings_check_pointer(c),
                "is a CA: a server needs a certificate with its private key");
        break;
    case SETTINGS_CERTIFICATE_EXPIRED:
        hazard(c, confirmed, SETTINGS_CONFIRM_EXPIRED_CERTIFICATE,
               "this certificate has expired, and clients that verify will not send mail");
        break;
    case SETTINGS_CERTIFICATE_SERVER:
    case SETTINGS_CERTIFICATE_UNKNOWN:
        break;
    }
}

static void check_ca_id(struct settings_check *c, const json_t *id)
{
    enum settings_certificate what = what_is(c, id);

    if (what == SETTINGS_CERTIFICATE_MISSING)
        problem(c, SETTINGS_ERROR, settings_check_pointer(c), "no CA with this ID was uploaded");
    else if (what == SETTINGS_CERTIFICATE_SERVER || what == SETTINGS_CERTIFICATE_EXPIRED)
        problem(c, SETTINGS_ERROR, settings_check_pointer(c),
                "is a server's certificate: upload the CA's alone, as ca_certificate");
}

static void check_certificates(struct settings_check *c, const json_t *document, unsigned confirmed)
{
    const json_t *tls = settings_json_at(document, "connections", "tls", NULL);
    json_t *certificate = json_object_get(tls, "certificate"), *id;
    size_t i, mark, inner;

    settings_check_enter(c, STR("connections"));
    settings_check_enter(c, STR("tls"));
    mark = settings_check_enter(c, STR("certificate"));
    check_server_id(c, certificate, confirmed);
    json_array_foreach(certificate, i, id)
    {
        inner = settings_check_enter_index(c, i);
        check_server_id(c, id, confirmed);
        settings_check_leave(c, inner);
    }
    settings_check_leave(c, mark);
    settings_check_enter(c, STR("client_ca"));
    check_ca_id(c, json_object_get(tls, "client_ca"));
    settings_check_leave(c, 0);
}

static void check_route_cas(struct settings_check *c, const json_t *document)
{
    json_t *routes = settings_json_at(document, "delivery", "routes", NULL), *route;
    size_t i;

    settings_check_enter(c, STR("delivery"));
    settings_check_enter(c, STR("routes"));
    json_array_foreach(routes, i, route)
    {
        size_t mark = settings_check_enter_index(c, i);

        settings_check_enter(c, STR("ca"));
        check_ca_id(c, json_object_get(route, "ca"));
        settings_check_leave(c, mark);
    }
    settings_check_leave(c, 0);
}

void settings_check_confirmed(struct settings_check *c, const json_t *document,
                              const json_t *confirm)
{
    unsigned confirmed = c->host->confirmed | read_confirm(c, confirm);

    check_permit_list(c, document, confirmed);
    check_open_domains(c, document, confirmed);
    check_open_networks(c, document, confirmed);
    check_certificates(c, document, confirmed);
    check_route_cas(c, document);
}
