#include "crypto/gnutls_api.h"

#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <stddef.h>

#define LIBRARY "libgnutls.so.30"

static struct viv_gnutls api;
static struct viv_err load_error;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static const struct {
    const char *symbol;
    size_t member;
} symbols[] = {
#define SYMBOL(name) {"gnutls_" #name, offsetof(struct viv_gnutls, name)},
    VIV_GNUTLS_FUNCTIONS(SYMBOL)
#undef SYMBOL
};

/* It stays loaded: sessions may be open until the end. */
static void load(void)
{
    void *lib = dlopen(LIBRARY, RTLD_NOW | RTLD_LOCAL);

    if (!lib) {
        viv_fail(&load_error, ENOENT, "TLS needs GnuTLS (Debian: libgnutls30), which cannot be loaded: %s", dlerror());
        return;
    }
    for (size_t i = 0; i < sizeof(symbols) / sizeof(symbols[0]); i++) {
        void *f = dlsym(lib, symbols[i].symbol);

        if (!f) {
            viv_fail(&load_error, ENOENT, "TLS needs a newer GnuTLS: %s has no %s", LIBRARY, symbols[i].symbol);
            return;
        }
        *(void **)((char *)&api + symbols[i].member) = f;
    }
}

const struct viv_gnutls *viv_gnutls(struct viv_err *err)
{
    pthread_once(&once, load);
    if (!load_error.code)
        return &api;
    viv_fail(err, load_error.code, "%s", load_error.text);
    return NULL;
}
