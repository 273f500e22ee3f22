#pragma once
#include "base/buf.h"
#include "daemon/process.h"

/* daemon/metrics: api_deps' metrics. */
void process_metrics(struct process *p, struct buf *out);
