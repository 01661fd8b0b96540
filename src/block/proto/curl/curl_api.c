#include "block/proto/curl/curl_api.h"

#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <stddef.h>

struct viv_curl_api viv_curl_api;
static struct viv_err load_error;
static pthread_once_t once = PTHREAD_ONCE_INIT;

/* Debian builds it with GnuTLS, OpenSSL or neither: the interface is the same. */
static const char *const libraries[] = {"libcurl-gnutls.so.4", "libcurl.so.4"};

static const struct {
    const char *symbol;
    size_t member;
} symbols[] = {
#define SYMBOL(name) {"curl_" #name, offsetof(struct viv_curl_api, name)},
    VIV_CURL_FUNCTIONS(SYMBOL)
#undef SYMBOL
};

/* It stays loaded. */
static void load(void)
{
    void *lib = NULL;

    for (size_t i = 0; !lib && i < sizeof(libraries) / sizeof(libraries[0]); i++)
        lib = dlopen(libraries[i], RTLD_NOW | RTLD_LOCAL);
    if (!lib) {
        viv_fail(&load_error, ENOENT, "http and ftp need libcurl (Debian: libcurl3-gnutls), which cannot be loaded: %s",
                 dlerror());
        return;
    }
    for (size_t i = 0; i < sizeof(symbols) / sizeof(symbols[0]); i++) {
        void *f = dlsym(lib, symbols[i].symbol);

        if (!f) {
            viv_fail(&load_error, ENOENT, "http and ftp need a newer libcurl: it has no %s", symbols[i].symbol);
            return;
        }
        *(void **)((char *)&viv_curl_api + symbols[i].member) = f;
    }
    viv_curl_api.global_init(CURL_GLOBAL_DEFAULT);
}

int viv_curl_load(struct viv_err *err)
{
    pthread_once(&once, load);
    return load_error.code ? viv_fail(err, load_error.code, "%s", load_error.text) : 0;
}
