#pragma once
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

/*
 * Messages into a Maildir: written in tmp/, moved to new/ when whole. Not synced: this is a tool.
 */
struct store_file {
    FILE *f; /* NULL when nothing is being written */
    char name[64];
};

/* Makes the folder and its three parts. False, with a word on stderr, when that fails. */
bool store_prepare(const char *folder);

bool store_begin(struct store_file *file, const char *folder);
bool store_add(struct store_file *file, const char *octets, size_t n);
bool store_end(struct store_file *file, const char *folder);
void store_abandon(struct store_file *file, const char *folder);
