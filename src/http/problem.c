#include <stdarg.h>
#include <stdio.h>

#include "base/log.h"
#include "http/exchange.h"

static const struct {
    uint16_t status;
    const char *text;
} statuses[] = {
    { 200, "OK" },
    { 201, "Created" },
    { 202, "Accepted" },
    { 204, "No Content" },
    { 303, "See Other" },
    { 304, "Not Modified" },
    { 400, "Bad Request" },
    { 401, "Unauthorized" },
    { 403, "Forbidden" },
    { 404, "Not Found" },
    { 405, "Method Not Allowed" },
    { 408, "Request Timeout" },
    { 409, "Conflict" },
    { 412, "Precondition Failed" },
    { 413, "Content Too Large" },
    { 414, "URI Too Long" },
    { 415, "Unsupported Media Type" },
    { 417, "Expectation Failed" },
    { 421, "Misdirected Request" },
    { 422, "Unprocessable Content" },
    { 428, "Precondition Required" },
    { 429, "Too Many Requests" },
    { 431, "Request Header Fields Too Large" },
    { 500, "Internal Server Error" },
    { 501, "Not Implemented" },
    { 502, "Bad Gateway" },
    { 503, "Service Unavailable" },
    { 505, "HTTP Version Not Supported" },
    { 507, "Insufficient Storage" },
};

const char *http_status_text(unsigned status)
{
    for (size_t i = 0; i < PT_ARRAY_LEN(statuses); i++)
        if (statuses[i].status == status)
            return statuses[i].text;
    return "Unknown";
}

void http_problem_write(struct buf *out, unsigned status, const char *detail)
{
    BUF_LIT(out, "{\"type\":\"about:blank\",\"title\":");
    log_json_string(out, str_of(http_status_text(status)));
    BUF_LIT(out, ",\"status\":");
    buf_add_u64(out, status);
    if (detail && *detail) {
        BUF_LIT(out, ",\"detail\":");
        log_json_string(out, str_of(detail));
    }
    BUF_LIT(out, "}\n");
}

static void start(struct http_exchange *x, unsigned status)
{
    x->response.status = (uint16_t)status;
    x->response.type = "application/problem+json";
    x->response.more = NULL;
    buf_clear(&x->response.body);
}

void http_problem(struct http_exchange *x, unsigned status, const char *fmt, ...)
{
    char detail[512];
    va_list args;

    va_start(args, fmt);
    vsnprintf(detail, sizeof detail, fmt, args);
    va_end(args);
    start(x, status);
    http_problem_write(&x->response.body, status, detail);
}

void http_problem_errors(struct http_exchange *x, unsigned status, const char *detail,
                         json_t *errors)
{
    char *text = errors ? json_dumps(errors, JSON_COMPACT) : NULL;

    start(x, status);
    http_problem_write(&x->response.body, status, detail);
    if (text && x->response.body.n > 2) {
        x->response.body.n -= 2; /* "}\n" */
        BUF_LIT(&x->response.body, ",\"errors\":");
        buf_add_str(&x->response.body, str_of(text));
        BUF_LIT(&x->response.body, "}\n");
    }
    free(text);
    json_decref(errors);
}
