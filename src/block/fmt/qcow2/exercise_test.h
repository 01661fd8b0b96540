/* Does to a qcow2 image whatever a program may do to one, for the fuzzer and the mutation test: nothing may crash,
 * hang, or allocate without bound; errors are fine. */
#ifndef VIV_BLOCK_FMT_QCOW2_EXERCISE_TEST_H
#define VIV_BLOCK_FMT_QCOW2_EXERCISE_TEST_H

#include "block/cow_test.h"
#include "block/fmt/qcow2/qcow2.h"
#include "block/image.h"

#include "base/checked.h"
#include "opt/opt.h"

static inline void exercise_data(struct viv_node *n)
{
    uint64_t size = viv_node_size(n), end = MIN(size, 16u << 20);
    static uint8_t buf[70000];
    struct viv_extent e;

    for (uint64_t at = 0, steps = 0; at < end && steps < 200; at += e.len, steps++)
        if (viv_node_status(n, at, size - at, &e))
            break;
    for (int i = 0; i < 4; i++) {
        uint64_t at = i == 3 ? (size > sizeof(buf) ? size - sizeof(buf) : 0) : (uint64_t)i * 300000;

        if (at + sizeof(buf) > size)
            continue;
        viv_node_pread(n, at, buf, sizeof(buf));
        if (n->read_only)
            continue;
        viv_node_pwrite(n, at + 100, buf, 3000);
        viv_node_write_zeroes(n, at, 60000, i & 1 ? VIV_BLK_UNMAP : 0);
        viv_node_discard(n, at + 4096, 50000);
        if (n->granule <= sizeof(buf)) {
            viv_node_write_compressed(n, viv_align_down(at, n->granule), buf, n->granule);
            viv_node_write_compressed(n, viv_align_down(at + n->granule, n->granule), buf, n->granule);
        }
        viv_node_pwrite(n, at, buf, sizeof(buf));
        viv_node_flush(n);
    }
}

static inline void exercise_snapshots(struct viv_node *n)
{
    struct viv_snapshot s = {.name = (char *)"new", .vm_state_size = 3}, *list = NULL;
    const struct viv_snapshot_ops *ops = n->drv->snapshots;
    struct viv_err err = VIV_ERR_INIT;
    unsigned count = 0;

    viv_node_state_write(n, 0, "vm", 3);
    ops->create(n, &s, &err);
    viv_err_clear(&err);
    if (!ops->list(n, &list, &count, &err)) {
        for (unsigned i = 0; i < MIN(count, 3); i++) {
            ops->apply(n, list[i].id, &err);
            viv_err_clear(&err);
            ops->remove(n, list[count - 1 - i].id, &err);
            viv_err_clear(&err);
        }
        viv_snapshot_free(list, count);
    }
    n->drv->change_backing(n, "other", "raw", &err);
    viv_err_clear(&err);
}

static inline void exercise_bitmaps(struct viv_node *n)
{
    struct viv_bitmap_info add = {.name = (char *)"new", .granularity = 65536, .automatic = true}, *list = NULL;
    const struct viv_bitmap_ops *ops = n->drv->bitmaps;
    struct viv_err err = VIV_ERR_INIT;
    unsigned count = 0;

    if (!n->read_only && viv_node_size(n) < 1u << 30) {
        ops->store(n, &add, NULL, &err);
        viv_err_clear(&err);
    }
    if (ops->list(n, &list, &count, &err)) {
        viv_err_clear(&err);
        return;
    }
    for (unsigned i = 0; i < MIN(count, 3); i++) {
        uint8_t *bits;
        size_t bytes;

        if (viv_node_size(n) < 1u << 30 && !ops->load(n, list[i].name, &bits, &bytes, &err))
            g_free(bits);
        viv_err_clear(&err);
        if (i && !n->read_only)
            ops->remove(n, list[i].name, &err);
        viv_err_clear(&err);
    }
    viv_bitmap_info_free(list, count);
}

/* Says the header that the data lies in another file? Then it does, in one that is shorter than most disks. */
static inline bool names_data_file(const uint8_t *data, size_t size)
{
    return size > 80 && data[7] == 3 && (data[79] & 4);
}

struct exercise_way {
    struct viv_node_opts o;
    unsigned fix;
    bool check, amend;
};

static inline void exercise_amend(struct viv_node *n)
{
    static const char *const texts[] = {"refcount_bits=64", "lazy_refcounts=on,refcount_bits=8", "compat=0.10,refcount_bits=16", "compat=1.1",
                                        "size=3M"};
    struct viv_create create = {.size = viv_node_size(n)};
    struct viv_err err = VIV_ERR_INIT;
    struct viv_measure m;

    g_assert_cmpint(viv_opts_parse("-o", n->drv->create_opts, NULL, "cluster_size=4k", &create.opts, NULL), ==, 0);
    if (viv_node_size(n) < 1u << 30)
        n->drv->measure(&create, n, &m, &err);
    viv_err_clear(&err);
    viv_opts_free(create.opts);
    for (unsigned i = 0; i < G_N_ELEMENTS(texts); i++) {
        struct viv_opts *o = NULL;

        g_assert_cmpint(viv_opts_parse("-o", n->drv->amend_opts, NULL, texts[i], &o, NULL), ==, 0);
        n->drv->amend(n, o, false, &err);
        viv_err_clear(&err);
        viv_opts_free(o);
    }
}

static inline void exercise_open(struct viv_node *n, const struct exercise_way *w)
{
    struct viv_err err = VIV_ERR_INIT;
    struct viv_check c = {.fix = w->fix};
    struct viv_img_info info = {0};

    n->drv->info(n, &info);
    viv_img_info_free(&info);
    if (w->check)
        n->drv->check(n, &c, &err);
    else if (w->amend)
        exercise_amend(n);
    else
        exercise_data(n);
    viv_err_clear(&err);
    if (!w->o.read_only && !w->check && viv_node_size(n) < 1u << 30)
        viv_node_truncate(n, viv_node_size(n) + (1 << 20), VIV_PREALLOC_OFF, &err);
    viv_err_clear(&err);
    if (!w->check)
        exercise_bitmaps(n);
    if (!w->o.read_only && !w->check)
        exercise_snapshots(n);
}

static inline void exercise_once(const uint8_t *image, size_t size, const struct exercise_way *w)
{
    static const uint8_t raw[1 << 20];
    struct viv_node_opts with = w->o;
    struct viv_node *data = NULL, *n = NULL;
    struct viv_err err = VIV_ERR_INIT;

    if (names_data_file(image, size))
        with.data_file = data = cow_node(raw, sizeof(raw));
    if (viv_node_open_format(&viv_blk_qcow2, cow_node(image, size), &with, &n, &err)) {
        g_assert_cmpint(err.code, !=, 0); /* every refusal says why */
        g_assert_cmpuint(strlen(err.text), >, 0);
    } else {
        exercise_open(n, w);
    }
    viv_node_put(&n);
    viv_node_put(&data);
}

static inline void exercise(const uint8_t *data, size_t size)
{
    static const struct exercise_way ways[] = {
        {.o = {.read_only = true, .no_backing = true}},
        {.o = {.read_only = true, .no_backing = true, .for_check = true}, .check = true},
        {.o = {.read_only = true, .no_backing = true, .snapshot = "1"}},
        {.o = {.no_backing = true, .unmap = true}},
        {.o = {.no_backing = true, .for_check = true}, .check = true, .fix = VIV_FIX_LEAKS | VIV_FIX_ERRORS},
        {.o = {.no_backing = true}, .amend = true},
    };

    for (unsigned i = 0; i < G_N_ELEMENTS(ways); i++)
        exercise_once(data, size, &ways[i]);
}

#endif
