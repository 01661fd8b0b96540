#include "export/fuse_api.h"

#include "base/log.h"

#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

struct viv_fuse_api viv_fuse_api;
static struct viv_err load_error;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static const struct {
    const char *symbol;
    size_t member;
} symbols[] = {
#define SYMBOL(name) {"fuse_" #name, offsetof(struct viv_fuse_api, name)},
    VIV_FUSE_FUNCTIONS(SYMBOL)
#undef SYMBOL
};

static void __attribute__((format(printf, 2, 0))) note(enum fuse_log_level level, const char *fmt, va_list ap)
{
    char text[300];

    vsnprintf(text, sizeof(text), fmt, ap);
    text[strcspn(text, "\n")] = 0;
    viv_warn("%s", text);
}

/* It stays loaded. */
static void load(void)
{
    void *lib = dlopen("libfuse3.so.3", RTLD_NOW | RTLD_LOCAL);

    if (!lib) {
        viv_fail(&load_error, ENOENT, "an export of type fuse needs libfuse (Debian: libfuse3-3), which cannot be loaded: %s",
                 dlerror());
        return;
    }
    for (size_t i = 0; i < sizeof(symbols) / sizeof(symbols[0]); i++) {
        void *f = dlsym(lib, symbols[i].symbol);

        if (!f) {
            viv_fail(&load_error, ENOENT, "an export of type fuse needs a newer libfuse: it has no %s", symbols[i].symbol);
            return;
        }
        *(void **)((char *)&viv_fuse_api + symbols[i].member) = f;
    }
    fuse_set_log_func(note);
}

int viv_fuse_load(struct viv_err *err)
{
    pthread_once(&once, load);
    return load_error.code ? viv_fail(err, load_error.code, "%s", load_error.text) : 0;
}
