/* Of the machine's disks as snapshot_set.c takes them. */
#include "block/drive_snapshots.h"

#include "block/blk.h"
#include "block/graph.h"
#include "block/image.h"

#include <errno.h>
#include <string.h>

static struct viv_drive *next_disk(struct viv_drive *d)
{
    do {
        d = viv_drive_next(d);
    } while (d && (!d->blk || !viv_blk_writable(d->blk) || d->in_state));
    return d;
}

#define FOR_DISKS(d) for (struct viv_drive *d = next_disk(NULL); d; d = next_disk(d))

static struct viv_node *node_of(const struct viv_drive *d)
{
    return viv_blk_node(d->blk);
}

static const struct viv_snapshot_ops *ops_of(const struct viv_drive *d)
{
    return node_of(d)->drv->snapshots;
}

/* While nobody changes what is looked into. */
static int snapshots_of(struct viv_drive *d, struct viv_snapshot **list, unsigned *count, struct viv_err *err)
{
    int rc;

    viv_graph_enter();
    rc = ops_of(d)->list(node_of(d), list, count, err);
    viv_graph_leave();
    return rc;
}

static bool has(struct viv_drive *d, const char *name)
{
    struct viv_snapshot *list = NULL;
    struct viv_err ignored = VIV_ERR_INIT;
    unsigned count = 0;
    bool found = false;

    if (ops_of(d) && !snapshots_of(d, &list, &count, &ignored))
        for (unsigned i = 0; i < count; i++)
            found |= !strcmp(list[i].name, name);
    viv_snapshot_free(list, count);
    viv_err_clear(&ignored);
    return found;
}

static bool on_all(const char *name)
{
    bool all = true;

    FOR_DISKS(d)
        all &= has(d, name);
    return all;
}

/* Those of `d` that are on all disks, or not. */
static int list_of(struct viv_drive *d, bool whole, const char *title, GString *out, struct viv_err *err)
{
    struct viv_snapshot *list = NULL;
    unsigned count = 0;
    int rc = snapshots_of(d, &list, &count, err);

    for (unsigned i = 0; !rc && i < count; i++) {
        g_autofree char *line = viv_snapshot_line(&list[i], whole ? "--" : list[i].id), *heading = viv_snapshot_heading();

        if (on_all(list[i].name) != whole)
            continue;
        if (title)
            g_string_append_printf(out, "%s%s", title, heading);
        title = NULL;
        g_string_append(out, line);
    }
    viv_snapshot_free(list, count);
    return rc;
}

int viv_drives_list_snapshots(GString *out, struct viv_err *err)
{
    struct viv_drive *first = next_disk(NULL);
    int rc;

    if (viv_graph_check_quiet(err))
        return -EBUSY;
    while (first && !ops_of(first))
        first = next_disk(first);
    if (!first)
        return viv_fail(err, ENODEV, "No available block device supports snapshots");
    rc = list_of(first, true, "List of snapshots present on all disks:\n", out, err);
    FOR_DISKS(d) {
        g_autofree char *title = g_strdup_printf("\nList of partial (non-loadable) snapshots on '%s':\n", d->id);

        if (!rc && ops_of(d))
            rc = list_of(d, false, title, out, err);
    }
    if (!rc && !out->len)
        g_string_append(out, "There is no snapshot available.\n");
    return rc;
}
