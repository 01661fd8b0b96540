/* -fsdev and -virtfs: folders that are shared with the guest. */
#include "cmd/vm_args.h"

#include "share/fsdev.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static char *escaped(const char *text)
{
    g_auto(GStrv) parts = g_strsplit(text, ",", -1);

    return g_strjoinv(",,", parts);
}

/* -virtfs is an -fsdev and a device in one; in place, so that devices get their slots in the order of the command line. */
int vm_add_virtfs(struct vm_args *a, const char *text, struct viv_err *err)
{
    g_autofree char *id = NULL, *tag = NULL;
    struct viv_raw_opts *r;
    const char *word;
    int rc = viv_raw_parse("-virtfs", "fsdriver", text, &r, err);

    if (rc < 0)
        return rc;
    word = viv_raw_get(r, "mount_tag");
    if (word) {
        tag = escaped(word);
        id = escaped(viv_raw_get(r, "id") ? viv_raw_get(r, "id") : word);
        vm_add_device(a, g_strdup_printf("virtio-9p,fsdev=%s,mount_tag=%s", id, tag));
    } else {
        rc = viv_fail(err, EINVAL, "-virtfs: mount_tag= is missing: the name by which the guest mounts the folder");
    }
    viv_raw_free(r);
    return rc;
}

static int make_one(const struct vm_item *it, struct viv_err *err)
{
    struct viv_raw_opts *r;
    int rc = viv_raw_parse(it->option, "fsdriver", it->text, &r, err);

    if (rc < 0)
        return rc;
    if (!strcmp(it->option, "-virtfs")) {
        g_autofree char *tag = viv_raw_take(r, "mount_tag");

        if (!viv_raw_get(r, "id"))
            viv_raw_set(r, "id", tag);
    }
    rc = viv_fsdev_add(r, err);
    viv_raw_free(r);
    return rc;
}

int vm_make_fsdevs(struct vm_args *a, struct viv_err *err)
{
    int rc = 0;

    for (guint i = 0; a->fsdevs && i < a->fsdevs->len && !rc; i++)
        rc = make_one(&g_array_index(a->fsdevs, struct vm_item, i), err);
    return rc;
}

bool vm_fsdev_help(const char *driver)
{
    if (driver && strcmp(driver, "local"))
        return false;
    viv_opts_print_help("local", viv_fsdev_opts, stdout);
    return true;
}
