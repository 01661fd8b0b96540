/* -object: things that devices name by id. So far random number sources. */
#include "cmd/vm_args.h"

#include "host/random.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static const struct viv_opt_def builtin_opts[] = {
    {.name = "id", .type = VIV_OPT_STR, .required = true, .help = "name for rng= of a virtio-rng"},
    VIV_OPT_END,
};

static const struct viv_opt_def random_opts[] = {
    {.name = "id", .type = VIV_OPT_STR, .required = true, .help = "name for rng= of a virtio-rng"},
    {.name = "filename", .type = VIV_OPT_STR, .def = "/dev/urandom", .help = "character device or FIFO to read"},
    VIV_OPT_END,
};

static const struct {
    const char *type, *desc;
    const struct viv_opt_def *opts;
} kinds[] = {
    {"rng-builtin", "random numbers from the host kernel", builtin_opts},
    {"rng-random", "random numbers from a device of the host", random_opts},
};

static int no_such_kind(const char *type, struct viv_err *err)
{
    const char *names[G_N_ELEMENTS(kinds) + 1] = {NULL};
    const char *near;

    if (!strcmp(type, "iothread"))
        return viv_fail(err, ENOTSUP, "-object iothread: leave it out: requests run on I/O threads anyway");
    for (size_t i = 0; i < G_N_ELEMENTS(kinds); i++)
        names[i] = kinds[i].type;
    near = viv_nearest(type, names);
    return viv_fail(err, EINVAL, "-object %.60s: there is no such object yet%s%s%s; there are rng-random and rng-builtin", type,
                    near ? "; did you mean '" : "", near ? near : "", near ? "'?" : "");
}

static int one_object(const char *text, struct viv_err *err)
{
    g_autofree char *type = NULL, *what = NULL;
    struct viv_raw_opts *r;
    struct viv_opts *o = NULL;
    size_t k = 0;
    int rc = viv_raw_parse("-object", "qom-type", text, &r, err);

    if (rc < 0)
        return rc;
    type = viv_raw_take(r, "qom-type");
    what = g_strdup_printf("-object %s", type ? type : "");
    while (k < G_N_ELEMENTS(kinds) && g_strcmp0(kinds[k].type, type))
        k++;
    if (!type)
        rc = viv_fail(err, EINVAL, "-object: no type named; '-object help' lists them");
    else if (k == G_N_ELEMENTS(kinds))
        rc = no_such_kind(type, err);
    else
        rc = viv_opts_from_raw(what, kinds[k].opts, r, &o, err);
    viv_raw_free(r);
    if (rc < 0)
        return rc;
    rc = viv_random_add(viv_opts_str(o, "id"), kinds[k].opts == random_opts ? viv_opts_str(o, "filename") : NULL, err);
    if (rc < 0)
        viv_err_prefix(err, "%s", what);
    viv_opts_free(o);
    return rc;
}

int vm_make_objects(struct vm_args *a, struct viv_err *err)
{
    int rc = 0;

    for (guint i = 0; a->objects && i < a->objects->len && !rc; i++)
        rc = one_object(g_array_index(a->objects, struct vm_item, i).text, err);
    return rc;
}

bool vm_object_help(const char *type)
{
    for (size_t i = 0; i < G_N_ELEMENTS(kinds); i++) {
        if (type && !strcmp(kinds[i].type, type)) {
            viv_opts_print_help(type, kinds[i].opts, stdout);
            return true;
        }
    }
    if (type)
        return false;
    for (size_t i = 0; i < G_N_ELEMENTS(kinds); i++)
        printf("%-12s %s\n", kinds[i].type, kinds[i].desc);
    return true;
}
