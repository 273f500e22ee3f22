#pragma once
#include <stdbool.h>

#include "base/buf.h"
#include "base/str.h"

/*
 * mime/fold: writes one header field, folded (RFC 5322 2.2.3).
 *
 * Words are appended one after the other with a space between; a word that would pass column 78
 * goes to a line of its own, which begins with a tab. No word is split, but for text longer than
 * any line may be. Nothing here looks at what the words hold: they must be safe.
 */
struct mime_fold {
    struct buf *out;
    size_t line;  /* where the line begins in `out` */
    size_t word;  /* where the open word's separator is */
    size_t extra; /* columns of the line beyond its octets: the tab's */
    bool fresh;   /* the line has no word yet */
};

/* `name` with its colon. */
void mime_fold_begin(struct mime_fold *f, struct buf *out, struct str name);
void mime_fold_end(struct mime_fold *f);

void mime_fold_word(struct mime_fold *f, struct str word);

/* The words of a text, parted by its spaces; runs of them become one. */
void mime_fold_text(struct mime_fold *f, struct str text);

/* A word in several pieces: append them to what open() returns, then close(). */
struct buf *mime_fold_open(struct mime_fold *f);
void mime_fold_close(struct mime_fold *f);

/* The next word begins a line. Not directly after begin(). */
void mime_fold_newline(struct mime_fold *f);
