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
    json_t *v = json_object();
    char detail[160];

    api_json_set(&v, "line", json_integer(r->line));
    api_json_set(&v, "text", api_json_str(str_head(r->text, 200)));
    if (!r->reason) {
        api_json_set(&v, "domain", json_string(r->domain));
        api_json_set(&v, "normalised", json_boolean(r->normalised));
        api_json_set(&v, "covered", json_boolean(r->covered));
        return v;
    }
    snprintf(detail, sizeof detail, "/%u", r->line - 1);
    api_json_set(&v, "pointer", json_string(detail));
    api_json_set(&v, "reason", json_string(r->reason));
    snprintf(detail, sizeof detail, "line %u: %s", r->line, r->reason);
    api_json_set(&v, "detail", json_string(detail));
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

static void refuse_import(struct http_exchange *x, const struct settings_domain_import *import)
{
    uint32_t n = import->counts.errors, at = 0;
    struct settings_domain_remark first = { .line = 0, .reason = "" };
    char detail[300];

    PT_IGNORE(settings_domain_import_error(import, &at, &first), "there is one");
    snprintf(detail, sizeof detail,
             "%u line%s of the file cannot be read, and nothing was imported. The first is line "
             "%u: %s.",
             n, n == 1 ? "" : "s", first.line, first.reason);
    http_problem_errors(x, 422, detail, remarks_json(import, settings_domain_import_error));
    api_list_refused(x, detail);
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
        refuse_import(x, &import);
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
