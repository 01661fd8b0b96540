#include "machine/vm_accel.h"

#include "base/log.h"

#include <errno.h>
#include <glib.h>
#include <string.h>

static const struct viv_opt_def no_props[] = {VIV_OPT_END};

static const struct viv_opt_def *props_of(const struct viv_accel *a)
{
    return a->props ? a->props : no_props;
}

static int read_options(const struct viv_accel *a, const struct viv_raw_opts *r, struct viv_opts **out,
                        struct viv_err *err)
{
    g_autofree char *what = g_strdup_printf("-accel %s", a->name);

    return viv_opts_from_raw(what, props_of(a), r, out, err);
}

/* One -accel, taken apart. */
struct wish {
    char *names;
    struct viv_raw_opts *options;
};

static void clear_wish(gpointer p)
{
    struct wish *w = p;

    g_free(w->names);
    viv_raw_free(w->options);
}

static int parse(const char *const *texts, GArray *wishes, struct viv_err *err)
{
    for (; texts && *texts; texts++) {
        struct wish w = {0};
        int rc = viv_raw_parse("-accel", "accel", *texts, &w.options, err);

        if (rc < 0)
            return rc;
        w.names = viv_raw_take(w.options, "accel");
        g_array_append_val(wishes, w);
        if (!w.names)
            return viv_fail(err, EINVAL, "-accel %.60s: it must begin with a name; -accel help lists them", *texts);
    }
    return 0;
}

static bool names(const struct wish *w, const struct viv_accel *a)
{
    g_auto(GStrv) list = g_strsplit(w->names, ":", -1);

    for (char **n = list; *n; n++) {
        if (viv_accel_find(*n) == a)
            return true;
    }
    return false;
}

/* Of a list of several the options are those of the one that is taken; those of the others are only looked at. */
static int check_others(GArray *wishes, struct viv_err *err)
{
    for (guint i = 0; i < wishes->len; i++) {
        const struct wish *w = &g_array_index(wishes, struct wish, i);
        const struct viv_accel *a = viv_accel_find(w->names);
        struct viv_opts *o = NULL;
        int rc = a ? read_options(a, w->options, &o, err) : 0;

        viv_opts_free(o);
        if (rc < 0)
            return rc;
    }
    return 0;
}

static int choose(GArray *wishes, const struct viv_accel **out, struct viv_err *err)
{
    g_autoptr(GString) list = g_string_new(NULL);
    int rc;

    for (guint i = 0; i < wishes->len; i++)
        g_string_append_printf(list, "%s%s", i ? ":" : "", g_array_index(wishes, struct wish, i).names);
    rc = viv_accel_choose(wishes->len ? list->str : NULL, out, err);
    if (!rc && !strcmp(list->str, "tcg"))
        viv_info("-accel tcg: that is Vivarium's software CPU (%s)", (*out)->name);
    return rc < 0 ? rc : check_others(wishes, err);
}

/* The options are read for the accelerator that was asked for, even if another one has to take its place. */
static int settle(GArray *wishes, const struct viv_accel **a, struct viv_accel_env *env, struct viv_err *err)
{
    const struct viv_accel *works;
    const struct viv_raw_opts *r = NULL;
    int rc = 0;

    for (guint i = 0; i < wishes->len && !r; i++) {
        const struct wish *w = &g_array_index(wishes, struct wish, i);

        if (names(w, *a))
            r = w->options;
    }
    env->props = props_of(*a);
    if (r)
        rc = read_options(*a, r, &env->opts, err);
    else
        env->opts = viv_opts_new("-accel", env->props);
    if (rc < 0)
        return rc;
    works = viv_accel_settle(*a, r && viv_raw_count(r) > 0);
    if (works != *a) {
        viv_opts_free(env->opts);
        env->props = props_of(works);
        env->opts = viv_opts_new("-accel", env->props);
        *a = works;
    }
    return 0;
}

int viv_vm_choose_accel(const char *const *texts, const struct viv_accel **out, struct viv_accel_env *env,
                        struct viv_err *err)
{
    g_autoptr(GArray) wishes = g_array_new(FALSE, FALSE, sizeof(struct wish));
    int rc;

    g_array_set_clear_func(wishes, clear_wish);
    rc = parse(texts, wishes, err);
    if (!rc)
        rc = choose(wishes, out, err);
    if (!rc)
        rc = settle(wishes, out, env, err);
    if (!rc && (viv_log_on(VIV_LOG_IN_ASM) || viv_log_on(VIV_LOG_OUT_ASM)) && !(*out)->makes_code)
        rc = viv_fail(err, ENOTSUP, "-d in_asm and out_asm show the translator's code, and this machine runs on %s: use "
                      "-accel xlate where it works", (*out)->name);
    return rc;
}
