#pragma once
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/defs.h"
#include "base/str.h"
#include "net/addr.h"
#include "settings/list.h"

/*
 * settings: one revision of the settings document as an immutable, reference-counted value.
 *
 * Made from JSON by settings_parse() (see schema.h), which has checked everything that the document
 * alone can tell. Names follow the document: `connections.interface.port` is `interface.port` here
 * and so on. All memory belongs to the snapshot. Any thread may read; threads hold references.
 */

enum settings_listen { SETTINGS_LISTEN_LOOPBACK, SETTINGS_LISTEN_ALL, SETTINGS_LISTEN_ADDRESS };
enum settings_control { SETTINGS_ACCEPT_ALL_EXCEPT, SETTINGS_DENY_ALL_EXCEPT };
enum settings_relay_hosts {
    SETTINGS_RELAY_HOST_ONLY,
    SETTINGS_RELAY_SAME_SUBNET,
    SETTINGS_RELAY_SAME_CLASS,
    SETTINGS_RELAY_SPECIFIED,
};
/* As TLS_CLIENT_CERTIFICATES_… of tls/context.h. */
enum settings_client_certificates {
    SETTINGS_CLIENT_CERTIFICATES_OFF,
    SETTINGS_CLIENT_CERTIFICATES_REQUEST,
    SETTINGS_CLIENT_CERTIFICATES_REQUIRE,
};
enum settings_route_tls {
    SETTINGS_ROUTE_TLS_DEFAULT, /* what connections.tls.outgoing says */
    SETTINGS_ROUTE_TLS_NONE,
    SETTINGS_ROUTE_TLS_OPPORTUNISTIC,
    SETTINGS_ROUTE_TLS_ENCRYPT,
    SETTINGS_ROUTE_TLS_VERIFY,
};
enum settings_via { SETTINGS_VIA_MX, SETTINGS_VIA_NEXT_HOPS };

enum settings_limit_mode { SETTINGS_LIMIT_OFF, SETTINGS_LIMIT_SHADOW, SETTINGS_LIMIT_ON };
/* What is limited for each client. */
enum settings_limit_of {
    SETTINGS_LIMIT_SESSIONS, /* at a time; the others: in a minute */
    SETTINGS_LIMIT_CONNECTIONS,
    SETTINGS_LIMIT_MESSAGES,
    SETTINGS_LIMIT_RECIPIENTS,
    SETTINGS_LIMIT_FAILURES,
    SETTINGS_LIMIT_COUNT,
};
#define SETTINGS_LIMIT_MAX 100000

/* What a client says of itself and its sender, each with a switch of its own. */
enum settings_client_check {
    SETTINGS_CHECK_HELO_SYNTAX,
    SETTINGS_CHECK_HELO_RESOLVABLE,
    SETTINGS_CHECK_HELO_OWN_NAME,
    SETTINGS_CHECK_REVERSE_PATH_SYNTAX,
    SETTINGS_CHECK_REVERSE_PATH_RESOLVABLE,
    SETTINGS_CHECK_REVERSE_PATH_OWN_DOMAIN,
    SETTINGS_CHECK_COUNT,
};

struct settings_limit {
    enum settings_limit_mode mode;
    uint32_t per_address; /* 0: no limit */
    uint32_t per_prefix;
};

struct settings_next_hop {
    const char *host; /* name or address literal without brackets */
    uint16_t port;
    uint32_t order;  /* the lowest is tried first, equal ones share by weight */
    uint32_t weight; /* 1 or more */
};

struct settings_auth {
    const char *user;
    const char *secret; /* the password's name in documents, see secrets.h */
    char *password;     /* NULL: it is not there any more */
    bool fresh;         /* it came with this document: to be kept before that is */
};

struct settings_route {
    const char *domain; /* "example.com", "*.example.com" or "*", in lower case, A-labels */
    enum settings_via via;
    struct settings_next_hop *next_hops; /* as the document lists them */
    uint32_t next_hop_count;
    bool ordered;             /* by their `order`; else each has its place in the list as `order` */
    uint32_t max_concurrency; /* 0: the default */
    uint32_t max_messages_per_minute; /* 0: no limit */
    uint64_t max_message_size;        /* octets; 0: that of message_rules */
    enum settings_route_tls tls;
    const char *ca;             /* the ID of an uploaded CA; NULL: the system's */
    struct settings_auth *auth; /* NULL: none */
    bool lmtp;                  /* RFC 2033; with next_hops only */
    struct net_addr source; /* the address to connect from; family NET_NONE: the system's choice */
};

struct settings {
    uint64_t revision; /* 0: the default document, never committed */
    struct {
        const char *hostname; /* never empty: the host's own name where the document says nothing */
        const char *greeting;
    } identity;
    struct {
        enum settings_listen listen;
        struct net_addr address; /* with SETTINGS_LISTEN_ADDRESS */
        uint16_t port;
        uint32_t idle_timeout_minutes;
        uint32_t max_connections; /* 0: no limit */
    } interface;
    struct {
        enum settings_control mode;
        const struct settings_list *deny_list; /* never NULL; references, as is the next */
        const struct settings_list *permit_list;
    } control;
    struct {
        bool incoming;
        bool incoming_required;
        const char **certificates; /* IDs of uploaded ones */
        uint32_t certificate_count;
        uint16_t implicit_port; /* 0: none */
        enum settings_client_certificates client_certificates;
        const char *client_ca; /* ID; NULL: none */
        bool outgoing;
    } tls;
    struct {
        struct settings_limit of[SETTINGS_LIMIT_COUNT];
        enum settings_limit_mode ban_mode;
        uint32_t ban_failures; /* 0 where nothing is said of limits */
        uint32_t ban_within_minutes;
        uint32_t ban_minutes;
        struct net_prefix *exempt;
        const char **exempt_texts; /* as written, host bits cleared */
        uint32_t exempt_count;
    } limits;
    struct {
        uint64_t max_message_size; /* octets */
        uint32_t max_recipients;
        uint32_t max_messages_per_connection; /* 0: no limit */
        uint64_t max_data_per_connection;     /* octets; 0: no limit */
        enum settings_limit_mode checks[SETTINGS_CHECK_COUNT];
        enum settings_limit_mode recipient_check;
        uint32_t recipient_check_timeout_seconds; /* never 0, as are the next two */
        uint32_t recipient_check_taken_minutes;
        uint32_t recipient_check_refused_minutes;
        /* Names: lower case, A-labels; "*" and "*.x" possible. A reference, never NULL. */
        const struct settings_list *relay_domains;
        enum settings_relay_hosts relay_hosts;
        struct net_prefix *relay_networks;
        const char **relay_network_texts; /* as written, host bits cleared */
        uint32_t relay_network_count;
    } message_rules;
    struct settings_route *routes; /* in document order */
    uint32_t route_count;
    bool routes_limit_size; /* one of them has a max_message_size */
    struct {
        uint32_t first_after_seconds; /* 0: the default, here and below */
        uint32_t at_least_every_minutes;
        uint32_t delay_notice_after_minutes;
        bool no_delay_notices;
        uint32_t give_up_after_hours;
    } retry;
    struct {
        const char **servers; /* "IP" or "IP@PORT" */
        uint32_t server_count;
        const char *trust_anchor; /* NULL: the root's; "none": no validation */
    } resolver;

    /* The normalised JSON text, defaults filled in. A list longer than SETTINGS_LIST_INLINE_MAX
     * stands there by its name; settings_document_full() puts it in. */
    const char *document;
    struct settings_private *private;
    _Atomic uint32_t refs; /* private */
};

const struct settings_list *settings_list_of(const struct settings *s, enum settings_list_of which);

struct settings *settings_ref(const struct settings *s);
void settings_unref(const struct settings *s); /* NULL is accepted */

/* Is it named anywhere? Where, as a JSON pointer to what names it; NULL: nowhere. */
const char *settings_names_certificate(const struct settings *s, struct str id);

/* RFC 3339, with any offset; false: it is none. */
PT_NODISCARD bool settings_time_parse(struct str text, int64_t *out_us);

/* The domain in lower case, A-labels (IDNA 2008, RFC 5891) and without a trailing dot: the form in
 * which domains are compared. False, and `out` of no meaning, where it is no domain name. An ASCII
 * name costs no allocation. */
#define SETTINGS_DOMAIN_SIZE 256
PT_NODISCARD bool settings_domain_normalise(struct str domain, char out[SETTINGS_DOMAIN_SIZE]);

/* The entry of message_rules.relay_domains that a domain (A-labels or not, any case) is in: the
 * most specific one, or SETTINGS_NO_ENTRY. An address literal is in "*" only. */
#define SETTINGS_NO_ENTRY UINT32_MAX
uint32_t settings_relay_domain(const struct settings *s, struct str domain);

/* The route for a recipient's domain (A-labels or not, any case): the most specific one, or NULL
 * where no route fits. An address literal ("[192.0.2.1]") matches "*" only. */
const struct settings_route *settings_route_for(const struct settings *s, struct str domain);
