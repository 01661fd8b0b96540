#include "opt/object.h"

#include <errno.h>
#include <glib.h>
#include <string.h>

struct viv_object {
    const struct viv_object_class *cls;
    char *id;
    struct viv_raw_opts *given; /* with its id; NULL: hidden */
    struct viv_object *next;
};

static GPtrArray *classes;          /* by name */
static struct viv_object *objects; /* in the order of making */

/* --- classes --- */

static gint by_name(gconstpointer a, gconstpointer b)
{
    const struct viv_object_class *const *x = a, *const *y = b;

    return strcmp((*x)->type, (*y)->type);
}

void viv_objects_use(const struct viv_object_class *const *more)
{
    if (!classes)
        classes = g_ptr_array_new();
    for (; *more; more++)
        g_ptr_array_add(classes, (gpointer)*more);
    g_ptr_array_sort(classes, by_name);
}

const struct viv_object_class *viv_object_class_at(unsigned i)
{
    return classes && i < classes->len ? classes->pdata[i] : NULL;
}

const struct viv_object_class *viv_object_class_named(const char *type)
{
    const struct viv_object_class *c;
    unsigned i = 0;

    while ((c = viv_object_class_at(i++)) != NULL && g_strcmp0(c->type, type)) {
    }
    return c;
}

static int no_such_class(const char *type, struct viv_err *err)
{
    g_autoptr(GPtrArray) names = g_ptr_array_new();
    g_autofree char *all = NULL;
    const char *near;

    for (unsigned i = 0; viv_object_class_at(i); i++)
        g_ptr_array_add(names, (gpointer)viv_object_class_at(i)->type);
    g_ptr_array_add(names, NULL);
    all = g_strjoinv(", ", (char **)names->pdata);
    near = type ? viv_nearest(type, (const char *const *)names->pdata) : NULL;
    return viv_fail(err, EINVAL, "invalid object type: %.60s%s%s%s; there are %s", type ? type : "none is given", near ? "; did you mean '" : "",
                    near ? near : "", near ? "'?" : "", all);
}

int viv_object_class_find(const char *type, const struct viv_object_class **out, struct viv_err *err)
{
    *out = viv_object_class_named(type);
    return *out ? 0 : no_such_class(type, err);
}

bool viv_object_help(const char *type, FILE *to)
{
    const struct viv_object_class *c = type ? viv_object_class_named(type) : NULL;

    if (c)
        viv_opts_print_help(type, c->opts, to);
    for (unsigned i = 0; !type && (c = viv_object_class_at(i)) != NULL; i++)
        fprintf(to, "%-20s %s\n", c->type, c->desc);
    return c || !type;
}

/* --- making --- */

static void keep(const struct viv_object_class *c, const char *id, const struct viv_raw_opts *given)
{
    struct viv_object **end = &objects, *o = g_new0(struct viv_object, 1);

    o->cls = c;
    o->id = g_strdup(id);
    o->given = c->hidden ? NULL : viv_raw_copy(given);
    while (*end)
        end = &(*end)->next;
    *end = o;
}

int viv_object_make(const struct viv_object_class *c, struct viv_raw_opts *r, struct viv_err *err)
{
    g_autofree char *what = g_strdup_printf("%s %s", viv_raw_what(r), c->type);
    struct viv_opts *o = NULL;
    int rc = viv_opts_from_raw(what, c->opts, r, &o, err);
    const char *id = rc < 0 ? NULL : viv_opts_str(o, "id");
    struct viv_err why = VIV_ERR_INIT;

    if (!rc && !viv_is_id(id))
        rc = viv_fail(err, EINVAL, "%s: '%.60s' is no identifier: " VIV_ID_FORM, what, id);
    if (!rc && viv_object_find(id))
        rc = viv_fail(err, EEXIST, "%s: there is an object '%.60s' already (%s)", what, id, viv_object_find(id)->cls->type);
    if (!rc && (rc = c->add(o, &why)) < 0)
        viv_fail(err, -rc, "%s%s%s", g_str_has_prefix(why.text, what) ? "" : what, g_str_has_prefix(why.text, what) ? "" : ": ", why.text);
    if (!rc)
        keep(c, id, r);
    viv_opts_free(o);
    return rc;
}

int viv_object_add(struct viv_raw_opts *r, struct viv_err *err)
{
    g_autofree char *type = viv_raw_take(r, "qom-type");
    const struct viv_object_class *c;
    int rc = viv_object_class_find(type, &c, err);

    if (rc < 0)
        return rc;
    if (c->fixed)
        return viv_fail(err, ENOTSUP, "%s %s: %s", viv_raw_what(r), type, c->fixed);
    return viv_object_make(c, r, err);
}

int viv_object_add_text(const char *what, const char *text, struct viv_err *err)
{
    struct viv_raw_opts *r = NULL;
    int rc = viv_raw_parse(what, "qom-type", text, &r, err);

    if (!rc)
        rc = viv_object_add(r, err);
    viv_raw_free(r);
    return rc;
}

/* --- going --- */

void viv_object_gone(const char *id)
{
    struct viv_object **at = &objects, *o;

    while (*at && strcmp((*at)->id, id))
        at = &(*at)->next;
    o = *at;
    if (!o)
        return;
    *at = o->next;
    viv_raw_free(o->given);
    g_free(o->id);
    g_free(o);
}

int viv_object_del(const char *id, struct viv_err *err)
{
    struct viv_object *o = viv_object_find(id);
    int rc;

    if (!o)
        return viv_fail(err, ENOENT, "object '%.60s' not found", id);
    if (!o->cls->del)
        return viv_fail(err, EBUSY, "object '%.60s' (%s) stays until the program ends", id, o->cls->type);
    rc = o->cls->del(id, err);
    if (!rc)
        viv_object_gone(id);
    return rc;
}

void viv_objects_forget(void)
{
    while (objects)
        viv_object_gone(objects->id);
    g_clear_pointer(&classes, g_ptr_array_unref);
}

/* --- those that there are --- */

struct viv_object *viv_object_next(struct viv_object *o)
{
    return o ? o->next : objects;
}

struct viv_object *viv_object_find(const char *id)
{
    struct viv_object *o = objects;

    while (o && strcmp(o->id, id))
        o = o->next;
    return o;
}

const char *viv_object_id(const struct viv_object *o)
{
    return o->id;
}

const struct viv_object_class *viv_object_class(const struct viv_object *o)
{
    return o->cls;
}

static struct viv_raw_opts *options_now(const struct viv_object *o)
{
    return o->cls->now ? o->cls->now(o->id) : viv_raw_copy(o->given);
}

struct viv_opts *viv_object_options(const struct viv_object *o)
{
    struct viv_raw_opts *r = o->given ? options_now(o) : NULL;
    struct viv_opts *opts = NULL;

    if (r && viv_opts_from_raw(o->cls->type, o->cls->opts, r, &opts, NULL) < 0)
        opts = NULL;
    viv_raw_free(r);
    return opts;
}

int viv_object_change(struct viv_object *o, const struct viv_raw_opts *some, struct viv_err *err)
{
    struct viv_raw_opts *all, *now;
    struct viv_opts *opts = NULL;
    int rc;

    if (!o->cls->change)
        return viv_fail(err, ENOTSUP, "object '%.60s' (%s) has nothing that can be changed", o->id, o->cls->type);
    now = options_now(o);
    all = viv_raw_copy(some);
    g_free(viv_raw_take(all, "id")); /* it stays who it is */
    viv_raw_add_absent(all, now);
    viv_raw_free(now);
    rc = viv_opts_from_raw(viv_raw_what(some), o->cls->opts, all, &opts, err);
    if (!rc)
        rc = o->cls->change(opts, err);
    if (!rc) {
        viv_raw_free(o->given);
        o->given = g_steal_pointer(&all);
    }
    viv_opts_free(opts);
    viv_raw_free(all);
    return rc;
}
