#include "host/library.h"

#include <dlfcn.h>
#include <errno.h>

static void load(struct viv_library *l)
{
    void *lib = NULL;

    for (size_t n = 0; !lib && n < sizeof(l->names) / sizeof(*l->names) && l->names[n]; n++)
        lib = dlopen(l->names[n], RTLD_NOW | RTLD_LOCAL);
    if (!lib) {
        viv_fail(&l->error, ENOENT, "%s %s (Debian: %s), which cannot be loaded: %s", l->need, l->title, l->package, dlerror());
        return;
    }
    for (size_t n = 0; n < l->count; n++) {
        void *f = dlsym(lib, l->symbols[n].name);

        if (!f) {
            viv_fail(&l->error, ENOENT, "%s another %s than the one that is installed: that has no %s", l->need, l->title,
                     l->symbols[n].name);
            return;
        }
        *(void **)((char *)l->api + l->symbols[n].member) = f;
    }
    if (l->loaded)
        l->loaded();
}

int viv_library_load(struct viv_library *l, struct viv_err *err)
{
    pthread_mutex_lock(&l->lock);
    if (!l->tried)
        load(l);
    l->tried = true;
    pthread_mutex_unlock(&l->lock);
    return l->error.code ? viv_fail(err, l->error.code, "%s", l->error.text) : 0;
}
