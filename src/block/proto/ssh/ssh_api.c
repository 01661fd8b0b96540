#include "block/proto/ssh/ssh_api.h"

#include "host/library.h"

struct viv_ssh_api viv_ssh_api;

static const struct viv_library_symbol symbols[] = {
#define SYMBOL(part, name) {#part "_" #name, offsetof(struct viv_ssh_api, f_##part##_##name)},
    VIV_SSH_FUNCTIONS(SYMBOL)
#undef SYMBOL
};

static struct viv_library library = {
    .need = "ssh needs",
    .title = "libssh",
    .package = "libssh-4",
    .names = {"libssh.so.4"},
    .api = &viv_ssh_api,
    .symbols = symbols,
    .count = sizeof(symbols) / sizeof(*symbols),
    .lock = PTHREAD_MUTEX_INITIALIZER,
};

int viv_ssh_load(struct viv_err *err)
{
    return viv_library_load(&library, err);
}
