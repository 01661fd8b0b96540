#include "crypto/gnutls_api.h"

#include "host/library.h"

static struct viv_gnutls api;

static const struct viv_library_symbol symbols[] = {
#define SYMBOL(name) {"gnutls_" #name, offsetof(struct viv_gnutls, name)},
    VIV_GNUTLS_FUNCTIONS(SYMBOL)
#undef SYMBOL
};

static struct viv_library library = {
    .need = "TLS needs",
    .title = "GnuTLS",
    .package = "libgnutls30",
    .names = {"libgnutls.so.30"},
    .api = &api,
    .symbols = symbols,
    .count = sizeof(symbols) / sizeof(*symbols),
    .lock = PTHREAD_MUTEX_INITIALIZER,
};

const struct viv_gnutls *viv_gnutls(struct viv_err *err)
{
    return viv_library_load(&library, err) ? NULL : &api;
}
