/*
 * console/record: rows of the gateway's audit log.
 */
#include <stdlib.h>

#include "console/inner.h"
#include "http/client.h"

enum { RECORD_TIMEOUT_MS = 10000 };

enum pt_err record(struct http_exchange *x, const char *actor, const char *action,
                   const char *target, const char *outcome, const char *detail,
                   struct pt_fault *fault)
{
    struct http_client *client = http_client_new(console_of(x)->socket, RECORD_TIMEOUT_MS);
    json_t *row = json_pack("{s:s, s:s, s:s, s:s}", "action", action, "target", target, "outcome",
                            outcome, "detail", detail);
    char *text = row ? json_dumps(row, JSON_COMPACT) : NULL;
    struct http_reply reply;
    struct voice voice;
    enum pt_err err = PT_ERR_OK;

    voice_speak_for(&voice, x, actor);
    if (!client || !text)
        err = pt_fault_set(fault, PT_ERR_NOMEM, "out of memory");
    if (!err) {
        err = http_client_call(client,
                               &(struct http_call){ .method = "POST",
                                                    .target = "/api/v1/audit",
                                                    .type = "application/json",
                                                    .body = str_of(text),
                                                    .headers = voice.lines },
                               &reply, fault);
        if (!err && reply.status != 201)
            err = pt_fault_set(fault, PT_ERR_DENIED, "the gateway answered %u", reply.status);
        http_reply_done(&reply);
    }
    free(text);
    json_decref(row);
    http_client_free(client);
    return err;
}
