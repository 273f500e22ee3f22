/*
 * api/domains: the relay domains from a file. Read they are as the other lists, in lists.c.
 */
#include <malloc.h>
#include <stdio.h>

#include "api/resources.h"
#include "settings/domain_file.h"

enum { REMARKS_MAX = 1000 };

static json_t *remark_json(const struct settings_domain_remark *r)
{
    json_t *v = api_list_line(r->line, r->text, r->reason);

    if (!r->reason) {
        api_json_set(&v, "domain", json_string(r->domain));
        api_json_set(&v, "normalised", json_boolean(r->normalised));
        api_json_set(&v, "covered", json_boolean(r->covered));
    }
    return v;
}

typedef bool next_fn(const struct settings_domain_import *import, uint32_t *at,
                     struct settings_domain_remark *out);

static json_t *remarks_json(const struct settings_domain_import *import, next_fn *next)
{
    struct settings_domain_remark r;
    json_t *list = json_array();
    uint32_t at = 0;

    for (unsigned n = 0; n < REMARKS_MAX && next(import, &at, &r); n++)
        api_json_add(&list, remark_json(&r));
    return list;
}

static json_t *report_json(const struct settings_domain_import *import)
{
    const struct settings_domain_counts *c = &import->counts;
    json_t *v = json_object();

    api_json_set(&v, "added", json_integer(c->added));
    api_json_set(&v, "duplicate", json_integer(c->duplicate));
    api_json_set(&v, "normalised", json_integer(c->normalised));
    api_json_set(&v, "covered", json_integer(c->covered));
    api_json_set(&v, "error_count", json_integer(c->errors));
    api_json_set(&v, "errors", remarks_json(import, settings_domain_import_error));
    api_json_set(&v, "remarks", remarks_json(import, settings_domain_import_remark));
    return v;
}

static unsigned confirmed_by_query(const struct http_exchange *x)
{
    return str_eq(http_exchange_query(x, "confirm"), STR("open_relay"))
               ? SETTINGS_CONFIRM_OPEN_RELAY
               : 0;
}

static void try_import(struct http_exchange *x, const struct api_list_change *by)
{
    const struct settings *s = policy_snapshot_settings(by->snap);
    bool replace = http_exchange_query_flag(x, "replace");
    struct settings_domain_import import;
    char comment[120];
    enum pt_err err =
        settings_domain_import(s->message_rules.relay_domains, x->request->body, replace,
                               http_exchange_query_flag(x, "valid_only"), &import);

    if (err) {
        api_problem(x, err, NULL);
        return;
    }
    if (import.list) {
        snprintf(comment, sizeof comment, "relay domains: %s %u from a file",
                 replace ? "replaced by" : "added", import.counts.added);
        api_list_change(x, by, import.list, confirmed_by_query(x), comment, report_json(&import));
    } else {
        api_list_refuse_file(x, import.counts.errors,
                             remarks_json(&import, settings_domain_import_error));
    }
    settings_domain_import_done(&import);
    PT_IGNORE(malloc_trim(0), "a large file has left much behind");
}

static void import_job(struct http_exchange *x)
{
    struct str word = http_exchange_query(x, "confirm");

    if (word.p && !confirmed_by_query(x))
        http_problem(x, 400, "confirm must be open_relay.");
    else if (api_list_is_text(x))
        api_list_change_with(x, try_import);
}

void api_domains_import(struct http_exchange *x)
{
    api_job(x, import_job);
}
