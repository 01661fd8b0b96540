#include "block/proto/curl/curl_api.h"

#include "host/library.h"

struct viv_curl_api viv_curl_api;

static const struct viv_library_symbol symbols[] = {
#define SYMBOL(name) {"curl_" #name, offsetof(struct viv_curl_api, name)},
    VIV_CURL_FUNCTIONS(SYMBOL)
#undef SYMBOL
};

static void begin(void)
{
    viv_curl_api.global_init(CURL_GLOBAL_DEFAULT);
}

static struct viv_library library = {
    .need = "http and ftp need",
    .title = "libcurl",
    .package = "libcurl3-gnutls",
    /* Debian builds it with GnuTLS, OpenSSL or neither: the interface is the same. */
    .names = {"libcurl-gnutls.so.4", "libcurl.so.4"},
    .api = &viv_curl_api,
    .symbols = symbols,
    .count = sizeof(symbols) / sizeof(*symbols),
    .loaded = begin,
    .lock = PTHREAD_MUTEX_INITIALIZER,
};

int viv_curl_load(struct viv_err *err)
{
    return viv_library_load(&library, err);
}
