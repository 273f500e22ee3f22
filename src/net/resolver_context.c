#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "net/resolver_private.h"

enum { LIMIT_MS = 20000 };

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

static enum pt_err set_servers(struct ub_ctx *ub, const struct net_resolver_config *config,
                               struct pt_fault *fault)
{
    if (config->server_count == 0) {
        /* Without a usable resolv.conf the resolver asks the root servers itself. */
        PT_IGNORE(ub_ctx_resolvconf(ub, NULL), "recursion is the fallback");
        return PT_ERR_OK;
    }
    for (uint32_t i = 0; i < config->server_count; i++) {
        int rc = ub_ctx_set_fwd(ub, config->servers[i]);

        if (rc)
            return pt_fault_set(fault, PT_ERR_INVALID, "resolver server \"%s\": %s",
                                config->servers[i], ub_strerror(rc));
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
    if (c->ub)
        ub_ctx_delete(c->ub);
    free(c);
}

enum pt_err net_context_new(struct net_context **out, const struct net_resolver_config *config,
                            struct pt_fault *fault)
{
    struct net_context *c = calloc(1, sizeof *c);
    enum pt_err err;

    if (!c)
        return pt_fault_set(fault, PT_ERR_NOMEM, "no memory for a resolver");
    c->limit_ms = config->limit_ms ? config->limit_ms : LIMIT_MS;
    c->ub = ub_ctx_create();
    if (!c->ub) {
        free(c);
        return pt_fault_set(fault, PT_ERR_NOMEM, "no memory for a resolver");
    }
    ub_ctx_async(c->ub, 1);
    set_options(c->ub);
    PT_IGNORE(ub_ctx_hosts(c->ub, NULL), "no hosts file is fine");
    err = set_servers(c->ub, config, fault);
    if (err == PT_ERR_OK)
        err = add_anchor(c->ub, config->trust_anchor, fault);
    if (err == PT_ERR_OK)
        err = ask_for_private_names(c->ub, fault);
    if (err != PT_ERR_OK) {
        net_context_free(c);
        return err;
    }
    *out = c;
    return PT_ERR_OK;
}
