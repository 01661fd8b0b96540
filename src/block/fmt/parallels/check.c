/* check: the places that the BAT names lie in the file and are used once; what lies behind the last has leaked. */
#include "block/fmt/parallels/parallels_int.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

static const char *verb(const struct viv_check *c, unsigned fix)
{
    return c->fix & fix ? "Repairing" : "ERROR";
}

static void check_in_use(struct parallels *p, struct viv_check *c)
{
    if (!p->was_in_use)
        return;
    viv_check_say(c, "%s image was not closed correctly", verb(c, VIV_FIX_ERRORS));
    c->corruptions++;
}

static void check_places(struct parallels *p, struct viv_check *c)
{
    uint64_t last = 0;

    for (uint64_t i = 0; i < p->entries; i++) {
        uint64_t host = prl_host(p, p->bat[i]);

        if (!host) {
            last = 0;
            continue;
        }
        c->allocated++;
        if (!prl_data_ok(p, host)) {
            viv_check_say(c, "%s cluster %" PRIu64 " is outside image", verb(c, VIV_FIX_ERRORS), i);
            c->corruptions++;
            last = 0;
            if (c->fix & VIV_FIX_ERRORS) {
                p->bat[i] = 0;
                prl_bat_dirty(p, i);
                c->corruptions_fixed++;
                continue;
            }
        } else {
            c->fragmented += last && host != last + p->cluster;
            last = host;
        }
        c->image_end = MAX(c->image_end, host + p->cluster);
    }
}

static int by_value(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

    return x < y ? -1 : x > y;
}

/* Nobody knows whose data a shared place holds: this is told, not mended. */
static int check_overlaps(struct parallels *p, struct viv_check *c)
{
    uint32_t *sorted = g_try_new(uint32_t, c->allocated + 1), count = 0;

    if (!sorted)
        return -ENOMEM;
    for (uint64_t i = 0; i < p->entries; i++)
        if (p->bat[i])
            sorted[count++] = p->bat[i];
    qsort(sorted, count, sizeof(*sorted), by_value);
    for (uint32_t i = 1; i < count; i++) {
        if (prl_host(p, sorted[i]) - prl_host(p, sorted[i - 1]) >= p->cluster)
            continue;
        viv_check_say(c, "ERROR two clusters overlap at offset 0x%" PRIx64, prl_host(p, sorted[i]));
        c->corruptions++;
    }
    g_free(sorted);
    return 0;
}

static void check_leak(struct parallels *p, struct viv_check *c)
{
    uint64_t size = viv_align_down(viv_node_size(p->file) + PRL_SECTOR - 1, PRL_SECTOR), leaked;

    /* Which clusters the format extension uses only it knows. */
    if (p->extension || size <= c->image_end) {
        c->image_end = p->extension ? MAX(size, c->image_end) : c->image_end;
        return;
    }
    leaked = (size - c->image_end + p->cluster - 1) / p->cluster;
    viv_check_say(c, "%s space leaked at the end of the image %" PRIu64, verb(c, VIV_FIX_LEAKS),
        size - c->image_end);
    c->leaks += leaked;
    if (!(c->fix & VIV_FIX_LEAKS))
        return;
    if (viv_node_truncate(p->file, c->image_end, VIV_PREALLOC_OFF, NULL))
        return; /* a device: it stays reported */
    c->leaks_fixed += leaked;
    p->end = MAX(p->first, c->image_end);
    g_array_set_size(p->spare, 0);
}

static int check_locked(struct parallels *p, struct viv_check *c)
{
    int ret;

    c->image_end = p->data_off;
    c->total = p->entries;
    check_in_use(p, c);
    check_places(p, c);
    ret = check_overlaps(p, c);
    if (!ret && c->fix)
        ret = prl_flush_all(p);
    if (!ret)
        check_leak(p, c);
    /* The mark goes last, when nothing else is wrong any more. */
    if (!ret && p->was_in_use && (c->fix & VIV_FIX_ERRORS) &&
        c->corruptions == c->corruptions_fixed + 1) {
        ret = prl_set_in_use(p, p->in_use);
        if (!ret) {
            p->was_in_use = false;
            c->corruptions_fixed++;
        }
    }
    return ret;
}

int prl_check(struct viv_node *n, struct viv_check *c, struct viv_err *err)
{
    struct parallels *p = n->state;
    int ret;

    pthread_mutex_lock(&p->lock);
    ret = check_locked(p, c);
    pthread_mutex_unlock(&p->lock);
    return ret ? viv_fail_os(err, -ret, "Could not check '%s'", n->filename) : 0;
}
