/*
 * console/change: what the changes of accounts and tokens have in common.
 */
#include <stdio.h>

#include "base/log.h"
#include "console/inner.h"

struct str json_text(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);

    return (struct str){ json_string_value(value), json_string_length(value) };
}

void answer_invalid(struct http_exchange *x, const char *pointer, const char *detail)
{
    http_problem_errors(x, 422, "The request cannot be accepted.",
                        json_pack("[{s:s, s:s}]", "pointer", pointer, "detail", detail));
}

bool json_only(struct http_exchange *x, const json_t *object, const char *const *names)
{
    const char *key;
    json_t *value;

    if (!json_is_object(object)) {
        answer_invalid(x, "", "must be an object");
        return false;
    }
    json_object_foreach((json_t *)object, key, value)
    {
        bool known = false;
        char pointer[80];

        for (const char *const *name = names; *name; name++)
            known |= strcmp(*name, key) == 0;
        if (known)
            continue;
        snprintf(pointer, sizeof pointer, "/%s", key);
        answer_invalid(x, pointer, "is not known here");
        return false;
    }
    return true;
}

void answer_fault(struct http_exchange *x, const struct pt_fault *fault)
{
    switch (fault->err) {
    case PT_ERR_EXISTS:
    case PT_ERR_CONFLICT:
    case PT_ERR_TOOBIG:
        http_problem(x, 409, "%s", fault->text);
        return;
    case PT_ERR_INVALID:
        http_problem(x, 422, "%s", fault->text);
        return;
    default:
        log_text(LOG_ERROR, "console", "%s", fault->text);
        http_problem(x, 503, "The accounts cannot be changed; the console's log says why.");
    }
}

bool change_begin(struct http_exchange *x, struct accounts_edit *e)
{
    struct pt_fault fault = { 0 };

    if (accounts_edit_begin(e, console_of(x)->state_directory, &fault) == PT_ERR_OK)
        return true;
    answer_fault(x, &fault);
    return false;
}

bool change_commit(struct http_exchange *x, struct accounts_edit *e, const char *actor,
                   const char *action, const char *target, const char *detail)
{
    struct pt_fault fault = { 0 };

    if (record(x, actor, action, target, "done", detail, &fault) != PT_ERR_OK) {
        accounts_edit_cancel(e);
        http_problem(x, 503, "Not done, because the audit log cannot be written: %s", fault.text);
        return false;
    }
    if (accounts_edit_commit(e, &fault) == PT_ERR_OK)
        return true;
    PT_IGNORE(record(x, actor, action, target, "failed", fault.text, NULL), "it is logged below");
    answer_fault(x, &fault);
    return false;
}
