#include "relay/index.h"

#include "relay/scheduler.h"

/* A number that looks random but is the ID's own, so that it needs no room in the item. */
static uint64_t priority(const struct relay_item *item)
{
    uint64_t x = item->id + 0x9E3779B97F4A7C15u;

    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9u;
    x = (x ^ (x >> 27)) * 0x94D049BB133111EBu;
    return x ^ (x >> 31);
}

void relay_index_insert(struct relay_item **root, struct relay_item *item)
{
    struct relay_item **p = root, **less = &item->left, **more = &item->right;
    struct relay_item *t;
    uint64_t prio = priority(item);

    while (*p && priority(*p) >= prio)
        p = item->id < (*p)->id ? &(*p)->left : &(*p)->right;
    t = *p;
    *p = item;
    while (t) { /* what was here is split around the new item */
        if (t->id < item->id) {
            *less = t;
            less = &t->right;
            t = t->right;
        } else {
            *more = t;
            more = &t->left;
            t = t->left;
        }
    }
    *less = *more = NULL;
}

void relay_index_remove(struct relay_item **root, struct relay_item *item)
{
    struct relay_item **p = root, *a = item->left, *b = item->right;

    while (*p != item) {
        pt_assert(*p);
        p = item->id < (*p)->id ? &(*p)->left : &(*p)->right;
    }
    while (a && b) { /* its two halves are merged */
        if (priority(a) >= priority(b)) {
            *p = a;
            p = &a->right;
            a = a->right;
        } else {
            *p = b;
            p = &b->left;
            b = b->left;
        }
    }
    *p = a ? a : b;
}

struct relay_item *relay_index_find(struct relay_item *root, uint64_t id)
{
    while (root && root->id != id)
        root = id < root->id ? root->left : root->right;
    return root;
}

struct relay_item *relay_index_after(struct relay_item *root, uint64_t id)
{
    struct relay_item *found = NULL;

    while (root) {
        if (root->id > id) {
            found = root;
            root = root->left;
        } else {
            root = root->right;
        }
    }
    return found;
}

struct relay_item *relay_index_before(struct relay_item *root, uint64_t id)
{
    struct relay_item *found = NULL;

    while (root) {
        if (id == 0 || root->id < id) {
            found = root;
            root = root->right;
        } else {
            root = root->left;
        }
    }
    return found;
}
