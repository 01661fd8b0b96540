/* The sound qcow2 images that qcow2_fuzz.c begins with, of every kind there is. Each is made at its first use and stays as it is. */
#ifndef VIV_FUZZ_QCOW2_IMAGES_H
#define VIV_FUZZ_QCOW2_IMAGES_H

#include "block/cow_test.h"
#include "block/fmt/qcow2/qcow2_int.h"
#include "block/mem_test.h"

#include "base/bytes.h"
#include "crypto/secrets_test.h"

enum {
    HAS_PACKED = 1 << 0, /* compressed clusters */
    HAS_SNAPSHOTS = 1 << 1,
    HAS_BITMAPS = 1 << 2,
    HAS_KEY = 1 << 3,
    IS_LEAKING = 1 << 4,
    IS_DIRTY = 1 << 5,
    IS_CORRUPT = 1 << 6,
    HAS_UNKNOWN = 1 << 7, /* a header extension that nobody knows */
};

struct image {
    const char *opts;
    uint64_t size; /* of the disk */
    unsigned has;
    struct mem file, data;
};

#define LONG_NAME "a/folder/with/a/long/name/a/folder/with/a/long/name/a/folder/with/a/long/name/a/folder/with/a/long/name/base"

static struct image images[] = {
    {"cluster_size=512", 200 << 10, HAS_PACKED | HAS_SNAPSHOTS | HAS_BITMAPS},
    {"cluster_size=4k", 5 << 20, HAS_PACKED | HAS_SNAPSHOTS | HAS_BITMAPS},
    {"cluster_size=512,refcount_bits=1", 100 << 10, HAS_BITMAPS},
    {"cluster_size=4k,compression_type=zstd,refcount_bits=32", 1 << 20, HAS_PACKED | HAS_UNKNOWN},
    {"compat=0.10,cluster_size=1k", 300 << 10, HAS_PACKED | HAS_SNAPSHOTS},
    {"cluster_size=64k,refcount_bits=64", 1 << 20, HAS_PACKED | HAS_BITMAPS},
    {"extended_l2=on,cluster_size=16k", 2 << 20, HAS_PACKED | HAS_SNAPSHOTS | HAS_BITMAPS},
    {"cluster_size=1k,refcount_bits=64,lazy_refcounts=on", 300 << 10, HAS_SNAPSHOTS | IS_DIRTY},
    {"cluster_size=4k,data_file=data", 300 << 10, HAS_BITMAPS},
    {"cluster_size=4k,data_file=data,data_file_raw=on", 300 << 10, HAS_BITMAPS},
    {"extended_l2=on,cluster_size=16k,data_file=data", 300 << 10, 0},
    {"cluster_size=512,backing_file=" LONG_NAME ",backing_fmt=raw", 100 << 10, HAS_PACKED | HAS_UNKNOWN},
    {"encrypt.format=luks,encrypt.key-secret=a,encrypt.iter-time=0,encrypt.cipher-alg=aes-128,cluster_size=4k", 200 << 10, HAS_KEY},
    {"encrypt.format=aes,encrypt.key-secret=a,cluster_size=1k", 100 << 10, HAS_KEY | HAS_SNAPSHOTS},
    {"cluster_size=512,refcount_bits=8", 100 << 10, IS_LEAKING | HAS_BITMAPS},
    {"cluster_size=2k", 500 << 10, IS_CORRUPT | HAS_SNAPSHOTS},
    {"compat=0.10,cluster_size=4k,backing_file=base,backing_fmt=raw", 1 << 20, HAS_SNAPSHOTS},
    {"extended_l2=on,cluster_size=16k,backing_file=base,compression_type=zstd", 1 << 20, HAS_PACKED | HAS_BITMAPS},
    {"cluster_size=512,refcount_bits=2,preallocation=metadata", 100 << 10, HAS_SNAPSHOTS},
};

static void new_image(struct image *i)
{
    struct viv_create c = {.size = i->size};
    struct viv_qcow2_create q;
    struct viv_err err = VIV_ERR_INIT;
    struct viv_node *file, *data;

    mem_init(&i->file);
    mem_init(&i->data);
    file = mem_node(&i->file);
    data = mem_node(&i->data);
    if (viv_opts_parse("-o", viv_blk_qcow2.create_opts, NULL, i->opts, &c.opts, &err) || qcow2_read_options(&c, &q, &err))
        g_error("%s: %s", i->opts, err.text);
    q.backing_file = viv_opts_str(c.opts, "backing_file");
    q.backing_fmt = viv_opts_str(c.opts, "backing_fmt");
    if (viv_opts_str(c.opts, "preallocation"))
        q.prealloc = VIV_PREALLOC_METADATA;
    q.data = q.data_file ? data : NULL;
    if (q.data)
        g_assert_cmpint(viv_node_truncate(data, i->size, VIV_PREALLOC_OFF, &err), ==, 0);
    if (viv_qcow2_create(&q, file, &err))
        g_error("%s: %s", i->opts, err.text);
    viv_opts_free(c.opts);
    viv_node_put(&file);
    viv_node_put(&data);
}

/* Data at both ends and between them, more of it where a snapshot holds what was there before; zeroes. */
static void write_some(struct viv_node *n, unsigned round)
{
    uint64_t size = n->size, cluster = n->granule, third = viv_align_down(size / 3, cluster);
    g_autofree uint8_t *buf = g_malloc(3 * cluster);

    memset(buf, 'a' + round, 3 * cluster);
    g_assert_cmpint(viv_node_pwrite(n, 0, buf, 2 * cluster + 100), ==, 0);
    g_assert_cmpint(viv_node_pwrite(n, third + round * cluster, buf, 3 * cluster), ==, 0);
    g_assert_cmpint(viv_node_pwrite(n, size - 512, buf, 512), ==, 0);
    g_assert_cmpint(viv_node_write_zeroes(n, third + 2 * cluster, cluster, 0), ==, 0);
}

static void add_bitmaps(struct viv_node *n)
{
    struct viv_bitmap_info live = {.name = (char *)"live", .granularity = 512, .automatic = true};
    struct viv_bitmap_info still = {.name = (char *)"still", .granularity = 4096};
    size_t bytes = viv_bitmap_bytes(n->size, 4096);
    g_autofree uint8_t *bits = g_malloc0(bytes);

    bits[0] = 0x81;
    g_assert_cmpint(n->drv->bitmaps->store(n, &live, NULL, NULL), ==, 0);
    g_assert_cmpint(n->drv->bitmaps->store(n, &still, bits, NULL), ==, 0);
}

static void fill_image(struct image *i, struct viv_node *n)
{
    struct viv_snapshot one = {.name = (char *)"one", .vm_state_size = 5}, two = {.name = (char *)"two", .icount = 7};
    g_autofree uint8_t *buf = g_malloc0(n->granule);

    write_some(n, 0);
    buf[7] = 7;
    for (unsigned k = 6; k < 10 && i->has & HAS_PACKED; k++)
        g_assert_cmpint(viv_node_write_compressed(n, k * n->granule, buf, n->granule), ==, 0);
    if (i->has & HAS_SNAPSHOTS) {
        g_assert_cmpint(viv_node_state_write(n, 0, "state", 5), ==, 0);
        g_assert_cmpint(n->drv->snapshots->create(n, &one, NULL), ==, 0);
        write_some(n, 1);
        g_assert_cmpint(n->drv->snapshots->create(n, &two, NULL), ==, 0);
    }
    if (i->has & HAS_BITMAPS)
        add_bitmaps(n);
    write_some(n, 2);
}

/* What other programs leave behind. */
static void spoil(struct image *i)
{
    uint8_t *d = i->file.data;
    uint32_t order = viv_ld_be32(d + QCOW2_H_REFCOUNT_ORDER);
    uint64_t block = viv_ld_be64(d + viv_ld_be64(d + QCOW2_H_RT_OFFSET));
    unsigned cluster = i->file.size >> viv_ld_be32(d + QCOW2_H_CLUSTER_BITS);

    if (i->has & HAS_UNKNOWN) /* in place of the first one: the table of features, or the backing file's format */
        viv_st_be32(d + QCOW2_H_V3_LENGTH, 0x12345678);
    if (i->has & IS_DIRTY)
        d[QCOW2_H_INCOMPATIBLE + 7] |= QCOW2_INCOMPAT_DIRTY;
    if (i->has & IS_CORRUPT)
        d[QCOW2_H_INCOMPATIBLE + 7] |= QCOW2_INCOMPAT_CORRUPT;
    if (i->has & (IS_CORRUPT | IS_DIRTY))
        memset(d + block + (8u << order) / 8, 0, (4u << order) / 8);
    if (i->has & IS_LEAKING) {
        memset(d + block + cluster, 1, 3);
        mem_grow(&i->file, i->file.size + 3 * 512);
    }
}

static struct image *image(unsigned number)
{
    struct image *i = &images[number % G_N_ELEMENTS(images)];
    struct viv_node_opts o = {.no_backing = true};
    struct viv_err err = VIV_ERR_INIT;
    struct viv_node *n = NULL;

    if (i->file.data)
        return i;
    if (viv_secret_del("a", NULL))
        secrets_test_add("b", "another one");
    secrets_test_add("a", "password");
    new_image(i);
    o.key_secret = i->has & HAS_KEY ? "a" : NULL;
    o.data_file = strstr(i->opts, "data_file") ? mem_node(&i->data) : NULL;
    if (viv_node_open_format(&viv_blk_qcow2, mem_node(&i->file), &o, &n, &err))
        g_error("%s: %s", i->opts, err.text);
    viv_node_put(&o.data_file);
    fill_image(i, n);
    g_assert_cmpint(viv_node_put(&n), ==, 0);
    spoil(i);
    return i;
}

#endif
