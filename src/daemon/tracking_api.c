#include "daemon/tracking_api.h"

#include "daemon/process.h"

enum pt_err tracking_refusal_find(void *ctx, struct str ref, struct tracking_refusal *out,
                                  struct tracking_span *span, struct pt_fault *fault)
{
    struct process *p = ctx;
    uint64_t number;

    if (!policy_ref_parse(ref, &number))
        return PT_ERR_INVALID;
    return tracking_find_refusal(p->tracking, number, out, span, fault);
}

enum pt_err tracking_clients_each(void *ctx,
                                  bool (*show)(void *user, const struct tracking_client *c),
                                  void *user, struct pt_fault *fault)
{
    struct process *p = ctx;

    return tracking_each_client(p->tracking, show, user, fault);
}
