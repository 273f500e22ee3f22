#include "http/client.h"

#include <curl/curl.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/clock.h"
#include "http/socket.h"

struct http_client {
    CURL *curl;
    struct http_unix_path socket;
    char *path;
    unsigned timeout_ms;
    /* of the call under way */
    const struct http_call *call;
    struct http_reply *reply;
    bool stopped; /* by the sink */
    char error[CURL_ERROR_SIZE];
};

struct http_client *http_client_new(const char *socket_path, unsigned timeout_ms)
{
    struct http_client *c = calloc(1, sizeof *c);

    if (!c)
        return NULL;
    c->socket.directory = -1;
    c->timeout_ms = timeout_ms;
    c->path = str_dup(str_of(socket_path));
    c->curl = curl_easy_init();
    if (!c->path || !c->curl) {
        http_client_free(c);
        return NULL;
    }
    return c;
}

void http_client_free(struct http_client *c)
{
    if (!c)
        return;
    if (c->curl)
        curl_easy_cleanup(c->curl);
    http_unix_path_done(&c->socket);
    free(c->path);
    free(c);
}

void http_reply_done(struct http_reply *r)
{
    buf_done(&r->body);
}

json_t *http_reply_json(const struct http_reply *r)
{
    return json_loadb(r->body.p ? r->body.p : "", r->body.n, JSON_REJECT_DUPLICATES, NULL);
}

void http_target_add(struct buf *target, struct str octets)
{
    static const char digits[] = "0123456789ABCDEF";

    for (size_t i = 0; i < octets.n; i++) {
        unsigned char c = (unsigned char)octets.p[i];
        bool plain = (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
                     c == '-' || c == '.' || c == '_' || c == '~';

        if (plain) {
            buf_add_char(target, (char)c);
        } else {
            buf_add_char(target, '%');
            buf_add_char(target, digits[c >> 4]);
            buf_add_char(target, digits[c & 15]);
        }
    }
}

static size_t on_body(char *octets, size_t size, size_t n, void *ctx)
{
    struct http_client *c = ctx;
    long status = 0;

    curl_easy_getinfo(c->curl, CURLINFO_RESPONSE_CODE, &status);
    if (c->call->sink && status == 200) {
        if (c->call->sink(c->call->sink_ctx, (struct str){ octets, size * n }))
            return size * n;
        c->stopped = true;
        return 0;
    }
    buf_add(&c->reply->body, octets, size * n);
    return c->reply->body.failed ? 0 : size * n;
}

static void keep(char *out, size_t room, struct str value)
{
    value = str_trim(value);
    if (value.n < room) {
        memcpy(out, value.p, value.n);
        out[value.n] = 0;
    }
}

static size_t on_header(char *octets, size_t size, size_t n, void *ctx)
{
    struct http_client *c = ctx;
    struct str line = { octets, size * n };
    ptrdiff_t colon = str_find(line, ':', 0);
    struct str name, value;

    if (colon < 0)
        return size * n;
    name = str_head(line, (size_t)colon);
    value = str_from(line, (size_t)colon + 1);
    if (str_eq_nocase(name, STR("etag"))) {
        keep(c->reply->etag, sizeof c->reply->etag, value);
    } else if (str_eq_nocase(name, STR("content-type"))) {
        ptrdiff_t semicolon = str_find(value, ';', 0);

        keep(c->reply->type, sizeof c->reply->type,
             semicolon < 0 ? value : str_head(value, (size_t)semicolon));
    }
    return size * n;
}

static struct curl_slist *add_header(struct curl_slist *list, const char *name, const char *value,
                                     bool *failed)
{
    char line[256];
    struct curl_slist *longer;

    snprintf(line, sizeof line, "%s: %s", name, value);
    longer = curl_slist_append(list, line);
    *failed |= !longer;
    return longer ? longer : list;
}

static void set_options(struct http_client *c, const char *url, struct curl_slist *headers)
{
    const struct http_call *call = c->call;
    CURL *h = c->curl;

    curl_easy_reset(h);
    curl_easy_setopt(h, CURLOPT_URL, url);
    curl_easy_setopt(h, CURLOPT_UNIX_SOCKET_PATH, c->socket.path);
    curl_easy_setopt(h, CURLOPT_PROXY, "");
    curl_easy_setopt(h, CURLOPT_PROTOCOLS_STR, "http");
    curl_easy_setopt(h, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(h, CURLOPT_PATH_AS_IS, 1L);
    curl_easy_setopt(h, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(h, CURLOPT_CONNECTTIMEOUT_MS, (long)c->timeout_ms);
    curl_easy_setopt(h, CURLOPT_ERRORBUFFER, c->error);
    if (strcmp(call->method, "HEAD") == 0)
        curl_easy_setopt(h, CURLOPT_NOBODY, 1L);
    if (!call->sink)
        curl_easy_setopt(h, CURLOPT_TIMEOUT_MS, (long)c->timeout_ms);
    curl_easy_setopt(h, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(h, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(h, CURLOPT_WRITEDATA, c);
    curl_easy_setopt(h, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(h, CURLOPT_HEADERDATA, c);
    if (call->type) {
        curl_easy_setopt(h, CURLOPT_POSTFIELDS, call->body.p ? call->body.p : "");
        curl_easy_setopt(h, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)call->body.n);
    }
    curl_easy_setopt(h, CURLOPT_CUSTOMREQUEST, call->method);
}

/* What came of a transfer, or of its head. */
static enum pt_err judge(struct http_client *c, CURLcode code, struct pt_fault *fault)
{
    long status = 0, sys_errno = 0;

    if (code == CURLE_COULDNT_CONNECT)
        curl_easy_getinfo(c->curl, CURLINFO_OS_ERRNO, &sys_errno);
    if (sys_errno == EACCES || sys_errno == EPERM)
        return pt_fault_set(fault, PT_ERR_DENIED,
                            "not allowed to use %s: be root, or the user of the service", c->path);
    if (code == CURLE_COULDNT_CONNECT)
        return pt_fault_set(fault, PT_ERR_CLOSED, "cannot reach the gateway at %s: is it running?",
                            c->path);
    if (code == CURLE_OPERATION_TIMEDOUT)
        return pt_fault_set(fault, PT_ERR_TIMEOUT, "no answer at %s within %u ms", c->path,
                            c->timeout_ms);
    if (c->stopped)
        return pt_fault_set(fault, PT_ERR_CLOSED, "stopped");
    if (c->reply->body.failed)
        return pt_fault_set(fault, PT_ERR_TOOBIG, "the answer at %s is too large", c->path);
    if (code != CURLE_OK)
        return pt_fault_set(fault, PT_ERR_IO, "no whole answer at %s: %s", c->path,
                            c->error[0] ? c->error : curl_easy_strerror(code));
    curl_easy_getinfo(c->curl, CURLINFO_RESPONSE_CODE, &status);
    c->reply->status = (unsigned)status;
    return PT_ERR_OK;
}

static enum pt_err perform(struct http_client *c, struct pt_fault *fault)
{
    c->error[0] = 0;
    c->stopped = false;
    return judge(c, curl_easy_perform(c->curl), fault);
}

/* Everything up to the transfer itself; `*out_headers` are to be freed behind it. */
static enum pt_err prepare(struct http_client *c, const struct http_call *call,
                           struct curl_slist **out_headers, struct pt_fault *fault)
{
    struct curl_slist *headers = NULL;
    struct buf url;
    bool failed = false;
    enum pt_err err = PT_ERR_OK;

    buf_init(&url, 64 * 1024);
    c->call = call;
    if (!c->socket.path[0])
        err = http_unix_path_open(&c->socket, c->path, fault);
    if (err == PT_ERR_NOTFOUND)
        err = pt_fault_set(fault, PT_ERR_CLOSED, "cannot reach the gateway at %s: is it running?",
                           c->path);
    headers = add_header(headers, "Expect", "", &failed);
    headers = add_header(headers, "Accept", call->accept ? call->accept : "*/*", &failed);
    if (call->type)
        headers = add_header(headers, "Content-Type", call->type, &failed);
    if (call->if_match)
        headers = add_header(headers, "If-Match", call->if_match, &failed);
    if (call->client)
        headers = add_header(headers, "Postern-Client", call->client, &failed);
    for (const char *const *line = call->headers; line && *line; line++) {
        struct curl_slist *longer = curl_slist_append(headers, *line);

        failed |= !longer;
        headers = longer ? longer : headers;
    }
    BUF_LIT(&url, "http://localhost");
    buf_add_str(&url, str_of(call->target));
    if (!err && (failed || url.failed || !buf_cstr(&url)))
        err = pt_fault_set(fault, PT_ERR_NOMEM, "out of memory");
    if (!err)
        set_options(c, buf_cstr(&url), headers);
    buf_done(&url);
    *out_headers = headers;
    return err;
}

static void start_reply(struct http_client *c, struct http_reply *out)
{
    memset(out, 0, sizeof *out);
    buf_init(&out->body, HTTP_REPLY_MAX);
    c->reply = out;
}

enum pt_err http_client_call(struct http_client *c, const struct http_call *call,
                             struct http_reply *out, struct pt_fault *fault)
{
    struct curl_slist *headers;
    enum pt_err err;

    start_reply(c, out);
    err = prepare(c, call, &headers, fault);
    if (!err)
        err = perform(c, fault);
    curl_slist_free_all(headers);
    if (err) {
        http_reply_done(out);
        start_reply(c, out);
    }
    return err;
}
