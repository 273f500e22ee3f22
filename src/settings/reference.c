/* The table told: as JSON Schema for programs, as a manual page for people. */
#include "settings/schema.h"
#include "settings/table.h"

#include "base/log.h"

/* ---- JSON Schema ---- */

static void json_text(struct buf *out, const char *key, const char *text)
{
    buf_addf(out, ",\"%s\":", key);
    log_json_string(out, str_of(text));
}

static void json_node(struct buf *out, const struct schema_node *n);

static void json_integer_limits(struct buf *out, const struct schema_node *n)
{
    buf_addf(out, ",\"minimum\":%lld,\"maximum\":%lld", (long long)n->min, (long long)n->max);
}

static void json_choices(struct buf *out, const struct schema_node *n)
{
    BUF_LIT(out, "\"enum\":[");
    for (size_t i = 0; n->choices[i]; i++) {
        if (i > 0)
            BUF_LIT(out, ",");
        log_json_string(out, str_of(n->choices[i]));
    }
    if (n->flags & SCHEMA_NULLABLE && !n->format)
        BUF_LIT(out, ",null");
    BUF_LIT(out, "]");
}

static void json_string_limits(struct buf *out, const struct schema_node *n)
{
    if (n->choices && n->format) {
        BUF_LIT(out, ",\"anyOf\":[{");
        json_choices(out, n);
        BUF_LIT(out, "},{");
        buf_addf(out, "\"description\":");
        log_json_string(out, str_of(n->format->expect));
        BUF_LIT(out, "}]");
    } else if (n->choices) {
        BUF_LIT(out, ",");
        json_choices(out, n);
    } else {
        buf_addf(out, ",\"maxLength\":%lld", (long long)n->max);
        if (n->format->json_format)
            json_text(out, "format", n->format->json_format);
    }
}

static void json_list_limits(struct buf *out, const struct schema_node *n)
{
    if (n->min > 0)
        buf_addf(out, ",\"minItems\":%lld", (long long)n->min);
    buf_addf(out, ",\"maxItems\":%lld,\"items\":", (long long)n->max);
    json_node(out, n->item);
}

static void json_members(struct buf *out, const struct schema_node *n)
{
    const char *between = "";

    BUF_LIT(out, ",\"additionalProperties\":false,\"properties\":{");
    for (const struct schema_node *child = n->children; child->key; child++) {
        buf_addf(out, "%s\"%s\":", between, child->key);
        json_node(out, child);
        between = ",";
    }
    BUF_LIT(out, "}");
    between = ",\"required\":[";
    for (const struct schema_node *child = n->children; child->key; child++) {
        if (!(child->flags & SCHEMA_REQUIRED))
            continue;
        buf_addf(out, "%s\"%s\"", between, child->key);
        between = ",";
    }
    if (between[1] == 0)
        BUF_LIT(out, "]");
}

static const char *json_type(const struct schema_node *n)
{
    switch (n->type) {
    case SCHEMA_OBJECT:
        return "object";
    case SCHEMA_INTEGER:
        return "integer";
    case SCHEMA_BOOLEAN:
        return "boolean";
    case SCHEMA_STRING:
        return "string";
    case SCHEMA_LIST:
        return "array";
    }
    return "";
}

static void json_types(struct buf *out, const struct schema_node *n)
{
    bool text = n->shorthand || n->flags & SCHEMA_ONE_OR_LIST, null = n->flags & SCHEMA_NULLABLE;

    BUF_LIT(out, "\"type\":");
    if (!text && !null) {
        buf_addf(out, "\"%s\"", json_type(n));
        return;
    }
    buf_addf(out, "[\"%s\"%s%s]", json_type(n), text ? ",\"string\"" : "", null ? ",\"null\"" : "");
}

static void json_body(struct buf *out, const struct schema_node *n)
{
    json_types(out, n);
    if (n->summary)
        json_text(out, "description", n->summary);
    if (n->fallback)
        buf_addf(out, ",\"default\":%s", n->fallback);
    if (n->flags & SCHEMA_SECRET && n->type == SCHEMA_STRING)
        BUF_LIT(out, ",\"writeOnly\":true");
    switch (n->type) {
    case SCHEMA_OBJECT:
        json_members(out, n);
        break;
    case SCHEMA_INTEGER:
        json_integer_limits(out, n);
        break;
    case SCHEMA_BOOLEAN:
        break;
    case SCHEMA_STRING:
        json_string_limits(out, n);
        break;
    case SCHEMA_LIST:
        json_list_limits(out, n);
        break;
    }
}

static void json_node(struct buf *out, const struct schema_node *n)
{
    BUF_LIT(out, "{");
    json_body(out, n);
    BUF_LIT(out, "}");
}

void settings_json_schema(struct buf *out)
{
    BUF_LIT(out, "{\"$schema\":\"https://json-schema.org/draft/2020-12/schema\",");
    json_body(out, &schema_root);
    BUF_LIT(out, "}\n");
}

/* ---- the manual page ---- */

/* What scdoc would take for markup. */
static void man_text(struct buf *out, const char *text)
{
    for (; *text; text++) {
        if (strchr("*_\\", *text))
            BUF_LIT(out, "\\");
        buf_add_char(out, *text);
    }
}

static void man_string_values(struct buf *out, const struct schema_node *n)
{
    const char *between = "";

    for (size_t i = 0; n->choices && n->choices[i]; i++) {
        buf_addf(out, "%s\"", between);
        man_text(out, n->choices[i]);
        BUF_LIT(out, "\"");
        between = ", ";
    }
    if (n->format) {
        buf_addf(out, "%s", n->choices ? ", or " : "");
        man_text(out, n->format->expect);
    }
}

static void man_values(struct buf *out, const struct schema_node *n)
{
    switch (n->type) {
    case SCHEMA_OBJECT:
        buf_addf(out, "%san object", n->shorthand ? "a string or " : "");
        break;
    case SCHEMA_INTEGER:
        buf_addf(out, "%lld to %lld", (long long)n->min, (long long)n->max);
        if (n->unit)
            buf_addf(out, " (%s)", n->unit);
        break;
    case SCHEMA_BOOLEAN:
        BUF_LIT(out, "true, false");
        break;
    case SCHEMA_STRING:
        man_string_values(out, n);
        break;
    case SCHEMA_LIST:
        if (n->flags & SCHEMA_ONE_OR_LIST) {
            man_values(out, n->item);
            BUF_LIT(out, ", or a list of such");
        } else {
            BUF_LIT(out, "a list, each element ");
            man_values(out, n->item);
        }
        break;
    }
    if (n->flags & SCHEMA_NULLABLE)
        BUF_LIT(out, ", or null");
}

static void man_default(struct buf *out, const struct schema_node *n)
{
    if (n->flags & SCHEMA_REQUIRED) {
        BUF_LIT(out, " Must be given.");
    } else if (n->fallback) {
        BUF_LIT(out, " Default: ");
        man_text(out, n->fallback);
        BUF_LIT(out, ".");
    }
}

static void man_children(struct buf *out, const struct schema_node *n, const char *path);

static void man_node(struct buf *out, const struct schema_node *n, const char *path)
{
    const struct schema_node *inner = n->type == SCHEMA_LIST ? n->item : n;

    if (n->type == SCHEMA_OBJECT) {
        BUF_LIT(out, "## ");
        man_text(out, path);
        BUF_LIT(out, "\n\n");
        man_text(out, n->summary);
        BUF_LIT(out, "\n\n");
        man_children(out, n, path);
        return;
    }
    BUF_LIT(out, "*");
    man_text(out, path);
    BUF_LIT(out, "*\n\t");
    man_text(out, n->summary);
    BUF_LIT(out, "++\nValues: ");
    man_values(out, n);
    BUF_LIT(out, ".");
    man_default(out, n);
    BUF_LIT(out, "\n\n");
    if (inner->type == SCHEMA_OBJECT)
        man_children(out, inner, path);
}

static void man_children(struct buf *out, const struct schema_node *n, const char *path)
{
    for (const struct schema_node *child = n->children; child->key; child++) {
        struct buf longer;

        buf_init(&longer, 1024);
        buf_addf(&longer, "%s%s%s", path, path[0] ? "." : "", child->key);
        man_node(out, child, buf_cstr(&longer) ? longer.p : "");
        buf_done(&longer);
    }
}

void settings_reference(struct buf *out)
{
    BUF_LIT(
        out,
        "postern-settings(5)\n\n"
        "# NAME\n\n"
        "postern-settings - the settings document of the Postern SMTP gateway\n\n"
        "# DESCRIPTION\n\n"
        "The settings are one JSON document. *postern settings export* prints it, *postern "
        "settings apply* FILE puts a changed one into force, at once and in whole or not at "
        "all. Every document that was ever in force is kept as a revision with its author and "
        "time; *postern settings rollback* N brings one back.\n\n"
        "A key that is not given has its default. Unknown keys and wrong values are refused, "
        "each named by its JSON pointer (RFC 6901), and then nothing is changed.\n\n"
        "What may lock everybody out or let everybody in must be confirmed: by *--yes* on the "
        "command line, or by a member *confirm* at the top of the document, a list of "
        "\"empty\\_permit\\_list\", \"open\\_relay\" and \"expired\\_certificate\". It is taken "
        "out before the document is stored.\n\n"
        "# KEYS\n\n");
    man_children(out, &schema_root, "");
    BUF_LIT(out, "# SEE ALSO\n\n*postern*(8)\n");
}
