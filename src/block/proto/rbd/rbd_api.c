#include "block/proto/rbd/rbd_api.h"

#include "host/library.h"

struct viv_rbd_api viv_rbd_api;

static const struct viv_library_symbol symbols[] = {
#define SYMBOL(name) {#name, offsetof(struct viv_rbd_api, f_##name)},
    VIV_RBD_FUNCTIONS(SYMBOL)
#undef SYMBOL
};

/* librbd brings librados along: its functions are found through it. */
static struct viv_library library = {
    .need = "rbd needs",
    .title = "librbd of Ceph 16 or newer",
    .package = "librbd1",
    .names = {"librbd.so.1"},
    .api = &viv_rbd_api,
    .symbols = symbols,
    .count = sizeof(symbols) / sizeof(*symbols),
    .lock = PTHREAD_MUTEX_INITIALIZER,
};

int viv_rbd_load(struct viv_err *err)
{
    return viv_library_load(&library, err);
}
