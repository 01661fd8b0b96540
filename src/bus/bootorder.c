#include "bus/bootorder.h"

#include <errno.h>
#include <glib.h>

struct entry {
    const struct viv_dev *dev;
    int64_t index;
    char *path;
};

static GSList *entries; /* by index */

static gint by_index(gconstpointer pa, gconstpointer pb)
{
    const struct entry *a = pa, *b = pb;

    return a->index < b->index ? -1 : a->index > b->index;
}

static int check_free(const struct viv_dev *d, int64_t index, struct viv_err *err)
{
    for (GSList *i = entries; i; i = i->next) {
        const struct entry *e = i->data;

        if (e->index == index && index >= 0 && e->dev != d && e->dev->life != VIV_DEV_LEAVING)
            return viv_fail(err, EBUSY, "bootindex=%lld is already that of %s", (long long)index, e->path);
    }
    return 0;
}

static struct entry *entry_of(const struct viv_dev *d)
{
    for (GSList *i = entries; i; i = i->next) {
        struct entry *e = i->data;

        if (e->dev == d)
            return e;
    }
    return NULL;
}

int64_t viv_bootorder_index(const struct viv_dev *d)
{
    const struct entry *e = entry_of(d);

    return e ? e->index : -1;
}

int viv_bootorder_move(const struct viv_dev *d, int64_t index, struct viv_err *err)
{
    struct entry *e = entry_of(d);
    int rc;

    if (!e)
        return viv_fail(err, ENOENT, "'%s' has no bootindex; give it one where it is added, then it can be changed", d->id ? d->id : d->path);
    rc = check_free(d, index, err);
    if (rc < 0)
        return rc;
    entries = g_slist_remove(entries, e);
    e->index = index;
    entries = g_slist_insert_sorted(entries, e, by_index);
    return 0;
}

int viv_bootorder_add(const struct viv_dev *d, int64_t index, const char *path, struct viv_err *err)
{
    struct entry *e;
    int rc = check_free(NULL, index, err);

    if (rc < 0)
        return rc;
    e = g_new(struct entry, 1);
    *e = (struct entry){d, index, g_strdup(path)};
    entries = g_slist_insert_sorted(entries, e, by_index);
    return 0;
}

void viv_bootorder_remove(const struct viv_dev *d)
{
    struct entry *e = entry_of(d);

    if (!e)
        return;
    entries = g_slist_remove(entries, e);
    g_free(e->path);
    g_free(e);
}

char *viv_bootorder_text(bool strict)
{
    GString *s = g_string_new(NULL);

    for (GSList *i = entries; i; i = i->next) {
        const struct entry *e = i->data;

        if (e->index >= 0 && e->dev->life != VIV_DEV_LEAVING)
            g_string_append_printf(s, "%s%s", s->len ? "\n" : "", e->path);
    }
    if (strict && s->len) /* without an order of devices there is that of -boot order= */
        g_string_append(s, "\nHALT");
    return g_string_free(s, FALSE);
}
