#include "net/resolver_servers.h"

#include <stdio.h>

enum { DNS_PORT = 53 };

bool net_server_parse(struct str text, struct net_endpoint *out)
{
    ptrdiff_t at = str_find(text, '@', 0);
    uint64_t port = DNS_PORT;
    struct net_addr addr;

    if (at >= 0 && (!str_to_u64(str_from(text, (size_t)at + 1), &port) || !port || port > 65535))
        return false;
    if (!net_addr_parse(at < 0 ? text : str_head(text, (size_t)at), &addr))
        return false;
    *out = (struct net_endpoint){ addr, (uint16_t)port };
    return true;
}

void net_server_format(const struct net_endpoint *e, char out[NET_SERVER_SIZE])
{
    char address[NET_ADDR_SIZE];

    net_addr_format(&e->addr, address);
    if (e->port == DNS_PORT)
        snprintf(out, NET_SERVER_SIZE, "%s", address);
    else
        snprintf(out, NET_SERVER_SIZE, "%s@%u", address, (unsigned)e->port);
}

/* The first word of `line`, which is taken from it. */
static struct str take_word(struct str *line)
{
    size_t n = 0;
    struct str word;

    *line = str_trim(*line);
    while (n < line->n && line->p[n] != ' ' && line->p[n] != '\t')
        n++;
    word = str_head(*line, n);
    *line = str_from(*line, n);
    return word;
}

unsigned net_resolv_conf_read(struct str text, struct net_endpoint out[NET_SERVERS_MAX])
{
    unsigned count = 0;

    while (text.n > 0 && count < NET_SERVERS_MAX) {
        ptrdiff_t end = str_find(text, '\n', 0);
        size_t n = end < 0 ? text.n : (size_t)end;
        struct str line = str_head(text, n);

        text = str_from(text, end < 0 ? n : n + 1);
        if (str_eq(take_word(&line), STR("nameserver")) &&
            net_server_parse(take_word(&line), &out[count]) && out[count].port == DNS_PORT)
            count++;
    }
    return count;
}
