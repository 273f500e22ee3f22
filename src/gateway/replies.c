#include "gateway/replies.h"

/* SMTP_REPLY() as an initialiser of static storage. */
#define CONSTANT(code, a, b, c, text)                                                              \
    {                                                                                              \
        (code), { (a), (b), (c) },                                                                 \
        {                                                                                          \
            "" text, sizeof(text) - 1                                                              \
        }                                                                                          \
    }

const struct smtp_reply reply_no_descriptors =
    CONSTANT(421, 4, 3, 2, "too many connections for this system, try again later");
const struct smtp_reply reply_shutting_down =
    CONSTANT(421, 4, 3, 2, "the gateway is shutting down, try again later");
const struct smtp_reply reply_disconnected =
    CONSTANT(421, 4, 3, 2, "an administrator has ended this session, try again later");
const struct smtp_reply reply_not_permitted =
    CONSTANT(421, 4, 7, 0, "your address is no longer permitted to connect");
const struct smtp_reply reply_memory =
    CONSTANT(452, 4, 3, 1, "not enough memory now, try again later");
const struct smtp_reply reply_disk =
    CONSTANT(451, 4, 3, 0, "the message could not be stored, try again later");
const struct smtp_reply reply_disk_full =
    CONSTANT(452, 4, 3, 1, "no space left to store the message, try again later");
const struct smtp_reply reply_tls_busy =
    CONSTANT(454, 4, 7, 0, "TLS is not available now, try again later");
const struct smtp_reply reply_loop =
    CONSTANT(554, 5, 4, 6, "too many hops: 100 or more Received fields, this is a mail loop");
