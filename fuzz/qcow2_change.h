/* Changes of a qcow2 image where its tables are, by what the image says itself: fields of the header and of its extensions, entries of what
 * the header points at, to values that mean something there.
 *
 * A record of an input: {kind; which: of several tables, or of a table's entries; field: in it; how: the value is meant; value (4 bytes,
 * little-endian)}. The file is a cow_node(), whose first state nobody changes. */
#ifndef VIV_FUZZ_QCOW2_CHANGE_H
#define VIV_FUZZ_QCOW2_CHANGE_H

#include "block/cow_test.h"
#include "block/crypt/luks_int.h"
#include "block/fmt/qcow2/qcow2_int.h"

#include "base/bytes.h"

enum { RECORD = 8, R_KIND = 0, R_WHICH, R_FIELD, R_HOW, R_VALUE };

enum change {
    C_HEADER,
    C_EXTENSION,
    C_L1,
    C_L2,
    C_REFCOUNT_TABLE,
    C_REFCOUNT,
    C_SNAPSHOT,
    C_SNAPSHOT_L1,
    C_SNAPSHOT_L2,
    C_BITMAP,
    C_BITMAP_TABLE,
    C_LUKS,
    C_PACKED, /* what a compressed cluster holds */
    C_BYTES,  /* `value` at 256 * field + which */
    C_CUT,    /* the file is that much shorter, in 512 bytes; how & 1: longer */
    CHANGES
};

struct place {
    uint64_t at; /* 0 with len 0: there is no such */
    unsigned len;
};

static void get_bytes(struct viv_node *f, uint64_t at, void *to, size_t len)
{
    struct iovec v = {to, len};

    memset(to, 0, len);
    if (at < COW_MAX && len <= COW_MAX - at)
        cow_preadv(f, at, &v, 1, len);
}

static uint64_t get(struct viv_node *f, uint64_t at, unsigned len)
{
    uint8_t b[8] = {0};

    get_bytes(f, at, b + 8 - len, len);
    return viv_ld_be64(b);
}

static void set(struct viv_node *f, struct place p, uint64_t value)
{
    uint8_t b[8];
    struct iovec v = {b + 8 - p.len, p.len};

    viv_st_be64(b, value);
    if (p.len && p.at <= f->size && p.len <= f->size - p.at)
        cow_pwritev(f, p.at, &v, 1, p.len);
}

static unsigned cluster_bits(struct viv_node *f)
{
    return CLAMP(get(f, QCOW2_H_CLUSTER_BITS, 4), 9, 21);
}

static bool is_v3(struct viv_node *f)
{
    return get(f, QCOW2_H_VERSION, 4) == 3;
}

/* --- tables --- */

static struct place header_field(unsigned field)
{
    static const uint8_t at[] = {QCOW2_H_VERSION, QCOW2_H_BACKING_OFFSET, QCOW2_H_BACKING_SIZE, QCOW2_H_CLUSTER_BITS, QCOW2_H_SIZE,
                                 QCOW2_H_CRYPT, QCOW2_H_L1_SIZE, QCOW2_H_L1_OFFSET, QCOW2_H_RT_OFFSET, QCOW2_H_RT_CLUSTERS,
                                 QCOW2_H_SNAPSHOTS, QCOW2_H_SNAPSHOTS_OFFSET, QCOW2_H_INCOMPATIBLE, QCOW2_H_COMPATIBLE,
                                 QCOW2_H_AUTOCLEAR, QCOW2_H_REFCOUNT_ORDER, QCOW2_H_HEADER_LENGTH, QCOW2_H_COMPRESSION};
    unsigned i = field % G_N_ELEMENTS(at);

    if (at[i] == QCOW2_H_COMPRESSION)
        return (struct place){at[i], 1};
    return (struct place){at[i], i + 1 < G_N_ELEMENTS(at) && at[i + 1] - at[i] == 8 ? 8 : 4};
}

/* Where the extension of that type begins, or (type 0) the one of that number. */
static uint64_t extension(struct viv_node *f, uint32_t type, unsigned number)
{
    uint64_t at = is_v3(f) ? get(f, QCOW2_H_HEADER_LENGTH, 4) : QCOW2_H_V2_LENGTH;

    for (unsigned i = 0; at < 1u << cluster_bits(f) && i < 16; i++) {
        uint32_t found = get(f, at, 4);

        if (type ? found == type : i == number)
            return at;
        if (!found)
            break;
        at += 8 + ((get(f, at + 4, 4) + 7) & ~7ull);
    }
    return 0;
}

static uint64_t l1_entry(struct viv_node *f, uint64_t l1, uint64_t entries, unsigned number)
{
    return entries ? l1 + 8 * (number % entries) : 0;
}

/* Entries of an L2 table: more of the first ones, of which the images have some. */
static struct place l2_field(struct viv_node *f, uint64_t l1_entry_at, unsigned which, unsigned field)
{
    uint64_t table = l1_entry_at ? get(f, l1_entry_at, 8) & QCOW2_OFFSET : 0;
    unsigned index = field | (which >> 4) << 8;

    if (!table)
        return (struct place){0};
    return (struct place){table + 8 * (index & ((1u << (cluster_bits(f) - 3)) - 1)), 8};
}

static struct place refcount(struct viv_node *f, unsigned which, unsigned field)
{
    unsigned order = is_v3(f) ? get(f, QCOW2_H_REFCOUNT_ORDER, 4) & 7 : 4;
    uint64_t table = get(f, QCOW2_H_RT_OFFSET, 8), block = get(f, table + 8 * (which & 3), 8) & ~511ull;
    uint64_t index = field | (which >> 2) << 8;

    if (!block)
        return (struct place){0};
    return (struct place){block + (((index << order) / 8) & ((1u << cluster_bits(f)) - 1)), order <= 3 ? 1 : MIN(1u << (order - 3), 8)};
}

static uint64_t snapshot(struct viv_node *f, unsigned number)
{
    uint64_t at = get(f, QCOW2_H_SNAPSHOTS_OFFSET, 8);
    unsigned count = MIN(get(f, QCOW2_H_SNAPSHOTS, 4), 8);

    if (!count || !at)
        return 0;
    for (number %= count; number; number--)
        at = (at + 40 + get(f, at + 36, 4) + get(f, at + 12, 2) + get(f, at + 14, 2) + 7) & ~7ull;
    return at;
}

static struct place snapshot_field(uint64_t at, unsigned field)
{
    static const uint8_t in[][2] = {{0, 8}, {8, 4}, {12, 2}, {14, 2}, {16, 4}, {20, 4}, {24, 8}, {32, 4}, {36, 4},
                                    {40, 8}, {48, 8}, {56, 8}, {64, 1}, {65, 1}, {66, 2}, {68, 4}};
    unsigned i = field % G_N_ELEMENTS(in);

    return at ? (struct place){at + in[i][0], in[i][1]} : (struct place){0};
}

static uint64_t bitmap(struct viv_node *f, unsigned number)
{
    uint64_t e = extension(f, QCOW2_EXT_BITMAPS, 0), at = e ? get(f, e + 24, 8) : 0;
    unsigned count = e ? MIN(get(f, e + 8, 4), 8) : 0;

    if (!count || !at)
        return 0;
    for (number %= count; number; number--)
        at = (at + 24 + get(f, at + 18, 2) + get(f, at + 20, 4) + 7) & ~7ull;
    return at;
}

static struct place bitmap_field(uint64_t at, unsigned field)
{
    static const uint8_t in[][2] = {{0, 8}, {8, 4}, {12, 4}, {16, 1}, {17, 1}, {18, 2}, {20, 4}, {24, 1}, {25, 2}};
    unsigned i = field % G_N_ELEMENTS(in);

    return at ? (struct place){at + in[i][0], in[i][1]} : (struct place){0};
}

static uint64_t luks_header(struct viv_node *f)
{
    uint64_t e = get(f, QCOW2_H_CRYPT, 4) == QCOW2_CRYPT_LUKS ? extension(f, QCOW2_EXT_CRYPT, 0) : 0;

    return e ? get(f, e + 8, 8) : 0;
}

static struct place luks_field(struct viv_node *f, unsigned which, unsigned field)
{
    static const uint8_t in[] = {LUKS_H_VERSION, LUKS_H_CIPHER, LUKS_H_MODE, LUKS_H_MODE + 4, LUKS_H_HASH, LUKS_H_PAYLOAD, LUKS_H_KEY_BYTES,
                                 LUKS_H_DIGEST, LUKS_H_DIGEST_ITERATIONS};
    static const uint8_t in_slot[] = {LUKS_S_ACTIVE, LUKS_S_ITERATIONS, LUKS_S_SALT, LUKS_S_MATERIAL, LUKS_S_STRIPES};
    uint64_t at = luks_header(f);

    if (!at)
        return (struct place){0};
    if (field & 1)
        return (struct place){at + LUKS_H_SLOT + which % LUKS_SLOTS * LUKS_S_BYTES + in_slot[field / 2 % G_N_ELEMENTS(in_slot)], 4};
    return (struct place){at + in[field / 2 % G_N_ELEMENTS(in)], 4};
}

/* Of the first compressed cluster of L2 table `which`. */
static struct place packed(struct viv_node *f, unsigned which, unsigned field)
{
    unsigned bits = cluster_bits(f), x = 62 - (bits - 8);
    uint64_t l1 = l1_entry(f, get(f, QCOW2_H_L1_OFFSET, 8), get(f, QCOW2_H_L1_SIZE, 4), which), table = get(f, l1, 8) & QCOW2_OFFSET;

    for (unsigned i = 0; table && i < 32; i++) {
        uint64_t entry = get(f, table + 8 * i, 8);

        if (entry & QCOW2_COMPRESSED)
            return (struct place){(entry & ((1ull << x) - 1)) + field % 64, 4};
    }
    return (struct place){0};
}

static struct place resolve(struct viv_node *f, const uint8_t *r)
{
    unsigned which = r[R_WHICH], field = r[R_FIELD];
    uint64_t at = 0;

    switch (r[R_KIND] % CHANGES) {
    case C_HEADER:
        return header_field(field);
    case C_EXTENSION:
        at = extension(f, 0, which % 8);
        return at ? (struct place){at + field % 16 * 4, 4 + (which & 8) / 2} : (struct place){0};
    case C_L1:
        at = l1_entry(f, get(f, QCOW2_H_L1_OFFSET, 8), get(f, QCOW2_H_L1_SIZE, 4), field);
        return (struct place){at, at ? 8 : 0};
    case C_L2:
        return l2_field(f, l1_entry(f, get(f, QCOW2_H_L1_OFFSET, 8), get(f, QCOW2_H_L1_SIZE, 4), which % 16), which, field);
    case C_REFCOUNT_TABLE:
        return (struct place){get(f, QCOW2_H_RT_OFFSET, 8) + 8 * field, 8};
    case C_REFCOUNT:
        return refcount(f, which, field);
    case C_SNAPSHOT:
        return snapshot_field(snapshot(f, which), field);
    case C_SNAPSHOT_L1:
    case C_SNAPSHOT_L2:
        at = snapshot(f, which);
        at = at ? l1_entry(f, get(f, at, 8), get(f, at + 8, 4), r[R_KIND] % CHANGES == C_SNAPSHOT_L1 ? field : which / 4 % 4) : 0;
        return r[R_KIND] % CHANGES == C_SNAPSHOT_L2 ? l2_field(f, at, which, field) : (struct place){at, at ? 8 : 0};
    case C_BITMAP:
        return bitmap_field(bitmap(f, which), field);
    case C_BITMAP_TABLE:
        at = bitmap(f, which);
        at = at ? get(f, at, 8) : 0;
        return (struct place){at + 8 * field, at ? 8 : 0};
    case C_LUKS:
        return luks_field(f, which, field);
    case C_PACKED:
        return packed(f, which, field);
    default:
        return (struct place){256 * field + which, 4};
    }
}

/* --- values --- */

/* A cluster of the image, with flags as entries have them. */
static uint64_t likely_entry(struct viv_node *f, uint32_t value)
{
    static const uint64_t flags[] = {0, QCOW2_COPIED, QCOW2_ZERO, QCOW2_COPIED | QCOW2_ZERO, QCOW2_COMPRESSED, QCOW2_COMPRESSED | 1ull << 61,
                                     QCOW2_COPIED | QCOW2_COMPRESSED, 1ull << 9, 1ull << 55, 2};
    unsigned bits = cluster_bits(f);
    uint64_t cluster = (value & 0xffff) % ((f->size >> bits) + 3);

    return cluster << bits | flags[(value >> 16) % G_N_ELEMENTS(flags)];
}

static uint64_t new_value(struct viv_node *f, const uint8_t *r, uint64_t old)
{
    static const uint64_t nasty[] = {0, 1, 2, 3, 7, 8, 9, 12, 16, 21, 22, 63, 64, 72, 104, 112, 255, 512, 1023, 1024, 65535, 65536, 1u << 20,
                                     0x7fffffff, 0x80000000, 0xffffffff, 1ull << 32, 1ull << 40, 1ull << 55, 1ull << 56, 1ull << 62, 1ull << 63,
                                     ~0ull, ~0ull << 9, ~0ull << 16, QCOW2_OFFSET, QCOW2_EXT_BACKING_FORMAT, QCOW2_EXT_FEATURES,
                                     QCOW2_EXT_BITMAPS, QCOW2_EXT_DATA_FILE, QCOW2_EXT_CRYPT, LUKS_ACTIVE, LUKS_INACTIVE};
    uint32_t value = viv_ld_le32(r + R_VALUE);
    uint8_t other[RECORD];

    switch (r[R_HOW] % 9) {
    case 0:
        return value;
    case 1:
        return old + (int32_t)value;
    case 2:
        return old ^ 1ull << value % 64;
    case 3:
        return nasty[value % G_N_ELEMENTS(nasty)];
    case 4: /* what stands in another place, */
    case 5: /* or where that place lies */
        memcpy(other, r + R_VALUE, 3);
        if (r[R_HOW] % 9 == 4) {
            struct place p = resolve(f, other);

            return p.len ? get(f, p.at, p.len) : 0;
        }
        return (resolve(f, other).at & ~511ull) | (uint64_t)r[R_VALUE + 3] << 56;
    case 6:
        return (uint64_t)value << 32;
    default:
        return likely_entry(f, value);
    }
}

static void change(struct viv_node *f, const uint8_t *r)
{
    uint64_t much = (viv_ld_le16(r + R_VALUE) & 0x3ff) * 512ull;
    struct place p;

    if (r[R_KIND] % CHANGES == C_CUT) {
        cow_truncate(f, r[R_HOW] & 1 ? f->size + much : f->size - MIN(much, f->size), VIV_PREALLOC_OFF, NULL);
        return;
    }
    p = resolve(f, r);
    if (p.len)
        set(f, p, new_value(f, r, get(f, p.at, p.len)));
}

/* Counts of iterations and stripes are free to be anything, and cost what they say: few of them, where a LUKS header is. */
static void tame_luks(struct viv_node *f)
{
    uint64_t at = luks_header(f);
    uint8_t magic[6];

    get_bytes(f, at, magic, sizeof(magic));
    if (!at || memcmp(magic, VIV_LUKS_MAGIC, 6) != 0)
        return;
    for (unsigned i = 0; i <= LUKS_SLOTS; i++) {
        uint64_t slot = at + LUKS_H_SLOT + (i - 1) * LUKS_S_BYTES, count = i ? slot + LUKS_S_ITERATIONS : at + LUKS_H_DIGEST_ITERATIONS;

        if (get(f, count, 4) > 1000)
            set(f, (struct place){count, 4}, 1000);
        if (i && get(f, slot + LUKS_S_STRIPES, 4) > LUKS_STRIPES)
            set(f, (struct place){slot + LUKS_S_STRIPES, 4}, LUKS_STRIPES);
    }
}

#endif
