/* UDIF's insides, for this folder only. Format: "Demystifying the DMG File Format" (J. Levin); big-endian.
 *
 * The last 512 bytes ("koly") say where the data fork lies and where the tables are: in an XML property list (resource-fork, blkx)
 * or in a classic resource fork. A table ("mish") describes sectors of the disk in chunks: zero, raw or packed bytes in the data
 * fork. All tables are read at open into one array, sorted by sector. */
#ifndef VIV_BLOCK_FMT_DMG_DMG_INT_H
#define VIV_BLOCK_FMT_DMG_DMG_INT_H

#include "block/chunks.h"
#include "block/fmt/dmg/dmg.h"

#include <stdbool.h>

/* Byte offsets of the trailer's fields. */
enum {
    DMG_K_MAGIC = 0,
    DMG_K_DATA_OFFSET = 24,
    DMG_K_DATA_LENGTH = 32,
    DMG_K_RSRC_OFFSET = 40,
    DMG_K_RSRC_LENGTH = 48,
    DMG_K_XML_OFFSET = 216,
    DMG_K_XML_LENGTH = 224,
    DMG_K_SECTORS = 492,
    DMG_K_LENGTH = 512,
};

/* A table: header and rows. */
enum {
    DMG_T_FIRST = 8, /* sector */
    DMG_T_ROWS = 200,
    DMG_T_LENGTH = 204,
    DMG_ROW_TYPE = 0,
    DMG_ROW_SECTOR = 8, /* from the table's first */
    DMG_ROW_COUNT = 16,
    DMG_ROW_OFFSET = 24, /* in the data fork */
    DMG_ROW_BYTES = 32,
    DMG_ROW_LENGTH = 40,
};

enum dmg_type {
    DMG_ZERO = 0,
    DMG_RAW = 1,
    DMG_IGNORE = 2, /* nobody cares: zeroes */
    DMG_ADC = 0x80000004u,
    DMG_ZLIB = 0x80000005u,
    DMG_BZIP2 = 0x80000006u,
    DMG_LZFSE = 0x80000007u,
    DMG_LZMA = 0x80000008u,
    DMG_COMMENT = 0x7ffffffeu,
    DMG_END = 0xffffffffu,
};

#define DMG_MAGIC   0x6b6f6c79u /* "koly" */
#define DMG_TABLE   0x6d697368u /* "mish" */
#define DMG_GRANULE 65536u

/* What one image may make us allocate. */
#define DMG_FORK_MAX  (64u << 20) /* property list or resource fork */
#define DMG_CHUNK_MAX (64u << 20) /* packed or unpacked */

struct dmg_chunk {
    uint64_t sector, count;
    uint64_t at, bytes; /* in the file */
    uint32_t type;
};

struct dmg {
    struct viv_node *node, *file; /* borrowed */
    uint64_t data_offset, data_length; /* the data fork */
    GArray *chunk; /* struct dmg_chunk, sorted, none empty, none overlap */
    struct viv_chunks cache;
};

/* table.c: adds the chunks of one table; bytes that are none are passed over. */
int dmg_add_table(struct dmg *d, const uint8_t *table, size_t len, struct viv_err *err);
/* After the last: sorts, refuses what overlaps. */
int dmg_sort_chunks(struct dmg *d, struct viv_err *err);

/* fork.c: all tables of a property list (changed in place) or a resource fork. */
int dmg_read_xml(struct dmg *d, char *text, size_t len, struct viv_err *err);
int dmg_read_rsrc(struct dmg *d, const uint8_t *fork, size_t len, struct viv_err *err);

/* unpack.c: fills out or fails. -EIO, -ENOMEM. */
int dmg_unpack(uint32_t type, const uint8_t *in, size_t in_len, uint8_t *out, size_t out_len);

#endif
