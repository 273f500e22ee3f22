#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "base/str.h"
#include "spool/spool.h"

/*
 * gateway_model: what was promised about each message, and whether it is kept.
 *
 * It hears of everything that crosses a border: operations submitted to the spool and their
 * answers, what the spool finds at start, what next hops take, refuse and confirm. The first
 * promise broken ends the program. docs/guarantees.md has the promises in words.
 */

enum { MAILS_MAX = 1024, RCPTS_MAX = 4, FLIGHT_RCPTS = RCPTS_MAX, UNSAVED_MAX = 512 };

/* What a notice says of a recipient. */
enum tell { TELL_NOTHING, TELL_FAILED, TELL_RELAYED, TELL_DELAYED, TELLS };

struct sim_rcpt {
    char address[48];
    uint8_t notify;
    unsigned domain;

    uint8_t end;         /* SPOOL_DELIVERED, SPOOL_FAILED once durable; else SPOOL_QUEUED */
    uint8_t decided;     /* in this run, durable or not */
    unsigned taken;      /* by next hops */
    bool confirmed;      /* the last one's reply was read */
    bool may_again;      /* another delivery would be inside the documented window */
    bool may_fail;       /* a next hop refused it for good */
    bool next_hop_tells; /* the one that confirmed it sends notices itself */
    unsigned notices[TELLS];
    unsigned sent;   /* to that next hop by an administrator, durably; 0: by the routes */
    int64_t lost_us; /* when it went in doubt, by the monotonic clock; 0: not now */
};

struct sim_mail {
    uint64_t id;
    unsigned serial;
    bool own;
    bool null_path;
    char reverse_path[48];
    char *content;
    uint64_t size;
    bool has_8bit;
    int64_t received_us;
    struct sim_rcpt rcpts[RCPTS_MAX];
    uint32_t rcpt_count;

    bool submitted, accepted, refused, maybe;
    bool deleted, delete_asked, bounce_asked;
    bool held;
    bool touched;          /* by an administrator */
    int64_t waits_from_us; /* monotonic: accepted, or found again at start */
    struct spool_message *found;
};

/* An operation that the spool has not answered, or could not answer for sure. */
struct flight {
    struct flight *next;
    struct spool_op *op;
    void (*done)(struct spool_op *op);
    enum spool_op_kind kind;
    struct sim_mail *mail, *notice;
    uint32_t count;
    uint32_t index[FLIGHT_RCPTS];
    uint8_t state[FLIGHT_RCPTS];
    uint8_t tell[FLIGHT_RCPTS]; /* enum tell: what its notice says */
    uint32_t routed;            /* with ROUTE: bits of recipients, sent to */
    unsigned sent;              /* … that next hop, or by the routes again */
    bool maybe; /* answered with an error by a spool that could not write: both is allowed */
};

struct model {
    struct sim_mail *mails[MAILS_MAX];
    unsigned count;
    struct flight *flights;
    unsigned serial;
    uint64_t highest_id;
    struct spool_op *unsaved[UNSAVED_MAX]; /* not stored: they come again, as they are */
    unsigned unsaved_count;
    bool null_mail_refused;
    uint64_t accepted, delivered, taken, failed, notices, in_doubt, durable_checks;
};

/* A new message of a client, to be submitted; the model takes `content`. */
struct sim_mail *model_add(struct spool_message *m, unsigned serial, char *content);
struct sim_mail *model_find(uint64_t id);

/* ---- at start ---- */

void model_found(struct spool_message *m);
void model_damaged(uint64_t id, const struct pt_fault *fault);
/* The spool is open, all it found was told. */
void model_judge(void);
/* The start failed or crashed. */
void model_forget_found(void);
/* The gateway has ended in good order, and nothing went wrong with its disk. */
void model_check_orderly(void);

/* ---- next hops ---- */

/* All recipients of a transaction whose content came whole, with a positive answer decided on. */
void model_taken(unsigned hop, const char *from, char (*to)[48], unsigned count,
                 const char *content, size_t n, struct sim_rcpt **out);
void model_confirmed(struct sim_rcpt *r, bool next_hop_tells);
/* Taken, and the answer is never read; since when the gateway knows, 0: it was dead by then. */
void model_lost(struct sim_rcpt *r, int64_t since_us);
void model_refused(const char *address);
void model_mail_refused(const char *reverse_path);

/* ---- what holds always, and in the end ---- */

void model_check(void);
bool model_drained(void);
void model_check_end(void);
void model_free(void);
