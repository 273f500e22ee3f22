/*
 * A settings document from anybody: refused with errors, or taken; and what is taken is the same
 * when its own normalised document is read, merged with nothing, or printed for people.
 */
#include <stdlib.h>

#include "fuzz.h"
#include "settings/schema.h"

static const struct settings_host host = {
    .hostname = "gw.example.com",
    .now_us = 1700000000000000,
};

static void check_errors(const struct settings_errors *e)
{
    struct buf out;

    pt_assert(e->error_count > 0);
    for (uint32_t i = 0; i < e->error_count; i++) {
        pt_assert(e->errors[i].pointer[0] == 0 || e->errors[i].pointer[0] == '/');
        pt_assert(e->errors[i].detail[0]);
    }
    buf_init(&out, 16 << 20);
    settings_errors_write(e, &out);
    for (size_t i = 0; i < out.n; i++)
        pt_assert((unsigned char)out.p[i] >= 0x20 || out.p[i] == '\n');
    buf_done(&out);
}

static void check_again(const struct settings *s, const char *document, const char *want)
{
    struct settings_host confirmed = host;
    struct settings_errors errors;
    struct settings *again;

    settings_errors_init(&errors);
    confirmed.confirmed = settings_hazards(s);
    pt_assert(settings_parse(document, strlen(document), &confirmed, &again, &errors) == PT_ERR_OK);
    pt_assert(strcmp(again->document, want) == 0);
    settings_unref(again);
    settings_errors_done(&errors);
}

static void check_value(const struct settings *s)
{
    struct settings_errors errors;
    struct buf pretty;
    char *text;

    settings_errors_init(&errors);
    pt_assert(s->identity.hostname[0] && s->interface.port > 0);
    check_again(s, s->document, s->document);
    text = settings_document_to_store(s);
    pt_assert(text);
    check_again(s, text, s->document);
    free(text);
    pt_assert(settings_merge_patch(str_of(s->document), STR("{}"), &text, &errors) == PT_ERR_OK);
    pt_assert(strcmp(text, s->document) == 0);
    free(text);
    buf_init(&pretty, 256 << 20);
    pt_assert(settings_document_pretty(str_of(s->document), &pretty) == PT_ERR_OK);
    check_again(s, buf_cstr(&pretty), s->document);
    buf_done(&pretty);
    PT_IGNORE(settings_route_for(s, STR("a.example.com")), "it may not crash");
    settings_errors_done(&errors);
}

int LLVMFuzzerTestOneInput(const uint8_t *octets, size_t n)
{
    struct settings_errors errors;
    struct settings *s;

    settings_errors_init(&errors);
    if (settings_parse((const char *)octets, n, &host, &s, &errors) == PT_ERR_OK) {
        check_value(s);
        settings_unref(s);
    } else {
        check_errors(&errors);
    }
    settings_errors_done(&errors);
    return 0;
}
