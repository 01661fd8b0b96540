/* Formats that are only read (cloop, bochs, dmg): small images made here are the disk that they should be; hostile fields are
 * refused with a reason or bounded; chunks are unpacked once, by many threads. Larger ones: tests/block/peer_readonly.sh. */
#include "block/fmt/bochs/bochs.h"
#include "block/chunks.h"
#include "block/fmt/cloop/cloop.h"
#include "block/fmt/dmg/dmg_int.h"
#include "block/tables_test.h"

#include "base/bytes.h"

#include <zlib.h>

#define DISK 200000u /* rounded down to sectors by some */

static uint8_t disk[DISK];

static void fill_disk(void)
{
    for (unsigned i = 0; i < DISK; i++)
        disk[i] = i / 30000 % 2 ? 0 : i / 7 + i / 512;
}

static void put(struct mem *m, uint64_t at, const void *data, size_t len)
{
    g_assert_cmpint(mem_grow(m, at + len), ==, 0);
    memcpy(m->data + at, data, len);
}

static void put_be32(struct mem *m, uint64_t at, uint32_t v)
{
    v = GUINT32_TO_BE(v);
    put(m, at, &v, 4);
}

static void put_be64(struct mem *m, uint64_t at, uint64_t v)
{
    v = GUINT64_TO_BE(v);
    put(m, at, &v, 8);
}

static void put_le32(struct mem *m, uint64_t at, uint32_t v)
{
    v = GUINT32_TO_LE(v);
    put(m, at, &v, 4);
}

static size_t put_packed(struct mem *m, uint64_t at, const uint8_t *data, size_t len)
{
    uLongf out_len = compressBound(len);
    g_autofree uint8_t *out = g_malloc(out_len);

    g_assert_cmpint(compress(out, &out_len, data, len), ==, Z_OK);
    put(m, at, out, out_len);
    return out_len;
}

static void make_cloop(struct mem *m)
{
    uint32_t block = 1536, blocks = DISK / block;
    uint64_t at = 136 + 8 * (blocks + 1);

    mem_init(m);
    put(m, 0, "#!/bin/sh\n#V2.0 Format\nmodprobe cloop", 38);
    put_be32(m, 128, block);
    put_be32(m, 132, blocks);
    for (uint32_t i = 0; i < blocks; i++) {
        put_be64(m, 136 + 8 * i, at);
        at += put_packed(m, at, disk + i * block, block);
    }
    put_be64(m, 136 + 8 * blocks, at);
}

/* Extents of 4 KiB; the first has no place, of the others every other sector is not stored if it is zero. */
static void make_bochs(struct mem *m)
{
    uint32_t extents = DISK / 4096;
    uint64_t first = 512 + extents * 4;

    mem_init(m);
    put(m, 0, "Bochs Virtual HD Image", 23);
    put(m, 32, "Redolog", 8);
    put(m, 48, "Growing", 8);
    put_le32(m, 64, 0x20000);
    put_le32(m, 68, 512);
    put_le32(m, 72, extents);
    put_le32(m, 76, 1);
    put_le32(m, 80, 4096);
    put_le32(m, 88, extents * 4096);
    put_le32(m, 92, 0);
    for (uint32_t i = 0; i < extents; i++) {
        uint32_t place = extents - 1 - i;
        uint64_t at = first + place * (512ull + 4096);
        uint8_t bits = 0;

        put_le32(m, 512 + i * 4, place);
        for (int s = 0; s < 8; s++)
            if (memcmp(disk + i * 4096 + s * 512, (uint8_t[512]){0}, 512) != 0)
                bits |= 1u << s;
        put(m, at, (uint8_t[512]){bits}, 512);
        put(m, at + 512, disk + i * 4096, 4096);
    }
}

/* Rows of 9, 10, 11 ... sectors, packed, raw and zero in turn; in a resource fork behind the data. */
static void make_dmg(struct mem *m)
{
    g_autoptr(GByteArray) table = g_byte_array_new();
    uint64_t sectors = DISK / 512, at = 0, row = 0, sector = 0, fork;

    mem_init(m);
    g_byte_array_set_size(table, 204);
    memset(table->data, 0, 204);
    for (; sector < sectors; row++) {
        uint64_t count = MIN(9 + row, sectors - sector), bytes = count * 512;
        bool zero = disk[sector * 512] == 0 && memcmp(disk + sector * 512, disk + sector * 512 + 1, bytes - 1) == 0;
        uint8_t r[40] = {0};

        viv_st_be32(r, zero ? DMG_ZERO : row % 3 ? DMG_ZLIB : DMG_RAW);
        viv_st_be64(r + 8, sector);
        viv_st_be64(r + 16, count);
        viv_st_be64(r + 24, at);
        if (!zero && row % 3)
            bytes = put_packed(m, at, disk + sector * 512, bytes);
        else if (!zero)
            put(m, at, disk + sector * 512, bytes);
        viv_st_be64(r + 32, zero ? 0 : bytes);
        at += zero ? 0 : bytes;
        sector += count;
        g_byte_array_append(table, r, sizeof(r));
    }
    viv_st_be32(table->data, DMG_TABLE);
    viv_st_be32(table->data + 4, 1);
    viv_st_be64(table->data + 16, sectors);
    viv_st_be32(table->data + 200, row);
    fork = at;
    put_be32(m, fork, 16);
    put_be32(m, fork + 4, 16 + 4 + table->len);
    put_be32(m, fork + 8, 4 + table->len);
    put_be32(m, fork + 12, 0);
    put_be32(m, fork + 16, table->len);
    put(m, fork + 20, table->data, table->len);
    at = fork + 20 + table->len;
    put(m, at, (uint8_t[512]){0}, 512);
    put_be32(m, at, DMG_MAGIC);
    put_be64(m, at + DMG_K_DATA_LENGTH, fork);
    put_be64(m, at + DMG_K_RSRC_OFFSET, fork);
    put_be64(m, at + DMG_K_RSRC_LENGTH, 20 + table->len);
    put_be64(m, at + DMG_K_SECTORS, sectors);
}

static const struct format {
    const struct viv_blk_driver *drv;
    void (*make)(struct mem *);
} formats[] = {{&viv_blk_cloop, make_cloop}, {&viv_blk_bochs, make_bochs}, {&viv_blk_dmg, make_dmg}};

static void test_read(gconstpointer data)
{
    const struct format *f = data;
    g_autoptr(GRand) rand = g_rand_new_with_seed(g_test_rand_int());
    g_autofree uint8_t *buf = g_malloc(DISK);
    struct viv_err err = VIV_ERR_INIT;
    struct viv_node_opts rw = {0};
    struct viv_node *n;
    struct mem m;

    f->make(&m);
    n = open_with(f->drv, &m, (struct viv_node_opts){.read_only = true});
    g_assert_nonnull(n);
    g_assert_cmpuint(viv_node_size(n), >, DISK - 4096);
    g_assert_cmpuint(viv_node_size(n), <=, DISK);
    expect_disk(n, disk);
    for (int i = 0; i < 500; i++) {
        uint64_t at = g_rand_int_range(rand, 0, viv_node_size(n)), len = 1 + g_rand_int_range(rand, 0, 70000);

        len = MIN(len, viv_node_size(n) - at);
        g_assert_cmpint(viv_node_pread(n, at, buf, len), ==, 0);
        g_assert_cmpint(memcmp(buf, disk + at, len), ==, 0);
    }
    g_assert_cmpint(viv_node_pwrite(n, 0, buf, 512), ==, -EROFS);
    viv_node_put(&n);
    g_assert_cmpint(viv_node_open_format(f->drv, mem_node(&m), &rw, &n, &err), ==, -EROFS);
    g_assert_nonnull(strstr(err.text, "can only be read"));
    mem_fini(&m);
}

static void test_mutations(gconstpointer data)
{
    static const uint64_t nasty[] = {0, 1, 0xff, 0x7fffffff, 0x80000000, 0xffffffff, 1ull << 40, 1ull << 63, ~0ull, 0x1000, ~511ull};
    const struct format *f = data;
    g_autoptr(GRand) rand = g_rand_new_with_seed(g_test_rand_int());
    struct mem m;

    f->make(&m);
    for (int r = 0; r < 1500; r++) {
        g_autofree uint8_t *copy = g_memdup2(m.data, m.size);

        for (int k = g_rand_int_range(rand, 1, 4); k > 0; k--) {
            uint64_t value = nasty[g_rand_int_range(rand, 0, G_N_ELEMENTS(nasty))], head = MIN(1200, m.size - 8);
            /* Header, trailer with the tables before it, anywhere. */
            uint64_t at = k % 3 == 0 ? g_rand_int_range(rand, 0, m.size - 8) : g_rand_int_range(rand, 0, head);

            if (f->drv == &viv_blk_dmg && k % 3)
                at = m.size - 8 - at;
            memcpy(copy + at, &value, g_rand_boolean(rand) ? 4 : 8);
        }
        exercise(f->drv, copy, r % 8 ? m.size : (gsize)g_rand_int_range(rand, 0, m.size));
    }
    mem_fini(&m);
}

/* A field of a fresh image becomes `value`: opening it says this, or (NULL) works. */
struct field {
    uint64_t at; /* from the end, with bit 63 */
    unsigned bytes;
    uint64_t value;
    const char *says;
};

#define FROM_END (1ull << 63)

static void check_fields(const struct format *f, bool big_endian, const struct field *field, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        struct viv_node_opts o = {.read_only = true};
        struct viv_err err = VIV_ERR_INIT;
        struct viv_node *n = NULL;
        struct mem m;
        uint64_t at;

        f->make(&m);
        at = field[i].at & FROM_END ? m.size - (field[i].at & ~FROM_END) : field[i].at;
        for (unsigned k = 0; k < field[i].bytes; k++)
            m.data[at + k] = field[i].value >> 8 * (big_endian ? field[i].bytes - 1 - k : k);
        if (!viv_node_open_format(f->drv, mem_node(&m), &o, &n, &err) != !field[i].says)
            g_error("%s: field %u: %s", f->drv->name, i, n ? "is believed" : err.text);
        if (field[i].says && !strstr(err.text, field[i].says))
            g_error("%s: field %u: '%s' is not '%s'", f->drv->name, i, err.text, field[i].says);
        viv_node_put(&n);
        mem_fini(&m);
    }
}

static void test_fields(void)
{
    static const struct field cloop[] = {
        {128, 4, 0, "multiple of 512"},      {128, 4, 513, "multiple of 512"}, {128, 4, 128 << 20, "64 MB or less"},
        {132, 4, UINT32_MAX, "truncated"},   {132, 4, 0, NULL},
    };
    static const struct field bochs[] = {
        {0, 1, 'b', "not in Bochs format"},  {32, 1, 'r', "not in Bochs format"}, {48, 4, 'U', "not in Bochs format"},
        {64, 4, 0x30000, "version 0x30000"}, {68, 4, 95, "catalog does not lie"}, {68, 4, UINT32_MAX, "catalog does not lie"},
        {72, 4, 0, "too small"},             {72, 4, 47, "too small"},            {72, 4, 1 << 21, "too large"},
        {72, 4, 1 << 20, "catalog does not lie"}, {76, 4, 0, "no bit for each"},  {76, 4, UINT32_MAX, NULL},
        {80, 4, 0, "at least 512"},          {80, 4, 1536, "power of two"},       {80, 4, 16 << 20, "too large"},
        {88, 8, ~0ull, "too small"},         {88, 8, 1000, NULL},
    };
    static const struct field dmg[] = {
        {FROM_END | 512, 4, 0, "UDIF trailer"},
        {FROM_END | (512 - DMG_K_SECTORS), 8, 1ull << 60, "larger than any"},
        {FROM_END | (512 - DMG_K_DATA_OFFSET), 8, 1ull << 60, "data fork"},
        {FROM_END | (512 - DMG_K_DATA_OFFSET), 8, 5000, "data fork"},
        {FROM_END | (512 - DMG_K_RSRC_LENGTH), 8, 0, "neither a property list"},
        {FROM_END | (512 - DMG_K_RSRC_LENGTH), 8, 15, "15 bytes"},
        {FROM_END | (512 - DMG_K_RSRC_LENGTH), 8, 100, "pass the end of their fork"},
        {FROM_END | (512 - DMG_K_RSRC_LENGTH), 8, ~0ull, "beyond the end"},
        {FROM_END | (512 - DMG_K_RSRC_OFFSET), 8, ~0ull, "beyond the end"},
        {FROM_END | (512 + 40), 4, DMG_LZFSE, "LZFSE"}, /* the last row's type, count and bytes */
        {FROM_END | (512 + 40), 4, DMG_ADC, "ADC"},
        {FROM_END | (512 + 40), 4, 77, "type 0x4d"},
        {FROM_END | (512 + 40), 4, DMG_COMMENT, NULL},
        {FROM_END | (512 + 32), 8, 1, "overlaps"},
        {FROM_END | (512 + 32), 8, ~0ull, "largest disk"},
        {FROM_END | (512 + 24), 8, ~0ull, "largest disk"},
        {FROM_END | (512 + 24), 8, 1ull << 54, "largest disk"},
        {FROM_END | (512 + 24), 8, 0, NULL},
    };

    check_fields(&formats[0], true, cloop, G_N_ELEMENTS(cloop));
    check_fields(&formats[1], false, bochs, G_N_ELEMENTS(bochs));
    check_fields(&formats[2], true, dmg, G_N_ELEMENTS(dmg));
}

/* Property lists, of all shapes: no table in them is no error, broken ones are. */
static void test_plists(void)
{
#define BLKX(item) "<plist><dict><key>resource-fork</key><dict><key>blkx</key><array>" item "</array></dict></dict></plist>"
#define DATA(text) BLKX("<dict><key>Data</key><data>" text "</data></dict>")
    static const struct {
        const char *xml, *says; /* NULL: opens */
    } lists[] = {
        {DATA(""), NULL},
        {DATA("A"), NULL},
        {DATA("\n\t"), NULL},
        {DATA("AAAA"), NULL},
        {DATA("bWlzaA=="), NULL}, /* "mish", too short */
        {DATA("<b>A</b>B"), NULL},
        {BLKX("<data>A</data>"), NULL},
        {BLKX(""), NULL},
        {"<plist/>", NULL},
        {"<plist><dict><key>resource-fork</key><dict><key>plst</key><array><dict><key>Data</key><data>*</data></dict></array></dict></dict></plist>",
         NULL},
        {"", "property list"},
        {"<plist>", "property list"},
        {"<plist></dict>", "property list"},
        {"<a><a><a><a><a><a><a><a><a><a><a><a><a><a><a><a><a><a><a><a><a><a><a><a><a><a><a><a><a><a><a><a><a>", "nested too deep"},
    };

    for (unsigned i = 0; i < G_N_ELEMENTS(lists); i++) {
        struct viv_node_opts o = {.read_only = true};
        struct viv_err err = VIV_ERR_INIT;
        struct viv_node *n = NULL;
        size_t len = strlen(lists[i].xml);
        struct mem m;

        mem_init(&m);
        put(&m, 0, lists[i].xml, len);
        put(&m, len, (uint8_t[513]){0}, 513); /* a zero behind the text, as some have */
        put_be32(&m, len + 1, DMG_MAGIC);
        put_be64(&m, len + 1 + DMG_K_XML_LENGTH, len + 1);
        put_be64(&m, len + 1 + DMG_K_SECTORS, 5);
        if (!viv_node_open_format(&viv_blk_dmg, mem_node(&m), &o, &n, &err) != !lists[i].says)
            g_error("list %u: %s", i, n ? "is believed" : err.text);
        if (lists[i].says && !strstr(err.text, lists[i].says))
            g_error("list %u: '%s' is not '%s'", i, err.text, lists[i].says);
        if (n)
            g_assert_cmpint(viv_node_pread(n, 0, disk, 512), ==, -EIO); /* nobody says what is there */
        viv_node_put(&n);
        mem_fini(&m);
    }
}

/* --- chunks.h --- */

#define CHUNK 1000u

struct loads {
    int now, most, all; /* atomic */
};

static int load_chunk(void *opaque, uint64_t index, uint8_t *out, size_t len)
{
    struct loads *l = opaque;
    int now = __atomic_add_fetch(&l->now, 1, __ATOMIC_SEQ_CST);

    if (now > __atomic_load_n(&l->most, __ATOMIC_SEQ_CST))
        __atomic_store_n(&l->most, now, __ATOMIC_SEQ_CST);
    g_usleep(50);
    memset(out, index, len);
    __atomic_sub_fetch(&l->now, 1, __ATOMIC_SEQ_CST);
    return __atomic_add_fetch(&l->all, 1, __ATOMIC_SEQ_CST) % 50 == 0 ? -EIO : 0;
}

static void *read_chunks(void *opaque)
{
    struct viv_chunks *c = opaque;
    uint64_t x = (uintptr_t)&x / 64;
    uint8_t buf[CHUNK];

    for (int i = 0; i < 1500; i++) {
        unsigned index, skip;
        int ret;

        x = x * 6364136223846793005ull + 1442695040888963407ull;
        index = (x >> 33) % 12;
        skip = (x >> 50) % CHUNK;
        ret = viv_chunks_read(c, index, CHUNK, 100, skip, buf, CHUNK - skip);
        g_assert_true(ret == 0 || ret == -EIO);
        for (unsigned k = 0; !ret && k < CHUNK - skip; k++)
            g_assert_cmpuint(buf[k], ==, index);
    }
    return NULL;
}

/* With room for some, for one, and for none: one at a time all the same. */
static void test_chunks(void)
{
    static const size_t limits[] = {1 << 20, 6 * CHUNK, CHUNK + 100, 1};

    for (unsigned i = 0; i < G_N_ELEMENTS(limits); i++) {
        struct loads l = {0};
        struct viv_chunks c;
        pthread_t thread[6];

        viv_chunks_init(&c, load_chunk, &l);
        c.limit = limits[i];
        for (int t = 0; t < 6; t++)
            g_assert_cmpint(pthread_create(&thread[t], NULL, read_chunks, &c), ==, 0);
        for (int t = 0; t < 6; t++)
            pthread_join(thread[t], NULL);
        g_assert_cmpuint(c.bytes, <=, MAX(limits[i], CHUNK));
        g_assert_cmpint(l.most, <=, MAX(1, (int)(limits[i] / (CHUNK + 100))));
        if (i == 0)
            g_assert_cmpint(l.all, <, 12 + 12); /* each once, and the failed ones again */
        g_assert_cmpint(viv_chunks_read(&c, 0, CHUNK, 0, CHUNK, NULL, 1), ==, -EINVAL);
        viv_chunks_fini(&c);
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    fill_disk();
    for (unsigned i = 0; i < G_N_ELEMENTS(formats); i++) {
        g_autofree char *a = g_strdup_printf("/block/%s/read", formats[i].drv->name);
        g_autofree char *b = g_strdup_printf("/block/%s/mutations", formats[i].drv->name);

        g_test_add_data_func(a, &formats[i], test_read);
        g_test_add_data_func(b, &formats[i], test_mutations);
    }
    g_test_add_func("/block/readonly/fields", test_fields);
    g_test_add_func("/block/dmg/plists", test_plists);
    g_test_add_func("/block/readonly/chunks", test_chunks);
    return g_test_run();
}
