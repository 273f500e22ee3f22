#pragma once
#include "net/addr.h"
#include "tls/certificate.h"
#include "tls/connection.h"

/*
 * daemon/look: begins a session with an SMTP server, takes its STARTTLS where it is offered, says
 * goodbye, and tells what was seen. The machine is that of deliveries (smtp/client.h), so what it
 * would refuse is refused here.
 *
 * It waits, so on a job thread.
 */

struct look {
    struct net_endpoint to;
    struct net_addr source;    /* of this host, to connect from; family NET_NONE: any */
    bool lmtp;                 /* LHLO (RFC 2033) */
    struct str hostname;       /* for EHLO */
    struct str name;           /* for SNI, and what the certificate must be for; .n 0: neither */
    struct tls_client *client; /* what TLS is begun with */
    uint32_t patience_ms;      /* for all of it */

    bool greeted;    /* and EHLO answered */
    bool starttls;   /* offered */
    bool secured;    /* the handshake went well */
    bool refused;    /* for its certificate: `client` insists on one that verifies */
    char error[300]; /* why there is no TLS; "": there is */
    /* What was agreed. */
    char version[16], cipher[64], subject[160], unverified[120];
    bool verified;
    struct tls_certificate *certificate; /* a reference; NULL: none was seen */
};

void look_at(struct look *l);

/* Frees what was seen. */
void look_done(struct look *l);
