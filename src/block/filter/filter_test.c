/* Filters: faults, breakpoints, comparison, limits, copies. */
#include "block/blk.h"
#include "block/build.h"
#include "block/event.h"
#include "block/image.h"
#include "block/throttle.h"

#include <errno.h>
#include <glib.h>
#include <glib/gstdio.h>
#include <string.h>

static char *dir;

/* A qcow2 image of 1 MiB, or 1 MiB of nothing. */
static void make(const char *name, bool qcow2)
{
    g_autofree char *path = g_build_filename(dir, name, NULL);
    const struct viv_blk_driver *drv = viv_blk_driver_find("qcow2");
    struct viv_create c = {.size = 1 << 20};
    struct viv_node_opts o = {0};
    struct viv_err err = VIV_ERR_INIT;
    struct viv_node *file = NULL;

    g_assert_true(g_file_set_contents(path, "", 0, NULL));
    g_assert_cmpint(viv_node_open_file(path, &o, &file, &err), ==, 0);
    c.opts = viv_opts_new("-o", drv->create_opts);
    g_assert_cmpint(qcow2 ? drv->create(&c, file, &err) : viv_node_truncate(file, 1 << 20, VIV_PREALLOC_OFF, &err), ==, 0);
    viv_opts_free(c.opts);
    g_assert_cmpint(viv_node_put(&file), ==, 0);
}

/* The folder stands for each %. NULL: refused, with err. */
static struct viv_node *try_open(const char *text, struct viv_err *err)
{
    g_auto(GStrv) parts = g_strsplit(text, "%", -1);
    g_autofree char *sep = g_strdup_printf("%s/", dir), *full = g_strjoinv(sep, parts);
    struct viv_node_opts o = {.unmap = true};
    struct viv_node *n = NULL;

    viv_err_clear(err);
    viv_node_open_options("opts", full, NULL, &o, &n, err);
    return n;
}

static struct viv_node *open_text(const char *text)
{
    struct viv_err err = VIV_ERR_INIT;
    struct viv_node *n = try_open(text, &err);

    if (!n)
        g_error("%s: %s", text, err.text);
    return n;
}

#define DEBUG "driver=qcow2,file.driver=blkdebug,file.image.filename=%q,"

static void test_inject(void)
{
    uint8_t buf[4096] = {1};
    struct viv_node *n;

    make("q", true);
    n = open_text(DEBUG "file.inject-error.0.event=write_aio,file.inject-error.0.errno=28,file.inject-error.0.once=on");
    g_assert_cmpint(viv_node_pwrite(n, 0, buf, sizeof(buf)), ==, -ENOSPC);
    g_assert_cmpint(viv_node_pwrite(n, 0, buf, sizeof(buf)), ==, 0);
    g_assert_cmpint(viv_node_put(&n), ==, 0);
    /* In state 2 only, which the first read begins. The image's sector 0 is its header. */
    n = open_text(DEBUG "file.set-state.0.event=read_aio,file.set-state.0.new_state=2,file.inject-error.0.event=read_aio,"
                        "file.inject-error.0.state=2,file.inject-error.1.event=flush_to_os,file.inject-error.1.sector=0");
    g_assert_cmpint(viv_node_pread(n, 0, buf, sizeof(buf)), ==, 0);
    g_assert_cmpint(viv_node_pread(n, 0, buf, sizeof(buf)), ==, -EIO);
    g_assert_cmpint(viv_node_flush(n), ==, 0); /* another event: that rule rests, and the new one is for sector 0 */
    g_assert_cmpint(viv_node_pread(n, 0, buf, sizeof(buf)), ==, -EIO);
    g_assert_cmpint(viv_node_put(&n), ==, 0);
    n = open_text(DEBUG "file.inject-error.0.event=l2_update,file.inject-error.0.iotype=flush");
    g_assert_cmpint(viv_node_pwrite(n, 1 << 19, buf, sizeof(buf)), ==, 0);
    g_assert_cmpint(viv_node_flush(n), ==, -EIO);
    viv_node_put(&n);
}

/* Each point that qcow2 tells is reached by something. */
static void test_events(void)
{
    static const char *const events[] = {"l2_load", "l2_update", "l1_update", "write_aio", "read_aio", "cow_write", "cow_read", "refblock_load",
                                         "refblock_update", "cluster_alloc", "flush_to_os", "flush_to_disk", "pwritev", "reftable_load"};

    for (unsigned i = 0; i < G_N_ELEMENTS(events); i++) {
        g_autofree char *text = g_strconcat(DEBUG "file.inject-error.0.event=", events[i], NULL);
        struct viv_err err = VIV_ERR_INIT;
        uint8_t buf[3000] = {1};
        struct viv_node *n;
        int ret = -1;

        make("q", true);
        if (!strcmp(events[i], "l2_load")) { /* there must be one */
            n = open_text("driver=qcow2,file.filename=%q");
            g_assert_cmpint(viv_node_pwrite(n, 0, buf, sizeof(buf)), ==, 0);
            g_assert_cmpint(viv_node_put(&n), ==, 0);
        }
        n = try_open(text, &err);
        if (n) {
            ret = viv_node_pwrite(n, 70000, buf, sizeof(buf));
            ret = ret ? ret : viv_node_flush(n);
            ret = ret ? ret : viv_node_pread(n, 70000, buf, sizeof(buf));
        }
        if (!ret)
            g_error("%s: nothing failed", events[i]);
        viv_node_put(&n);
    }
}

static void *write_one(void *opaque)
{
    uint8_t buf[512] = {7};

    return GINT_TO_POINTER(viv_node_pwrite(opaque, 0, buf, sizeof(buf)));
}

static void test_break(void)
{
    struct viv_node *n;
    uint8_t byte;
    GThread *t;

    make("q", true);
    n = open_text("file.filename=blkdebug::%q");
    g_assert_cmpint(viv_node_break(n, "nonsense", "A", 0), ==, -ENOENT);
    g_assert_cmpint(viv_node_break(n->file->file, "write_aio", "A", 0), ==, -ENOTSUP);
    g_assert_cmpint(viv_node_break(n, "write_aio", "A", 0), ==, 0);
    g_assert_cmpint(viv_node_break_wait(n, "B", 0), ==, -ENOENT);
    g_assert_cmpint(viv_node_break_resume(n, "A"), ==, -ENOENT); /* nobody is there yet */
    t = g_thread_new("w", write_one, n);
    g_assert_cmpint(viv_node_break_wait(n, "A", 0), ==, 0);
    g_assert_cmpint(viv_node_break_resume(n, "A"), ==, 0);
    g_assert_cmpint(GPOINTER_TO_INT(g_thread_join(t)), ==, 0);
    g_assert_cmpint(viv_node_pread(n, 0, &byte, 1), ==, 0);
    g_assert_cmpuint(byte, ==, 7);
    g_assert_cmpint(viv_node_break(n, "write_aio", "C", 0), ==, 0);
    t = g_thread_new("w", write_one, n);
    g_assert_cmpint(viv_node_break_wait(n, "C", 0), ==, 0);
    viv_node_break_clear(n);
    g_assert_cmpint(GPOINTER_TO_INT(g_thread_join(t)), ==, 0);
    g_assert_cmpint(viv_node_put(&n), ==, 0);
}

/* Random requests through limits: always the same bytes as without. */
static void test_limits(void)
{
    static const char *const limits[] = {"align=4096", "max-transfer=700", "align=512,file.max-transfer=1536,file.opt-write-zero=3k,file.max-write-zero=6k",
                                         "opt-write-zero=1000,file.opt-discard=700,file.max-discard=1400"};
    g_autofree uint8_t *model = g_malloc0(1 << 20), *seen = g_malloc(1 << 20);

    for (unsigned i = 0; i < G_N_ELEMENTS(limits); i++) {
        g_autofree char *text = g_strconcat("driver=raw,discard=unmap,file.driver=blkdebug,file.image.filename=%r,file.", limits[i], NULL);
        GRand *rand = g_rand_new_with_seed(i);
        struct viv_node *n;

        make("r", false);
        memset(model, 0, 1 << 20);
        n = open_text(text);
        for (int k = 0; k < 300; k++) {
            uint64_t at = g_rand_int_range(rand, 0, 1 << 20), len = g_rand_int_range(rand, 0, MIN(20000, (1 << 20) - at));

            if (g_rand_int_range(rand, 0, 3)) {
                memset(model + at, k, len);
                g_assert_cmpint(viv_node_pwrite(n, at, model + at, len), ==, 0);
            } else {
                memset(model + at, 0, len);
                g_assert_cmpint(viv_node_write_zeroes(n, at, len, 0), ==, 0);
            }
            if (g_rand_int_range(rand, 0, 10) == 0)
                g_assert_cmpint(viv_node_pread(n, at, seen, len), ==, 0);
        }
        g_assert_cmpint(viv_node_discard(n, 0, 100000), ==, 0);
        g_assert_cmpint(viv_node_pread(n, 100000, seen, (1 << 20) - 100000), ==, 0);
        g_assert_cmpint(memcmp(seen, model + 100000, (1 << 20) - 100000), ==, 0);
        g_assert_cmpint(viv_node_put(&n), ==, 0);
        g_rand_free(rand);
    }
}

/* A unit that several threads change parts of: nobody's part is lost. */
static gpointer write_part(gpointer data)
{
    struct viv_node *n = ((gpointer *)data)[0];
    unsigned me = GPOINTER_TO_UINT(((gpointer *)data)[1]);
    uint8_t buf[100];

    memset(buf, me + 1, sizeof(buf));
    for (int i = 0; i < 200; i++)
        g_assert_cmpint(viv_node_pwrite(n, (i % 20) * 4096 + me * sizeof(buf), buf, sizeof(buf)), ==, 0);
    return NULL;
}

static void test_align_threads(void)
{
    gpointer args[4][2];
    GThread *t[4];
    struct viv_node *n;
    uint8_t buf[400];

    make("r", false);
    n = open_text("driver=raw,file.driver=blkdebug,file.align=4096,file.image.filename=%r");
    for (unsigned i = 0; i < 4; i++) {
        args[i][0] = n;
        args[i][1] = GUINT_TO_POINTER(i);
        t[i] = g_thread_new("part", write_part, args[i]);
    }
    for (unsigned i = 0; i < 4; i++)
        g_thread_join(t[i]);
    for (unsigned unit = 0; unit < 20; unit++) {
        g_assert_cmpint(viv_node_pread(n, unit * 4096, buf, sizeof(buf)), ==, 0);
        for (unsigned i = 0; i < sizeof(buf); i++)
            g_assert_cmpuint(buf[i], ==, i / 100 + 1);
    }
    g_assert_cmpint(viv_node_put(&n), ==, 0);
}

static void test_verify(void)
{
    uint8_t buf[8192];
    struct viv_node *n, *raw;

    make("q", true);
    make("r", false);
    n = open_text("driver=raw,file.filename=blkverify:%r:%q");
    memset(buf, 5, sizeof(buf));
    g_assert_cmpint(viv_node_pwrite(n, 1000, buf, sizeof(buf)), ==, 0);
    g_assert_cmpint(viv_node_write_zeroes(n, 2000, 3000, 0), ==, 0);
    g_assert_cmpint(viv_node_pread(n, 0, buf, sizeof(buf)), ==, 0);
    g_assert_cmpuint(buf[1999] == 5 && buf[2000] == 0 && buf[5000] == 5, ==, 1);
    g_assert_cmpint(viv_node_put(&n), ==, 0);
    raw = open_text("driver=raw,file.filename=%r");
    g_assert_cmpint(viv_node_pwrite(raw, 1500, "x", 1), ==, 0);
    g_assert_cmpint(viv_node_put(&raw), ==, 0);
    n = open_text("driver=blkverify,raw.filename=%r,test.driver=qcow2,test.file.filename=%q");
    g_assert_cmpint(viv_node_pread(n, 2000, buf, 100), ==, 0);
    g_assert_cmpint(viv_node_pread(n, 1000, buf, 1000), ==, -EIO);
    g_assert_cmpint(viv_node_put(&n), ==, 0);
}

static void test_throttle(void)
{
    struct viv_opts *o = NULL;
    struct viv_err err = VIV_ERR_INIT;
    struct viv_node *n = try_open("driver=throttle,throttle-group=g,file.filename=%r", &err);
    uint8_t buf[512] = {0};
    gint64 start;

    g_assert_null(n);
    g_assert_nonnull(strstr(err.text, "'g' does not exist"));
    make("r", false);
    viv_err_clear(&err);
    g_assert_cmpint(viv_opts_parse("-object", viv_throttle_group_opts, NULL, "id=g,x-iops-total=10,limits.iops-total=10", &o, &err), ==, 0);
    g_assert_cmpint(viv_throttle_group_add(o, &err), ==, -EINVAL); /* twice the same */
    viv_opts_free(o);
    viv_err_clear(&err);
    g_assert_cmpint(viv_opts_parse("-object", viv_throttle_group_opts, NULL, "id=g,limits.iops-total=50", &o, &err), ==, 0);
    g_assert_cmpint(viv_throttle_group_add(o, &err), ==, 0);
    g_assert_cmpint(viv_throttle_group_add(o, &err), ==, -EEXIST);
    viv_opts_free(o);
    n = open_text("driver=raw,file.driver=throttle,file.throttle-group=g,file.file.filename=%r");
    start = g_get_monotonic_time();
    for (int i = 0; i < 20; i++)
        g_assert_cmpint(viv_node_pwrite(n, i * 512, buf, sizeof(buf)), ==, 0);
    g_assert_cmpint(g_get_monotonic_time() - start, >, 100000); /* 20 at 50 a second, a tenth of a second's worth at once */
    g_assert_cmpint(viv_node_put(&n), ==, 0);
    viv_throttle_groups_free();
    g_assert_null(viv_throttle_find("g"));
}

static void test_null(void)
{
    struct viv_node *n = open_text("driver=null-aio,size=1M,latency-ns=30000000,read-zeroes=on");
    gint64 start = g_get_monotonic_time();
    struct viv_extent e;
    uint8_t byte = 1;

    g_assert_cmpuint(viv_node_size(n), ==, 1 << 20);
    g_assert_cmpint(viv_node_pread(n, 0, &byte, 1), ==, 0);
    g_assert_cmpuint(byte, ==, 0);
    g_assert_cmpint(g_get_monotonic_time() - start, >=, 30000);
    g_assert_cmpint(viv_node_status(n, 0, 1 << 20, &e), ==, 0);
    g_assert_true(e.kind == VIV_MAP_ZERO && e.len == 1 << 20);
    viv_node_put(&n);
}

/* Names in names. */
static void test_deep_names(void)
{
    g_autofree char *path = g_build_filename(dir, "r", NULL);
    GString *name = g_string_new(path);
    struct viv_err err = VIV_ERR_INIT;
    g_autofree char *text = NULL;

    for (int i = 0; i < 100; i++)
        g_string_prepend(name, "blkdebug::");
    text = g_strdup_printf("driver=raw,file.filename=%s", name->str);
    g_assert_null(try_open(text, &err));
    g_assert_nonnull(strstr(err.text, "deep"));
    g_string_free(name, TRUE);
}

static void test_config(void)
{
    static const char *const words[] = {"[inject-error]\n", "[set-state]\n", "event = \"write_aio\"\n", "event=none\n", "errno = \"5\"\n", "state = \"1\"\n",
                                        "new_state = \"3\"\n", "\"", "=", "[", "]", "\n", "once = \"on\"\n", "sector = \"9\"\n", "x", " "};
    g_autofree char *path = g_build_filename(dir, "conf", NULL);
    GRand *rand = g_rand_new_with_seed(3);
    unsigned opened = 0;

    make("r", false);
    for (int i = 0; i < 2000; i++) {
        struct viv_err err = VIV_ERR_INIT;
        GString *s = g_string_new(NULL);
        struct viv_node *n;

        for (int k = g_rand_int_range(rand, 0, 8); k > 0; k--)
            g_string_append(s, words[g_rand_int_range(rand, 0, k > 5 ? 3 : G_N_ELEMENTS(words))]);
        g_assert_true(g_file_set_contents(path, s->str, s->len, NULL));
        n = try_open("driver=raw,file.filename=blkdebug:%conf:%r", &err);
        opened += n != NULL;
        viv_node_put(&n);
        g_string_free(s, TRUE);
    }
    g_assert_cmpuint(opened, >, 20);
    g_unlink(path);
    g_rand_free(rand);
}

int main(int argc, char **argv)
{
    static const char *const files[] = {"q", "r"};
    int ret;

    g_test_init(&argc, &argv, NULL);
    dir = g_dir_make_tmp("viv-filter-XXXXXX", NULL);
    g_test_add_func("/block/filter/inject", test_inject);
    g_test_add_func("/block/filter/events", test_events);
    g_test_add_func("/block/filter/break", test_break);
    g_test_add_func("/block/filter/limits", test_limits);
    g_test_add_func("/block/filter/align-threads", test_align_threads);
    g_test_add_func("/block/filter/verify", test_verify);
    g_test_add_func("/block/filter/throttle", test_throttle);
    g_test_add_func("/block/filter/null", test_null);
    g_test_add_func("/block/filter/deep-names", test_deep_names);
    g_test_add_func("/block/filter/config", test_config);
    ret = g_test_run();
    for (unsigned i = 0; i < G_N_ELEMENTS(files); i++) {
        g_autofree char *path = g_build_filename(dir, files[i], NULL);

        g_unlink(path);
    }
    g_rmdir(dir);
    g_free(dir);
    return ret;
}
