#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/msgid.h"

/*
 * Two buffers: loggers fill one under a lock, the thread writes the other without it. The thread
 * wakes when the buffer is large or every WRITE_EVERY_MS; so a line costs a memcpy and no wake-up.
 */
enum { LINE_MAX_OCTETS = 16384, WRITE_EVERY_MS = 100, WAKE_AT = 1 << 20, KEEP_FILES = 8 };
static const size_t waiting_max = 8u << 20;
static const off_t rotate_at = 64 << 20;

static struct {
    pthread_mutex_t lock;
    pthread_cond_t wake;    /* the thread waits on it */
    pthread_cond_t written; /* log_flush() waits on it */
    struct buf fill;
    struct buf drain;
    uint64_t added, done; /* octets ever appended to `fill`, and written */
    void (*tap)(void *ctx, const char *event, bool has_id, struct str line);
    void *tap_ctx;
    bool running, stop;
    bool cut; /* the last write to the file ended within a line */
    pthread_t thread;
    int fd;
    off_t size;
    char path[4096];
} lg = { .lock = PTHREAD_MUTEX_INITIALIZER, .written = PTHREAD_COND_INITIALIZER, .fd = -1 };

static _Atomic int min_level = LOG_INFO;
static _Atomic uint64_t dropped;

static const char level_names[][8] = { "debug", "info", "warn", "error" };

void log_set_level(enum log_level level)
{
    atomic_store_explicit(&min_level, (int)level, memory_order_relaxed);
}

uint64_t log_dropped(void)
{
    return atomic_load_explicit(&dropped, memory_order_relaxed);
}

/* ---- lines ---- */

static struct buf *line_buffer(void)
{
    static _Thread_local char octets[LINE_MAX_OCTETS];
    static _Thread_local struct buf b;

    /* Never grows and is never freed: the storage is the thread's. */
    b = (struct buf){ .p = octets, .cap = sizeof octets, .max = sizeof octets };
    return &b;
}

static bool plain(unsigned char c)
{
    return c >= 0x20 && c < 0x7F && c != '"' && c != '\\';
}

static size_t utf8_length(struct str s)
{
    unsigned char c = (unsigned char)s.p[0];
    size_t n = c >= 0xF0 ? 4 : c >= 0xE0 ? 3 : 2;

    /* U+0080 to U+009F are control characters to a terminal: escaped like the others. */
    if (c == 0xC2 && s.n >= 2 && (unsigned char)s.p[1] < 0xA0)
        return 0;
    return n <= s.n && str_is_utf8(str_head(s, n)) ? n : 0;
}

void log_json_string(struct buf *out, struct str s)
{
    static const char hex[] = "0123456789abcdef";

    buf_add_char(out, '"');
    while (s.n) {
        size_t n = 0;
        unsigned char c;

        while (n < s.n && plain((unsigned char)s.p[n]))
            n++;
        buf_add(out, s.p, n);
        s = str_from(s, n);
        if (!s.n)
            break;
        c = (unsigned char)s.p[0];
        n = c >= 0x80 ? utf8_length(s) : 0;
        if (n) {
            buf_add(out, s.p, n);
        } else {
            char esc[6] = { '\\', 'u', '0', '0', hex[c >> 4], hex[c & 15] };

            buf_add(out, esc, sizeof esc);
            n = 1;
        }
        s = str_from(s, n);
    }
    buf_add_char(out, '"');
}

static const char *now_text(void)
{
    static _Thread_local char text[CLOCK_RFC3339_SIZE];
    static _Thread_local int64_t at_ms;
    int64_t now = clock_wall_us();

    if (now / 1000 != at_ms) {
        at_ms = now / 1000;
        clock_rfc3339(now, text);
    }
    return text;
}

void log_begin(struct log_line *l, enum log_level level, const char *event)
{
    l->level = level;
    l->text = NULL;
    l->event = event;
    l->has_id = false;
    if ((int)level < atomic_load_explicit(&min_level, memory_order_relaxed))
        return;
    l->text = line_buffer();
    BUF_LIT(l->text, "{\"time\":\"");
    buf_add_str(l->text, str_of(now_text()));
    BUF_LIT(l->text, "\",\"level\":\"");
    buf_add_str(l->text, str_of(level_names[level]));
    BUF_LIT(l->text, "\",\"event\":\"");
    buf_add_str(l->text, str_of(event));
    BUF_LIT(l->text, "\"");
}

static void add_key(struct log_line *l, const char *key)
{
    BUF_LIT(l->text, ",\"");
    buf_add_str(l->text, str_of(key));
    BUF_LIT(l->text, "\":");
}

void log_str(struct log_line *l, const char *key, struct str value)
{
    size_t before;

    if (!l->text)
        return;
    before = l->text->n;
    add_key(l, key);
    log_json_string(l->text, value);
    /* A value that does not fit is left out whole, so that the line stays JSON. */
    if (l->text->failed || l->text->n > LINE_MAX_OCTETS - 64) {
        l->text->n = before;
        l->text->failed = false;
    }
}

void log_cstr(struct log_line *l, const char *key, const char *value)
{
    if (value)
        log_str(l, key, str_of(value));
}

void log_u64(struct log_line *l, const char *key, uint64_t value)
{
    if (!l->text || l->text->n > LINE_MAX_OCTETS - 64)
        return;
    add_key(l, key);
    buf_add_u64(l->text, value);
}

void log_id(struct log_line *l, uint64_t message_id)
{
    char id[MSGID_SIZE];

    l->has_id = true;
    msgid_format(message_id, id);
    log_cstr(l, "id", id);
}

static void to_stderr(struct str line)
{
    PT_IGNORE(write(STDERR_FILENO, line.p, line.n) < 0, "nowhere else to say it");
}

static void count_dropped(uint64_t lines)
{
    atomic_fetch_add_explicit(&dropped, lines, memory_order_relaxed);
}

/* Under the lock. */
static void add_line(struct str line)
{
    bool small = lg.fill.n < WAKE_AT;

    buf_add_str(&lg.fill, line);
    if (lg.fill.failed) {
        /* This line is lost; a shorter one, or the next turn, may find room. */
        lg.fill.failed = false;
        count_dropped(1);
        return;
    }
    lg.added += line.n;
    if (small && lg.fill.n >= WAKE_AT)
        pthread_cond_signal(&lg.wake);
}

void log_end(struct log_line *l)
{
    struct buf *line = l->text;
    bool running;

    if (!line)
        return;
    BUF_LIT(line, "}\n");
    pthread_mutex_lock(&lg.lock);
    running = lg.running;
    if (lg.tap)
        lg.tap(lg.tap_ctx, l->event, l->has_id, str_head(buf_str(line), line->n - 1));
    if (running)
        add_line(buf_str(line));
    pthread_mutex_unlock(&lg.lock);
    if (!running)
        to_stderr(buf_str(line));
}

void log_tap(void (*fn)(void *ctx, const char *event, bool has_id, struct str line), void *ctx)
{
    pthread_mutex_lock(&lg.lock);
    lg.tap = fn;
    lg.tap_ctx = ctx;
    pthread_mutex_unlock(&lg.lock);
}

void log_text(enum log_level level, const char *event, const char *fmt, ...)
{
    char text[1024];
    struct log_line l;
    va_list args;

    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    if (lg.running && level >= LOG_WARN) {
        struct buf plain;

        buf_init(&plain, sizeof text + 16);
        buf_addf(&plain, "postern: %s\n", text);
        to_stderr(buf_str(&plain));
        buf_done(&plain);
    }
    log_begin(&l, level, event);
    log_cstr(&l, "text", text);
    log_end(&l);
}

/* ---- the file and its thread ---- */

static int open_file(void)
{
    struct stat st;
    int fd = open(lg.path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0640);

    if (fd >= 0)
        lg.size = fstat(fd, &st) == 0 ? st.st_size : 0;
    return fd;
}

static void rotate(void)
{
    char from[4200], to[4200];

    for (int i = KEEP_FILES - 1; i >= 1; i--) {
        snprintf(to, sizeof to, "%s.%d", lg.path, i);
        if (i == 1)
            snprintf(from, sizeof from, "%s", lg.path);
        else
            snprintf(from, sizeof from, "%s.%d", lg.path, i - 1);
        PT_IGNORE(rename(from, to), "there may be no such file yet");
    }
    close(lg.fd);
    lg.fd = open_file();
}

static void lose(struct str octets)
{
    uint64_t lines = 0;

    for (ptrdiff_t at = -1; (at = str_find(octets, '\n', (size_t)(at + 1))) >= 0;)
        lines++;
    count_dropped(lines);
}

/* A full disk, or a folder that went away, must not stop mail: what cannot be written is lost and
 * counted, and the next lines are tried again. */
static void write_out(struct str octets)
{
    if (lg.fd < 0)
        lg.fd = open_file();
    if (octets.n && lg.cut)
        lg.cut = write(lg.fd, "\n", 1) != 1;
    while (octets.n) {
        ssize_t n = write(lg.fd, octets.p, octets.n);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0) {
            lose(octets);
            return;
        }
        lg.size += n;
        lg.cut = n > 0 && octets.p[n - 1] != '\n';
        octets = str_from(octets, (size_t)n);
    }
}

static void report_dropped(void)
{
    static uint64_t reported;
    uint64_t now = log_dropped();
    char line[160];
    int n;

    if (now == reported)
        return;
    n = snprintf(
        line, sizeof line,
        "{\"time\":\"%s\",\"level\":\"warn\",\"event\":\"log_lines_dropped\",\"count\":%llu}\n",
        now_text(), (unsigned long long)(now - reported));
    reported = now;
    write_out((struct str){ line, (size_t)n });
}

static void *log_thread(void *unused)
{
    (void)unused;
    pthread_mutex_lock(&lg.lock);
    for (;;) {
        struct buf swap;
        uint64_t upto;

        if (!lg.stop && lg.fill.n < WAKE_AT) {
            struct timespec until;

            clock_gettime(CLOCK_MONOTONIC, &until);
            until.tv_nsec += WRITE_EVERY_MS * 1000000L;
            if (until.tv_nsec >= 1000000000L) {
                until.tv_nsec -= 1000000000L;
                until.tv_sec++;
            }
            pthread_cond_timedwait(&lg.wake, &lg.lock, &until);
        }
        swap = lg.fill;
        lg.fill = lg.drain;
        lg.drain = swap;
        upto = lg.added;
        if (lg.drain.n == 0 && lg.stop)
            break;
        pthread_mutex_unlock(&lg.lock);
        report_dropped();
        write_out(buf_str(&lg.drain));
        buf_clear(&lg.drain);
        if (lg.size >= rotate_at)
            rotate();
        pthread_mutex_lock(&lg.lock);
        lg.done = upto;
        pthread_cond_broadcast(&lg.written);
    }
    pthread_mutex_unlock(&lg.lock);
    return NULL;
}

enum pt_err log_open(const char *directory, struct pt_fault *fault)
{
    pthread_condattr_t attr;

    if (mkdir(directory, 0750) < 0 && errno != EEXIST)
        return pt_fault_errno(fault, errno, "cannot make the log folder %s", directory);
    snprintf(lg.path, sizeof lg.path, "%s/postern.log", directory);
    lg.fd = open_file();
    if (lg.fd < 0)
        return pt_fault_errno(fault, errno, "cannot open the log %s", lg.path);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&lg.wake, &attr);
    pthread_condattr_destroy(&attr);
    buf_init(&lg.fill, waiting_max);
    buf_init(&lg.drain, waiting_max);
    lg.stop = false;
    if (pthread_create(&lg.thread, NULL, log_thread, NULL) != 0) {
        close(lg.fd);
        lg.fd = -1;
        return pt_fault_set(fault, PT_ERR_NOMEM, "cannot start the log thread");
    }
    pthread_mutex_lock(&lg.lock);
    lg.running = true;
    pthread_mutex_unlock(&lg.lock);
    return PT_ERR_OK;
}

void log_flush(void)
{
    uint64_t upto;

    pthread_mutex_lock(&lg.lock);
    upto = lg.added;
    if (lg.running)
        pthread_cond_signal(&lg.wake);
    while (lg.done < upto)
        pthread_cond_wait(&lg.written, &lg.lock);
    pthread_mutex_unlock(&lg.lock);
}

void log_close(void)
{
    pthread_mutex_lock(&lg.lock);
    if (!lg.running) {
        pthread_mutex_unlock(&lg.lock);
        return;
    }
    /* From here on lines go to stderr; those that wait are written before the thread ends. */
    lg.running = false;
    lg.stop = true;
    pthread_cond_signal(&lg.wake);
    pthread_mutex_unlock(&lg.lock);
    pthread_join(lg.thread, NULL);
    buf_done(&lg.fill);
    buf_done(&lg.drain);
    pthread_cond_destroy(&lg.wake);
    if (lg.fd >= 0)
        close(lg.fd);
    lg.fd = -1;
}
