#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "net/resolver_private.h"

enum { LIMIT_MS = 20000 };

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
    /* Test servers and local forwarders listen on loopback. */
    ub_ctx_set_option(c->ub, "do-not-query-localhost:", "no");
    ub_ctx_debuglevel(c->ub, 0);
    PT_IGNORE(ub_ctx_hosts(c->ub, NULL), "no hosts file is fine");
    err = set_servers(c->ub, config, fault);
    if (err == PT_ERR_OK)
        err = add_anchor(c->ub, config->trust_anchor, fault);
    if (err != PT_ERR_OK) {
        net_context_free(c);
        return err;
    }
    *out = c;
    return PT_ERR_OK;
}
