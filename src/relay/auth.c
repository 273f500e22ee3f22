#include "relay/auth.h"

#include <stdio.h>
#include <string.h>

bool relay_auth_prepare(struct relay_conn *conn, struct smtp_client_config *config)
{
    const struct relay_dest *d = conn->dest;

    if (!d->user)
        return true;
    if (!d->password) {
        snprintf(conn->reason, sizeof conn->reason,
                 "4.3.5 the password of the route's user \"%.100s\" is gone from this host: write "
                 "it into the settings again",
                 d->user);
        return false;
    }
    config->user = str_of(d->user);
    config->password = str_of(d->password);
    return true;
}

void relay_auth_sent(struct relay_conn *conn)
{
    if (smtp_client_state(conn->client) == SMTP_CLIENT_STATE_AUTH && conn->out.cap)
        explicit_bzero(conn->out.p, conn->out.cap);
}

void relay_auth_ended(struct relay_conn *conn)
{
    char name[RELAY_DIAL_NAME_SIZE], why[sizeof conn->reason];

    if (!smtp_client_auth_refused(conn->client))
        return;
    relay_count(&conn->rl->relay->counters.auth_refused, 1);
    relay_dial_name(conn, name);
    snprintf(why, sizeof why, "%s", conn->reason + sizeof "4.7.8");
    snprintf(conn->reason, sizeof conn->reason,
             "4.7.8 %.120s: %.200s (write the right user and password into the route)", name, why);
    relay_dial_leave_host(conn);
}
