#pragma once
#include "api/api.h"

/*
 * A gateway for the API's tests: settings in a real store, three messages, everything else as the
 * test sets it. One at a time.
 */

struct fake_gateway {
    struct settings_pending pending;
    char directory[256];
    char socket[300];
    struct api_status status;
    /* What settings_apply() does beyond validating: OK, or how a participant fails. */
    bool no_settings; /* in force */
    enum pt_err participant;
    const char *participant_pointer;
    /* Somebody else commits just before a change without If-Match. */
    unsigned intruders;
    /* The last call of queue_act(). */
    enum api_queue_action action;
    uint64_t acted[8];
    uint32_t acted_count;
    char acted_destination[64];
    bool acted_all;
    /* The last call of queue_list() and of queue_show(), and how often the former had to count. */
    struct api_queue_filter filter; /* its texts are gone */
    unsigned counts;
    uint32_t first_recipient, recipients_max;
    /* What refusal_find() gives, and the clients of the last days. */
    struct tracking_refusal refusal;
    enum pt_err refusal_err;
    struct tracking_client clients[8];
    uint32_t client_count;
};

extern struct fake_gateway fake;

/* Makes a folder and starts an API; NULL on failure. */
struct api *fake_start(void);
void fake_stop(struct api *api);

/* The message IDs are 1001, 1002, 1003; the second's content is this long. */
#define FAKE_LONG (3u * 1024 * 1024 + 17)
