#pragma once

/*
 * console/page: the page at "/", whole, with its style inside.
 *
 * The policy names the style by its hash, so no other could ever apply.
 */

extern const char console_page[];

#define CONSOLE_STYLE_HASH "'sha256-1VVdWZcOj93ZHPCdX4h3CWRVTVJyq4BryiWNwAb9BvQ='"
