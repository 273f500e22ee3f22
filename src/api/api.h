#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "base/block.h"
#include "base/defs.h"
#include "base/err.h"
#include "base/str.h"
#include "net/addr.h"
#include "policy/explain_view.h"
#include "policy/list_view.h"
#include "policy/preview_view.h"
#include "relay/moves_view.h"
#include "relay/route_view.h"
#include "settings/audit.h"
#include "settings/schema.h"
#include "settings/settings.h"
#include "settings/store.h"
#include "tls/certificate_view.h"
#include "tracking/client_view.h"
#include "tracking/refusal_view.h"

/*
 * api: the HTTP API of the gateway, on STATE/api.sock.
 *
 * It runs on a thread and a loop of its own; what may take long (the database, the disk, large
 * documents, the scheduler's lock over many messages) runs on two job threads. It knows the rest of
 * the gateway only through `struct api_deps`, which daemon fills in. The peer must be root or the
 * service's own user or group.
 *
 * Functions in api_deps are called on a job thread, one call at a time for those that change the
 * settings, at any time and from several threads for all others. They may wait.
 */

/* ---- settings ---- */

/* One change of the settings document. */
struct api_change {
    struct str document; /* the whole new document, JSON, with "confirm" if it was given */
    bool stored_form;    /* it names long lists, as those of the store do */
    const struct settings_list *lists[SETTINGS_LISTS]; /* in place of the document's; NULL: its */
    unsigned confirmed;                                /* enum settings_confirm, beside "confirm" */
    uint64_t restored_from; /* a rollback: the revision whose document it is; 0: none */
    struct str author;
    struct str comment;
    uint64_t expected; /* revision it was made from, or SETTINGS_REVISION_ANY */
    bool dry_run;      /* check and prepare, then change nothing */
    /* Seconds, 5 to 86,400: it goes back by itself unless it is confirmed by then; 0: it stands. */
    uint32_t confirm_within;
    bool reverts; /* it is what ends the wait of another one */
    /* Who, from where and what it is called, for the audit log; what changed is added there. NULL:
     * a "settings.change" of the author's. */
    const struct settings_audit *audit;
};

/* What became of it. */
struct api_change_result {
    struct settings_errors errors; /* initialised; holds warnings too */
    uint64_t revision;             /* now in force */
    struct settings *settings;     /* a reference to the new value (also of a dry run), or NULL;
                                      released by the caller */
};

/* ---- queue ---- */

struct api_recipient {
    struct str address;
    struct str destination; /* as an administrator types it; empty: done with */
    const char *state; /* "queued", "deferred", "delivering", "in_doubt", "delivered", "failed" */
    uint32_t attempts;
    int64_t next_attempt_us; /* 0: at once, or never */
    uint16_t code;           /* last reply; 0: none */
    struct str reply;
    struct str redirected; /* where an administrator sends it, "HOST:PORT"; empty: nowhere else */
    bool suspended;        /* its destination is */
};

/* A queued message; the strings are borrowed for the time of the call that shows it. */
struct api_message {
    uint64_t id;
    int64_t received_us;
    uint64_t size;
    bool held;
    bool own;                /* a bounce or a notice of ours */
    struct str reverse_path; /* empty: null */
    struct str client;
    struct str helo;
    const struct api_recipient *recipients; /* those that are shown */
    uint32_t recipient_count;
    uint32_t first_recipient; /* the number of the first one, with queue_show() */
    uint32_t recipients_total;
    uint32_t recipients_waiting; /* neither delivered nor failed */
};

/* A message is in every state that one of its recipients is in. */
enum api_queue_state {
    API_QUEUE_ANY,
    API_QUEUE_QUEUED,
    API_QUEUE_DEFERRED,
    API_QUEUE_DELIVERING,
    API_QUEUE_IN_DOUBT,
    API_QUEUE_HELD,
};

/* Which messages; a member that is not set (.p NULL) matches all. */
struct api_queue_filter {
    struct str destination;
    struct str sender;
    struct str recipient;
    enum api_queue_state state;
    int64_t received_before_us, received_after_us; /* 0: any */
    bool newest_first;                             /* the oldest is first otherwise */
    uint64_t after;                                /* what comes behind this ID; 0: all */
    uint32_t limit;
    uint32_t recipients_max; /* of each message, those that wait first */
};

/* Shows one message; false: enough. */
typedef bool api_message_fn(void *user, const struct api_message *m);

enum api_queue_action {
    API_QUEUE_RETRY,
    API_QUEUE_HOLD,
    API_QUEUE_RELEASE,
    API_QUEUE_DELETE,
    API_QUEUE_BOUNCE,   /* given up now, with a notice to the sender */
    API_QUEUE_REDIRECT, /* to `next_hop` of the selection */
};

/* Exactly one of: ids, destination, all. */
struct api_queue_selection {
    const uint64_t *ids;
    uint32_t id_count;
    struct str destination;
    bool all;
    struct str next_hop; /* with REDIRECT: HOST or HOST:PORT; .p NULL: taken back */
};

enum { API_DESTINATION_NAME = 1024 };

/* A destination that an administrator has suspended. */
struct api_suspension {
    const char *destination;
    const char *reason; /* "": none was given */
    const char *by;
    int64_t since_us, until_us; /* until 0: until it is resumed */
};

struct api_destination {
    const char *name;
    uint64_t ready, deferred, busy, held;
    uint32_t connections;
    int64_t rests_until_us; /* 0: it does not */
    const char *error;      /* the last trouble; "": none */
    bool suspended;
    int64_t suspended_until_us; /* 0: until it is resumed */
};

/* ---- status ---- */

struct api_listener {
    char address[NET_ENDPOINT_SIZE];
    bool listening;
    char error[160]; /* why not */
};

struct api_warning {
    char text[320];
    char remedy[240];
    bool red; /* something that was asked for is not in force, or mail is at stake */
};

enum { API_LISTENERS_MAX = 64, API_WARNINGS_MAX = 16, API_CERTIFICATES_MAX = 9 };

/* A certificate in force. */
struct api_status_certificate {
    char id[TLS_ID_SIZE];
    char subject[160];
    char key_type[32];
    bool ca;              /* that those of clients are checked against */
    int64_t not_after_us; /* when the first of its chain expires */
};

struct api_status {
    uint64_t sessions;          /* now */
    uint64_t sessions_total;    /* since the start */
    uint64_t sessions_system;   /* how many the system allows; 0: not known */
    uint64_t messages_accepted; /* since the start */
    uint64_t messages_delivered;
    struct api_listener listeners[API_LISTENERS_MAX];
    uint32_t listener_count;
    struct {
        uint64_t messages, segments, free_segments;
        uint64_t disk_free, disk_size; /* octets */
        bool accepting;
        bool loading;           /* messages found at start are still being read */
        uint64_t found, loaded; /* with `loading`: how many there are, how many of these are read */
        char fault[240];        /* "": none */
    } spool;
    struct {
        uint64_t limit, resident; /* octets; limit 0: mail is not served yet */
        const char *source;       /* what sets the limit */
        /* Octets taken and at most: by what is being received, by content kept for delivery, by
         * content read back. */
        uint64_t receiving, receiving_max, cached, cached_max, reading, reading_max;
    } memory;
    struct {
        struct api_status_certificate certificates[API_CERTIFICATES_MAX];
        uint32_t certificate_count;
        uint64_t handshakes, failed_handshakes, messages; /* since the start; messages over TLS */
        uint32_t handshakes_now;
        char alarm[240]; /* how what is served differs from what is configured; "": it does not */
    } tls;
    struct api_warning warnings[API_WARNINGS_MAX];
    uint32_t warning_count;
};

/* ---- connection control ---- */

/* A limit on what one client may do, or bans. Counts are since the start. */
struct api_limit_rule {
    const char *rule;
    const char *mode; /* "off", "shadow", "on" */
    uint64_t refused;
    uint64_t shadow; /* would have been refused */
};

/* How often a client would have been refused by a rule that is only watched. */
struct api_limit_client {
    struct net_prefix client; /* an IPv4 address, the /64 of an IPv6 address */
    const char *rule;
    uint64_t count;
    int64_t first_us, last_us;
};

struct api_decision {
    bool accept;
    const char *list; /* "deny", "permit" or NULL */
    char entry[64];   /* "": none */
    char comment[256];
};

/* ---- live connections ---- */

/* A session of now; the strings are borrowed for the time of the call that shows it. */
struct api_connection {
    uint64_t id;
    struct net_endpoint client;
    int64_t since_us;
    const char *state;
    const char *ends; /* why it ends with its next command; NULL: it goes on */
    const char *helo; /* "": not said yet */
    bool esmtp;
    const char *tls_version, *tls_cipher; /* NULL: in clear */
    const char *tls_subject;              /* of the client's certificate; "": it showed none */
    const char *tls_unverified;           /* why that one is not to be trusted; "": it is */
    uint64_t messages, octets_in, octets_out, content, idle_seconds;
};

struct api_connection_filter {
    struct net_prefix address; /* family NET_NONE: all */
    uint64_t after;
    uint32_t limit;
};

typedef void api_connection_fn(void *user, const struct api_connection *c);

/* ---- certificates ---- */

/* One that was uploaded. All is borrowed for the time of the call that shows it. */
struct api_certificate {
    const char *id;
    bool ca;     /* to verify others by; otherwise a server's, with its key */
    bool in_use; /* the settings in force name it */
    int64_t uploaded_us;
    const struct tls_certificate_info *info; /* NULL: its file is damaged, a finding says so */
    const struct tls_findings *findings;     /* as of now */
};

typedef bool api_certificate_fn(void *user, const struct api_certificate *c);

/* What a client sees that begins TLS with our own listener. */
struct api_served {
    char address[NET_ENDPOINT_SIZE];
    bool implicit;    /* TLS from the first octet */
    const char *kind; /* of key that was asked for: "RSA"; NULL: any */
    bool unknown;     /* refused by the rules or the limits: nothing can be said */
    bool starttls;    /* it is offered */
    const struct tls_certificate_info *info; /* NULL: no certificate was seen */
    const char *version, *cipher;
    char error[240]; /* why there was no handshake; "": there was one, or none is offered */
    char alarm[240]; /* how it differs from what is configured; "": it does not */
};

/* A route's demand, and whether a next hop meets it. */
struct api_tls_demand {
    const char *domain; /* of the route; NULL: no route leads there */
    const char *tls;    /* "none", "opportunistic", "encrypt", "verify" */
    const char *ca;     /* NULL: the system's trust store */
    bool met;
    char detail[340]; /* what becomes of mail, and why */
};

enum { API_TLS_DEMANDS_MAX = 32 };

/* What a delivery to a next hop would find. Borrowed for the time of the call that shows it. */
struct api_tls_check {
    const char *host;
    uint16_t port;
    const char *address; /* where it was looked at */
    bool connected;      /* it greeted and took EHLO */
    bool starttls;       /* offered */
    bool secured;        /* the handshake went well */
    bool verified;       /* by the system's trust store, for that name */
    const char *version, *cipher;
    const char *unverified;                         /* why not; "": nothing to mind */
    const char *error;                              /* why there is no TLS; "" */
    const struct tls_certificate_info *certificate; /* NULL: none was seen */
    const struct api_tls_demand *demands;
    uint32_t demand_count;
};

/* ---- what daemon gives ---- */

struct api_deps {
    void *ctx;
    const char *state_directory; /* api.sock and the settings store are there */
    const char *version;
    int64_t started_us; /* wall time of the start */
    /* The user the console runs as: it may ask, and who asks it is believed (api/audit.h).
     * UINT32_MAX: none. */
    uint32_t console_uid;

    /* A reference to the settings in force; NULL when there are none, because what is stored cannot
     * be read. */
    struct settings *(*settings_current)(void *ctx);

    /*
     * Validates, prepares, stores, publishes. PT_ERR_OK: out->revision is in force (with dry_run:
     * it could be). PT_ERR_INVALID: out->errors says what is wrong. PT_ERR_CONFLICT: `expected` is
     * not the revision in force, which is in out->revision. PT_ERR_BUSY, DENIED and the like: a
     * participant cannot take it (port taken): errors or the fault name it. Nothing has changed
     * unless OK.
     */
    enum pt_err (*settings_apply)(void *ctx, const struct api_change *change,
                                  struct api_change_result *out, struct pt_fault *fault);

    /* The revision that waits to be confirmed; revision 0: none. */
    void (*settings_pending)(void *ctx, struct settings_pending *out);

    /* It stands, or (revert) goes back now; both are recorded by `audit`. PT_ERR_NOTFOUND: none
     * waits. `*out_revision` is in force. */
    enum pt_err (*settings_confirm)(void *ctx, bool revert, const struct settings_audit *audit,
                                    uint64_t *out_revision, struct pt_fault *fault);

    /* True while messages found at start are still being read: then a list lacks some. */
    bool (*queue_loading)(void *ctx);

    /* A reference to the snapshot of the settings in force; NULL where there are none. */
    struct policy_snapshot *(*snapshot)(void *ctx);

    /* How often an entry of a list has decided since the start, and when it did last (0: never). */
    void (*entry_hits)(void *ctx, enum policy_which which, const struct net_prefix *entry,
                       uint64_t *out_hits, int64_t *out_last_us);

    /* Shows messages in order of ID until `limit` were shown or the function has enough; with
     * `out_total` (may be NULL) counts how many match over all, which can take long. */
    enum pt_err (*queue_list)(void *ctx, const struct api_queue_filter *filter,
                              api_message_fn *show, void *user, uint64_t *out_total);

    /* With at most `max` recipients from number `first`. PT_ERR_NOTFOUND: there is no such message.
     * PT_ERR_AGAIN: nor is one known yet. */
    enum pt_err (*queue_show)(void *ctx, uint64_t id, uint32_t first, uint32_t max,
                              api_message_fn *show, void *user);

    /* Returns when it is durable; `*out_count` is the number of messages it was done to. With one
     * ID that is not there: PT_ERR_NOTFOUND. Among several, missing ones are passed over.
     * PT_ERR_AGAIN: not all that are meant are known yet; nothing was done. */
    enum pt_err (*queue_act)(void *ctx, enum api_queue_action action,
                             const struct api_queue_selection *selection, uint64_t *out_count,
                             struct pt_fault *fault);

    /* Up to `max` octets of the content from `offset` are appended to `out`; fewer only at the
     * end. */
    enum pt_err (*queue_content)(void *ctx, uint64_t id, uint64_t offset, uint32_t max,
                                 struct block_chain *out);

    /* Shows each destination that has something. */
    void (*queue_destinations)(void *ctx, void (*show)(void *user, const struct api_destination *d),
                               void *user);

    /* What it suspends is called `out_name`; durable when it returns. PT_ERR_NOTFOUND: there is no
     * such destination; PT_ERR_INVALID: the domain is no destination of its own, the fault names
     * the one it is part of. `since_us` is not looked at. */
    enum pt_err (*destination_suspend)(void *ctx, const struct api_suspension *s,
                                       char out_name[API_DESTINATION_NAME], struct pt_fault *fault);

    /* PT_ERR_NOTFOUND: it is not suspended. */
    enum pt_err (*destination_resume)(void *ctx, struct str destination,
                                      char out_name[API_DESTINATION_NAME], struct pt_fault *fault);

    /* Shows all; false: memory is short. */
    bool (*suspensions)(void *ctx, void (*show)(void *user, const struct api_suspension *s),
                        void *user);

    /* relay_moves() with what is there; shows nothing while no mail is served. */
    enum pt_err (*queue_moves)(void *ctx, const struct settings *before,
                               const struct settings *after, relay_move_fn *show, void *user,
                               uint64_t *out_more);

    /* relay_route_test() with what is there. PT_ERR_AGAIN: no mail is served now. */
    enum pt_err (*route_test)(void *ctx, struct str address, const struct settings *draft,
                              relay_route_fn *show, void *user);

    /* `out` is zeroed. */
    void (*status)(void *ctx, struct api_status *out);

    /* Appends the numbers of the gateway in the text format of Prometheus. */
    void (*metrics)(void *ctx, struct buf *out);

    /* Shows sessions in ascending order of ID, up to `limit`; `*out_total` is how many match over
     * all. */
    enum pt_err (*connections_list)(void *ctx, const struct api_connection_filter *filter,
                                    api_connection_fn *show, void *user, uint64_t *out_total);

    /* PT_ERR_NOTFOUND: there is no such session. `*out_gone`: it has ended, else it ends with its
     * next command. */
    enum pt_err (*connection_show)(void *ctx, uint64_t id, api_connection_fn *show, void *user);
    enum pt_err (*connection_end)(void *ctx, uint64_t id, bool now, bool *out_gone);
    /* Reads, checks and stages an upload; its ID goes into `id`, what is to be said about it into
     * `findings`, which is set anew. PT_ERR_INVALID: there are errors in it. */
    enum pt_err (*tls_upload)(void *ctx, const struct tls_upload *upload,
                              struct tls_findings *findings, char id[TLS_ID_SIZE],
                              struct pt_fault *fault);

    /* Shows the one with that ID (PT_ERR_NOTFOUND), or, .p NULL, all of them. */
    enum pt_err (*tls_each)(void *ctx, struct str id, api_certificate_fn *show, void *user,
                            struct pt_fault *fault);

    /* PT_ERR_NOTFOUND; PT_ERR_BUSY: the settings in force name it, the fault says where. */
    enum pt_err (*tls_remove)(void *ctx, struct str id, struct pt_fault *fault);

    /* Connects to our own listeners as a client would, and shows what it saw: at the SMTP listener
     * first, once for each kind of key where there are several, then at the implicit_port. */
    void (*tls_served)(void *ctx, void (*show)(void *user, const struct api_served *served),
                       void *user);

    /* Looks at a next hop, HOST or HOST:PORT, as a delivery would, and shows what it saw, once.
     * `domain`: whose route counts; .n 0: those that lead there. PT_ERR_INVALID; PT_ERR_NOTFOUND:
     * there is no such host. */
    enum pt_err (*tls_check)(void *ctx, struct str next_hop, struct str domain,
                             void (*show)(void *user, const struct api_tls_check *seen), void *user,
                             struct pt_fault *fault);

    /* What a reference leads to. PT_ERR_INVALID: it is none. PT_ERR_AGAIN: it was given out, but
     * not kept; *span says when. PT_ERR_NOTFOUND: it was not given out in the time that is kept. */
    enum pt_err (*refusal_find)(void *ctx, struct str ref, struct tracking_refusal *out,
                                struct tracking_span *span, struct pt_fault *fault);

    /* Shows all clients of the last days; false from `show`: enough. */
    enum pt_err (*clients_each)(void *ctx,
                                bool (*show)(void *user, const struct tracking_client *c),
                                void *user, struct pt_fault *fault);

    /* Would this client be let in under the settings in force? */
    void (*test_address)(void *ctx, const struct net_addr *address, struct api_decision *out);

    /* What there is of a client now: fills sessions, usage and ban. */
    void (*client)(void *ctx, const struct net_addr *client, int64_t now_us,
                   struct policy_explain_ask *out);

    /* What the DNS says of its names, as far as the snapshot asks. */
    void (*look_up)(void *ctx, const struct policy_snapshot *snap, struct policy_explain_ask *ask);

    /* What policy would decide from under these settings; a reference. NULL: memory is short. */
    struct policy_snapshot *(*draft_snapshot)(void *ctx, const struct settings *s);

    /* The bans of now, at most `max`; returns how many were written. */
    uint32_t (*bans)(void *ctx, struct access_ban *out, uint32_t max);

    /* PT_ERR_NOSPACE: there are too many. PT_ERR_AGAIN: no mail is served now. */
    enum pt_err (*ban_set)(void *ctx, const struct access_ban *ban);
    bool (*ban_lift)(void *ctx, const struct net_addr *client); /* false: there was none */

    void (*limit_rules)(void *ctx, void (*show)(void *user, const struct api_limit_rule *r),
                        void *user);

    /* The highest counts first; *out is on the heap, the caller frees it. Returns how many. */
    uint32_t (*limit_clients)(void *ctx, struct api_limit_client **out);
};

struct api;

/* Listens and starts the threads. `deps` is copied; what it points at outlives the API.
 * PT_ERR_BUSY: another process serves the socket. */
PT_NODISCARD enum pt_err api_new(struct api **out, const struct api_deps *deps,
                                 struct pt_fault *fault);

/* Answers what is under way, ends the threads, removes the socket. NULL is accepted. */
void api_free(struct api *a);
