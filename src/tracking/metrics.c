#include "tracking/metrics.h"

#include <string.h>

static bool is_name(const char *name, enum metrics_kind kind)
{
    struct str n = str_of(name), total = STR("_total");
    bool counts = n.n > total.n && str_eq(str_from(n, n.n - total.n), total);

    for (size_t i = 0; i < n.n; i++)
        if (!((n.p[i] >= 'a' && n.p[i] <= 'z') || n.p[i] == '_' ||
              (i > 0 && n.p[i] >= '0' && n.p[i] <= '9')))
            return false;
    return n.n > 0 && counts == (kind == METRICS_COUNTER);
}

/* Backslash, line feed and, in a label, the quotation mark are escaped. */
static void add_escaped(struct buf *out, struct str text, bool quoted)
{
    for (size_t i = 0; i < text.n; i++) {
        if (text.p[i] == '\n')
            BUF_LIT(out, "\\n");
        else if (text.p[i] == '\\' || (quoted && text.p[i] == '"'))
            buf_addf(out, "\\%c", text.p[i]);
        else
            buf_add_char(out, text.p[i]);
    }
}

void metrics_family(struct buf *out, const char *name, enum metrics_kind kind, const char *help)
{
    pt_assert(is_name(name, kind));
    buf_addf(out, "# HELP %s ", name);
    add_escaped(out, str_of(help), false);
    buf_addf(out, "\n# TYPE %s %s\n", name, kind == METRICS_COUNTER ? "counter" : "gauge");
}

void metrics_sample(struct buf *out, const char *name, const char *label, struct str label_value,
                    uint64_t value)
{
    buf_add_str(out, str_of(name));
    if (label) {
        buf_addf(out, "{%s=\"", label);
        add_escaped(out, label_value, true);
        BUF_LIT(out, "\"}");
    }
    buf_add_char(out, ' ');
    buf_add_u64(out, value);
    buf_add_char(out, '\n');
}

void metrics_sample_us(struct buf *out, const char *name, uint64_t us)
{
    buf_addf(out, "%s %llu.%06u\n", name, (unsigned long long)(us / 1000000),
             (unsigned)(us % 1000000));
}

void metrics_counter(struct buf *out, const char *name, const char *help, uint64_t value)
{
    metrics_family(out, name, METRICS_COUNTER, help);
    metrics_sample(out, name, NULL, STR(""), value);
}

void metrics_gauge(struct buf *out, const char *name, const char *help, uint64_t value)
{
    metrics_family(out, name, METRICS_GAUGE, help);
    metrics_sample(out, name, NULL, STR(""), value);
}
