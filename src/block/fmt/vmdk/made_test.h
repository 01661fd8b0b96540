/* Images that create does not make, for vmdk's unit test and fuzz target. Not part of any program. */
#ifndef VIV_BLOCK_FMT_VMDK_MADE_TEST_H
#define VIV_BLOCK_FMT_VMDK_MADE_TEST_H

#include "block/fmt/vmdk/vmdk_int.h"
#include "block/mem_test.h"
#include "opt/opt.h"

#include "base/bytes.h"

#include <inttypes.h>

/* Small grains and tables, none of which is there at first: as products make them that let an image grow. */

enum { SMALL_GRAIN = 8, SMALL_GTES = 128, SMALL_DESC = 1, SMALL_GD = 3, SMALL_COPY = 4, SMALL_END = 8 }; /* sectors */

/* A driver's create(). */
static inline int small_create(const struct viv_create *c, struct viv_node *file, struct viv_err *err)
{
    const char *type = viv_opts_str(c->opts, "subformat");
    bool stored = type && strcmp(type, "streamOptimized") == 0;
    uint8_t h[512] = VMDK_MAGIC;
    char text[1024] = {0};

    snprintf(text, sizeof(text), "# Disk DescriptorFile\nversion=1\nCID=%s\nparentCID=ffffffff\ncreateType=\"%s\"\n"
             "RW %" PRIu64 " SPARSE \"mem\"\n", stored ? "00abc" : "12345678", stored ? type : "monolithicSparse",
             c->size / 512);
    viv_st_le32(h + VMDK_H_VERSION, 1);
    viv_st_le32(h + VMDK_H_FLAGS, 3 | (viv_opts_bool(c->opts, "zeroed_grain") ? VMDK_F_ZEROED : 0) |
                                      (stored ? VMDK_F_COMPRESSED | VMDK_F_MARKERS : 0));
    viv_st_le64(h + VMDK_H_CAPACITY, c->size / 512);
    viv_st_le64(h + VMDK_H_GRAIN, SMALL_GRAIN);
    viv_st_le64(h + VMDK_H_DESC, SMALL_DESC);
    viv_st_le64(h + VMDK_H_DESC_SIZE, 2);
    viv_st_le32(h + VMDK_H_GTES, SMALL_GTES);
    viv_st_le64(h + VMDK_H_RGD, SMALL_COPY);
    viv_st_le64(h + VMDK_H_GD, SMALL_GD);
    viv_st_le64(h + VMDK_H_OVERHEAD, SMALL_END);
    memcpy(h + VMDK_H_NEWLINES, VMDK_NEWLINES, 4);
    viv_st_le16(h + VMDK_H_COMPRESSION, stored);
    g_assert_cmpint(viv_node_truncate(file, SMALL_END * 512, VIV_PREALLOC_OFF, NULL), ==, 0);
    g_assert_cmpint(viv_node_pwrite(file, 512, text, sizeof(text)), ==, 0);
    return viv_node_pwrite(file, 0, h, sizeof(h));
}

/* --- ESX's extents: 64 KiB of the disk in grains of a sector, every third one there; holds its own sector's number --- */

static inline void make_cowd(struct mem *m)
{
    enum { GD = 4, TABLE = 5, DATA = 37, SECTORS = 128 };
    uint8_t *d;

    mem_init(m);
    g_assert_cmpint(mem_grow(m, (DATA + SECTORS) * 512), ==, 0);
    d = m->data;
    memcpy(d, VMDK_COWD_MAGIC, 4);
    viv_st_le32(d + COWD_H_VERSION, 1);
    viv_st_le32(d + 8, 3);
    viv_st_le32(d + COWD_H_SECTORS, SECTORS);
    viv_st_le32(d + COWD_H_GRAIN, 1);
    viv_st_le32(d + COWD_H_GD, GD);
    viv_st_le32(d + COWD_H_TABLES, 1);
    viv_st_le32(d + GD * 512, TABLE);
    for (unsigned i = 0; i < SECTORS; i += 3) {
        viv_st_le32(d + TABLE * 512 + 4 * i, DATA + i);
        memset(d + (DATA + i) * 512, i, 512);
    }
}

/* --- a stream: a sparse, compressed image whose directory is moved behind everything, with a footer --- */

static inline void make_stream(struct mem *m)
{
    uint64_t at = m->size, tables = viv_ld_le64(m->data + VMDK_H_CAPACITY) / (SMALL_GRAIN * SMALL_GTES) + 1;
    uint8_t *f;

    g_assert_cmpint(mem_grow(m, at + (tables / 128 + 1 + 3) * 512), ==, 0);
    memcpy(m->data + at, m->data + SMALL_GD * 512, tables * 4);
    viv_st_le32(m->data + VMDK_H_FLAGS, viv_ld_le32(m->data + VMDK_H_FLAGS) & ~VMDK_F_COPY);
    f = m->data + m->size - 3 * 512;
    viv_st_le64(f + VMDK_M_VALUE, 1);
    viv_st_le32(f + VMDK_M_TYPE, VMDK_MARKER_FOOTER);
    memcpy(f + 512, m->data, 512);
    viv_st_le64(f + 512 + VMDK_H_GD, at / 512);
    viv_st_le64(m->data + VMDK_H_GD, VMDK_GD_AT_END);
    memset(m->data + SMALL_GD * 512, 0xff, 1024); /* nobody looks there any more */
}

#endif
