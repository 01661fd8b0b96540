/* What is done with a qcow2 image: by records {kind | 0x80; which; field; how; value (4 bytes)} of an input, as qcow2_change.h has them. The
 * image is opened by the first that needs it, and closed before it is changed from outside. */
#ifndef VIV_FUZZ_QCOW2_DO_H
#define VIV_FUZZ_QCOW2_DO_H

#include "block/bitmap.h"
#include "block/image.h"
#include "fuzz/qcow2_change.h"
#include "fuzz/qcow2_images.h"

#include "opt/opt.h"

enum { /* how it is opened */
    O_READ_ONLY = 1 << 0,
    O_FOR_CHECK = 1 << 1,
    O_SNAPSHOT = 1 << 2,
    O_UNMAP = 1 << 3,
    O_DETECT = 1 << 4,
    O_NO_DATA = 1 << 5,
    O_BACKING = 1 << 6,
    O_WRONG_KEY = 1 << 7,
};

struct work {
    struct image *image;
    struct viv_node *file, *data; /* through all openings */
    struct viv_node *n;           /* NULL: closed */
    unsigned how;
    bool refused;   /* the last opening was; until something changes */
    bool untouched; /* the image was changed by the driver alone, and nothing failed */
};

/* --- a file whose n-th request fails --- */

static unsigned fail_read, fail_write; /* counted down; 0: none */

static int failing_preadv(struct viv_node *n, uint64_t offset, const struct iovec *iov, int cnt, size_t len)
{
    return fail_read && --fail_read == 0 ? -EIO : cow_preadv(n, offset, iov, cnt, len);
}

static int failing_pwritev(struct viv_node *n, uint64_t offset, const struct iovec *iov, int cnt, size_t len)
{
    return fail_write && --fail_write == 0 ? -ENOSPC : cow_pwritev(n, offset, iov, cnt, len);
}

static int failing_flush(struct viv_node *n)
{
    return fail_write && --fail_write == 0 ? -EIO : 0;
}

static struct viv_node *file_node(const struct mem *m)
{
    static struct viv_blk_driver failing;
    struct viv_node *n = cow_node(m->data, m->size);

    if (!failing.name) {
        failing = cow_driver;
        failing.preadv = failing_preadv;
        failing.pwritev = failing_pwritev;
        failing.flush = failing_flush;
    }
    n->drv = &failing;
    return n;
}

/* --- opening and closing --- */

/* Says the header that the data lies in another file? It must be given then, or a file of that name would be opened. */
static bool names_data_file(struct work *w)
{
    return is_v3(w->file) && (get(w->file, QCOW2_H_INCOMPATIBLE, 8) & QCOW2_INCOMPAT_DATA_FILE);
}

/* Shorter than most disks. One for all: nobody writes to it. */
static struct viv_node *backing_node(void)
{
    static uint8_t bytes[70000];
    static struct viv_node *n;
    struct viv_node_opts o = {.read_only = true};
    struct viv_err err = VIV_ERR_INIT;

    if (n)
        return n;
    memset(bytes, 'b', sizeof(bytes));
    if (viv_node_open_format(viv_blk_driver_find("raw"), cow_node(bytes, sizeof(bytes)), &o, &n, &err))
        g_error("%s", err.text);
    return n;
}

static void open_image(struct work *w)
{
    unsigned how = w->how;
    struct viv_node_opts o = {.read_only = how & (O_READ_ONLY | O_SNAPSHOT),
                              .for_check = how & O_FOR_CHECK,
                              .snapshot = how & O_SNAPSHOT ? (how & O_UNMAP ? "2" : "1") : NULL,
                              .unmap = how & O_UNMAP,
                              .detect_zeroes = how & O_DETECT ? VIV_DETECT_UNMAP : VIV_DETECT_OFF,
                              .no_data = how & O_NO_DATA,
                              .no_backing = !(how & O_BACKING),
                              .backing_node = how & O_BACKING ? backing_node() : NULL};
    struct viv_err err = VIV_ERR_INIT;

    if (get(w->file, QCOW2_H_CRYPT, 4) && !(how & O_NO_DATA)) {
        o.key_secret = how & O_WRONG_KEY ? "b" : "a";
        o.encrypt_format = how & O_DETECT ? "luks" : NULL;
        tame_luks(w->file);
    }
    if (names_data_file(w)) {
        if (!w->data)
            w->data = file_node(&w->image->data);
        o.data_file = w->data;
    }
    viv_node_get(w->file);
    w->refused = viv_node_open_format(&viv_blk_qcow2, w->file, &o, &w->n, &err) != 0;
    if (w->refused)
        g_assert(err.code && *err.text); /* every refusal says why */
    viv_err_clear(&err);
}

static void close_image(struct work *w)
{
    viv_node_put(&w->n);
    w->refused = false;
}

/* --- operations --- */

struct op {
    struct viv_node *n;
    unsigned a, b, how;
    uint32_t value;
    uint64_t at, len; /* inside the disk */
};

static uint8_t buffer[1 << 17];

static void do_read(const struct op *o)
{
    viv_node_pread(o->n, o->at, buffer, o->len);
}

static void do_write(const struct op *o)
{
    memset(buffer, o->b & 3 ? o->b : 0, o->len);
    viv_node_pwrite(o->n, o->at, buffer, o->len);
}

/* Compressed: what shrinks and what does not. */
static void do_pack(const struct op *o)
{
    uint64_t granule = o->n->granule, x = o->b | 1, at = viv_align_down(o->at, granule), len = MIN(granule, o->n->size - at);

    if (len > sizeof(buffer))
        return;
    memset(buffer, o->b, len);
    for (uint64_t i = 0; i + 8 <= len && o->b & 1; i += o->b & 2 ? 8 : 64) {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        memcpy(buffer + i, &x, 8);
    }
    viv_node_write_compressed(o->n, at, buffer, len);
}

static void do_zeroes(const struct op *o)
{
    viv_node_write_zeroes(o->n, o->at, o->len, o->b & 1 ? VIV_BLK_UNMAP : 0);
}

static void do_discard(const struct op *o)
{
    viv_node_discard(o->n, o->at, o->len);
}

static void do_forget(const struct op *o)
{
    if (o->n->size <= 16u << 20)
        viv_node_forget(o->n);
}

static void do_status(const struct op *o)
{
    struct viv_extent e;

    for (uint64_t at = o->at, i = 0; at < o->n->size && i < 100; at += e.len, i++)
        if (viv_node_status(o->n, at, o->n->size - at, &e))
            break;
}

static void do_flush(const struct op *o)
{
    viv_node_flush(o->n);
}

static void do_copy_up(const struct op *o)
{
    viv_node_copy_up(o->n, NULL, o->at, o->len);
}

static void do_resize(const struct op *o)
{
    uint64_t size = o->n->size, much = (o->value & 0x3ff) * 512ull;
    struct viv_err err = VIV_ERR_INIT;

    if (size < 1u << 28)
        viv_node_truncate(o->n, o->b & 1 ? size - MIN(size, much) : size + much, o->how % 4, &err);
    viv_err_clear(&err);
}

static void do_state(const struct op *o)
{
    memset(buffer, 's', o->len);
    if (o->b & 1)
        viv_node_state_read(o->n, o->value & 0xfff, buffer, o->len);
    else if (!o->n->read_only)
        viv_node_state_write(o->n, o->value & 0xfff, buffer, o->len);
}

/* All that are there: id or name of one, by number. */
static char *snapshot_name(const struct op *o, unsigned number)
{
    struct viv_snapshot *list = NULL;
    unsigned count = 0;
    char *name = NULL;

    if (o->n->drv->snapshots->list(o->n, &list, &count, NULL))
        return NULL;
    if (count)
        name = g_strdup(number & 16 ? list[number % count].name : list[number % count].id);
    viv_snapshot_free(list, count);
    return name;
}

static void do_snapshot(const struct op *o)
{
    const struct viv_snapshot_ops *ops = o->n->drv->snapshots;
    struct viv_snapshot s = {.name = (char *)"new", .vm_state_size = o->value & 0xff, .id = o->how & 1 ? (char *)"2" : NULL};
    g_autofree char *name = snapshot_name(o, o->b);
    struct viv_err err = VIV_ERR_INIT;

    if (o->a % 3 == 0)
        ops->create(o->n, &s, &err);
    else if (o->a % 3 == 1)
        ops->apply(o->n, name ? name : "none", &err);
    else
        ops->remove(o->n, name ? name : "none", &err);
    viv_err_clear(&err);
}

static void load_and_store(const struct op *o, const struct viv_bitmap_info *from, const struct viv_bitmap_info *to)
{
    struct viv_bitmap_info i = {.name = to->name, .granularity = from->granularity, .automatic = to->automatic};
    struct viv_err err = VIV_ERR_INIT;
    uint8_t *bits;
    size_t bytes;

    if (!o->n->drv->bitmaps->load(o->n, from->name, &bits, &bytes, &err)) {
        if (o->how & 1 && !o->n->read_only)
            o->n->drv->bitmaps->store(o->n, &i, bits, NULL);
        g_free(bits);
    }
    viv_err_clear(&err);
}

static void do_bitmap(const struct op *o)
{
    struct viv_bitmap_info add = {.name = (char *)(o->b & 1 ? "new" : "still"), .granularity = 512u << o->how % 20, .automatic = o->b & 2};
    const struct viv_bitmap_ops *ops = o->n->drv->bitmaps;
    struct viv_bitmap_info *list = NULL;
    struct viv_err err = VIV_ERR_INIT;
    struct viv_bitmap *live;
    unsigned count = 0;

    if (o->n->size >= 1u << 28)
        return;
    if (ops->list(o->n, &list, &count, &err)) {
        viv_err_clear(&err);
        return;
    }
    if (o->a % 4 == 0 && !o->n->read_only)
        ops->store(o->n, &add, NULL, &err);
    else if (o->a % 4 == 1 && !o->n->read_only)
        ops->remove(o->n, count ? list[o->b % count].name : "none", &err);
    else if (o->a % 4 == 2 && count)
        load_and_store(o, &list[o->b % count], &list[o->value % count]);
    else if (o->n->bitmaps && (live = o->n->bitmaps->next) != NULL)
        viv_bitmap_merge(live, o->n->bitmaps, &err);
    viv_err_clear(&err);
    viv_bitmap_info_free(list, count);
}

static void do_backing(const struct op *o)
{
    static const char *const names[] = {NULL, "other", "", "a-name-that-is-longer-than-the-one-that-was-there-before", LONG_NAME LONG_NAME LONG_NAME};
    struct viv_err err = VIV_ERR_INIT;

    o->n->drv->change_backing(o->n, names[o->a % G_N_ELEMENTS(names)], o->b & 1 ? "raw" : NULL, &err);
    viv_err_clear(&err);
}

static struct viv_opts *options(const struct viv_opt_def *defs, const char *text)
{
    struct viv_opts *o = NULL;
    struct viv_err err = VIV_ERR_INIT;

    if (viv_opts_parse("-o", defs, NULL, text, &o, &err))
        g_error("%s: %s", text, err.text);
    return o;
}

static void do_amend(const struct op *o)
{
    static const char *const texts[] = {"refcount_bits=64", "refcount_bits=1", "lazy_refcounts=on,refcount_bits=8", "compat=0.10,refcount_bits=16",
                                        "compat=0.10", "compat=1.1", "size=600k", "size=100k,compat=1.1,refcount_bits=2", "lazy_refcounts=off",
                                        "data_file=data,data_file_raw=off", "data_file=else", "data_file_raw=on", "backing_file=x",
                                        "refcount_bits=3", "compat=0.10,lazy_refcounts=on", "refcount_bits=16,compat=v3,size=1000",
                                        "encrypt.state=active,encrypt.new-secret=b,encrypt.iter-time=0",
                                        "encrypt.state=active,encrypt.new-secret=b,encrypt.iter-time=0,encrypt.keyslot=3",
                                        "encrypt.state=inactive,encrypt.old-secret=b", "encrypt.state=inactive,encrypt.keyslot=0"};
    const char *text = texts[o->a % G_N_ELEMENTS(texts)];
    struct viv_opts *opts = options(qcow2_amend_opts, text);
    struct viv_err err = VIV_ERR_INIT;

    if (o->n->size < 1u << 28)
        o->n->drv->amend(o->n, opts, o->b & 1, &err);
    viv_err_clear(&err);
    viv_opts_free(opts);
}

static void do_measure(const struct op *o)
{
    static const char *const texts[] = {"cluster_size=4k", "cluster_size=512,refcount_bits=1", "extended_l2=on", "compat=0.10", "cluster_size=3000",
                                        "preallocation=full", "cluster_size=2M,refcount_bits=64,lazy_refcounts=on"};
    struct viv_create c = {.size = viv_align_down(o->n->size, 512), .backing_file = o->b & 1 ? "base" : NULL};
    struct viv_err err = VIV_ERR_INIT;
    struct viv_measure m;

    c.opts = options(qcow2_create_opts, texts[o->a % G_N_ELEMENTS(texts)]);
    if (o->n->size < 1u << 28)
        o->n->drv->measure(&c, o->b & 2 ? NULL : o->n, &m, &err);
    viv_err_clear(&err);
    viv_opts_free(c.opts);
}

static void do_create(const struct op *o)
{
    static const char *const texts[] = {"cluster_size=4k", "cluster_size=512,refcount_bits=1", "extended_l2=on", "compat=0.10,refcount_bits=8",
                                        "cluster_size=0", "preallocation=metadata", "preallocation=full,cluster_size=512", "refcount_bits=7",
                                        "extended_l2=on,cluster_size=4k", "compat=v2,lazy_refcounts=on", "compression_type=zstd,compat=0.10",
                                        "data_file_raw=on", "encryption=on", "encrypt.format=aes,encrypt.iter-time=0",
                                        "encrypt.key-secret=a", "preallocation=falloc"};
    struct viv_create c = {.size = (o->value & 0xffff) * 512ull, .backing_file = o->b & 1 ? LONG_NAME : NULL, .backing_fmt = o->b & 2 ? "raw" : NULL};
    struct viv_node *file = cow_node((const uint8_t *)"", 0);
    struct viv_err err = VIV_ERR_INIT;

    c.opts = options(qcow2_create_opts, texts[o->a % G_N_ELEMENTS(texts)]);
    c.prealloc = o->how & 4 ? o->how % 4 : VIV_PREALLOC_OFF;
    if (c.size > 1 << 20)
        c.prealloc = VIV_PREALLOC_OFF;
    qcow2_create(&c, file, &err);
    viv_err_clear(&err);
    viv_opts_free(c.opts);
    viv_node_put(&file);
}

static void do_info(const struct op *o)
{
    struct viv_img_info info = {0};

    o->n->drv->info(o->n, &info);
    viv_img_info_free(&info);
}

static void do_check(const struct op *o)
{
    struct viv_check c = {0};
    struct viv_err err = VIV_ERR_INIT;

    o->n->drv->check(o->n, &c, &err);
    viv_err_clear(&err);
}

/* The tool's check: a way of opening of its own. It needs no key, and to find one takes long. */
static void repair(struct work *w, unsigned fix)
{
    unsigned how = w->how;
    struct viv_check c = {.fix = fix % 4};
    struct viv_err err = VIV_ERR_INIT;

    close_image(w);
    w->how = O_NO_DATA | O_FOR_CHECK | (c.fix ? 0 : O_READ_ONLY);
    open_image(w);
    if (w->n)
        w->n->drv->check(w->n, &c, &err);
    viv_err_clear(&err);
    close_image(w);
    w->how = how;
}

enum { WRITES = 1 };

static const struct {
    void (*f)(const struct op *o);
    unsigned flags;
} ops[] = {
    {do_read}, {do_write, WRITES}, {do_pack, WRITES}, {do_zeroes, WRITES}, {do_discard, WRITES}, {do_forget, WRITES}, {do_status},
    {do_flush}, {do_copy_up, WRITES}, {do_resize, WRITES}, {do_state}, {do_snapshot, WRITES}, {do_snapshot, WRITES}, {do_bitmap}, {do_bitmap},
    {do_backing, WRITES}, {do_amend, WRITES}, {do_measure}, {do_create}, {do_info}, {do_check},
};
enum { OP_REOPEN = G_N_ELEMENTS(ops), OP_REPAIR, OP_FAIL, OPS };

/* Where and how much: near the beginning, or anywhere; a piece, or granules. */
static void choose_range(struct op *o)
{
    static const uint32_t lens[] = {1, 512, 3000, 4096, 60000, 70000, sizeof(buffer)};
    uint64_t size = o->n->size, granule = o->n->granule;

    if (!size)
        return;
    o->at = o->how & 1 ? (o->value & 0xffff) * granule % size : (o->value & 0xffffff) % size;
    if (o->how & 2)
        o->at = size - MIN(size, 1 + (o->value & 0xffff));
    o->len = o->a % 8 == 7 ? granule * (1 + o->a / 8 % 4) : lens[o->a % 8];
    o->len = MIN(o->len, MIN(size - o->at, sizeof(buffer)));
}

static void operate(struct work *w, const uint8_t *r)
{
    unsigned kind = (r[R_KIND] & 0x7f) % OPS;
    struct op o = {.a = r[R_WHICH], .b = r[R_FIELD], .how = r[R_HOW], .value = viv_ld_le32(r + R_VALUE)};

    if (kind == OP_REOPEN) {
        close_image(w);
        w->how = o.a;
        return;
    }
    if (kind == OP_REPAIR)
        return repair(w, o.a);
    if (kind == OP_FAIL) {
        *(o.how & 1 ? &fail_read : &fail_write) = 1 + o.a;
        w->untouched = false;
        return;
    }
    if (!w->n && !w->refused)
        open_image(w);
    /* Who opens for a check checks, and no more. */
    if (!w->n || (ops[kind].flags & WRITES && (w->n->read_only || w->how & O_FOR_CHECK)) || (w->how & O_NO_DATA && w->n->crypt && kind < 10))
        return;
    o.n = w->n;
    choose_range(&o);
    ops[kind].f(&o);
}

#endif
