#include "settings/json.h"

#include "settings/errors.h"

/* The library's text may hold octets of the input. */
static void make_printable(char *text)
{
    for (; *text; text++)
        if ((unsigned char)*text < 0x20 || *text == 0x7F)
            *text = '?';
}

enum pt_err settings_json_read(struct str text, const char *what, json_t **out,
                               struct settings_errors *errors)
{
    static const struct str mark = { "\xEF\xBB\xBF", 3 };
    json_error_t error = { 0 };
    json_t *value;

    if (text.n > SETTINGS_DOCUMENT_MAX) {
        settings_errors_add(errors, SETTINGS_ERROR, "", "%s is larger than %u octets", what,
                            SETTINGS_DOCUMENT_MAX);
        return PT_ERR_INVALID;
    }
    if (text.n >= mark.n && str_eq(str_head(text, mark.n), mark))
        text = str_from(text, mark.n);
    value = json_loadb(text.n ? text.p : "", text.n, JSON_REJECT_DUPLICATES, &error);
    if (value) {
        *out = value;
        return PT_ERR_OK;
    }
    /* The library says why it refuses a text; it is silent when it could not go on. */
    if (json_error_code(&error) == json_error_out_of_memory || !error.text[0])
        return PT_ERR_NOMEM;
    make_printable(error.text);
    errors->line = error.line > 0 ? (uint32_t)error.line : 1;
    errors->column = error.column > 0 ? (uint32_t)error.column : 1;
    settings_errors_add(errors, SETTINGS_ERROR, "", "%s is no JSON: %s", what, error.text);
    return PT_ERR_INVALID;
}
