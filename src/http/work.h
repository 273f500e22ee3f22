#pragma once
#include "base/defs.h"
#include "http/exchange.h"

/*
 * http/work: threads for what a handler must not do on the loop.
 *
 * A handler hands its exchange to a pool; a thread of the pool calls the function, which fills the
 * answer and returns; the exchange then goes back to its loop and is finished there. With
 * `response.more` the same serves for each further piece of a long body.
 */

struct http_work;

/* NULL when memory or threads are short. At most `waiting_max` exchanges wait for a thread. */
struct http_work *http_work_new(unsigned threads, unsigned waiting_max);

/* Does what waits, ends the threads; what comes afterwards is answered with 503. */
void http_work_stop(struct http_work *w);

/* Stops it first. Handlers may not run any more. NULL is accepted. */
void http_work_free(struct http_work *w);

/* On the loop's thread. When too much waits already, 503 is answered at once. */
void http_work_run(struct http_work *w, struct http_exchange *x,
                   void (*work)(struct http_exchange *x));

/* The same, but instead of finishing the exchange `then` is called on the loop's thread; never, if
 * its client has left meanwhile. */
void http_work_then(struct http_work *w, struct http_exchange *x,
                    void (*work)(struct http_exchange *x), void (*then)(struct http_exchange *x));

/* Calls task->run on a thread of the pool, which may free it. Any thread. False: too much waits, or
 * it is stopped. */
PT_NODISCARD bool http_work_add(struct http_work *w, struct http_task *task);
