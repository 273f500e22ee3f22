#include "base/err.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const struct {
    const char *text;
    int retry;
} errors[] = {
#define PT_ERR_ROW(name, text, retry) [PT_ERR_##name] = { text, retry },
    PT_ERR_LIST(PT_ERR_ROW)
#undef PT_ERR_ROW
};

const char *pt_err_text(enum pt_err err)
{
    return (size_t)err < PT_ARRAY_LEN(errors) ? errors[err].text : "unknown error";
}

int pt_err_may_retry(enum pt_err err)
{
    return (size_t)err < PT_ARRAY_LEN(errors) ? errors[err].retry : 0;
}

enum pt_err pt_err_from_errno(int sys_errno)
{
    switch (sys_errno) {
    case 0:
        return PT_ERR_OK;
    case EAGAIN:
    case EINTR:
        return PT_ERR_AGAIN;
    case ENOMEM:
        return PT_ERR_NOMEM;
    case ENOSPC:
    case EDQUOT:
        return PT_ERR_NOSPACE;
    case ENOENT:
        return PT_ERR_NOTFOUND;
    case EEXIST:
        return PT_ERR_EXISTS;
    case EINVAL:
        return PT_ERR_INVALID;
    case EACCES:
    case EPERM:
        return PT_ERR_DENIED;
    case EADDRINUSE:
        return PT_ERR_BUSY;
    case ETIMEDOUT:
        return PT_ERR_TIMEOUT;
    case EPIPE:
    case ECONNRESET:
        return PT_ERR_CLOSED;
    default:
        return PT_ERR_IO;
    }
}

enum pt_err pt_fault_set(struct pt_fault *fault, enum pt_err err, const char *fmt, ...)
{
    va_list args;

    if (!fault)
        return err;
    fault->err = err;
    fault->sys_errno = 0;
    va_start(args, fmt);
    vsnprintf(fault->text, sizeof fault->text, fmt, args);
    va_end(args);
    return err;
}

enum pt_err pt_fault_errno(struct pt_fault *fault, int sys_errno, const char *fmt, ...)
{
    enum pt_err err = pt_err_from_errno(sys_errno);
    const char *desc = strerrordesc_np(sys_errno);
    va_list args;
    size_t used;

    if (!fault)
        return err;
    fault->err = err;
    fault->sys_errno = sys_errno;
    va_start(args, fmt);
    vsnprintf(fault->text, sizeof fault->text, fmt, args);
    va_end(args);
    used = strlen(fault->text);
    snprintf(fault->text + used, sizeof fault->text - used, ": %s", desc ? desc : "unknown error");
    return err;
}
