/*
 * api/tls_check: what a delivery to a next hop would find.
 */
#include "api/resources.h"

static json_t *text_or_null(const char *text)
{
    return text && *text ? api_json_str(str_of(text)) : json_null();
}

static json_t *demand_json(const struct api_tls_demand *d)
{
    json_t *v = json_object();

    api_json_set(&v, "domain", text_or_null(d->domain));
    api_json_set(&v, "tls", json_string(d->tls));
    api_json_set(&v, "ca", text_or_null(d->ca));
    api_json_set(&v, "met", json_boolean(d->met));
    api_json_set(&v, "detail", text_or_null(d->detail));
    return v;
}

static void tell(void *user, const struct api_tls_check *seen)
{
    json_t **v = user, *demands = json_array();
    bool met = true;

    for (uint32_t i = 0; i < seen->demand_count; i++) {
        met = met && seen->demands[i].met;
        api_json_add(&demands, demand_json(&seen->demands[i]));
    }
    api_json_set(v, "host", api_json_str(str_of(seen->host)));
    api_json_set(v, "port", json_integer(seen->port));
    api_json_set(v, "address", json_string(seen->address));
    api_json_set(v, "connected", json_boolean(seen->connected));
    api_json_set(v, "starttls", json_boolean(seen->starttls));
    api_json_set(v, "secured", json_boolean(seen->secured));
    api_json_set(v, "version", text_or_null(seen->version));
    api_json_set(v, "cipher", text_or_null(seen->cipher));
    api_json_set(v, "verified", json_boolean(seen->verified));
    api_json_set(v, "unverified", text_or_null(seen->unverified));
    api_json_set(v, "error", text_or_null(seen->error));
    api_json_set(v, "certificate",
                 seen->certificate ? api_certificate_info_json(seen->certificate) : json_null());
    api_json_set(v, "demands", demands);
    api_json_set(v, "met", json_boolean(met));
}

/* NULL: answered. */
static json_t *read_request(struct http_exchange *x)
{
    json_t *body = http_exchange_json(x, NULL), *hop = json_object_get(body, "next_hop"),
           *domain = json_object_get(body, "domain");
    const char *wrong = !json_is_string(hop)                ? "/next_hop"
                        : domain && !json_is_string(domain) ? "/domain"
                                                            : NULL;

    if (body && !wrong && json_object_size(body) == 1 + (domain != NULL))
        return body;
    if (body)
        http_problem_errors(x, 422, "The body must be { \"next_hop\": …, \"domain\"?: … }.",
                            json_pack("[{s:s, s:s}]", "pointer", wrong ? wrong : "", "detail",
                                      wrong ? "must be a string" : "has an unknown member"));
    json_decref(body);
    return NULL;
}

static void check_job(struct http_exchange *x)
{
    struct api *a = api_of(x);
    json_t *body = read_request(x), *answer;
    const char *domain = json_string_value(json_object_get(body, "domain"));
    struct pt_fault fault = { .err = PT_ERR_OK };
    enum pt_err err;

    if (!body)
        return;
    answer = json_object();
    err =
        a->deps.tls_check(a->deps.ctx, str_of(json_string_value(json_object_get(body, "next_hop"))),
                          domain ? str_of(domain) : STR(""), tell, &answer, &fault);
    if (err == PT_ERR_OK)
        http_answer_json(x, 200, json_incref(answer));
    else if (err == PT_ERR_INVALID)
        http_problem_errors(
            x, 422, "That is no next hop.",
            json_pack("[{s:s, s:s}]", "pointer", "/next_hop", "detail", fault.text));
    else
        api_problem(x, err, fault.text);
    json_decref(answer);
    json_decref(body);
}

void api_tls_check(struct http_exchange *x)
{
    api_job(x, check_job);
}
