/* The device list: making devices from classes, and what happens to all of them at once. */
#include "bus/dev.h"

#include <errno.h>
#include <glib.h>
#include <string.h>

static const struct viv_dev_class *const *classes;
static struct viv_dev *first;

static const struct viv_opt_def no_props[] = {VIV_OPT_END};

struct global {
    struct global *next;
    char *cls, *prop, *value;
    bool met; /* a device of the class was made */
};

static struct global *globals; /* in the order given: the last one counts */

void viv_dev_set_classes(const struct viv_dev_class *const *table)
{
    classes = table;
}

const struct viv_dev_class *const *viv_dev_classes(void)
{
    static const struct viv_dev_class *const none[] = {NULL};

    return classes ? classes : none;
}

const struct viv_dev_class *viv_dev_class_find(const char *name)
{
    for (const struct viv_dev_class *const *c = viv_dev_classes(); *c; c++) {
        if (!strcmp((*c)->name, name))
            return *c;
    }
    return NULL;
}

struct viv_dev *viv_dev_first(void)
{
    return first;
}

struct viv_dev *viv_dev_find(const char *id)
{
    for (struct viv_dev *d = first; d; d = d->next) {
        if (d->id && !strcmp(d->id, id))
            return d;
    }
    return NULL;
}

static int no_such_class(const char *name, struct viv_err *err)
{
    g_autoptr(GPtrArray) names = g_ptr_array_new();
    const char *near;

    for (const struct viv_dev_class *const *c = viv_dev_classes(); *c; c++) {
        if (!(*c)->internal)
            g_ptr_array_add(names, (gpointer)(*c)->name);
    }
    g_ptr_array_add(names, NULL);
    near = viv_nearest(name, (const char *const *)names->pdata);
    return viv_fail(err, ENODEV, "'%s' is not a device we have%s%s%s; '-device help' lists them",
                    name, near ? ", did you mean '" : "", near ? near : "", near ? "'?" : "");
}

int viv_dev_add_global(const char *cls, const char *prop, const char *value, struct viv_err *err)
{
    struct global **p = &globals;

    if (!viv_dev_class_find(cls)) {
        no_such_class(cls, err);
        viv_err_prefix(err, "-global %.60s.%.60s", cls, prop);
        return -ENODEV;
    }
    while (*p)
        p = &(*p)->next;
    *p = g_new0(struct global, 1);
    (*p)->cls = g_strdup(cls);
    (*p)->prop = g_strdup(prop);
    (*p)->value = g_strdup(value);
    return 0;
}

int viv_dev_check_globals(struct viv_err *err)
{
    for (const struct global *g = globals; g; g = g->next) {
        if (!g->met)
            return viv_fail(err, EINVAL, "-global %s.%s=%s: this machine has no such device: it would have no effect",
                            g->cls, g->prop, g->value);
    }
    return 0;
}

static bool same_setting(const struct global *a, const struct global *b)
{
    return !strcmp(a->cls, b->cls) && !strcmp(a->prop, b->prop);
}

/* What the device was told itself stands; where it is the board that told it, nobody could have meant otherwise. */
static int apply_globals(const struct viv_dev_class *cls, struct viv_opts *opts, struct viv_err *err)
{
    for (struct global *g = globals; g; g = g->next) {
        const struct global *later = g->next;
        int rc = 0;

        if (strcmp(g->cls, cls->name))
            continue;
        g->met = true;
        while (later && !same_setting(g, later))
            later = later->next;
        if (later)
            continue;
        if (!viv_opts_given(opts, g->prop))
            rc = viv_opts_set(opts, g->prop, g->value, err);
        else if (cls->internal)
            rc = viv_fail(err, EINVAL, "the machine sets it itself");
        if (rc < 0) {
            viv_err_prefix(err, "-global %s.%s=%s", g->cls, g->prop, g->value);
            return rc;
        }
    }
    return 0;
}

static bool path_taken(const char *path)
{
    for (struct viv_dev *d = first; d; d = d->next) {
        if (!strcmp(d->path, path))
            return true;
    }
    return false;
}

/* Stable as long as the same command line makes the same devices in the same order. */
static char *numbered_path(const char *cls)
{
    for (unsigned n = 0;; n++) {
        char *path = g_strdup_printf("%s.%u", cls, n);

        if (!path_taken(path))
            return path;
        g_free(path);
    }
}

static void append(struct viv_dev *d)
{
    struct viv_dev **p = &first;

    while (*p)
        p = &(*p)->next;
    *p = d;
}

static void dev_free(struct viv_dev *d)
{
    g_free(d->id);
    g_free(d->path);
    g_free(d);
}

int viv_dev_new(struct viv_board *board, const char *name, const char *id, const char *path,
                struct viv_opts *opts, struct viv_dev **out, struct viv_err *err)
{
    const struct viv_dev_class *cls = viv_dev_class_find(name);
    struct viv_opts *own = NULL;
    struct viv_dev *d;
    int r;

    if (!cls)
        return no_such_class(name, err);
    if (id && viv_dev_find(id))
        return viv_fail(err, EEXIST, "device '%s': id '%s' is already in use", name, id);
    if (!opts)
        opts = own = viv_opts_new(name, cls->props ? cls->props : no_props);
    r = apply_globals(cls, opts, err);
    if (r < 0) {
        viv_opts_free(own);
        return r;
    }
    d = g_malloc0(cls->size);
    d->cls = cls;
    d->board = board;
    d->id = g_strdup(id);
    d->path = g_strdup(path);
    r = cls->realize(d, opts, err);
    viv_opts_free(own);
    if (r < 0) {
        dev_free(d);
        return r;
    }
    if (!d->path)
        d->path = numbered_path(cls->name);
    g_assert(!path_taken(d->path));
    append(d);
    if (cls->reset)
        cls->reset(d);
    if (out)
        *out = d;
    return 0;
}

void viv_dev_reset_all(void)
{
    for (struct viv_dev *d = first; d; d = d->next) {
        if (d->cls->reset)
            d->cls->reset(d);
    }
}

void viv_dev_set_running_all(bool running)
{
    for (struct viv_dev *d = first; d; d = d->next) {
        if (d->cls->vm_running)
            d->cls->vm_running(d, running);
    }
}

bool viv_dev_idle_all(void)
{
    for (struct viv_dev *d = first; d; d = d->next) {
        if (d->cls->idle && !d->cls->idle(d))
            return false;
    }
    return true;
}

/* Last made, first gone: a device may use those that stood before it. */
void viv_dev_free_all(void)
{
    while (first) {
        struct viv_dev **p = &first, *d;

        while ((*p)->next)
            p = &(*p)->next;
        d = *p;
        *p = NULL;
        if (d->cls->unrealize)
            d->cls->unrealize(d);
        dev_free(d);
    }
}

void viv_dev_save_all(struct viv_state_writer *w)
{
    uint32_t n = 0;

    for (struct viv_dev *d = first; d; d = d->next)
        n++;
    viv_state_put_u32(w, n);
    for (struct viv_dev *d = first; d; d = d->next)
        viv_state_save(w, d->path, d->cls->state, d);
}

int viv_dev_load_all(struct viv_state_reader *r, struct viv_err *err)
{
    uint32_t n, have = 0;
    int rc = viv_state_get_u32(r, &n, err);

    for (struct viv_dev *d = first; d; d = d->next)
        have++;
    if (rc == 0 && n != have)
        rc = viv_fail(
            err, EINVAL,
            "saved state has %u devices, this machine has %u: both command lines must make "
            "the same devices",
            n, have);
    for (struct viv_dev *d = first; d && rc == 0; d = d->next)
        rc = viv_state_load(r, d->path, d->cls->state, d, err);
    return rc;
}
