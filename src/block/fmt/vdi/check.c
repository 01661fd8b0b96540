/* check: each block of the file belongs to one block of the disk, and the header counts them. */
#include "block/fmt/vdi/vdi_int.h"

#include <errno.h>
#include <glib.h>
#include <inttypes.h>

/* Returns whether the entry counts as an allocated block. */
static bool check_entry(struct viv_check *c, uint32_t i, uint32_t e, uint32_t blocks, uint32_t file_blocks, uint8_t *used)
{
    if (e >= VDI_DISCARDED)
        return false;
    if (e >= blocks) {
        viv_check_error(c, "ERROR: block index %u too large, is %u", i, e);
        return false;
    }
    if (e >= file_blocks)
        viv_check_error(c, "ERROR: block index %u lies beyond the end of the file, is %u", i, e);
    else if (used[e / 8] >> (e % 8) & 1)
        viv_check_error(c, "ERROR: block index %u also used by %u", e, e);
    else
        used[e / 8] |= 1u << (e % 8);
    return true;
}

int vdi_check(struct viv_node *n, struct viv_check *c, struct viv_err *err)
{
    struct vdi *v = n->state;
    uint32_t file_blocks = vdi_file_blocks(v), allocated = 0, top = 0, on_disk, e;
    uint8_t *used;
    int ret = 0;

    if (c->fix)
        return viv_fail(err, ENOTSUP, "'%s': vdi images cannot be repaired in place; 'viv-img convert' to a new image saves "
                        "what can be read", n->filename);
    used = g_try_malloc0(file_blocks / 8 + 1);
    if (!used)
        return viv_fail(err, ENOMEM, "no memory to check '%s'", n->filename);
    pthread_mutex_lock(&v->lock);
    for (uint32_t i = 0; !ret && i < v->blocks; i++) {
        ret = viv_entries_get(&v->map, i, &e);
        if (!ret && check_entry(c, i, e, v->blocks, file_blocks, used)) {
            allocated++;
            top = MAX(top, e + 1);
        }
    }
    on_disk = v->on_disk;
    pthread_mutex_unlock(&v->lock);
    g_free(used);
    if (ret)
        return viv_fail_os(err, -ret, "Could not read the block map of '%s'", n->filename);
    /* Programs put the next block at the header's count: too low and it would land on one in use. After a cut it may count blocks that
     * never came, even behind the end of the file. */
    if (on_disk > allocated && on_disk >= top && on_disk <= v->blocks && !c->corruptions)
        c->leaks = on_disk - allocated;
    else if (on_disk != allocated)
        viv_check_error(c, "ERROR: allocated blocks mismatch, is %u, should be %u", allocated, on_disk);
    return 0;
}
