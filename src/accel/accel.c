/* Which accelerator runs the guest, and the line that says why. */
#include "accel/accel.h"

#include "base/log.h"
#include "base/units.h"

#include <errno.h>
#include <glib.h>
#include <stdio.h>
#include <string.h>

/* Fastest first; those that are never chosen automatically are the last. */
static const struct viv_accel *const accels[] = {&viv_accel_kvm, &viv_accel_xlate, &viv_accel_interp, &viv_accel_qtest};

#define QEMUS_NAME "tcg"

const struct viv_accel *viv_accel_find(const char *name)
{
    /* Scripts written for QEMU ask for its software engine by name; ours answers. */
    if (!strcmp(name, QEMUS_NAME))
        name = "xlate";
    for (size_t i = 0; i < VIV_ARRAY_SIZE(accels); i++) {
        if (!strcmp(accels[i]->name, name))
            return accels[i];
    }
    return NULL;
}

static int fail_unknown(const char *name, struct viv_err *err)
{
    g_autoptr(GString) list = g_string_new(NULL);

    for (size_t i = 0; i < VIV_ARRAY_SIZE(accels) && !accels[i]->by_name_only; i++)
        g_string_append_printf(list, "%s%s", i ? ", " : "", accels[i]->name);
    return viv_fail(err, EINVAL, "-accel %.60s: no such accelerator; there are %s", name, list->str);
}

static int choose_automatically(const struct viv_accel **out, struct viv_err *err)
{
    g_autoptr(GString) why = g_string_new(NULL);

    for (size_t i = 0; i < VIV_ARRAY_SIZE(accels); i++) {
        struct viv_err reason = VIV_ERR_INIT;

        if (accels[i]->by_name_only)
            continue;
        if (accels[i]->probe(&reason) == 0) {
            if (why->len)
                viv_info("%s; running on the software CPU (%s)", why->str, accels[i]->name);
            *out = accels[i];
            return 0;
        }
        g_string_append_printf(why, "%snot using %s: %s", why->len ? "; " : "", i ? accels[i]->name : "KVM", reason.text);
    }
    return viv_fail(err, ENODEV, "no accelerator works here: %s", why->str);
}

static bool any_known(char **names)
{
    while (*names && !viv_accel_find(*names))
        names++;
    return *names != NULL;
}

/* A list such as "kvm:hvf:xlate": the first that works, and the reasons of those that did not. Scripts for several systems
 * name accelerators of all of them. */
static int choose_from_list(const char *text, const struct viv_accel **out, struct viv_err *err)
{
    g_auto(GStrv) names = g_strsplit(text, ":", -1);
    g_autoptr(GString) why = g_string_new(NULL);

    if (!any_known(names))
        return fail_unknown(text, err);
    for (char **n = names; *n; n++) {
        const struct viv_accel *a = viv_accel_find(*n);
        struct viv_err reason = VIV_ERR_INIT;

        if (!a) {
            g_string_append_printf(why, "%s%.60s: no such accelerator", why->len ? "; " : "", *n);
            continue;
        }
        /* The last one may have a substitute, which viv_accel_settle() takes. */
        if (a->probe(&reason) == 0 || (a->instead && !any_known(n + 1))) {
            if (why->len)
                viv_info("-accel %s: %s; using %s", text, why->str, a->name);
            *out = a;
            return 0;
        }
        g_string_append_printf(why, "%s%s: %s", why->len ? "; " : "", *n, reason.text);
    }
    return viv_fail(err, ENODEV, "-accel %s: %s", text, why->str);
}

int viv_accel_choose(const char *text, const struct viv_accel **out, struct viv_err *err)
{
    const struct viv_accel *a;

    if (!text)
        return choose_automatically(out, err);
    if (strchr(text, ':'))
        return choose_from_list(text, out, err);
    a = viv_accel_find(text);
    if (!a)
        return fail_unknown(text, err);
    /* Asked for by name: its own create() says what is missing. A probe that only found it slow is a warning. */
    *out = a;
    return 0;
}

const struct viv_accel *viv_accel_settle(const struct viv_accel *a, bool options)
{
    struct viv_err why = VIV_ERR_INIT;

    if (!a->instead || a->probe(&why) == 0)
        return a;
    viv_info("-accel %s: %s; running on %s instead, which is slower%s", a->name, why.text, a->instead->name,
             options ? ", and without the options given" : "");
    return a->instead;
}

bool viv_accel_help(const char *name)
{
    const struct viv_accel *a = name ? viv_accel_find(name) : NULL;
    g_autofree char *what = g_strdup_printf("-accel %s", name ? name : "");

    if (a && a->props)
        viv_opts_print_help(what, a->props, stdout);
    else if (a)
        printf("%s has no options\n", what);
    if (name)
        return a != NULL;
    /* Scripts look for lines that are a name and nothing else. */
    printf("Accelerators supported in viv-vm binary:\n");
    for (size_t i = 0; i < VIV_ARRAY_SIZE(accels); i++)
        printf("%s\n", accels[i]->name);
    printf(QEMUS_NAME "\n\n");
    for (size_t i = 0; i < VIV_ARRAY_SIZE(accels); i++)
        printf("  %-8s %s\n", accels[i]->name, accels[i]->desc);
    printf("  %-8s what QEMU calls its software CPU: xlate here\n", QEMUS_NAME);
    return true;
}
