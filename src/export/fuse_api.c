#include "export/fuse_api.h"

#include "base/log.h"
#include "host/library.h"

#include <stdio.h>
#include <string.h>

struct viv_fuse_api viv_fuse_api;

static const struct viv_library_symbol symbols[] = {
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

static void begin(void)
{
    fuse_set_log_func(note);
}

static struct viv_library library = {
    .need = "an export of type fuse needs",
    .title = "libfuse",
    .package = "libfuse3-3",
    .names = {"libfuse3.so.3"},
    .api = &viv_fuse_api,
    .symbols = symbols,
    .count = sizeof(symbols) / sizeof(*symbols),
    .loaded = begin,
    .lock = PTHREAD_MUTEX_INITIALIZER,
};

int viv_fuse_load(struct viv_err *err)
{
    return viv_library_load(&library, err);
}
