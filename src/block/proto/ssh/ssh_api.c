#include "block/proto/ssh/ssh_api.h"

#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <stddef.h>

struct viv_ssh_api viv_ssh_api;
static struct viv_err load_error;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static const struct {
    const char *symbol;
    size_t member;
} symbols[] = {
#define SYMBOL(part, name) {#part "_" #name, offsetof(struct viv_ssh_api, f_##part##_##name)},
    VIV_SSH_FUNCTIONS(SYMBOL)
#undef SYMBOL
};

/* It stays loaded. */
static void load(void)
{
    void *lib = dlopen("libssh.so.4", RTLD_NOW | RTLD_LOCAL);

    if (!lib) {
        viv_fail(&load_error, ENOENT, "ssh needs libssh (Debian: libssh-4), which cannot be loaded: %s", dlerror());
        return;
    }
    for (size_t i = 0; i < sizeof(symbols) / sizeof(symbols[0]); i++) {
        void *f = dlsym(lib, symbols[i].symbol);

        if (!f) {
            viv_fail(&load_error, ENOENT, "ssh needs another libssh: this one has no %s", symbols[i].symbol);
            return;
        }
        *(void **)((char *)&viv_ssh_api + symbols[i].member) = f;
    }
}

int viv_ssh_load(struct viv_err *err)
{
    pthread_once(&once, load);
    return load_error.code ? viv_fail(err, load_error.code, "%s", load_error.text) : 0;
}
