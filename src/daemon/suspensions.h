#pragma once
#include "api/api.h"
#include "daemon/process.h"

/*
 * daemon/suspensions: suspended destinations outlive the process, in STATE/suspensions.json.
 *
 * The file is written and synced before a suspension holds, or ends, so what was answered is what
 * the next start finds. Job threads only.
 */

/* Before the spool hands out its first message. A file that cannot be read is said in the log and
 * left as it is until the next change. */
void suspensions_load(struct process *p);

enum pt_err suspensions_add(void *ctx, const struct api_suspension *s,
                            char out_name[API_DESTINATION_NAME], struct pt_fault *fault);
enum pt_err suspensions_end(void *ctx, struct str destination, char out_name[API_DESTINATION_NAME],
                            struct pt_fault *fault);
bool suspensions_each(void *ctx, void (*show)(void *user, const struct api_suspension *s),
                      void *user);
