#include "base/err.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static void format_into(struct viv_err *err, int errnum, const char *fmt, va_list ap)
{
    err->code = errnum;
    vsnprintf(err->text, sizeof(err->text), fmt, ap);
}

int viv_fail(struct viv_err *err, int errnum, const char *fmt, ...)
{
    if (err && !err->code) {
        va_list ap;

        va_start(ap, fmt);
        format_into(err, errnum, fmt, ap);
        va_end(ap);
    }
    return -errnum;
}

int viv_fail_os(struct viv_err *err, int errnum, const char *fmt, ...)
{
    if (err && !err->code) {
        size_t used;
        va_list ap;

        va_start(ap, fmt);
        format_into(err, errnum, fmt, ap);
        va_end(ap);
        used = strlen(err->text);
        snprintf(err->text + used, sizeof(err->text) - used, ": %s", strerror(errnum));
    }
    return -errnum;
}

void viv_err_prefix(struct viv_err *err, const char *fmt, ...)
{
    char text[sizeof(err->text)];
    char old[sizeof(err->text)];
    va_list ap;

    if (!err || !err->code)
        return;
    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    memcpy(old, err->text, sizeof(old));
    if ((size_t)snprintf(err->text, sizeof(err->text), "%s: ", text) < sizeof(err->text)) {
        size_t used = strlen(err->text), add = strnlen(old, sizeof(err->text) - used - 1);

        memcpy(err->text + used, old, add);
        err->text[used + add] = '\0';
    }
}

void viv_err_clear(struct viv_err *err)
{
    err->code = 0;
    err->text[0] = '\0';
}
