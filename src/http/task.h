#pragma once

/*
 * http/task: something for a thread of a work pool (http/work.h); embedded in its owner.
 */
struct http_task {
    void (*run)(struct http_task *t);
    struct http_task *next;
};
