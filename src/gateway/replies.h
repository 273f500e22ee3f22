#pragma once
#include "smtp/reply.h"

/*
 * gateway/replies: what a session says of its own, each text once. Verdicts on clients, senders
 * and recipients are policy's.
 */
extern const struct smtp_reply reply_no_descriptors; /* 421: the system's limit */
extern const struct smtp_reply reply_shutting_down;  /* 421 4.3.2 */
extern const struct smtp_reply reply_disconnected;   /* 421 4.3.2: an administrator's wish */
extern const struct smtp_reply reply_not_permitted;  /* 421 4.7.0: new rules refuse this client */
extern const struct smtp_reply reply_memory;         /* 452 4.3.1 */
extern const struct smtp_reply reply_disk;           /* 451 4.3.0 */
extern const struct smtp_reply reply_disk_full;      /* 452 4.3.1 */
extern const struct smtp_reply reply_tls_busy;       /* 454 4.7.0 */
extern const struct smtp_reply reply_loop;           /* 554 5.4.6 */
