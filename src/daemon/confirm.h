#pragma once
#include "daemon/control.h"

/*
 * daemon/confirm: settings that go back by themselves.
 *
 * A change with `confirm_within` is in force at once, and waits: unless somebody confirms it in
 * time, the revision before it is restored, as a revision of its own. The wait is on the disk with
 * the revision, so it survives a crash; one that ended while the gateway was down is dealt with
 * before anything is served. While one waits no other change is taken. Job threads and the main
 * thread; they may wait.
 */

/* At start, with the store open and nothing in force yet: goes back if the time is over. */
void confirm_begin(struct control *c);

/* About once a second: goes back when the time is over. A failure is told in the status and tried
 * again. */
void confirm_check(struct control *c);

/* After a change was stored: what waits now. Under the lock of changes. */
void confirm_changed(struct control *c);

/* Under the lock of changes: PT_ERR_BUSY with the reason while a revision waits. */
PT_NODISCARD enum pt_err confirm_allows_change(struct control *c, struct pt_fault *fault);

/* What waits; revision 0: nothing. */
void confirm_pending(struct control *c, struct settings_pending *out);

/* It stands. PT_ERR_NOTFOUND: nothing waits. */
PT_NODISCARD enum pt_err confirm_now(struct control *c, const struct settings_audit *audit,
                                     uint64_t *out_revision, struct pt_fault *fault);

/* Goes back at once. The same. */
PT_NODISCARD enum pt_err confirm_revert(struct control *c, const struct settings_audit *audit,
                                        uint64_t *out_revision, struct pt_fault *fault);
