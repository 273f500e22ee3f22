/*
 * api/explain_ref: what a reference in a refusal stands for.
 */
#include "api/resources.h"

void api_explain_ref(struct http_exchange *x, struct str ref)
{
    (void)ref;
    http_problem(x, 404, "There is no such reference.");
}
