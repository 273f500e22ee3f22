#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "net/resolver_private.h"

enum { LIMIT_MS = 20000 };

/* libunbound makes and ends locks of the whole process with each context, and guards that by
 * nothing; contexts are made by who changes the settings, and end on the resolver's thread. */
static pthread_mutex_t making = PTHREAD_MUTEX_INITIALIZER;

static void set_options(struct ub_ctx *ub)
{
    static const struct {
        const char *name, *value;
    } options[] = {
        /* Local forwarders listen on loopback. */
        { "do-not-query-localhost:", "no" },
        /* A server that was down is asked again soon, and on and on: there is no other. */
        { "infra-host-ttl:", "30" },
        { "infra-keep-probing:", "yes" },
        /* Who mends a domain and has its mail tried again does not wait an hour for it. */
        { "cache-max-negative-ttl:", "300" },
        { "val-bogus-ttl:", "30" },
        { "msg-cache-size:", "4m" },
        { "rrset-cache-size:", "8m" },
        { "key-cache-size:", "2m" },
        { "neg-cache-size:", "1m" },
    };

    for (size_t i = 0; i < PT_ARRAY_LEN(options); i++)
        PT_IGNORE(ub_ctx_set_option(ub, options[i].name, options[i].value),
                  "an older library asks as it always did");
    ub_ctx_debuglevel(ub, 0);
    ub_ctx_debugout(ub, NULL); /* what matters comes back as an error */
}

static enum pt_err add_anchor(struct ub_ctx *ub, const char *anchor, struct pt_fault *fault)
{
    static const char root_key[] = "/usr/share/dns/root.key";
    int rc;

    if (anchor && strcmp(anchor, "none") == 0)
        return PT_ERR_OK;
    if (anchor) {
        rc = ub_ctx_add_ta(ub, anchor);
        return rc ? pt_fault_set(fault, PT_ERR_INVALID, "trust anchor \"%s\": %s", anchor,
                                 ub_strerror(rc))
                  : PT_ERR_OK;
    }
    if (access(root_key, R_OK) != 0)
        return pt_fault_errno(fault, errno, "trust anchor of the root, %s (package dns-root-data)",
                              root_key);
    rc = ub_ctx_add_ta_file(ub, root_key);
    return rc ? pt_fault_set(fault, PT_ERR_INVALID, "%s: %s", root_key, ub_strerror(rc))
              : PT_ERR_OK;
}

static const char resolv_conf[] = "/etc/resolv.conf";

static bool look_at_resolv_conf(struct stat *out)
{
    if (stat(resolv_conf, out) == 0)
        return true;
    memset(out, 0, sizeof *out);
    return false;
}

static void read_resolv_conf(struct net_context *c)
{
    char text[16384];
    size_t n = 0;
    FILE *f;

    c->of_system = true;
    if (!look_at_resolv_conf(&c->seen))
        return;
    f = fopen(resolv_conf, "re");
    if (f) {
        n = fread(text, 1, sizeof text, f);
        PT_IGNORE(fclose(f), "it was only read");
    }
    c->server_count = net_resolv_conf_read((struct str){ text, n }, c->servers);
}

static enum pt_err find_servers(struct net_context *c, const struct net_resolver_config *config,
                                struct pt_fault *fault)
{
    if (config->server_count == 0) {
        read_resolv_conf(c);
        return PT_ERR_OK;
    }
    for (uint32_t i = 0; i < config->server_count && i < NET_SERVERS_MAX; i++)
        if (!net_server_parse(str_of(config->servers[i]), &c->servers[c->server_count++]))
            return pt_fault_set(fault, PT_ERR_INVALID,
                                "resolver server \"%s\" is neither IP nor IP@PORT",
                                config->servers[i]);
    return PT_ERR_OK;
}

static enum pt_err set_servers(struct net_context *c, struct pt_fault *fault)
{
    for (unsigned i = 0; i < c->server_count; i++) {
        char text[NET_SERVER_SIZE];
        int rc;

        net_server_format(&c->servers[i], text);
        rc = ub_ctx_set_fwd(c->ub, text);
        if (rc)
            return pt_fault_set(fault, PT_ERR_INVALID, "resolver server \"%s\": %s", text,
                                ub_strerror(rc));
    }
    return PT_ERR_OK;
}

/* libunbound denies some names by itself. Of these, "test." and "home.arpa." are what private
 * networks are told to use (RFC 6761 section 6.2, RFC 8375): their servers know them. */
static enum pt_err ask_for_private_names(struct ub_ctx *ub, struct pt_fault *fault)
{
    static const char *const names[] = { "test.", "home.arpa." };

    for (size_t i = 0; i < PT_ARRAY_LEN(names); i++) {
        int rc = ub_ctx_zone_remove(ub, names[i]);

        /* The first call makes everything ready that was configured. */
        if (rc)
            return pt_fault_set(fault, rc == UB_NOMEM ? PT_ERR_NOMEM : PT_ERR_INVALID,
                                "the resolver cannot be set up so: %s", ub_strerror(rc));
    }
    return PT_ERR_OK;
}

void net_context_free(struct net_context *c)
{
    if (!c)
        return;
    if (c->ub) {
        pthread_mutex_lock(&making);
        ub_ctx_delete(c->ub);
        pthread_mutex_unlock(&making);
    }
    free(c->trust_anchor);
    free(c);
}

/* Makes the part that asks, for what `c` says. */
static enum pt_err make_ready(struct net_context *c, struct pt_fault *fault)
{
    enum pt_err err;

    c->ub = ub_ctx_create();
    if (!c->ub)
        return pt_fault_set(fault, PT_ERR_NOMEM, "no memory for a resolver");
    ub_ctx_async(c->ub, 1);
    set_options(c->ub);
    PT_IGNORE(ub_ctx_hosts(c->ub, NULL), "no hosts file is fine");
    err = set_servers(c, fault);
    if (err == PT_ERR_OK)
        err = add_anchor(c->ub, c->trust_anchor, fault);
    if (err == PT_ERR_OK)
        err = ask_for_private_names(c->ub, fault);
    return err;
}

static enum pt_err make_ready_locked(struct net_context *c, struct pt_fault *fault)
{
    enum pt_err err;

    pthread_mutex_lock(&making);
    err = make_ready(c, fault);
    pthread_mutex_unlock(&making);
    return err;
}

enum pt_err net_context_new(struct net_context **out, const struct net_resolver_config *config,
                            struct pt_fault *fault)
{
    struct net_context *c = calloc(1, sizeof *c);
    enum pt_err err;

    if (!c)
        return pt_fault_set(fault, PT_ERR_NOMEM, "no memory for a resolver");
    c->limit_ms = config->limit_ms ? config->limit_ms : LIMIT_MS;
    if (config->trust_anchor) {
        c->trust_anchor = str_dup(str_of(config->trust_anchor));
        if (!c->trust_anchor) {
            net_context_free(c);
            return pt_fault_set(fault, PT_ERR_NOMEM, "no memory for a resolver");
        }
    }
    err = find_servers(c, config, fault);
    if (err == PT_ERR_OK)
        err = make_ready_locked(c, fault);
    if (err != PT_ERR_OK) {
        net_context_free(c);
        return err;
    }
    *out = c;
    return PT_ERR_OK;
}

struct net_context *net_context_again(const struct net_context *c)
{
    char texts[NET_SERVERS_MAX][NET_SERVER_SIZE];
    const char *servers[NET_SERVERS_MAX];
    struct net_resolver_config config = { .servers = servers,
                                          .server_count = c->of_system ? 0 : c->server_count,
                                          .trust_anchor = c->trust_anchor,
                                          .limit_ms = c->limit_ms };
    struct net_context *again;

    for (uint32_t i = 0; i < config.server_count; i++) {
        net_server_format(&c->servers[i], texts[i]);
        servers[i] = texts[i];
    }
    return net_context_new(&again, &config, NULL) == PT_ERR_OK ? again : NULL;
}

bool net_context_is_outdated(const struct net_context *c)
{
    struct stat now;

    if (!c->of_system)
        return false;
    look_at_resolv_conf(&now);
    return now.st_ino != c->seen.st_ino || now.st_size != c->seen.st_size ||
           now.st_mtim.tv_sec != c->seen.st_mtim.tv_sec ||
           now.st_mtim.tv_nsec != c->seen.st_mtim.tv_nsec;
}
