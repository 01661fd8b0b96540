/* Qids: what tells one file from another. The client makes inode numbers of their paths. */
#include "share/p9_int.h"

#include "base/log.h"

#include <errno.h>

enum { QID_DIR = 0x80, QID_LINK = 0x02, INO_BITS = 48 };

uint8_t p9_qid_type(mode_t mode)
{
    return S_ISDIR(mode) ? QID_DIR : S_ISLNK(mode) ? QID_LINK : 0;
}

/* A device's inode numbers get a prefix of 16 bits; the shared folder's own device has 0, so that its numbers stay. Numbers of
 * more than 48 bits have a prefix for each of their upper halves. Lock held. */
static int prefix(struct viv_p9 *p, dev_t dev, ino_t ino, uint64_t *out)
{
    uint64_t key[2] = {dev, (uint64_t)ino >> INO_BITS};
    gpointer found;

    if (dev == p->root_dev && !key[1]) {
        *out = 0;
        return 0;
    }
    found = g_hash_table_lookup(p->devices, key);
    if (!found) {
        unsigned n = g_hash_table_size(p->devices) + 1;

        if (n > UINT16_MAX)
            return -ENFILE;
        found = GUINT_TO_POINTER(n);
        g_hash_table_insert(p->devices, g_memdup2(key, sizeof(key)), found);
    }
    *out = GPOINTER_TO_UINT(found);
    return 0;
}

int p9_qid_path(struct viv_p9 *p, dev_t dev, ino_t ino, uint64_t *path)
{
    uint64_t n = 0;
    int rc = 0;

    *path = ino;
    if (dev == p->root_dev && (p->dev->multidevs != VIV_SHARE_REMAP || !((uint64_t)ino >> INO_BITS)))
        return 0;
    if (p->dev->multidevs == VIV_SHARE_FORBID)
        return -ENODEV;
    pthread_mutex_lock(&p->qids_lock);
    if (p->dev->multidevs == VIV_SHARE_REMAP) {
        rc = prefix(p, dev, ino, &n);
    } else if (!p->warned) {
        p->warned = true;
        viv_warn("fsdev '%s': there is more than one file system under '%s', so that inode numbers may be ambiguous in the guest; "
                 "multidevs=remap makes them unique", p->dev->id, p->dev->path);
    }
    pthread_mutex_unlock(&p->qids_lock);
    if (p->dev->multidevs == VIV_SHARE_REMAP)
        *path = n << INO_BITS | ((uint64_t)ino & ((1ull << INO_BITS) - 1));
    return rc;
}

int p9_qid(struct viv_p9 *p, const struct stat *st, struct p9_qid *q)
{
    q->type = p9_qid_type(st->st_mode);
    q->version = (uint32_t)((uint64_t)st->st_mtim.tv_sec ^ (uint64_t)st->st_size << 8 ^ (uint64_t)st->st_mtim.tv_nsec >> 10);
    return p9_qid_path(p, st->st_dev, st->st_ino, &q->path);
}

void p9_put_qid(struct p9_out *o, const struct p9_qid *q)
{
    p9_put8(o, q->type);
    p9_put32(o, q->version);
    p9_put64(o, q->path);
}
