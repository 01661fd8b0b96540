/* Partition tables of a disk that has grown: GPT (UEFI specification 2.10, chapter 5) and MBR. */
#ifndef VIV_CMD_IMG_PARTS_H
#define VIV_CMD_IMG_PARTS_H

#include "block/node.h"

enum parts_kind { PARTS_NONE, PARTS_MBR, PARTS_GPT };

struct parts_last {
    unsigned number;          /* as Linux counts; 0: there is no partition */
    uint64_t start, len;      /* bytes, before */
    uint64_t new_len;         /* bytes, after; equals len when it was left alone */
    const char *left_because; /* why it was left alone; NULL: it grew */
};

struct parts {
    enum parts_kind kind;
    uint32_t sector; /* bytes */
    struct parts_last last;
    /* GPT */
    uint8_t *entries; /* g_free */
    uint64_t entries_bytes, entry_size;
    uint64_t old_backup;  /* LBA of its header */
    uint8_t header[512], mbr[512];
};

/* What is there, checked. A damaged GPT is refused. */
int parts_read(struct viv_node *n, struct parts *p, struct viv_err *err);
/* The disk has grown from `old` bytes: the last partition takes the room. Backup GPT first, flushed, then the primary. */
int parts_grow(struct viv_node *n, struct parts *p, uint64_t old, struct viv_err *err);
void parts_fini(struct parts *p);

/* What a partition, or the disk, holds, by its first bytes: "ext4", "xfs", "LVM"...; NULL: not known. Static text. */
const char *parts_content(struct viv_node *n, uint64_t offset, uint64_t len);

#endif
