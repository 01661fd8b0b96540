#include "block/registry.h"

#include "block/stats.h"
#include "block/throttle.h"

#include <errno.h>
#include <glib.h>
#include <string.h>

static struct viv_drive *drives; /* one VM a process; in creation order */

enum viv_drive_error viv_drive_error_parse(const char *text)
{
    static const char *const names[] = {"auto", "report", "ignore", "enospc", "stop"};

    for (size_t i = 0; text && i < G_N_ELEMENTS(names); i++) {
        if (!strcmp(names[i], text))
            return (enum viv_drive_error)i;
    }
    return VIV_DRIVE_ERROR_AUTO;
}

static void nobody_to_tell(void *unused)
{
}

/* A drive without a device may have any size, and other writers. */
static void be_idle(struct viv_drive *d)
{
    if (!d->blk)
        return;
    viv_blk_on_resize(d->blk, 1, nobody_to_tell, NULL);
    viv_blk_share(d->blk, true, NULL);
}

void viv_drive_put_medium(struct viv_drive *d, struct viv_blk *blk)
{
    d->blk = blk;
    if (blk)
        viv_blk_use_counters(blk, d->counters);
    if (blk && d->limits)
        viv_blk_join_limits(blk, d->limits);
    if (blk)
        d->limits = NULL;
}

int viv_drive_add(const char *id, struct viv_blk *blk, struct viv_drive **out, struct viv_err *err)
{
    struct viv_drive *d, **end = &drives;

    if (viv_drive_find(id))
        return viv_fail(err, EEXIST, "there is a drive with the id '%s' already", id);
    d = g_new0(struct viv_drive, 1);
    d->id = g_strdup(id);
    d->counters = viv_blk_stats_new();
    viv_drive_put_medium(d, blk);
    be_idle(d);
    while (*end)
        end = &(*end)->next;
    *end = d;
    if (out)
        *out = d;
    return 0;
}

struct viv_drive *viv_drive_find(const char *id)
{
    struct viv_drive *d = drives;

    while (d && strcmp(d->id, id))
        d = d->next;
    return d;
}

struct viv_drive *viv_drive_next(struct viv_drive *d)
{
    return d ? d->next : drives;
}

int viv_drive_claim(const char *id, const char *user, bool share, struct viv_drive **out, struct viv_err *err)
{
    struct viv_drive *d = viv_drive_find(id);
    int ret;

    if (!d)
        return viv_fail(err, ENOENT, "there is no drive '%s'; make it with -drive if=none,id=%s,file=... "
                        "or -blockdev node-name=%s,...", id, id, id);
    if (d->user)
        return viv_fail(err, EBUSY, "drive '%s' is used by %s already: each drive has one device, and a -drive makes its own unless it has if=none", id, d->user);
    if (d->blk) {
        viv_blk_on_resize(d->blk, 0, NULL, NULL);
        ret = viv_blk_share(d->blk, share, err);
        if (ret) {
            be_idle(d);
            return ret;
        }
    }
    d->user = g_strdup(user);
    *out = d;
    return 0;
}

void viv_drive_release(struct viv_drive *d)
{
    g_free(d->user);
    d->user = NULL;
    d->in_state = false;
    be_idle(d);
}

int viv_drive_remove(struct viv_drive *d, struct viv_err *err)
{
    struct viv_drive **p = &drives;
    int rc = d->blk ? viv_blk_close(d->blk, err) : 0;

    while (*p != d)
        p = &(*p)->next;
    *p = d->next;
    if (d->limits)
        viv_throttle_put(d->limits);
    viv_blk_stats_put(d->counters);
    g_free(d->id);
    g_free(d->serial);
    g_free(d->user);
    g_free(d->node);
    g_free(d);
    return rc;
}

int viv_drive_free_all(struct viv_err *err)
{
    int first = 0;

    while (drives) {
        int rc = viv_drive_remove(drives, err);

        if (rc < 0 && !first)
            first = rc;
    }
    return first;
}
