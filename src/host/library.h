/* Libraries that are loaded when something first needs them: most runs of a program do not, and loading them is a good part of a small
 * program's start. They stay loaded. */
#ifndef VIV_HOST_LIBRARY_H
#define VIV_HOST_LIBRARY_H

#include "base/err.h"

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>

struct viv_library {
    /* For the error: "TLS needs" "GnuTLS" (Debian: "libgnutls30"). */
    const char *need, *title, *package;
    const char *names[3]; /* shared objects, the first that is there; up to a NULL */
    void *api;            /* pointers to functions, filled by name */
    const struct viv_library_symbol {
        const char *name;
        size_t member; /* offset in `api` */
    } *symbols;
    size_t count;
    void (*loaded)(void); /* called once; may be NULL */
    /* The loader's. */
    pthread_mutex_t lock;
    bool tried;
    struct viv_err error;
};

/* Any thread; may block the first time. -ENOENT: it cannot be loaded, or lacks a function; then always so. */
int viv_library_load(struct viv_library *l, struct viv_err *err);

#endif
