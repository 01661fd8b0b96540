/* Opening an image whose log holds something ([MS-VHDX] 2.3.3): its changes are brought into their places. An image that is opened for
 * reading only stays as it is: it is seen through a node that has them in memory. */
#include "block/fmt/vhdx/vhdx_int.h"

#include "base/bytes.h"
#include "base/checked.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#define SECTOR VHDX_LOG_SECTOR

static int read_log(struct vhdx *v, struct vhdx_ring *r, struct viv_err *err)
{
    int ret = -ENOMEM;

    if (v->log.len > VHDX_LOG_MAX)
        return viv_fail(err, EFBIG, "'%s': the log, which has to be replayed, has %" PRIu64 " bytes; at most %u work",
                        v->node->filename, v->log.len, VHDX_LOG_MAX);
    *r = (struct vhdx_ring){.len = v->log.len, .guid = v->header + VHDX_H_LOG_GUID, .budget = 16 * (v->log.len + VIV_MIB)};
    r->data = g_try_malloc(2 * (size_t)r->len);
    r->known = g_try_malloc0(r->len / SECTOR);
    if (r->data && r->known)
        ret = viv_node_pread(v->file, v->log.at, r->data, r->len);
    if (ret)
        return viv_fail_os(err, -ret, "Could not read the log of '%s'", v->node->filename);
    memcpy(r->data + r->len, r->data, r->len);
    return 0;
}

/* The headers are not changed through the log, nor is the log; nothing is behind the end that the entry gives. */
static bool target_ok(const struct vhdx *v, const struct vhdx_op *op, uint64_t end)
{
    return op->at >= VHDX_TABLE_AT && viv_range_inside(op->at, op->len, end) &&
           (op->at >= v->log.at + v->log.len || op->at + op->len <= v->log.at);
}

static int collect_entry(struct vhdx *v, uint8_t *e, uint64_t end, GArray *ops, struct viv_err *err)
{
    uint32_t count = viv_ld_le32(e + VHDX_L_COUNT);
    uint8_t *data = e + vhdx_desc_bytes(count);

    for (uint32_t i = 0; i < count; i++) {
        const uint8_t *d = e + VHDX_L_DESC + (size_t)i * VHDX_D_LEN;
        struct vhdx_op op = {.at = viv_ld_le64(d + VHDX_D_OFFSET), .len = SECTOR};

        if (memcmp(d, "zero", 4) == 0) {
            op.len = viv_ld_le64(d + VHDX_D_LEADING);
        } else {
            /* What signature and sequence number stand in place of. */
            memcpy(data, d + VHDX_D_LEADING, 8);
            memcpy(data + SECTOR - 4, d + VHDX_D_TRAILING, 4);
            op.data = data;
            data += SECTOR;
        }
        if (!op.len)
            continue;
        if (!target_ok(v, &op, end))
            return vhdx_corrupt(v, err, "the log changes %" PRIu64 " bytes at offset %" PRIu64 ", where it must not", op.len, op.at);
        g_array_append_val(ops, op);
    }
    return 0;
}

/* `end`: how long the file is after the replay. */
static int collect(struct vhdx *v, struct vhdx_ring *r, GArray *ops, uint64_t *end, struct viv_err *err)
{
    uint32_t first = 0, count, pos, head = 0;
    uint64_t flushed, size = viv_node_size(v->file);
    int ret = vhdx_log_find(r, &first, &count);

    *end = size;
    if (ret)
        return vhdx_corrupt(v, err, "the log's entries lie on each other");
    /* The specification calls a log without a whole entry corrupt; programs that name the log in the header before they write its first
     * entry leave it behind. Nothing was changed in place before an entry was whole. */
    if (!count)
        return 0;
    for (uint32_t i = 0, at = first; i < count; i++, at = (at + viv_ld_le32(r->data + at + VHDX_L_LENGTH)) % r->len)
        head = at;
    flushed = viv_ld_le64(r->data + head + VHDX_L_FLUSHED);
    if (flushed > size)
        return vhdx_corrupt(v, err, "the file has been truncated: %" PRIu64 " bytes, the log knows of %" PRIu64, size, flushed);
    *end = MAX(size, viv_ld_le64(r->data + head + VHDX_L_LAST));
    if (*end > VHDX_FILE_MAX)
        return vhdx_corrupt(v, err, "the log makes the file %" PRIu64 " bytes long", *end);
    pos = first;
    for (uint32_t i = 0; i < count && !ret; i++) {
        uint8_t *e = r->data + pos;

        ret = collect_entry(v, e, *end, ops, err);
        pos = (pos + viv_ld_le32(e + VHDX_L_LENGTH)) % r->len;
    }
    return ret;
}

/* `held`: how far the file holds anything but the zeroes of its new length. A log may speak of more zeroes than any disk has room for. */
static int apply_op(struct vhdx *v, const struct vhdx_op *op, uint64_t *held)
{
    if (op->data) {
        *held = MAX(*held, op->at + op->len);
        return viv_node_pwrite(v->file, op->at, op->data, op->len);
    }
    if (op->at >= *held)
        return 0;
    return viv_node_write_zeroes(v->file, op->at, MIN(op->len, *held - op->at), VIV_BLK_UNMAP);
}

static int apply(struct vhdx *v, GArray *ops, uint64_t end)
{
    static const uint8_t none[16];
    uint64_t held = viv_node_size(v->file);
    uint8_t h[VHDX_HEADER_LEN];
    int ret;

    /* "MUST change this GUID [...] before the first modification is made to the file, including [...] log playback." */
    memcpy(h, v->header, sizeof(h));
    ret = vhdx_guid_new(h + VHDX_H_FILE_GUID);
    if (!ret)
        ret = vhdx_write_header(v, h);
    if (!ret && end > viv_node_size(v->file))
        ret = viv_node_truncate(v->file, end, VIV_PREALLOC_OFF, NULL);
    for (guint i = 0; i < ops->len && !ret; i++)
        ret = apply_op(v, &g_array_index(ops, struct vhdx_op, i), &held);
    if (!ret)
        ret = viv_node_flush(v->file);
    return ret ? ret : vhdx_set_log_guid(v, none);
}

int vhdx_replay(struct vhdx *v, struct viv_err *err)
{
    g_autoptr(GArray) ops = g_array_new(FALSE, FALSE, sizeof(struct vhdx_op));
    struct vhdx_ring r = {0};
    uint64_t end;
    int ret;

    if (vhdx_guid_is_zero(v->header + VHDX_H_LOG_GUID))
        return 0;
    ret = read_log(v, &r, err);
    if (!ret)
        ret = collect(v, &r, ops, &end, err);
    if (!ret && !v->node->read_only) {
        ret = apply(v, ops, end);
        v->replayed = ops->len > 0;
        if (ret)
            viv_fail_os(err, -ret, "Could not replay the log of '%s'", v->node->filename);
    } else if (!ret && ops->len) {
        v->node->file = v->file = vhdx_view_new(v->file, g_steal_pointer(&ops), g_steal_pointer(&r.data), end);
    }
    g_free(r.data);
    g_free(r.known);
    return ret;
}
