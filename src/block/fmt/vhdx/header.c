/* The two headers ([MS-VHDX] 2.2.2): which is current, and how one is changed. */
#include "block/fmt/vhdx/vhdx_int.h"

#include "base/bytes.h"
#include "base/checked.h"
#include "base/crc32c.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <string.h>

int vhdx_corrupt(const struct vhdx *v, struct viv_err *err, const char *fmt, ...)
{
    char text[256];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    return viv_fail(err, EINVAL, "'%s': the image is corrupt: %s", v->node->filename, text);
}

/* "A CRC-32C hash over the entire structure, with the Checksum field taking the value of zero." */
static uint32_t sum(const uint8_t *data, size_t len)
{
    static const uint8_t zero[4];
    uint32_t crc = viv_crc32c(0, data, 4);

    crc = viv_crc32c(crc, zero, 4);
    return viv_crc32c(crc, data + 8, len - 8);
}

void vhdx_seal(uint8_t *data, size_t len)
{
    viv_st_le32(data + 4, sum(data, len));
}

bool vhdx_sealed(const uint8_t *data, size_t len)
{
    return viv_ld_le32(data + 4) == sum(data, len);
}

static int check_fields(struct vhdx *v, struct viv_err *err)
{
    const uint8_t *h = v->header;
    unsigned version = viv_ld_le16(h + VHDX_H_VERSION), log_version = viv_ld_le16(h + VHDX_H_LOG_VERSION);

    v->log = (struct vhdx_area){viv_ld_le64(h + VHDX_H_LOG_AT), viv_ld_le32(h + VHDX_H_LOG_LEN)};
    if (version != 1)
        return viv_fail(err, ENOTSUP, "'%s': VHDX version %u is not known; version 1 works", v->node->filename, version);
    if (log_version != 0)
        return viv_fail(err, ENOTSUP, "'%s': log version %u is not known; version 0 works", v->node->filename, log_version);
    if (v->log.at < VIV_MIB || v->log.at % VIV_MIB || !v->log.len || v->log.len % VIV_MIB)
        return vhdx_corrupt(v, err, "the log has %" PRIu64 " bytes at offset %" PRIu64 ": both must be whole MiB, behind the first",
                            v->log.len, v->log.at);
    if (!viv_range_inside(v->log.at, v->log.len, viv_node_size(v->file)))
        return vhdx_corrupt(v, err, "the log at offset %" PRIu64 " lies outside of the file", v->log.at);
    g_array_append_val(v->areas, v->log);
    return 0;
}

int vhdx_read_header(struct vhdx *v, struct viv_err *err)
{
    uint8_t head[2][VHDX_HEADER_LEN], signature[8];
    uint64_t sequence[2];
    bool valid[2];
    int ret = viv_node_pread(v->file, 0, signature, sizeof(signature));

    for (unsigned i = 0; i < 2 && !ret; i++) {
        ret = viv_node_pread(v->file, VHDX_HEADER_AT * (i + 1), head[i], VHDX_HEADER_LEN);
        valid[i] = !ret && memcmp(head[i], "head", 4) == 0 && vhdx_sealed(head[i], VHDX_HEADER_LEN);
        sequence[i] = viv_ld_le64(head[i] + VHDX_H_SEQUENCE);
    }
    if (ret)
        return viv_fail_os(err, -ret, "Could not read '%s'", v->node->filename);
    if (memcmp(signature, VHDX_SIGNATURE, sizeof(signature)) != 0)
        return viv_fail(err, EINVAL, "'%s': not a VHDX image: it does not begin with '" VHDX_SIGNATURE "'", v->node->filename);
    if (!valid[0] && !valid[1])
        return vhdx_corrupt(v, err, "neither header has a right signature and checksum");
    if (valid[0] && valid[1] && sequence[0] == sequence[1] && memcmp(head[0], head[1], VHDX_HEADER_LEN) != 0)
        return vhdx_corrupt(v, err, "two headers that differ have the sequence number %" PRIu64, sequence[0]);
    v->slot = valid[1] && (!valid[0] || sequence[1] > sequence[0]);
    memcpy(v->header, head[v->slot], VHDX_HEADER_LEN);
    if (sequence[v->slot] >= UINT64_MAX - 8 && !v->node->read_only)
        return vhdx_corrupt(v, err, "the header's sequence number has come to its end; opening it read-only works");
    return check_fields(v, err);
}

int vhdx_write_header(struct vhdx *v, uint8_t *changed)
{
    unsigned slot = !v->slot;
    int ret;

    viv_st_le64(changed + VHDX_H_SEQUENCE, viv_ld_le64(v->header + VHDX_H_SEQUENCE) + 1);
    vhdx_seal(changed, VHDX_HEADER_LEN);
    ret = viv_node_pwrite(v->file, VHDX_HEADER_AT * (slot + 1), changed, VHDX_HEADER_LEN);
    if (!ret)
        ret = viv_node_flush(v->file);
    if (ret)
        return ret;
    memcpy(v->header, changed, VHDX_HEADER_LEN);
    v->slot = slot;
    return 0;
}

int vhdx_begin_writing(struct vhdx *v)
{
    uint8_t h[VHDX_HEADER_LEN];
    int ret;

    if (v->writing)
        return 0;
    memcpy(h, v->header, sizeof(h));
    ret = vhdx_guid_new(h + VHDX_H_FILE_GUID);
    if (!ret)
        ret = vhdx_guid_new(h + VHDX_H_DATA_GUID);
    if (!ret)
        ret = vhdx_write_header(v, h);
    v->writing = !ret;
    return ret;
}

int vhdx_set_log_guid(struct vhdx *v, const uint8_t guid[16])
{
    uint8_t h[VHDX_HEADER_LEN];

    memcpy(h, v->header, sizeof(h));
    memcpy(h + VHDX_H_LOG_GUID, guid, 16);
    return vhdx_write_header(v, h);
}
