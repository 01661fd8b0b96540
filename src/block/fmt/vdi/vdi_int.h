/* VDI, inside. Layout: header (512 bytes), block map of 32-bit entries, blocks of 1 MiB. An entry is the index of
 * a block in the data area, "unallocated" or "discarded" (both read as zeroes). All numbers are little-endian. */
#ifndef VIV_BLOCK_FMT_VDI_VDI_INT_H
#define VIV_BLOCK_FMT_VDI_VDI_INT_H

#include "block/fmt/entries/entries.h"
#include "block/fmt/vdi/vdi.h"
#include "block/image.h"

#define VDI_SIGNATURE    0xbeda107fu
#define VDI_VERSION      0x00010001u
#define VDI_BLOCK        (1u << 20)
#define VDI_UNALLOCATED  0xffffffffu
#define VDI_DISCARDED    0xfffffffeu
#define VDI_BLOCKS_MAX   0x1fffff80u /* the map stays below 2 GiB */
#define VDI_SIZE_MAX     ((uint64_t)VDI_BLOCKS_MAX * VDI_BLOCK)
#define VDI_TYPE_DYNAMIC 1
#define VDI_TYPE_STATIC  2

/* Header fields, in bytes from the start of the file. */
enum {
    VDI_H_TEXT = 0,
    VDI_H_SIGNATURE = 0x40,
    VDI_H_VERSION = 0x44,
    VDI_H_HEADER_SIZE = 0x48, /* of what follows it */
    VDI_H_TYPE = 0x4c,
    VDI_H_MAP = 0x154,
    VDI_H_DATA = 0x158,
    VDI_H_SECTOR = 0x168,
    VDI_H_SIZE = 0x170,
    VDI_H_BLOCK = 0x178,
    VDI_H_EXTRA = 0x17c, /* bytes in front of each block */
    VDI_H_BLOCKS = 0x180,
    VDI_H_ALLOCATED = 0x184,
    VDI_H_UUID = 0x188,
    VDI_H_UUID_SNAPSHOT = 0x198,
    VDI_H_UUID_LINK = 0x1a8,
    VDI_H_UUID_PARENT = 0x1b8,
    VDI_H_LEN = 512,
};

struct vdi {
    struct viv_node *node, *file;
    uint32_t type, blocks; /* of the map */
    uint64_t data;         /* offset of block 0 */
    uint32_t on_disk;      /* the header's count of allocated blocks */

    pthread_mutex_t lock; /* all below */
    struct viv_entries map;
    uint32_t next;    /* every block in use is below; the header is to say so */
    uint32_t virgin;  /* blocks from here on were never written: they read as zeroes */
    uint8_t *used;    /* a bit for each of the first `used_len` blocks: those nobody points at are given out again */
    uint32_t used_len, free_hint;
};

int vdi_read_header(struct vdi *v, struct viv_err *err);
int vdi_create(const struct viv_create *c, struct viv_node *file, struct viv_err *err);
int vdi_check(struct viv_node *n, struct viv_check *c, struct viv_err *err);
extern const struct viv_opt_def vdi_create_opts[];
extern const char *const vdi_create_shown[];

/* Finds the blocks in use. -EINVAL with err: the map names one twice, or outside of the file. */
int vdi_scan(struct vdi *v, struct viv_err *err);
int vdi_map(struct viv_node *n, uint64_t offset, uint64_t len, struct viv_extent *out);
int vdi_alloc(struct viv_node *n, uint64_t offset, uint64_t len, struct viv_alloc *out);
int vdi_commit(struct viv_node *n, const struct viv_alloc *a);
void vdi_cancel(struct viv_node *n, const struct viv_alloc *a);
int vdi_flush_locked(struct vdi *v);

/* How many blocks have a first byte inside the file, at most what a map can name. */
static inline uint32_t vdi_file_blocks(const struct vdi *v)
{
    uint64_t end = viv_node_size(v->file), n;

    if (end <= v->data)
        return 0;
    n = (end - v->data - 1) / VDI_BLOCK + 1;
    return n > VDI_BLOCKS_MAX ? VDI_BLOCKS_MAX : (uint32_t)n;
}

#endif
