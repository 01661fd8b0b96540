/* Writing the log ([MS-VHDX] 2.3): a change of metadata is whole in the log before any of it is in its place.
 *
 * Each entry of ours is a sequence of its own: its tail is itself, since everything older is in its place for good. So entries need
 * not follow each other without a gap, and none wraps around the end of the log: one that does not fit begins at its start. The newest
 * entry is never overwritten by the next: the log has 256 sectors at least, an entry 65 at most.
 *
 * The header names the log's GUID only when the first entry is durable, so a header with a GUID has a whole entry behind it. */
#include "block/fmt/vhdx/vhdx_int.h"

#include "base/bytes.h"
#include "base/checked.h"

#include <errno.h>
#include <string.h>

#define SECTOR VHDX_LOG_SECTOR

/* The first 8 and the last 4 bytes of a sector go into its descriptor; in their place stand signature and sequence number. */
static void add_sector(const struct vhdx_sector *s, uint64_t sequence, uint8_t *desc, uint8_t *data)
{
    memcpy(desc + VHDX_D_SIGNATURE, "desc", 4);
    memcpy(desc + VHDX_D_TRAILING, s->data + SECTOR - 4, 4);
    memcpy(desc + VHDX_D_LEADING, s->data, 8);
    viv_st_le64(desc + VHDX_D_OFFSET, s->at);
    viv_st_le64(desc + VHDX_D_SEQUENCE, sequence);
    memcpy(data, "data", 4);
    viv_st_le32(data + 4, sequence >> 32);
    memcpy(data + 8, s->data + 8, SECTOR - 12);
    viv_st_le32(data + SECTOR - 4, (uint32_t)sequence);
}

static void make_entry(const struct vhdx *v, const struct vhdx_sector *s, unsigned count, uint64_t stable, uint32_t at, uint8_t *e)
{
    uint32_t head = vhdx_desc_bytes(count), len = head + count * SECTOR;

    memset(e, 0, head);
    memcpy(e + VHDX_L_SIGNATURE, "loge", 4);
    viv_st_le32(e + VHDX_L_LENGTH, len);
    viv_st_le32(e + VHDX_L_TAIL, at);
    viv_st_le64(e + VHDX_L_SEQUENCE, v->log_sequence);
    viv_st_le32(e + VHDX_L_COUNT, count);
    memcpy(e + VHDX_L_GUID, v->log_guid, 16);
    viv_st_le64(e + VHDX_L_FLUSHED, viv_align_down(stable, VIV_MIB));
    viv_st_le64(e + VHDX_L_LAST, v->next);
    for (unsigned i = 0; i < count; i++)
        add_sector(&s[i], v->log_sequence, e + VHDX_L_DESC + i * VHDX_D_LEN, e + head + i * SECTOR);
    vhdx_seal(e, len);
}

static int write_in_place(struct vhdx *v, const struct vhdx_sector *s, unsigned count)
{
    struct iovec iov[VHDX_BATCH];

    for (unsigned i = 0, run; i < count; i += run) {
        int ret;

        for (run = 0; i + run < count && s[i + run].at == s[i].at + run * SECTOR; run++)
            iov[run] = (struct iovec){(void *)s[i + run].data, SECTOR};
        ret = viv_node_pwritev(v->file, s[i].at, iov, run, run * SECTOR);
        if (ret)
            return ret;
    }
    return 0;
}

int vhdx_log_commit(struct vhdx *v, const struct vhdx_sector *s, unsigned count, uint64_t stable)
{
    uint32_t len = vhdx_desc_bytes(count) + count * SECTOR, at = v->log_next + len <= v->log.len ? v->log_next : 0;
    uint8_t *e = g_try_malloc(len);
    int ret = -ENOMEM;

    if (e) {
        make_entry(v, s, count, stable, at, e);
        ret = viv_node_pwrite(v->file, v->log.at + at, e, len);
    }
    g_free(e);
    if (!ret)
        ret = viv_node_flush(v->file);
    if (!ret && !v->log_live) {
        ret = vhdx_set_log_guid(v, v->log_guid);
        v->log_live = !ret;
    }
    if (ret)
        return ret;
    v->log_next = at + len;
    v->log_sequence++;
    return write_in_place(v, s, count);
}
