/* Changes of a qcow2 image where it keeps its tables: fields of the header, entries of what the header points at, to values that mean
 * something there. Random bytes alone hardly ever hit a table in an image of mostly data. */
#ifndef VIV_FUZZ_QCOW2_MUTATE_H
#define VIV_FUZZ_QCOW2_MUTATE_H

#include "block/fmt/qcow2/qcow2_int.h"

#include "base/bytes.h"

struct mutated {
    uint8_t *data;
    size_t size;
    uint64_t random; /* xorshift; never 0 */
};

static inline uint64_t pick(struct mutated *m, uint64_t below)
{
    m->random ^= m->random << 13;
    m->random ^= m->random >> 7;
    m->random ^= m->random << 17;
    return m->random % below;
}

/* What stands at `at`, 0 where the image has ended. */
static inline uint64_t peek(const struct mutated *m, uint64_t at, unsigned len)
{
    if (at > m->size || m->size - at < len)
        return 0;
    return len == 4 ? viv_ld_be32(m->data + at) : viv_ld_be64(m->data + at);
}

static inline unsigned cluster_bits(const struct mutated *m)
{
    return MIN(peek(m, QCOW2_H_CLUSTER_BITS, 4), 21u);
}

/* An offset in the image, with flags as entries have them. */
static inline uint64_t likely_entry(struct mutated *m)
{
    static const uint64_t flags[] = {0, QCOW2_COPIED, QCOW2_COPIED, QCOW2_ZERO, QCOW2_COPIED | QCOW2_ZERO, QCOW2_COMPRESSED,
                                     QCOW2_COMPRESSED | 1ull << 61, QCOW2_COPIED | QCOW2_COMPRESSED, 1ull << 9, 1ull << 55, 2};
    unsigned bits = cluster_bits(m);
    uint64_t cluster = pick(m, (m->size >> bits) + 3);

    return cluster << bits | flags[pick(m, G_N_ELEMENTS(flags))];
}

static inline uint64_t value(struct mutated *m, uint64_t old)
{
    static const uint64_t nasty[] = {0, 1, 2, 3, 7, 8, 9, 12, 16, 21, 22, 63, 64, 72, 104, 112, 255, 512, 1023, 1024, 65535, 65536, 1u << 20,
                                     0x7fffffff, 0x80000000, 0xffffffff, 1ull << 32, 1ull << 40, 1ull << 55, 1ull << 56, 1ull << 62, 1ull << 63,
                                     ~0ull, ~0ull << 9, ~0ull << 16, QCOW2_OFFSET};

    switch (pick(m, 6)) {
    case 0:
        return nasty[pick(m, G_N_ELEMENTS(nasty))];
    case 1:
        return old + 1 - 2 * pick(m, 2);
    case 2:
        return old ^ 1ull << pick(m, 64);
    case 3:
        return old + (1ull << pick(m, 24));
    default:
        return likely_entry(m);
    }
}

/* Where a table of the image begins, by what the header says now. */
static inline uint64_t table_at(struct mutated *m)
{
    uint64_t l1 = peek(m, QCOW2_H_L1_OFFSET, 8), rt = peek(m, QCOW2_H_RT_OFFSET, 8), snap = peek(m, QCOW2_H_SNAPSHOTS_OFFSET, 8), at;

    switch (pick(m, 9)) {
    case 0:
        return l1;
    case 1:
    case 2:
        return peek(m, l1 + 8 * pick(m, 4), 8) & QCOW2_OFFSET;
    case 3:
        return rt;
    case 4:
        return peek(m, rt, 8) & QCOW2_OFFSET;
    case 5:
        return snap;
    case 6: /* a snapshot's L1 table */
        return peek(m, snap, 8);
    case 7:
        return QCOW2_H_V3_LENGTH - 8; /* header extensions */
    default: /* the bitmaps' directory, or the first one's table, which it points at */
        for (at = QCOW2_H_V3_LENGTH; at + 24 < m->size && at < 4096; at += 8)
            if (peek(m, at, 4) == QCOW2_EXT_BITMAPS)
                break;
        at = peek(m, at + 8 + 16, 8);
        return pick(m, 2) ? at : peek(m, at, 8);
    }
}

static inline void mutate_field(struct mutated *m)
{
    static const uint8_t field[] = {QCOW2_H_VERSION, QCOW2_H_BACKING_OFFSET, QCOW2_H_BACKING_SIZE, QCOW2_H_CLUSTER_BITS, QCOW2_H_SIZE,
                                    QCOW2_H_CRYPT, QCOW2_H_L1_SIZE, QCOW2_H_L1_OFFSET, QCOW2_H_RT_OFFSET, QCOW2_H_RT_CLUSTERS,
                                    QCOW2_H_SNAPSHOTS, QCOW2_H_SNAPSHOTS_OFFSET, QCOW2_H_INCOMPATIBLE, QCOW2_H_COMPATIBLE,
                                    QCOW2_H_AUTOCLEAR, QCOW2_H_REFCOUNT_ORDER, QCOW2_H_HEADER_LENGTH, QCOW2_H_COMPRESSION};
    uint64_t at, old;
    unsigned len;

    if (pick(m, 4) == 0) {
        unsigned i = pick(m, G_N_ELEMENTS(field));

        at = field[i];
        len = i + 1 < G_N_ELEMENTS(field) && field[i + 1] - at == 8 ? 8 : 4;
    } else {
        len = pick(m, 3) ? 8 : 4;
        at = table_at(m) + len * (pick(m, 3) ? pick(m, 8) : pick(m, (1u << cluster_bits(m)) / 8 + 1));
    }
    if (at > m->size || m->size - at < 8)
        return;
    old = peek(m, at, len);
    if (len == 4)
        viv_st_be32(m->data + at, value(m, old));
    else
        viv_st_be64(m->data + at, value(m, old));
}

static inline void mutate_tables(uint8_t *data, size_t size, unsigned seed)
{
    struct mutated m = {data, size, seed * 0x9e3779b97f4a7c15ull | 1};

    pick(&m, 2);
    for (unsigned n = 1 + pick(&m, 3); n; n--)
        mutate_field(&m);
}

#endif
