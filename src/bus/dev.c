/* The device list: making devices from classes, and what happens to all of them at once. */
#include "bus/dev.h"

#include "base/log.h"

#include <errno.h>
#include <glib.h>
#include <string.h>

static const struct viv_dev_class *const *classes;
static struct viv_dev *first;
static bool vm_runs;

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

/* One that met no device is looked at all the same: what a launcher writes into each of its command lines must be right, though
 * only some of its machines have the device. Classes of the machine's own never come later. */
static int check_unmet(const struct global *g, struct viv_err *err)
{
    const struct viv_dev_class *cls = viv_dev_class_find(g->cls);
    struct viv_opts *opts = viv_opts_new(cls->name, cls->props ? cls->props : no_props);
    int rc = viv_opts_set(opts, g->prop, g->value, err);

    viv_opts_free(opts);
    if (rc < 0)
        viv_err_prefix(err, "-global %s.%s=%s", g->cls, g->prop, g->value);
    else if (!cls->hotplug)
        viv_warn("-global %s.%s=%s has no effect: this machine has no such device", g->cls, g->prop, g->value);
    return rc;
}

int viv_dev_check_globals(struct viv_err *err)
{
    int rc = 0;

    for (const struct global *g = globals; g && !rc; g = g->next) {
        if (!g->met)
            rc = check_unmet(g, err);
    }
    return rc;
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

/* Those that leave are at no place any more. */
static struct viv_dev *by_path(const char *path)
{
    struct viv_dev *d = first;

    while (d && (d->life == VIV_DEV_LEAVING || strcmp(d->path, path)))
        d = d->next;
    return d;
}

/* Stable as long as the same command line makes the same devices in the same order. */
static char *numbered_path(const char *cls)
{
    for (unsigned n = 0;; n++) {
        char *path = g_strdup_printf("%s.%u", cls, n);

        if (!by_path(path))
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
    viv_opts_free(d->opts);
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
    d->opts = viv_opts_copy(opts);
    r = cls->realize(d, opts, err);
    viv_opts_free(own);
    if (r < 0) {
        dev_free(d);
        return r;
    }
    d->life = VIV_DEV_THERE;
    if (!d->path)
        d->path = numbered_path(cls->name);
    g_assert(!by_path(d->path));
    append(d);
    viv_dev_reset(d);
    if (vm_runs && cls->vm_running)
        cls->vm_running(d, true);
    if (out)
        *out = d;
    return 0;
}

void viv_dev_reset(struct viv_dev *d)
{
    d->refs++;
    if (d->cls->reset)
        d->cls->reset(d);
    d->refs--;
}

void viv_dev_reset_all(void)
{
    for (struct viv_dev *d = first; d; d = d->next) {
        if (d->life != VIV_DEV_LEAVING)
            viv_dev_reset(d);
    }
}

void viv_dev_set_running_all(bool running)
{
    vm_runs = running;
    for (struct viv_dev *d = first; d; d = d->next) {
        if (d->cls->vm_running && d->life != VIV_DEV_LEAVING)
            d->cls->vm_running(d, running);
    }
}

bool viv_dev_running(void)
{
    return vm_runs;
}

bool viv_dev_idle_all(void)
{
    for (struct viv_dev *d = first; d; d = d->next) {
        if (d->cls->idle && !d->cls->idle(d))
            return false;
    }
    return true;
}

int viv_dev_can_save_all(struct viv_err *err)
{
    int rc = 0;

    for (struct viv_dev *d = first; d && !rc; d = d->next) {
        if (d->cls->can_save && d->life != VIV_DEV_LEAVING)
            rc = d->cls->can_save(d, err);
    }
    return rc;
}

void viv_dev_free(struct viv_dev *d)
{
    struct viv_dev **p = &first;

    while (*p != d)
        p = &(*p)->next;
    *p = d->next;
    if (d->cls->unrealize)
        d->cls->unrealize(d);
    dev_free(d);
}

/* Last made, first gone: a device may use those that stood before it. */
void viv_dev_free_all(void)
{
    while (first) {
        struct viv_dev *d = first;

        while (d->next)
            d = d->next;
        viv_dev_free(d);
    }
    vm_runs = false;
}

/* ---- saved state ---- */

static uint32_t count_saved(void)
{
    uint32_t n = 0;

    for (struct viv_dev *d = first; d; d = d->next)
        n += d->life != VIV_DEV_LEAVING;
    return n;
}

void viv_dev_save_all(struct viv_state_writer *w)
{
    viv_state_put_u32(w, count_saved());
    for (struct viv_dev *d = first; d; d = d->next) {
        if (d->life != VIV_DEV_LEAVING)
            viv_state_save(w, d->path, d->cls->state, d);
    }
}

/* What is here and was not saved, for a message. */
static int one_too_many(GHashTable *seen, struct viv_err *err)
{
    for (struct viv_dev *d = first; d; d = d->next) {
        if (d->life != VIV_DEV_LEAVING && !g_hash_table_contains(seen, d))
            return viv_fail(err, EINVAL, "this machine has the device '%s' (%s%s%s), which the saved one had not: leave it out, or "
                            "unplug it first", d->path, d->cls->name, d->id ? ", id " : "", d->id ? d->id : "");
    }
    return 0;
}

static int load_one(struct viv_state_reader *r, GHashTable *seen, bool check, struct viv_err *err)
{
    g_autofree char *path = viv_state_peek_section(r, err);
    struct viv_dev *d = path ? by_path(path) : NULL;

    if (!path)
        return -EINVAL;
    if (!d)
        return viv_fail(err, EINVAL, "the saved machine has a device '%.150s', this one has not: give it the same devices at the same "
                        "places (one that was plugged in later by -device with its bus= and addr= or port=)", path);
    if (!g_hash_table_add(seen, d))
        return viv_fail(err, EINVAL, "saved state has the device '%.150s' twice", path);
    return check ? viv_state_check(r, d->path, d->cls->state, err) : viv_state_load(r, d->path, d->cls->state, d, err);
}

/* By name, not by order: what was plugged in while the machine ran may be made earlier here. */
static int load_all(struct viv_state_reader *r, bool check, struct viv_err *err)
{
    g_autoptr(GHashTable) seen = g_hash_table_new(NULL, NULL);
    uint32_t n;
    int rc = viv_state_get_u32(r, &n, err);

    for (uint32_t i = 0; i < n && rc == 0; i++)
        rc = load_one(r, seen, check, err);
    return rc ? rc : one_too_many(seen, err);
}

int viv_dev_load_all(struct viv_state_reader *r, struct viv_err *err)
{
    return load_all(r, false, err);
}

int viv_dev_check_all(struct viv_state_reader *r, struct viv_err *err)
{
    return load_all(r, true, err);
}
