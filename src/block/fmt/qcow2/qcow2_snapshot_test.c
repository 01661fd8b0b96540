/* Internal snapshots: contents, sizes, VM state, refusals, and power cuts in each operation (steps_test.h). */
#include "block/fmt/qcow2/steps_test.h"

static struct viv_node *fresh(struct mem *m, const char *opts, uint64_t size)
{
    struct variant v = {.opts = opts, .size = size};
    struct viv_node *n;

    make(&viv_blk_qcow2, &v, m);
    n = open_with(&viv_blk_qcow2, m, (struct viv_node_opts){0});
    g_assert_nonnull(n);
    return n;
}

static struct viv_node *view(struct mem *m, const char *which)
{
    return open_with(&viv_blk_qcow2, m, (struct viv_node_opts){.read_only = true, .snapshot = which});
}

static void expect_byte(struct viv_node *n, uint64_t at, uint8_t want)
{
    uint8_t b;

    g_assert_cmpint(viv_node_pread(n, at, &b, 1), ==, 0);
    g_assert_cmpuint(b, ==, want);
}

static void write_bytes(struct viv_node *n, uint64_t at, uint8_t value, size_t len)
{
    uint8_t *buf = g_malloc(len);

    memset(buf, value, len);
    g_assert_cmpint(viv_node_pwrite(n, at, buf, len), ==, 0);
    g_free(buf);
}

static int create(struct viv_node *n, const char *id, const char *name)
{
    struct viv_snapshot s = {.id = (char *)id, .name = (char *)name, .icount = UINT64_MAX};

    return n->drv->snapshots->create(n, &s, NULL);
}

/* --- the table --- */

static void test_table(void)
{
    struct viv_snapshot s = {
        .name = (char *)"first", .date_sec = 7, .date_nsec = 8, .vm_clock_nsec = 9, .vm_state_size = 10, .icount = 11};
    struct viv_err err = VIV_ERR_INIT;
    struct viv_snapshot *list;
    struct viv_node *n;
    unsigned count;
    struct mem m;

    n = fresh(&m, "cluster_size=4k", 1 << 20);
    g_assert_cmpint(n->drv->snapshots->create(n, &s, NULL), ==, 0);
    g_assert_cmpint(create(n, "70", "1"), ==, 0); /* a name that looks like an id */
    g_assert_cmpint(create(n, NULL, "third"), ==, 0);
    g_assert_cmpint(create(n, "70", "again"), ==, -EEXIST);
    viv_node_put(&n);
    n = open_with(&viv_blk_qcow2, &m, (struct viv_node_opts){0});
    g_assert_cmpint(n->drv->snapshots->list(n, &list, &count, NULL), ==, 0);
    g_assert_cmpuint(count, ==, 3);
    g_assert_cmpstr(list[0].id, ==, "1");
    g_assert_cmpstr(list[0].name, ==, "first");
    g_assert_cmpuint(list[0].date_sec, ==, 7);
    g_assert_cmpuint(list[0].date_nsec, ==, 8);
    g_assert_cmpuint(list[0].vm_clock_nsec, ==, 9);
    g_assert_cmpuint(list[0].vm_state_size, ==, 10);
    g_assert_cmpuint(list[0].icount, ==, 11);
    g_assert_cmpuint(list[0].disk_size, ==, 1 << 20);
    g_assert_cmpstr(list[2].id, ==, "71");
    g_assert_cmpuint(list[2].icount, ==, UINT64_MAX);
    viv_snapshot_free(list, count);
    g_assert_cmpint(n->drv->snapshots->apply(n, "none", &err), ==, -ENOENT);
    g_assert_nonnull(strstr(err.text, "none"));
    viv_err_clear(&err);
    g_assert_cmpint(n->drv->snapshots->remove(n, "1", NULL), ==, 0); /* the id, not the name */
    g_assert_cmpint(n->drv->snapshots->list(n, &list, &count, NULL), ==, 0);
    g_assert_cmpuint(count, ==, 2);
    g_assert_cmpstr(list[0].id, ==, "70");
    viv_snapshot_free(list, count);
    g_assert_cmpint(n->drv->snapshots->remove(n, "1", NULL), ==, 0); /* now the name */
    g_assert_cmpint(n->drv->snapshots->remove(n, "71", NULL), ==, 0);
    expect_check(n, false);
    viv_node_put(&n);
    g_assert_cmpuint(viv_ld_be32(m.data + QCOW2_H_SNAPSHOTS), ==, 0);
    mem_fini(&m);
}

/* Extra data of programs to come is kept byte for byte when the table is written anew. */
static void test_extra_data(void)
{
    static const uint8_t extra[40] = {[7] = 0, [13] = 0x10, [32] = 'n', [33] = 'e', [34] = 'w'};
    struct qcow2_snapshot *s;
    struct viv_node *n;
    struct qcow2 *q;
    struct mem m;

    n = fresh(&m, "cluster_size=4k", 1 << 20);
    g_assert_cmpint(create(n, NULL, "a"), ==, 0);
    q = n->state;
    s = &q->snapshots[0];
    g_free(s->extra);
    s->extra = g_memdup2(extra, sizeof(extra));
    s->extra_len = sizeof(extra);
    g_assert_cmpint(create(n, NULL, "b"), ==, 0);
    viv_node_put(&n);
    n = open_with(&viv_blk_qcow2, &m, (struct viv_node_opts){0});
    g_assert_cmpint(create(n, NULL, "c"), ==, 0);
    g_assert_cmpint(n->drv->snapshots->remove(n, "b", NULL), ==, 0);
    viv_node_put(&n);
    n = open_with(&viv_blk_qcow2, &m, (struct viv_node_opts){0});
    q = n->state;
    g_assert_cmpuint(q->snapshot_count, ==, 2);
    g_assert_cmpmem(q->snapshots[0].extra, q->snapshots[0].extra_len, extra, sizeof(extra));
    expect_check(n, false);
    viv_node_put(&n);
    mem_fini(&m);
}

/* --- IDs that are not one's own --- */

/* Three of four have one ID in the file. */
static struct viv_node *with_same_ids(struct mem *m)
{
    static const char *const names[] = {"alpha", "betas", "gamma", "delta"};
    const size_t entry = 72; /* 40, extra data of 24, ID and name, a multiple of 8 */
    struct viv_node *n = fresh(m, "cluster_size=4k", 1 << 20);
    uint64_t table;

    for (unsigned i = 0; i < 4; i++) {
        write_bytes(n, 0, (uint8_t)(i + 1), 4096);
        g_assert_cmpint(create(n, NULL, names[i]), ==, 0);
    }
    viv_node_put(&n);
    table = viv_ld_be64(m->data + QCOW2_H_SNAPSHOTS_OFFSET);
    g_assert_cmpmem(m->data + table + entry + 64, 6, "2betas", 6);
    m->data[table + entry + 64] = '1';     /* alpha's */
    m->data[table + 3 * entry + 64] = '1'; /* and delta's */
    n = open_with(&viv_blk_qcow2, m, (struct viv_node_opts){0});
    g_assert_nonnull(n);
    return n;
}

static char *ids(struct viv_node *n)
{
    GString *all = g_string_new(NULL);
    struct viv_snapshot *list;
    unsigned count;

    g_assert_cmpint(n->drv->snapshots->list(n, &list, &count, NULL), ==, 0);
    for (unsigned i = 0; i < count; i++)
        g_string_append_printf(all, "%s%s=%s", i ? " " : "", list[i].id, list[i].name);
    viv_snapshot_free(list, count);
    return g_string_free(all, FALSE);
}

static void expect_ids(struct viv_node *n, const char *want)
{
    g_autofree char *have = ids(n);

    g_assert_cmpstr(have, ==, want);
}

/* Whoever has found a snapshot in the list gets that one by its ID, whatever IDs the file has. */
static void test_same_ids(void)
{
    struct viv_check c = {0}, mends = {.fix = VIV_FIX_ERRORS | VIV_FIX_LEAKS};
    struct viv_node *n, *v;
    struct mem m;

    n = with_same_ids(&m);
    expect_ids(n, "1=alpha 4=betas 3=gamma 5=delta");
    g_assert_cmpint(n->drv->check(n, &c, NULL), ==, 0);
    g_assert_cmpuint(c.corruptions, ==, 2);
    g_assert_cmpuint(c.corruptions_fixed, ==, 0);
    viv_node_put(&n);
    v = view(&m, "4");
    expect_byte(v, 0, 2);
    viv_node_put(&v);
    n = open_with(&viv_blk_qcow2, &m, (struct viv_node_opts){0});
    g_assert_cmpint(n->drv->snapshots->apply(n, "5", NULL), ==, 0);
    expect_byte(n, 0, 4);
    g_assert_cmpint(n->drv->snapshots->remove(n, "4", NULL), ==, 0);
    expect_ids(n, "1=alpha 3=gamma 5=delta");
    expect_check(n, false); /* with the table the new ones were written */
    viv_node_put(&n);
    mem_fini(&m);

    n = with_same_ids(&m);
    g_assert_cmpint(n->drv->check(n, &mends, NULL), ==, 0);
    g_assert_cmpuint(mends.corruptions, ==, 2);
    g_assert_cmpuint(mends.corruptions_fixed, ==, 2);
    g_assert_cmpuint(mends.leaks, ==, 0);
    viv_node_put(&n);
    n = open_with(&viv_blk_qcow2, &m, (struct viv_node_opts){0});
    expect_ids(n, "1=alpha 4=betas 3=gamma 5=delta");
    expect_check(n, false);
    viv_node_put(&n);
    mem_fini(&m);
}

/* Past the largest number it begins again, with those that are free. */
static void test_last_id(void)
{
    struct viv_node *n;
    struct mem m;

    n = fresh(&m, "cluster_size=4k", 1 << 20);
    g_assert_cmpint(create(n, NULL, "a"), ==, 0);
    g_assert_cmpint(create(n, "18446744073709551614", "b"), ==, 0);
    g_assert_cmpint(create(n, NULL, "c"), ==, 0);
    g_assert_cmpint(create(n, NULL, "d"), ==, 0);
    g_assert_cmpint(create(n, NULL, "e"), ==, 0);
    expect_ids(n, "1=a 18446744073709551614=b 18446744073709551615=c 2=d 3=e");
    viv_node_put(&n);
    mem_fini(&m);
}

/* --- contents --- */

static void test_view(void)
{
    struct viv_err err = VIV_ERR_INIT;
    struct viv_node_opts rw = {.snapshot = "a"}, missing = {.read_only = true, .snapshot = "zz"};
    struct viv_node *n, *v = NULL;
    struct viv_check c = {0};
    struct mem m;

    n = fresh(&m, "cluster_size=4k", 1 << 20);
    write_bytes(n, 0, 1, 100000);
    g_assert_cmpint(create(n, NULL, "a"), ==, 0);
    write_bytes(n, 50000, 2, 100000);
    viv_node_put(&n);
    v = view(&m, "a");
    expect_byte(v, 0, 1);
    expect_byte(v, 60000, 1);
    expect_byte(v, 120000, 0);
    g_assert_cmpint(v->drv->check(v, &c, NULL), ==, -EINVAL);
    viv_node_put(&v);
    g_assert_cmpint(viv_node_open_format(&viv_blk_qcow2, mem_node(&m), &rw, &v, &err), ==, -EROFS);
    viv_err_clear(&err);
    g_assert_cmpint(viv_node_open_format(&viv_blk_qcow2, mem_node(&m), &missing, &v, &err), ==, -ENOENT);
    g_assert_nonnull(strstr(err.text, "zz"));
    viv_err_clear(&err);
    g_assert_cmpint(viv_node_open_format(viv_blk_driver_find("raw"), mem_node(&m), &missing, &v, &err), ==, -EINVAL);
    viv_err_clear(&err);
    mem_fini(&m);
}

/* Refcounts of one bit cannot count two: refused, and nothing is lost or leaked. */
static void test_narrow(void)
{
    struct viv_err err = VIV_ERR_INIT;
    struct viv_snapshot s = {.name = (char *)"a"};
    struct viv_node *n;
    struct mem m;

    n = fresh(&m, "cluster_size=4k,refcount_bits=1", 1 << 20);
    write_bytes(n, 0, 1, 100000);
    g_assert_cmpint(n->drv->snapshots->create(n, &s, &err), ==, -EOVERFLOW);
    g_assert_nonnull(strstr(err.text, "refcount_bits"));
    viv_err_clear(&err);
    expect_byte(n, 1000, 1);
    write_bytes(n, 5000, 3, 100000);
    viv_node_put(&n);
    n = open_with(&viv_blk_qcow2, &m, (struct viv_node_opts){0});
    expect_byte(n, 6000, 3);
    expect_check(n, false);
    viv_node_put(&n);
    mem_fini(&m);
}

static void test_sizes(void)
{
    struct viv_node *n, *v;
    struct mem m;

    n = fresh(&m, "cluster_size=512", 1 << 20);
    write_bytes(n, 0, 1, 1 << 20);
    g_assert_cmpint(create(n, NULL, "small"), ==, 0);
    g_assert_cmpint(viv_node_truncate(n, 3 << 20, VIV_PREALLOC_OFF, NULL), ==, 0);
    write_bytes(n, (3 << 20) - 5000, 2, 5000);
    g_assert_cmpint(create(n, NULL, "large"), ==, 0);
    g_assert_cmpint(viv_node_truncate(n, 1 << 19, VIV_PREALLOC_OFF, NULL), ==, 0);
    v = view(&m, "large");
    g_assert_cmpuint(viv_node_size(v), ==, 3 << 20);
    expect_byte(v, (3 << 20) - 1, 2);
    expect_byte(v, (1 << 20) - 1, 1);
    viv_node_put(&v);
    g_assert_cmpint(n->drv->snapshots->apply(n, "small", NULL), ==, 0);
    g_assert_cmpuint(viv_node_size(n), ==, 1 << 20);
    expect_byte(n, (1 << 20) - 1, 1);
    g_assert_cmpint(n->drv->snapshots->apply(n, "large", NULL), ==, 0);
    g_assert_cmpuint(viv_node_size(n), ==, 3 << 20);
    expect_byte(n, (3 << 20) - 1, 2);
    expect_byte(n, 2 << 20, 0);
    expect_check(n, false);
    viv_node_put(&n);
    mem_fini(&m);
    n = fresh(&m, "compat=0.10", 1 << 20);
    g_assert_cmpint(create(n, NULL, "v2"), ==, 0);
    g_assert_cmpint(viv_node_truncate(n, 2 << 20, VIV_PREALLOC_OFF, NULL), ==, -ENOTSUP);
    viv_node_put(&n);
    mem_fini(&m);
}

/* VM state goes into the snapshot, comes back with it, and never into the disk. */
static void test_vm_state(void)
{
    struct viv_snapshot s = {.name = (char *)"vm", .vm_state_size = 70000};
    struct viv_node *n, *v;
    uint8_t *buf = g_malloc(70000);
    struct mem m;

    n = fresh(&m, "cluster_size=4k", 100 * 512);
    write_bytes(n, 0, 1, 100 * 512);
    memset(buf, 5, 70000);
    g_assert_cmpint(viv_node_state_read(n, 0, buf, 1), ==, 0); /* nothing there: zero */
    g_assert_cmpuint(buf[0], ==, 0);
    buf[0] = 5;
    /* Pieces that share clusters. */
    for (unsigned at = 0; at < 70000; at += 700)
        g_assert_cmpint(viv_node_state_write(n, at, buf + at, 700), ==, 0);
    g_assert_cmpint(n->drv->snapshots->create(n, &s, NULL), ==, 0);
    g_assert_cmpint(viv_node_state_read(n, 0, buf, 70000), ==, 0);
    g_assert_true(viv_buf_is_zero(buf, 70000)); /* gone from the node */
    g_assert_cmpint(viv_node_truncate(n, 1 << 20, VIV_PREALLOC_OFF, NULL), ==, 0);
    g_assert_cmpint(n->drv->snapshots->state_read(n, "vm", 69000, buf, 1000, NULL), ==, 0); /* looked at where it is */
    g_assert_cmpuint(buf[0], ==, 5);
    g_assert_cmpuint(buf[999], ==, 5);
    g_assert_cmpint(n->drv->snapshots->state_read(n, "vm", 1ull << 40, buf, 1, NULL), ==, -ENODATA);
    g_assert_cmpint(n->drv->snapshots->state_read(n, "none", 0, buf, 1, NULL), ==, -ENOENT);
    g_assert_false(n->read_only);
    g_assert_cmpuint(viv_node_size(n), ==, 1 << 20);
    expect_byte(n, 0, 1);
    g_assert_cmpint(n->drv->snapshots->apply(n, "vm", NULL), ==, 0);
    g_assert_cmpint(viv_node_state_read(n, 0, buf, 70000), ==, 0);
    for (int i = 0; i < 70000; i++)
        g_assert_cmpuint(buf[i], ==, 5);
    /* Overwritten here, kept there. */
    memset(buf, 6, 1000);
    g_assert_cmpint(viv_node_state_write(n, 300, buf, 1000), ==, 0);
    g_assert_cmpint(viv_node_flush(n), ==, 0);
    v = view(&m, "vm");
    g_assert_cmpint(viv_node_state_read(v, 300, buf, 1000), ==, 0);
    g_assert_cmpuint(buf[0], ==, 5);
    g_assert_cmpint(viv_node_state_read(v, 1ull << 40, buf, 1), ==, -ENODATA);
    g_assert_cmpint(viv_node_state_write(v, 0, buf, 1), ==, -EROFS);
    viv_node_put(&v);
    /* A larger disk comes to lie where the state was: it reads as zeroes. */
    g_assert_cmpint(viv_node_truncate(n, 8 << 20, VIV_PREALLOC_OFF, NULL), ==, 0);
    for (uint64_t at = 100 * 512; at < 8 << 20; at += 4096)
        expect_byte(n, at, 0);
    g_assert_cmpint(n->drv->snapshots->remove(n, "vm", NULL), ==, 0);
    expect_check(n, false);
    viv_node_put(&n);
    mem_fini(&m);
    g_free(buf);
}

/* A name that would need room that is not there is refused, and nothing is changed. */
static void test_no_room(void)
{
    g_autofree char *name = g_strnfill(600, 'x');
    struct viv_err err = VIV_ERR_INIT;
    const char *now, *format;
    struct viv_node *n;
    struct mem m;

    n = fresh(&m, "cluster_size=512", 1 << 20);
    g_assert_cmpint(n->drv->change_backing(n, name, "raw", &err), ==, -ENOSPC);
    g_assert_nonnull(strstr(err.text, "512"));
    viv_err_clear(&err);
    g_assert_cmpint(n->drv->change_backing(n, "base", "raw", NULL), ==, 0);
    viv_node_put(&n);
    n = open_with(&viv_blk_qcow2, &m, (struct viv_node_opts){0});
    n->drv->backing(n, &now, &format);
    g_assert_cmpstr(now, ==, "base");
    g_assert_cmpstr(format, ==, "raw");
    expect_check(n, false);
    viv_node_put(&n);
    mem_fini(&m);
}

/* --- power cuts --- */

struct config {
    struct variant v;
    const char *name;
    int rounds;
    guint every;
    bool resize;
};

static char *next_id(struct steps *w)
{
    uint64_t last = 0;

    for (guint i = 0; i < w->now.snaps->len; i++)
        last = MAX(last, g_ascii_strtoull(((struct snap *)w->now.snaps->pdata[i])->id, NULL, 10));
    return g_strdup_printf("%" PRIu64, last + 1);
}

static void step_create(struct steps *w)
{
    struct snap *x = g_new0(struct snap, 1);
    struct viv_snapshot s = {0};

    x->id = next_id(w);
    s.name = x->name = g_strdup_printf("snapshot %d", g_rand_int_range(w->rand, 0, 1000));
    x->disk = g_memdup2(w->now.disk, w->now.size);
    x->size = w->now.size;
    if (g_rand_int_range(w->rand, 0, 3) == 0) {
        uint8_t *buf;

        s.vm_state_size = x->state_len = g_rand_int_range(w->rand, 1, 20000);
        buf = g_malloc(x->state_len);
        memset(buf, x->id[strlen(x->id) - 1], x->state_len);
        steps_begin(w, "VM state");
        g_assert_cmpint(viv_node_state_write(w->n, 0, buf, x->state_len), ==, 0);
        steps_end(w);
        g_free(buf);
    }
    steps_begin(w, "create");
    g_assert_cmpint(w->n->drv->snapshots->create(w->n, &s, NULL), ==, 0);
    g_ptr_array_add(w->now.snaps, x);
    g_ptr_array_add(w->all, x);
    steps_end(w);
}

static void step_apply(struct steps *w, const struct snap *x)
{
    steps_begin(w, "apply");
    g_assert_cmpint(w->n->drv->snapshots->apply(w->n, x->id, NULL), ==, 0);
    g_free(w->now.disk);
    w->now.disk = g_memdup2(x->disk, x->size);
    w->now.size = x->size;
    steps_mark(w, 0, x->size);
    steps_end(w);
}

static void step_remove(struct steps *w, guint i)
{
    struct snap *x = w->now.snaps->pdata[i];

    steps_begin(w, "remove");
    g_assert_cmpint(w->n->drv->snapshots->remove(w->n, x->id, NULL), ==, 0);
    g_ptr_array_remove_index(w->now.snaps, i);
    steps_end(w);
}

static void step_grow(struct steps *w)
{
    uint64_t size = w->now.size + (uint64_t)g_rand_int_range(w->rand, 1, 200) * SECTOR;

    if (w->now.snaps->len && ((struct qcow2 *)w->n->state)->version == 2)
        return; /* refused */
    steps_begin(w, "grow");
    g_assert_cmpint(viv_node_truncate(w->n, size, VIV_PREALLOC_OFF, NULL), ==, 0);
    w->now.disk = g_realloc(w->now.disk, size);
    memset(w->now.disk + w->now.size, 0, size - w->now.size);
    w->now.size = size;
    steps_end(w);
}

/* Other names of the backing file, long and short ones, none; small clusters have no room for some. */
static void step_backing(struct steps *w)
{
    static const char *const formats[] = {"raw", "qcow2", "parallels", NULL};
    const char *format = formats[g_rand_int_range(w->rand, 0, 4)];
    g_autofree char *name = g_strnfill(g_rand_int_range(w->rand, 0, 700), 'a' + g_rand_int_range(w->rand, 0, 26));
    int ret;

    if (g_rand_boolean(w->rand))
        name[0] = '\0'; /* none */
    steps_begin(w, "change_backing");
    ret = w->n->drv->change_backing(w->n, name, format, NULL);
    if (ret != -ENOSPC || ((struct qcow2 *)w->n->state)->cluster_size > 2048)
        g_assert_cmpint(ret, ==, 0);
    steps_end(w);
}

/* One option each time: each is one change on disk. Some are refused: then nothing changes. */
static void step_amend(struct steps *w)
{
    static const char *const options[] = {"compat=0.10",     "compat=1.1",       "lazy_refcounts=on", "lazy_refcounts=off",
                                          "refcount_bits=4", "refcount_bits=16", "refcount_bits=64"};
    const char *text = options[g_rand_int_range(w->rand, 0, G_N_ELEMENTS(options))];
    struct viv_err err = VIV_ERR_INIT;
    struct viv_opts *o;
    int ret;

    g_assert_cmpint(viv_opts_parse("-o", viv_blk_qcow2.amend_opts, NULL, text, &o, NULL), ==, 0);
    steps_begin(w, text);
    ret = w->n->drv->amend(w->n, o, false, &err);
    if (ret != -EINVAL && ret != -ENOTSUP && ret != -EOVERFLOW && ret != -ENOSPC)
        g_assert_cmpint(ret, ==, 0);
    g_assert_cmpint(ret != 0, ==, err.text && *err.text);
    steps_end(w);
    viv_err_clear(&err);
    viv_opts_free(o);
}

static void test_cuts(gconstpointer data)
{
    const struct config *cfg = data;
    struct steps w;

    steps_start(&w, &cfg->v, cfg->every);
    for (int i = 0; i < cfg->rounds; i++) {
        int what = g_rand_int_range(w.rand, 0, 18);
        guint snaps = w.now.snaps->len;

        if (what < 5)
            steps_write(&w, g_rand_int_range(w.rand, 1, 8));
        else if (what < 8 || !snaps)
            step_create(&w);
        else if (what < 9)
            step_apply(&w, w.now.snaps->pdata[g_rand_int_range(w.rand, 0, snaps)]);
        else if (what < 10 || snaps > 4)
            step_remove(&w, g_rand_int_range(w.rand, 0, snaps));
        else if (what < 11 && cfg->resize)
            step_grow(&w);
        else if (what < 13)
            step_backing(&w);
        else if (what < 17)
            step_amend(&w);
        else
            steps_reopen(&w);
    }
    steps_finish(&w);
}

int main(int argc, char **argv)
{
    static const struct config configs[] = {
        {{"plain", "cluster_size=4k", 256 << 10, 0}, "plain", 30, 7, true},
        {{"backing", "cluster_size=4k", 256 << 10, 150 << 10}, "backing", 30, 7, true},
        {{"v2", "cluster_size=4k,compat=0.10", 256 << 10, 150 << 10}, "v2", 30, 7, false},
        {{"tiny", "cluster_size=512,refcount_bits=64", 300 << 10, 0}, "tiny-clusters", 30, 29, true},
        {{"narrow", "cluster_size=1k,refcount_bits=4", 200 << 10, 0}, "narrow-refcounts", 30, 11, true},
        {{"large", "cluster_size=64k", 1 << 20, 500 << 10}, "large-clusters", 20, 11, true},
        {{"subclusters", "cluster_size=16k,extended_l2=on", 512 << 10, 300 << 10}, "subclusters", 25, 9, true},
    };

    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/block/qcow2/snapshot/table", test_table);
    g_test_add_func("/block/qcow2/snapshot/extra-data", test_extra_data);
    g_test_add_func("/block/qcow2/snapshot/same-ids", test_same_ids);
    g_test_add_func("/block/qcow2/snapshot/last-id", test_last_id);
    g_test_add_func("/block/qcow2/snapshot/view", test_view);
    g_test_add_func("/block/qcow2/snapshot/narrow", test_narrow);
    g_test_add_func("/block/qcow2/snapshot/sizes", test_sizes);
    g_test_add_func("/block/qcow2/snapshot/vm-state", test_vm_state);
    g_test_add_func("/block/qcow2/change-backing/no-room", test_no_room);
    for (unsigned i = 0; i < G_N_ELEMENTS(configs); i++) {
        g_autofree char *path = g_strconcat("/block/qcow2/snapshot/cuts/", configs[i].name, NULL);

        g_test_add_data_func(path, &configs[i], test_cuts);
    }
    return g_test_run();
}
