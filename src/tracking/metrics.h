#pragma once
#include <stdint.h>

#include "base/buf.h"

/*
 * tracking/metrics: numbers in the text format of Prometheus, version 0.0.4.
 *
 * A family is its name, kind and help, followed by all of its samples. Names are constant and
 * follow Prometheus' conventions: a counter ends in "_total", a unit stands at the end, octets are
 * "bytes". Pure; the buffer tells whether all of it fitted.
 */

enum metrics_kind { METRICS_COUNTER, METRICS_GAUGE };

/* Begins a family; it asserts that the name keeps to the convention. */
void metrics_family(struct buf *out, const char *name, enum metrics_kind kind, const char *help);

/* A sample of the family; `label` NULL: without a label. The label's value may be any text. */
void metrics_sample(struct buf *out, const char *name, const char *label, struct str label_value,
                    uint64_t value);

/* The same in seconds, of microseconds. */
void metrics_sample_us(struct buf *out, const char *name, uint64_t us);

/* A family of one sample. */
void metrics_counter(struct buf *out, const char *name, const char *help, uint64_t value);
void metrics_gauge(struct buf *out, const char *name, const char *help, uint64_t value);
