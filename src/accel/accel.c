/* Which accelerator runs the guest, and the line that says why. */
#include "accel/accel.h"

#include "base/log.h"
#include "base/units.h"

#include <errno.h>
#include <glib.h>
#include <stdio.h>
#include <string.h>

/* Fastest first. */
static const struct viv_accel *const accels[] = {&viv_accel_kvm, &viv_accel_interp};

static const struct viv_accel *find(const char *name)
{
    /* Scripts written for QEMU ask for its software engine by name; ours answers. */
    if (!strcmp(name, "tcg"))
        name = "interp";
    for (size_t i = 0; i < VIV_ARRAY_SIZE(accels); i++) {
        if (!strcmp(accels[i]->name, name))
            return accels[i];
    }
    return NULL;
}

static int choose_automatically(const struct viv_accel **out, struct viv_err *err)
{
    struct viv_err why = VIV_ERR_INIT;

    for (size_t i = 0; i < VIV_ARRAY_SIZE(accels); i++) {
        struct viv_err reason = VIV_ERR_INIT;

        if (accels[i]->probe(&reason) == 0) {
            if (why.code)
                viv_info("not using KVM: %s; running on the software CPU (%s)", why.text,
                         accels[i]->name);
            *out = accels[i];
            return 0;
        }
        if (!why.code)
            why = reason;
    }
    return viv_fail(err, ENODEV, "no accelerator works here: %s", why.text);
}

/* A list such as "kvm:interp": the first that works, and the reasons of those that did not. */
static int choose_from_list(const char *text, const struct viv_accel **out, struct viv_err *err)
{
    g_auto(GStrv) names = g_strsplit(text, ":", -1);
    struct viv_err why = VIV_ERR_INIT;

    for (char **n = names; *n; n++) {
        const struct viv_accel *a = find(*n);
        struct viv_err reason = VIV_ERR_INIT;

        if (!a)
            return viv_fail(err, EINVAL, "-accel %s: no such accelerator; there are kvm and interp", *n);
        if (a->probe(&reason) == 0) {
            if (why.code)
                viv_info("-accel %s: %s; using %s", text, why.text, a->name);
            *out = a;
            return 0;
        }
        if (!why.code) {
            why = reason;
            viv_err_prefix(&why, "%s", *n);
        }
    }
    return viv_fail(err, ENODEV, "-accel %s: %s", text, why.text);
}

int viv_accel_choose(const char *text, const struct viv_accel **out, struct viv_err *err)
{
    const struct viv_accel *a;

    if (!text)
        return choose_automatically(out, err);
    if (strchr(text, ':'))
        return choose_from_list(text, out, err);
    a = find(text);
    if (!a)
        return viv_fail(err, EINVAL, "-accel %s: no such accelerator; there are kvm and interp", text);
    /* Asked for by name: its own create() says what is missing. A probe that only found it slow is a warning. */
    *out = a;
    return 0;
}

bool viv_accel_help(const char *name)
{
    const struct viv_accel *a = name ? find(name) : NULL;
    g_autofree char *what = g_strdup_printf("-accel %s", name ? name : "");

    if (a && a->props)
        viv_opts_print_help(what, a->props, stdout);
    else if (a)
        printf("%s has no options\n", what);
    if (name)
        return a != NULL;
    printf("Accelerators supported in viv-vm binary:\n");
    for (size_t i = 0; i < VIV_ARRAY_SIZE(accels); i++)
        printf("%-8s %s\n", accels[i]->name, accels[i]->desc);
    return true;
}
