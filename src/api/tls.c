/*
 * api/tls: certificates are uploaded (which checks and stages them), shown and removed, and what is
 * served is shown beside what is configured. Naming one in the settings puts it into force.
 *
 * Private keys come in and never go out. What held one is wiped before it is freed.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/resources.h"

/* ---- telling ---- */

static json_t *texts_json(const char *const *texts, uint32_t count)
{
    json_t *list = json_array();

    for (uint32_t i = 0; i < count; i++)
        api_json_add(&list, api_json_str(str_of(texts[i])));
    return list;
}

static json_t *findings_json(const struct tls_findings *f)
{
    json_t *list = json_array();

    for (uint32_t i = 0; i < f->count; i++) {
        const struct tls_finding *one = &f->items[i];
        json_t *v = json_object();

        api_json_set(&v, "severity", json_string(one->error ? "error" : "warning"));
        api_json_set(&v, "code", json_string(one->code));
        api_json_set(&v, "field", json_string(tls_field_name(one->field)));
        api_json_set(&v, "detail", api_json_str(str_of(one->text)));
        api_json_set(&v, "remedy", api_json_str(str_of(one->remedy)));
        api_json_add(&list, v);
    }
    return list;
}

static void info_json(json_t **v, const struct tls_certificate_info *i)
{
    api_json_set(v, "subject", api_json_str(str_of(i->subject)));
    api_json_set(v, "names", texts_json(i->names, i->name_count));
    api_json_set(v, "issuer", api_json_str(str_of(i->issuer)));
    api_json_set(v, "serial", api_json_str(str_of(i->serial)));
    api_json_set(v, "not_before", api_json_time(i->not_before_us));
    api_json_set(v, "not_after", api_json_time(i->not_after_us));
    api_json_set(v, "key_type", json_string(i->key_type));
    api_json_set(v, "chain", texts_json(i->chain, i->chain_count));
    api_json_set(v, "fingerprint", json_string(i->fingerprint));
    api_json_set(v, "self_signed", json_boolean(i->self_signed));
}

json_t *api_certificate_info_json(const struct tls_certificate_info *i)
{
    json_t *v = json_object();

    info_json(&v, i);
    return v;
}

static json_t *certificate_json(const struct api_certificate *c)
{
    json_t *v = json_object();

    api_json_set(&v, "id", json_string(c->id));
    api_json_set(&v, "kind", json_string(c->ca ? "ca" : "server"));
    api_json_set(&v, "uploaded", api_json_time(c->uploaded_us));
    api_json_set(&v, "in_use", json_boolean(c->in_use));
    if (c->info)
        info_json(&v, c->info);
    api_json_set(&v, "findings", findings_json(c->findings));
    return v;
}

/* ---- what was sent ---- */

static const char *const members[] = { "certificate", "private_key", "ca_certificate",
                                       "passphrase" };

static void add_error(json_t **errors, const char *key, const char *detail)
{
    json_t *error = json_object();
    char pointer[80];

    snprintf(pointer, sizeof pointer, "/%s", key);
    api_json_set(&error, "pointer", api_json_str(str_of(pointer)));
    api_json_set(&error, "detail", api_json_str(str_of(detail)));
    api_json_add(errors, error);
}

static bool is_member(const char *key)
{
    for (size_t i = 0; i < PT_ARRAY_LEN(members); i++)
        if (strcmp(key, members[i]) == 0)
            return true;
    return false;
}

/* False: answered. `confirm` may stand beside it where it is put into force too. */
static bool read_upload(struct http_exchange *x, json_t *body, bool confirm, struct tls_upload *out)
{
    struct str *const places[] = { &out->certificate, &out->private_key, &out->ca_certificate,
                                   &out->passphrase };
    json_t *errors = json_array(), *value;
    const char *key;

    *out = (struct tls_upload){ .certificate = STR_NULL };
    json_object_foreach(body, key, value)
    {
        if (confirm && strcmp(key, "confirm") == 0)
            continue;
        if (!is_member(key))
            add_error(&errors, key, "is not known here");
        else if (!json_is_string(value) && !json_is_null(value))
            add_error(&errors, key, "must be a string: PEM, or DER in base64");
    }
    for (size_t i = 0; i < PT_ARRAY_LEN(places); i++) {
        value = json_object_get(body, members[i]);
        if (json_is_string(value))
            *places[i] = (struct str){ json_string_value(value), json_string_length(value) };
    }
    if (json_array_size(errors) == 0 && !out->certificate.p && !out->private_key.p &&
        !out->ca_certificate.p)
        add_error(&errors, "certificate", "is missing, and so is everything else");
    if (json_array_size(errors)) {
        http_problem_errors(x, 422, "This is no upload of a certificate.", errors);
        return false;
    }
    json_decref(errors);
    return true;
}

/* The secrets in a parsed body, and in the request it came from. */
static void wipe(struct http_exchange *x, json_t *body)
{
    struct str raw = x->request->body;

    for (size_t i = 0; i < PT_ARRAY_LEN(members); i++) {
        json_t *value = json_object_get(body, members[i]);

        if (json_is_string(value))
            explicit_bzero((char *)json_string_value(value), json_string_length(value));
    }
    if (raw.n)
        explicit_bzero((char *)raw.p, raw.n);
}

static void answer_findings(struct http_exchange *x, const struct tls_findings *f)
{
    json_t *errors = json_array();

    for (uint32_t i = 0; i < f->count; i++) {
        char detail[sizeof f->items[i].text + sizeof f->items[i].remedy + 2];

        if (!f->items[i].error)
            continue;
        snprintf(detail, sizeof detail, "%s %s", f->items[i].text, f->items[i].remedy);
        add_error(&errors, tls_field_name(f->items[i].field), detail);
    }
    http_problem_errors(x, 422, "The upload cannot be used.", errors);
}

/* ---- uploading ---- */

struct collected {
    json_t *items;
};

static bool collect(void *user, const struct api_certificate *c)
{
    api_json_add(&((struct collected *)user)->items, certificate_json(c));
    return true;
}

/* Checks and stages; the ID is in `id`, what was found in `out_findings`. With `out_confirm` that
 * member may be in the request, and is taken from it. False: answered. */
static bool stage(struct http_exchange *x, char id[TLS_ID_SIZE], json_t **out_findings,
                  json_t **out_confirm)
{
    struct api *a = api_of(x);
    json_t *body = http_exchange_json(x, NULL);
    struct tls_findings *findings = calloc(1, sizeof *findings);
    struct pt_fault fault = { 0 };
    struct tls_upload upload;
    bool good = body && findings && read_upload(x, body, out_confirm != NULL, &upload);
    uint64_t audit;

    if (body && !findings)
        api_problem(x, PT_ERR_NOMEM, NULL);
    if (good && (good = api_audit_begin(x, "tls.upload", STR(""), &audit))) {
        enum pt_err err = a->deps.tls_upload(a->deps.ctx, &upload, findings, id, &fault);

        api_audit_end(x, audit, err,
                      err == PT_ERR_OK  ? str_of(id)
                      : findings->count ? str_of(findings->items[0].text)
                                        : str_of(fault.text));
        good = err == PT_ERR_OK;
        if (err == PT_ERR_INVALID)
            answer_findings(x, findings);
        else if (err != PT_ERR_OK)
            api_problem(x, err, fault.text);
    }
    *out_findings = good ? findings_json(findings) : NULL;
    if (out_confirm)
        *out_confirm = json_incref(json_object_get(body, "confirm"));
    wipe(x, body);
    json_decref(body);
    free(findings);
    return good;
}

/* As it is listed, but with all that was found in the upload. Takes the reference. */
static enum pt_err show_staged(struct api *a, const char *id, json_t *findings, struct collected *c,
                               struct pt_fault *fault)
{
    enum pt_err err = a->deps.tls_each(a->deps.ctx, str_of(id), collect, c, fault);

    if (err == PT_ERR_OK)
        json_object_set(json_array_get(c->items, 0), "findings", findings);
    json_decref(findings);
    return err;
}

static void upload_job(struct http_exchange *x)
{
    struct api *a = api_of(x);
    struct collected c = { .items = json_array() };
    struct pt_fault fault = { 0 };
    char id[TLS_ID_SIZE], location[80];
    json_t *findings;
    enum pt_err err;

    if (stage(x, id, &findings, NULL)) {
        err = show_staged(a, id, findings, &c, &fault);
        if (err == PT_ERR_OK) {
            snprintf(location, sizeof location, "/api/v1/tls/certificates/%s", id);
            http_header_add(x, "Location", location);
            http_answer_json(x, 201, json_incref(json_array_get(c.items, 0)));
        } else {
            api_problem(x, err, fault.text);
        }
    }
    json_decref(c.items);
}

void api_certificates_post(struct http_exchange *x)
{
    api_job(x, upload_job);
}

/* ---- showing and removing ---- */

static void list_job(struct http_exchange *x)
{
    struct api *a = api_of(x);
    struct collected c = { .items = json_array() };
    struct pt_fault fault = { 0 };
    enum pt_err err = a->deps.tls_each(a->deps.ctx, STR_NULL, collect, &c, &fault);

    if (err != PT_ERR_OK) {
        json_decref(c.items);
        api_problem(x, err, fault.text);
        return;
    }
    http_answer_json(x, 200, api_json_list(c.items, NULL, json_array_size(c.items)));
}

void api_certificates_get(struct http_exchange *x)
{
    api_job(x, list_job);
}

static void answer_missing(struct http_exchange *x, enum pt_err err, const struct pt_fault *fault)
{
    if (err == PT_ERR_NOTFOUND)
        http_problem(x, 404, "There is no such certificate.");
    else if (err == PT_ERR_BUSY)
        http_problem(x, 409, "%s", fault->text);
    else
        api_problem(x, err, fault->text);
}

static void show_job(struct http_exchange *x)
{
    struct api *a = api_of(x);
    struct collected c = { .items = json_array() };
    struct pt_fault fault = { 0 };
    enum pt_err err =
        a->deps.tls_each(a->deps.ctx, http_exchange_param(x, "id"), collect, &c, &fault);

    if (err == PT_ERR_OK)
        http_answer_json(x, 200, json_incref(json_array_get(c.items, 0)));
    else
        answer_missing(x, err, &fault);
    json_decref(c.items);
}

void api_certificate_get(struct http_exchange *x)
{
    api_job(x, show_job);
}

static void delete_job(struct http_exchange *x)
{
    struct api *a = api_of(x);
    struct str id = http_exchange_param(x, "id");
    struct pt_fault fault = { 0 };
    uint64_t audit;
    enum pt_err err;

    if (!api_audit_begin(x, "tls.delete", id, &audit))
        return;
    err = a->deps.tls_remove(a->deps.ctx, id, &fault);
    api_audit_end(x, audit, err, str_of(fault.text));
    if (err == PT_ERR_OK)
        http_answer_empty(x, 204);
    else
        answer_missing(x, err, &fault);
}

void api_certificate_delete(struct http_exchange *x)
{
    api_job(x, delete_job);
}

/* ---- what is configured, and what is served ---- */

static json_t *served_json(const struct api_served *served)
{
    json_t *v = json_object();

    api_json_set(&v, "address", json_string(served->address));
    api_json_set(&v, "implicit", json_boolean(served->implicit));
    api_json_set(&v, "key_type", served->kind ? json_string(served->kind) : json_null());
    api_json_set(&v, "error", served->error[0] ? api_json_str(str_of(served->error)) : json_null());
    api_json_set(&v, "starttls", json_boolean(served->starttls));
    if (served->info) {
        api_json_set(&v, "version", json_string(served->version));
        api_json_set(&v, "cipher", json_string(served->cipher));
        api_json_set(&v, "certificate", api_certificate_info_json(served->info));
    } else {
        api_json_set(&v, "certificate", json_null());
    }
    return v;
}

struct told {
    json_t *first, *others;
    char alarm[sizeof((struct api_served *)0)->alarm];
    bool unknown;
};

static void tell_served(void *user, const struct api_served *served)
{
    struct told *t = user;

    if (t->first)
        api_json_add(&t->others, served_json(served));
    else
        t->first = served_json(served);
    if (!t->alarm[0])
        memcpy(t->alarm, served->alarm, sizeof served->alarm);
    t->unknown |= served->unknown;
}

/* "matches" is null where nothing can be said: our own address is refused. */
static void add_served(json_t **answer, struct told *t)
{
    api_json_set(answer, "served", t->first ? t->first : json_null());
    api_json_set(answer, "also_served", t->others);
    api_json_set(answer, "matches",
                 t->unknown ? json_null() : json_boolean(t->first && t->alarm[0] == 0));
    api_json_set(answer, "alarm", t->alarm[0] ? api_json_str(str_of(t->alarm)) : json_null());
}

static json_t *configured_json(struct http_exchange *x, const struct settings *s)
{
    struct api *a = api_of(x);
    json_t *v = json_object();
    struct collected c = { .items = json_array() };

    api_json_set(&v, "incoming", json_boolean(s->tls.incoming));
    api_json_set(&v, "incoming_required", json_boolean(s->tls.incoming_required));
    api_json_set(&v, "implicit_port",
                 s->tls.implicit_port ? json_integer(s->tls.implicit_port) : json_null());
    for (uint32_t i = 0; i < s->tls.certificate_count; i++)
        PT_IGNORE(a->deps.tls_each(a->deps.ctx, str_of(s->tls.certificates[i]), collect, &c, NULL),
                  "one that is gone is what the alarm is about");
    api_json_set(&v, "certificates", c.items);
    return v;
}

static void server_job(struct http_exchange *x)
{
    struct api *a = api_of(x);
    struct settings *s = a->deps.settings_current(a->deps.ctx);
    struct told t = { .others = NULL };
    json_t *answer;

    if (!s) {
        http_problem(x, 503, "No settings are in force: those that are stored cannot be used.");
        return;
    }
    answer = json_object();
    t.others = json_array();
    api_json_set(&answer, "configured", configured_json(x, s));
    a->deps.tls_served(a->deps.ctx, tell_served, &t);
    add_served(&answer, &t);
    http_answer_json(x, 200, answer);
    settings_unref(s);
}

void api_tls_server_get(struct http_exchange *x)
{
    api_job(x, server_job);
}

/* ---- uploaded and put into force in one step ---- */

/* "ECDSA" of "ECDSA P-256". */
static struct str kind_of_key(const json_t *certificate)
{
    struct str type = str_of(json_string_value(json_object_get(certificate, "key_type")));
    ptrdiff_t space = str_find(type, ' ', 0);

    return space < 0 ? type : str_head(type, (size_t)space);
}

/* What the settings name from now on. A list with one certificate per key type keeps the others;
 * a single one is replaced whatever its key. NULL: memory is short. */
static json_t *named_from_now(struct http_exchange *x, const struct settings *s, const char *id,
                              const json_t *certificate)
{
    struct api *a = api_of(x);
    json_t *list;

    if (s->tls.certificate_count < 2)
        return json_string(id);
    list = json_pack("[s]", id);
    for (uint32_t i = 0; list && i < s->tls.certificate_count; i++) {
        struct str other = str_of(s->tls.certificates[i]);
        struct collected c = { .items = json_array() };

        if (!str_eq(other, str_of(id)) &&
            a->deps.tls_each(a->deps.ctx, other, collect, &c, NULL) == PT_ERR_OK &&
            !str_eq(kind_of_key(json_array_get(c.items, 0)), kind_of_key(certificate)))
            api_json_add(&list, json_string(other.p));
        json_decref(c.items);
    }
    return list;
}

/* The document in force with that certificate; the caller frees it. NULL: answered. */
static char *document_with(struct http_exchange *x, const struct settings *s, json_t *named,
                           json_t *confirm)
{
    json_t *patch =
        named ? json_pack("{s:{s:{s:o}}}", "connections", "tls", "certificate", named) : NULL;
    char *base = settings_document_to_store(s), *text = NULL, *document = NULL;
    struct settings_errors errors;

    settings_errors_init(&errors);
    if (confirm)
        api_json_set(&patch, "confirm", json_incref(confirm));
    if (patch)
        text = json_dumps(patch, JSON_COMPACT);
    if (!base || !text ||
        settings_merge_patch(str_of(base), str_of(text), &document, &errors) != PT_ERR_OK)
        api_problem(x, PT_ERR_NOMEM, NULL);
    settings_errors_done(&errors);
    json_decref(patch);
    free(text);
    free(base);
    return document;
}

static void install(struct http_exchange *x, const struct settings *s, const char *id,
                    json_t *certificate, json_t *confirm)
{
    struct api_change change = { .stored_form = true, .comment = STR("certificate installed") };
    char *document;

    if (!api_if_match(x, s->revision, &change.expected))
        return;
    change.expected = s->revision;
    document = document_with(x, s, named_from_now(x, s, id, certificate), confirm);
    if (!document)
        return;
    change.document = str_of(document);
    api_settings_change(x, &change,
                        json_pack("{s:O, s:b}", "certificate", certificate, "offered",
                                  s->tls.incoming || s->tls.implicit_port),
                        false);
    free(document);
}

static void install_job(struct http_exchange *x)
{
    struct api *a = api_of(x);
    struct settings *s = NULL;
    json_t *findings, *confirm = NULL;
    struct collected c = { .items = json_array() };
    struct pt_fault fault = { 0 };
    char id[TLS_ID_SIZE];
    enum pt_err err;

    if (stage(x, id, &findings, &confirm)) {
        err = show_staged(a, id, findings, &c, &fault);
        s = a->deps.settings_current(a->deps.ctx);
        if (err != PT_ERR_OK)
            api_problem(x, err, fault.text);
        else if (!s)
            http_problem(x, 503, "No settings are in force: those that are stored cannot be used.");
        else
            install(x, s, id, json_array_get(c.items, 0), confirm);
    }
    settings_unref(s);
    json_decref(confirm);
    json_decref(c.items);
}

void api_tls_server_put(struct http_exchange *x)
{
    api_job(x, install_job);
}
