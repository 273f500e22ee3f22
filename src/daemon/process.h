#pragma once
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>

#include "daemon/control.h"
#include "daemon/memory.h"
#include "daemon/state.h"
#include "daemon/truth.h"
#include "gateway/gateway.h"
#include "net/loop.h"
#include "relay/relay.h"
#include "spool/spool.h"
#include "tls/handshake.h"
#include "tracking/tracking.h"

/*
 * daemon/process: the parts of a running gateway. Within the room only.
 */
enum { LOOPS_MAX = 64 };

struct loop_thread {
    pthread_t thread;
    struct net_loop *loop;
    struct gateway_loop *gateway_loop;
    struct relay_loop *relay_loop;
    bool running;
};

struct process {
    struct state state;
    struct control control;
    /* What handles mail; there once `serving` is true, and until the API has ended. */
    atomic_bool serving;
    struct pt_fault spool_fault; /* why it is not there yet; under control.lock */
    struct spool *spool;
    struct relay *relay;
    struct gateway *gateway;
    struct gateway_recipients recipients; /* whom the gateway asks about them: this process */
    struct tls_handshaker *handshaker;    /* of clients */
    struct tls_handshaker *outgoing;      /* of next hops */
    struct tracking *tracking;            /* from the start to the end */
    struct loop_thread loops[LOOPS_MAX];
    unsigned loop_count;
    struct memory_plan memory;
    struct truth truth;
    bool memory_short; /* the main thread's own */
    struct api *api;
    int64_t started_us;

    /* The main thread's own: signals, binding again, the steps of the end. */
    struct mailbox mailbox;
    atomic_bool drained, stopped;
};

/* Fills api_deps (see api/api.h); they use the process until api_free(). */
void process_api_deps(struct process *p, struct api_deps *deps);
