#include "daemon/suspensions.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "relay/queue_view.h"

enum { FILE_MAX = 4 << 20 };

/* One change at a time: the file is written from what holds. */
static pthread_mutex_t changing = PTHREAD_MUTEX_INITIALIZER;

/* ---- the file ---- */

static json_t *row_json(const struct relay_view_suspension *s)
{
    return json_pack("{s:s, s:s, s:s, s:I, s:I}", "destination", s->destination, "reason",
                     s->reason, "by", s->by, "since_us", (json_int_t)s->since_us, "until_us",
                     (json_int_t)s->until_us);
}

/* What holds, but the one of that name. */
struct gathering {
    json_t *rows;
    const char *but;
};

static void gather(void *user, const struct relay_view_suspension *s)
{
    struct gathering *g = user;
    bool is_over = s->until_us && s->until_us <= clock_wall_us();

    if (is_over || str_eq_nocase(str_of(s->destination), str_of(g->but)))
        return;
    json_array_append_new(g->rows, row_json(s));
}

static bool write_all(int fd, struct str text)
{
    while (text.n) {
        ssize_t n = write(fd, text.p, text.n);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return false;
        text = str_from(text, (size_t)n);
    }
    return true;
}

static int sync_folder(const char *directory)
{
    int fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int failed = fd < 0 || fsync(fd) != 0 ? errno : 0;

    if (fd >= 0)
        close(fd);
    return failed;
}

/* 0, or errno. */
static int write_file(struct process *p, struct str text)
{
    char path[STATE_PATH_SIZE], temporary[STATE_PATH_SIZE], folder[STATE_PATH_SIZE];
    int fd, failed = 0;

    state_path(&p->state, "suspensions.json", path);
    state_path(&p->state, "suspensions.new", temporary);
    state_path(&p->state, ".", folder);
    fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return errno;
    if (!write_all(fd, text) || fsync(fd) != 0)
        failed = errno;
    if (close(fd) != 0 && !failed)
        failed = errno;
    if (!failed && rename(temporary, path) != 0)
        failed = errno;
    return failed ? failed : sync_folder(folder);
}

/* What holds, without the one called `but`, and with `more` unless it is NULL. */
static enum pt_err save(struct process *p, const char *but,
                        const struct relay_view_suspension *more, struct pt_fault *fault)
{
    struct gathering g = { json_array(), but };
    bool whole = g.rows && relay_view_suspensions(p->relay, gather, &g);
    char *text;
    int failed;

    if (whole && more)
        json_array_append_new(g.rows, row_json(more));
    text = whole ? json_dumps(g.rows, JSON_INDENT(1)) : NULL;
    json_decref(g.rows);
    if (!text)
        return pt_fault_set(fault, PT_ERR_NOMEM, "out of memory");
    failed = write_file(p, str_of(text));
    free(text);
    if (!failed)
        return PT_ERR_OK;
    return pt_fault_set(fault, pt_err_from_errno(failed), "suspensions.json cannot be written: %s",
                        strerrordesc_np(failed));
}

/* ---- at the start ---- */

static void say_unreadable(const char *why)
{
    struct log_line l;

    log_begin(&l, LOG_ERROR, "suspensions_unreadable");
    log_cstr(&l, "text", why);
    log_end(&l);
}

static void load_row(struct process *p, const json_t *row)
{
    const struct relay_view_suspension s = {
        .destination = json_string_value(json_object_get(row, "destination")),
        .reason = json_string_value(json_object_get(row, "reason")),
        .by = json_string_value(json_object_get(row, "by")),
        .since_us = (int64_t)json_integer_value(json_object_get(row, "since_us")),
        .until_us = (int64_t)json_integer_value(json_object_get(row, "until_us")),
    };

    if (!s.destination || !s.reason || !s.by)
        say_unreadable("an entry of suspensions.json is not one, and is passed over");
    else if (!s.until_us || s.until_us > clock_wall_us())
        if (relay_view_suspend(p->relay, &s))
            say_unreadable("not all suspensions fit into memory");
}

void suspensions_load(struct process *p)
{
    char path[STATE_PATH_SIZE];
    json_error_t error;
    json_t *rows, *row;
    size_t i;
    FILE *in;

    state_path(&p->state, "suspensions.json", path);
    in = fopen(path, "re");
    if (!in) {
        if (errno != ENOENT)
            say_unreadable(strerrordesc_np(errno));
        return;
    }
    rows = json_loadf(in, 0, &error);
    fclose(in);
    if (!json_is_array(rows))
        say_unreadable("suspensions.json is no list: nothing is suspended");
    json_array_foreach(rows, i, row) load_row(p, row);
    json_decref(rows);
}

/* ---- changes ---- */

static void log_change(const char *event, const char *destination, const struct api_suspension *s)
{
    struct log_line l;
    char until[CLOCK_RFC3339_SIZE];

    log_begin(&l, LOG_INFO, event);
    log_cstr(&l, "destination", destination);
    if (s && s->reason[0])
        log_cstr(&l, "reason", s->reason);
    if (s && s->until_us) {
        clock_rfc3339(s->until_us, until);
        log_cstr(&l, "until", until);
    }
    if (s)
        log_cstr(&l, "by", s->by);
    log_end(&l);
}

enum pt_err suspensions_add(void *ctx, const struct api_suspension *s,
                            char out_name[API_DESTINATION_NAME], struct pt_fault *fault)
{
    struct process *p = ctx;
    struct relay_view_suspension new = { .destination = out_name,
                                         .reason = s->reason,
                                         .by = s->by,
                                         .since_us = clock_wall_us(),
                                         .until_us = s->until_us };
    enum pt_err err;

    if (!atomic_load(&p->serving))
        return PT_ERR_AGAIN;
    err = relay_view_destination_name(p->relay, str_of(s->destination), out_name, fault);
    if (err)
        return err;
    pthread_mutex_lock(&changing);
    err = save(p, out_name, &new, fault);
    if (err == PT_ERR_OK)
        err = relay_view_suspend(p->relay, &new);
    pthread_mutex_unlock(&changing);
    if (err == PT_ERR_OK)
        log_change("suspended", out_name, s);
    else if (!fault->text[0])
        pt_fault_set(fault, err, "%s",
                     err == PT_ERR_NOSPACE ? "too many destinations are suspended already"
                                           : "out of memory");
    return err;
}

/* The name of a suspension that is meant, as it was given or as a destination is called. */
static bool find(struct process *p, struct str destination, char out_name[API_DESTINATION_NAME])
{
    struct pt_fault ignored = { 0 };

    if (relay_view_is_suspended(p->relay, destination)) {
        snprintf(out_name, API_DESTINATION_NAME, "%.*s", STR_FMT(destination));
        return true;
    }
    return relay_view_destination_name(p->relay, destination, out_name, &ignored) == PT_ERR_OK &&
           relay_view_is_suspended(p->relay, str_of(out_name));
}

enum pt_err suspensions_end(void *ctx, struct str destination, char out_name[API_DESTINATION_NAME],
                            struct pt_fault *fault)
{
    struct process *p = ctx;
    enum pt_err err = PT_ERR_OK;

    if (!atomic_load(&p->serving))
        return PT_ERR_AGAIN;
    pthread_mutex_lock(&changing);
    if (!find(p, destination, out_name))
        err = pt_fault_set(fault, PT_ERR_NOTFOUND, "%.*s is not suspended", STR_FMT(destination));
    if (err == PT_ERR_OK)
        err = save(p, out_name, NULL, fault);
    if (err == PT_ERR_OK)
        PT_IGNORE(relay_view_resume(p->relay, str_of(out_name)), "its time may be over just now");
    pthread_mutex_unlock(&changing);
    return err;
}

struct showing {
    void (*show)(void *user, const struct api_suspension *s);
    void *user;
};

static void show_one(void *user, const struct relay_view_suspension *s)
{
    const struct showing *to = user;

    to->show(to->user, &(struct api_suspension){ .destination = s->destination,
                                                 .reason = s->reason,
                                                 .by = s->by,
                                                 .since_us = s->since_us,
                                                 .until_us = s->until_us });
}

bool suspensions_each(void *ctx, void (*show)(void *user, const struct api_suspension *s),
                      void *user)
{
    struct process *p = ctx;
    struct showing to = { show, user };

    return !atomic_load(&p->serving) || relay_view_suspensions(p->relay, show_one, &to);
}
