/* The map and its changes. A cluster that has a place keeps it: zeroes and discards work on the place itself. */
#include "block/fmt/parallels/parallels_int.h"

#include <errno.h>

static int check_data(struct parallels *p, uint64_t host)
{
    return prl_data_ok(p, host)
               ? 0
               : prl_corrupt(p, "a cluster lies outside the file's data area", host);
}

static int map_locked(struct parallels *p, uint64_t offset, struct viv_extent *e)
{
    uint64_t i = offset / p->cluster, in = offset % p->cluster,
             last = (offset + e->len - 1) / p->cluster;
    uint64_t host = prl_host(p, p->bat[i]), count = 1;
    int ret;

    if (host && (ret = check_data(p, host)) != 0)
        return ret;
    for (; i + count <= last; count++) {
        uint64_t next = prl_host(p, p->bat[i + count]);

        if (host ? next != host + count * p->cluster || !prl_data_ok(p, next) : next != 0)
            break;
    }
    e->len = MIN(e->len, count * p->cluster - in);
    if (!host)
        return 0;
    e->kind = VIV_MAP_DATA;
    e->host = host + in;
    e->allocated = true;
    e->in_place = !p->node->read_only && !p->broken;
    return 0;
}

int prl_map(struct viv_node *n, uint64_t offset, uint64_t len, struct viv_extent *out)
{
    struct parallels *p = n->state;
    int ret;

    *out = (struct viv_extent){.kind = VIV_MAP_BACKING, .len = len};
    pthread_mutex_lock(&p->lock);
    ret = map_locked(p, offset, out);
    pthread_mutex_unlock(&p->lock);
    return ret;
}

static void give_back(struct parallels *p, uint64_t host, uint64_t count)
{
    if (host + count * p->cluster == p->end) {
        p->end = host;
        return;
    }
    for (uint64_t i = 0; i < count; i++, host += p->cluster)
        g_array_append_val(p->spare, host);
}

/* Clusters in a row; one, when one was given back before. -ENOSPC: no entry could say where. */
static int take(struct parallels *p, uint64_t *count, uint64_t *host)
{
    if (p->spare->len) {
        *host = g_array_index(p->spare, uint64_t, p->spare->len - 1);
        g_array_set_size(p->spare, p->spare->len - 1);
        *count = 1;
        return 0;
    }
    if ((p->end + (*count - 1) * p->cluster) / p->unit > UINT32_MAX)
        return -ENOSPC;
    *host = p->end;
    p->end += *count * p->cluster;
    return 0;
}

static int alloc_locked(struct parallels *p, struct viv_alloc *a)
{
    uint64_t i = a->offset / p->cluster, in = a->offset % p->cluster,
             last = (a->offset + a->len - 1) / p->cluster;
    uint64_t host = prl_host(p, p->bat[i]), count = 1;
    int ret;

    if (p->broken || p->node->read_only)
        return p->broken ? -EIO : -EROFS;
    if (host) {
        a->len = MIN(a->len, p->cluster - in);
        a->host = host + in;
        return check_data(p, host);
    }
    while (i + count <= last && !p->bat[i + count])
        count++;
    ret = take(p, &count, &host);
    if (ret)
        return ret;
    a->len = MIN(a->len, count * p->cluster - in);
    a->host = host + in;
    a->head = in;
    a->tail = count * p->cluster - in - a->len;
    a->fresh = true;
    return 0;
}

int prl_alloc(struct viv_node *n, uint64_t offset, uint64_t len, struct viv_alloc *out)
{
    struct parallels *p = n->state;
    int ret;

    *out = (struct viv_alloc){.offset = offset, .len = len};
    pthread_mutex_lock(&p->lock);
    ret = alloc_locked(p, out);
    pthread_mutex_unlock(&p->lock);
    return ret;
}

int prl_commit(struct viv_node *n, const struct viv_alloc *a)
{
    struct parallels *p = n->state;
    uint64_t host = a->host - a->head, count = (a->head + a->len + a->tail) / p->cluster;

    pthread_mutex_lock(&p->lock);
    for (uint64_t i = 0; i < count; i++) {
        uint64_t index = a->offset / p->cluster + i;

        p->bat[index] = (host + i * p->cluster) / p->unit;
        prl_bat_dirty(p, index);
    }
    pthread_mutex_unlock(&p->lock);
    return 0;
}

void prl_cancel(struct viv_node *n, const struct viv_alloc *a)
{
    struct parallels *p = n->state;

    pthread_mutex_lock(&p->lock);
    give_back(p, a->host - a->head, (a->head + a->len + a->tail) / p->cluster);
    pthread_mutex_unlock(&p->lock);
}

/* Without a place it reads as zeroes already. */
int prl_write_zeroes(struct viv_node *n, uint64_t offset, uint64_t len, unsigned flags)
{
    struct parallels *p = n->state;
    int ret;

    pthread_mutex_lock(&p->lock);
    ret = p->broken ? -EIO : 0;
    while (len && !ret) {
        struct viv_extent e = {.kind = VIV_MAP_BACKING, .len = len};

        ret = map_locked(p, offset, &e);
        if (!ret && e.kind == VIV_MAP_DATA)
            ret = viv_node_write_zeroes(p->file, e.host, e.len, flags);
        offset += e.len;
        len -= e.len;
    }
    pthread_mutex_unlock(&p->lock);
    return ret;
}

int prl_discard(struct viv_node *n, uint64_t offset, uint64_t len)
{
    return prl_write_zeroes(n, offset, len, VIV_BLK_UNMAP);
}
