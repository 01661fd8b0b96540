/* Trees of options: what they make, and what is refused. */
#include "block/blk.h"
#include "block/build.h"
#include "block/image.h"
#include "block/options.h"

#include <errno.h>
#include <glib.h>
#include <glib/gstdio.h>
#include <string.h>

static char *dir;

static char *path_of(const char *name)
{
    return g_build_filename(dir, name, NULL);
}

/* Creates `name` through the driver, 1 MiB; `backing` as it would be in the header. */
static void make_image(const char *format, const char *name, const char *backing)
{
    const struct viv_blk_driver *drv = viv_blk_driver_find(format);
    g_autofree char *path = path_of(name);
    struct viv_node_opts o = {0};
    struct viv_err err = VIV_ERR_INIT;
    const char *fmt = backing && g_str_has_prefix(backing, "json:") ? "raw" : backing ? "qcow2" : NULL;
    struct viv_create c = {.size = 1 << 20, .backing_file = backing, .backing_fmt = fmt};
    struct viv_node *file = NULL;

    g_assert_true(g_file_set_contents(path, "", 0, NULL));
    c.opts = viv_opts_new("-o", drv->create_opts);
    if ((backing && viv_opts_set(c.opts, "backing_file", backing, &err)) ||
        (backing && viv_opts_set(c.opts, "backing_fmt", fmt, &err)) || viv_node_open_file(path, &o, &file, &err) ||
        drv->create(&c, file, &err))
        g_error("%s", err.text);
    viv_opts_free(c.opts);
    g_assert_cmpint(viv_node_put(&file), ==, 0);
}

/* `fmt` with the folder in place of each %s (at most four). */
static struct viv_node *open_text(const char *fmt, bool read_only, struct viv_err *err)
{
    g_auto(GStrv) parts = g_strsplit(fmt, "%", -1);
    g_autofree char *sep = g_strdup_printf("%s/", dir), *text = g_strjoinv(sep, parts);
    struct viv_node_opts o = {.read_only = read_only, .unmap = true};
    struct viv_node *n = NULL;

    viv_err_clear(err);
    if (viv_node_open_options("opts", text, NULL, &o, &n, err))
        g_assert_null(n);
    return n;
}

static void expect_write(struct viv_node *n, uint64_t offset, uint8_t byte)
{
    uint8_t w[4096], r[4096];

    memset(w, byte, sizeof(w));
    g_assert_cmpint(viv_node_pwrite(n, offset, w, sizeof(w)), ==, 0);
    g_assert_cmpint(viv_node_flush(n), ==, 0);
    g_assert_cmpint(viv_node_pread(n, offset, r, sizeof(r)), ==, 0);
    g_assert_cmpmem(w, sizeof(w), r, sizeof(r));
}

static void expect_byte(struct viv_node *n, uint64_t offset, uint8_t byte)
{
    uint8_t r;

    g_assert_cmpint(viv_node_pread(n, offset, &r, 1), ==, 0);
    g_assert_cmpuint(r, ==, byte);
}

/* Images in images: what grows is the file at the bottom. */
static void test_deep(void)
{
    struct viv_err err = VIV_ERR_INIT;
    struct viv_node *n;

    make_image("qcow2", "deep", NULL);
    n = open_text("driver=qcow2,file.driver=raw,file.file.driver=raw,file.file.file.driver=file,file.file.file.filename=%deep", false, &err);
    if (!n)
        g_error("%s", err.text);
    g_assert_cmpstr(n->file->file->file->drv->name, ==, "file");
    expect_write(n, 300000, 0xa1);
    g_assert_cmpint(viv_node_put(&n), ==, 0);
    n = open_text("{\"driver\":\"qcow2\",\"file\":{\"driver\":\"raw\",\"file\":{\"filename\":\"%deep\"}}}", true, &err);
    g_assert_nonnull(n);
    expect_byte(n, 300000, 0xa1);
    g_assert_cmpint(viv_node_put(&n), ==, 0);
    n = open_text("file.filename=%deep", true, &err); /* probed */
    g_assert_nonnull(n);
    g_assert_cmpstr(n->drv->name, ==, "qcow2");
    viv_node_put(&n);
}

/* The header's chain, another one, names for its layers, and none. */
static void test_backing(void)
{
    struct viv_err err = VIV_ERR_INIT;
    struct viv_node *n;

    make_image("qcow2", "base", NULL);
    make_image("qcow2", "other", NULL);
    make_image("qcow2", "mid", "base");
    make_image("qcow2", "top", "mid");
    n = open_text("driver=qcow2,file.filename=%other", false, &err);
    expect_write(n, 0, 7);
    viv_node_put(&n);
    n = open_text("driver=qcow2,file.filename=%top", true, &err);
    g_assert_nonnull(n);
    g_assert_nonnull(strstr(n->backing->backing->filename, "/base"));
    expect_byte(n, 0, 0);
    viv_node_put(&n);
    n = open_text("driver=qcow2,file.filename=%top,backing.node-name=m,backing.backing.driver=qcow2,backing.backing.file.filename=%other,"
                  "backing.backing.node-name=b", true, &err);
    if (!n)
        g_error("%s", err.text);
    g_assert_true(viv_node_find("m") == n->backing && viv_node_find("b") == n->backing->backing);
    expect_byte(n, 0, 7);
    viv_node_put(&n);
    g_assert_null(viv_node_find("m"));
    n = open_text("{\"driver\":\"qcow2\",\"file\":{\"driver\":\"file\",\"filename\":\"%top\"},\"backing\":null}", true, &err);
    g_assert_nonnull(n);
    g_assert_null(n->backing);
    viv_node_put(&n);
}

/* A cluster of data, then of zeroes. */
static void overwrite(struct viv_node *n)
{
    g_autofree uint8_t *w = g_malloc(65536);

    for (int byte = 0xa1; byte >= 0; byte -= 0xa1) {
        memset(w, byte, 65536);
        g_assert_cmpint(viv_node_pwrite(n, 0, w, 65536), ==, 0);
    }
    g_assert_cmpint(viv_node_flush(n), ==, 0);
    expect_byte(n, 65535, 0);
}

/* detect-zeroes of a filter and of a file, as Proxmox has it on each level: the image below, and the file, have a hole. */
static void test_zeroes(void)
{
    static const char *const trees[] = {
        "driver=copy-on-read,discard=unmap,file.driver=qcow2,file.discard=unmap,file.file.filename=%zero",
        "driver=copy-on-read,discard=unmap,detect-zeroes=unmap,file.driver=qcow2,file.discard=unmap,file.file.filename=%zero",
        "driver=raw,file.driver=file,file.filename=%zero.raw,file.discard=unmap",
        "driver=raw,file.driver=file,file.filename=%zero.raw,file.discard=unmap,file.detect-zeroes=unmap",
    };
    g_autofree char *raw = path_of("zero.raw"), *bytes = g_malloc0(1 << 20);

    g_assert_true(g_file_set_contents(raw, bytes, 1 << 20, NULL));
    for (unsigned i = 0; i < G_N_ELEMENTS(trees); i++) {
        struct viv_err err = VIV_ERR_INIT;
        struct viv_extent e;
        struct viv_node *n;

        if (i < 2)
            make_image("qcow2", "zero", NULL);
        n = open_text(trees[i], false, &err);
        if (!n)
            g_error("%s", err.text);
        overwrite(n);
        g_assert_cmpint(viv_node_status(n->file, 0, 65536, &e), ==, 0);
        g_assert_cmpint(e.kind == VIV_MAP_ZERO, ==, i % 2);
        g_assert_cmpint(viv_node_pwrite(n, (1 << 20) - 512, bytes, 512), ==, 0);
        viv_node_put(&n);
    }
}

static void test_refused(void)
{
    static const struct {
        const char *text, *says;
    } bad[] = {
        {"driver=qcow2,file.filename=%x,foo=1", "opts (qcow2): unknown option 'foo'"},
        {"driver=qcow2,file.filename=%x,node-nam=1", "did you mean 'node-name'"},
        {"driver=qcow2,file.filename=%x,file.foo=1", "opts file (file): unknown option 'foo'; it takes: filename"},
        {"driver=qcow2,file.driver=raw,file.file.filename=%x,file.file.foo=1", "opts file.file (file): unknown option 'foo'"},
        {"driver=qcow2,file.driver=raw,file.file.foo.bar=1,file.file.driver=null-co", "opts file.file (null-co): unknown option 'foo.bar'"},
        {"driver=raw,file.driver=null-co,file.size=much", "size: 'much' is not a size"},
        {"{\"driver\":\"raw\",\"file\":{\"driver\":\"null-co\",\"size\":true}}", "'on' is not a size"},
        {"{\"driver\":\"raw\",\"file\":{\"driver\":\"null-co\",\"size\":1.5}}", "fraction"},
        {"{\"driver\":\"raw\",\"read-only\":3,\"file\":{\"driver\":\"null-co\"}}", "read-only"},
        {"driver=raw,file.driver=null-co,backing.file.filename=x", "raw images have no backing file"},
        {"driver=raw,file.driver=null-co,backing=", "raw images have no backing file"},
        {"driver=raw,file=nobody", "there is no node 'nobody'"},
        {"driver=raw,file=nobody,file.driver=null-co", "exclude each other"},
        {"driver=raw", "file.filename is missing"},
        {"driver=raw,file.driver=file", "filename is missing"},
        {"filename=x", "Must specify either driver or file"},
        {"driver=raw,filename=x", "an image has file.filename"},
        {"driver=nfs,file.driver=null-co", "'nfs' is not implemented"},
        {"driver=raw,file.driver=sheepdog", "'sheepdog' is not implemented"},
        {"driver=raw,file.filename=gluster:x", "images are not implemented yet"},
        {"driver=raw,file.filename=ssh:x", "not of the form ssh://"},
        {"driver=raw,file.driver=nbd,file.filename=x", "no nbd:// address"},
        {"driver=raw,file.driver=null-co,file.detect-zeroes=unmap,file.discard=ignore", "needs discard=unmap"},
        {"driver=raw,file.driver=null-co,detect-zeroes=unmap,discard=ignore", "needs discard=unmap"},
        {"driver=raw,file.driver=null-co,file.read-only=on", "read-only=on, and what stands above"},
        {"driver=raw,file.driver=null-co,force-share=on", "force-share=on needs read-only=on"},
        {"driver=qcow2,file.driver=null-co,cache-size=1M", "cache-size is not supported yet"},
        {"driver=raw,file.driver=null-co,file.locking=on", "unknown option 'locking'"},
        {"driver=raw,file.filename=%x,file.locking=maybe", "locking=maybe is not possible"},
        {"driver=raw,file.filename=json:{", "not JSON"},
    };
    struct viv_err err = VIV_ERR_INIT;

    for (unsigned i = 0; i < G_N_ELEMENTS(bad); i++) {
        struct viv_node *n = open_text(bad[i].text, false, &err);

        if (n || !strstr(err.text, bad[i].says))
            g_error("%s: %s", bad[i].text, n ? "opened" : err.text);
    }
}

/* Bounded: nodes in nodes, names that describe themselves. */
static void test_bounds(void)
{
    GString *s = g_string_new("driver=raw"), *key = g_string_new("file");
    struct viv_err err = VIV_ERR_INIT;

    for (int i = 0; i < 100; i++) {
        g_string_append_printf(s, ",%s.driver=raw", key->str);
        g_string_append(key, ".file");
    }
    g_string_append_printf(s, ",%s.driver=null-co", key->str);
    g_assert_null(open_text(s->str, false, &err));
    g_assert_nonnull(strstr(err.text, "deep"));
    g_string_free(s, TRUE);
    g_string_free(key, TRUE);
}

/* An image that describes a tree with itself in it as its backing file. */
static void test_loop(void)
{
    g_autofree char *path = path_of("branch"), *name = NULL, *text = NULL;
    struct viv_err err = VIV_ERR_INIT;

    make_image("qcow2", "branch", NULL);
    name = g_strdup_printf("json:{\"driver\":\"raw\",\"file\":{\"driver\":\"qcow2\",\"file\":{\"filename\":\"%s\"}}}", path);
    make_image("qcow2", "branch", name);
    text = g_strdup_printf("driver=raw,file.driver=qcow2,file.file.filename=%s", path);
    g_assert_null(open_text(text, true, &err));
    if (!strstr(err.text, "(a loop?)"))
        g_error("%s", err.text);
}

static int add(const char *text, struct viv_err *err)
{
    g_auto(GStrv) parts = g_strsplit(text, "%", -1);
    g_autofree char *sep = g_strdup_printf("%s/", dir), *full = g_strjoinv(sep, parts);

    viv_err_clear(err);
    return viv_blockdev_add_text(full, err);
}

/* As libvirt describes a disk: each layer by itself. */
static void test_named(void)
{
    struct viv_err err = VIV_ERR_INIT;
    struct viv_blk *b = NULL;

    make_image("qcow2", "n0", NULL);
    make_image("qcow2", "n1", "n0");
    g_assert_cmpint(add("{\"driver\":\"file\",\"filename\":\"%n0\",\"node-name\":\"s0\",\"auto-read-only\":true,\"discard\":\"unmap\"}", &err), ==, 0);
    g_assert_cmpint(add("{\"node-name\":\"f0\",\"read-only\":true,\"driver\":\"qcow2\",\"file\":\"s0\",\"backing\":null}", &err), ==, 0);
    g_assert_cmpint(add("{\"driver\":\"file\",\"filename\":\"%n1\",\"node-name\":\"s1\",\"cache\":{\"direct\":false,\"no-flush\":false}}", &err), ==, 0);
    g_assert_cmpint(add("{\"node-name\":\"f1\",\"driver\":\"qcow2\",\"cache\":{\"direct\":false,\"no-flush\":true},\"file\":\"s1\",\"backing\":\"f0\"}", &err), ==, -EINVAL);
    g_assert_nonnull(strstr(err.text, "cache options"));
    if (add("{\"node-name\":\"f1\",\"driver\":\"qcow2\",\"cache\":{\"direct\":false,\"no-flush\":false},\"file\":\"s1\",\"backing\":\"f0\"}", &err))
        g_error("%s", err.text);
    g_assert_cmpint(add("driver=raw,node-name=x,file=f1", &err), ==, 0); /* an image as a file */
    g_assert_cmpint(viv_blockdev_attach("f1", VIV_PERM_READ | VIV_PERM_WRITE, VIV_PERM_READ, "d", &b, &err), ==, -EBUSY);
    viv_err_clear(&err);
    g_assert_cmpint(viv_blockdev_attach("x", VIV_PERM_READ | VIV_PERM_WRITE, VIV_PERM_READ, "d", &b, &err), ==, 0);
    g_assert_cmpint(viv_blk_pwrite(b, 4096, "hello", 5, 0), ==, 0);
    g_assert_cmpint(viv_blk_close(b, &err), ==, 0);
    g_assert_cmpint(viv_blockdev_close_all(&err), ==, 0);
    g_assert_null(viv_node_find("s0"));
}

/* auto-read-only: those who only read a file keep nobody off it, whoever writes has it for himself. */
static void test_auto_read_only(void)
{
    struct viv_err err = VIV_ERR_INIT;
    struct viv_blk *b = NULL, *w = NULL;

    make_image("raw", "a0", NULL);
    for (unsigned i = 0; i < 2; i++) { /* as two machines on one ISO */
        g_autofree char *file = g_strdup_printf("{\"driver\":\"file\",\"filename\":\"%%a0\",\"node-name\":\"s%u\",\"auto-read-only\":true}", i);
        g_autofree char *format = g_strdup_printf("{\"driver\":\"raw\",\"node-name\":\"f%u\",\"read-only\":true,\"file\":\"s%u\"}", i, i);

        if (add(file, &err) || add(format, &err))
            g_error("%s", err.text);
    }
    g_assert_cmpint(viv_blockdev_attach("f0", VIV_PERM_READ, VIV_PERM_READ, "cd", &b, &err), ==, 0);
    g_assert_cmpint(add("{\"driver\":\"file\",\"filename\":\"%a0\",\"node-name\":\"s2\",\"auto-read-only\":true}", &err), ==, 0);
    g_assert_cmpint(add("{\"driver\":\"raw\",\"node-name\":\"f2\",\"file\":\"s2\"}", &err), ==, 0); /* nobody writes it yet */
    g_assert_cmpint(viv_blockdev_attach("f2", VIV_PERM_READ | VIV_PERM_WRITE, VIV_PERM_READ, "d", &w, &err), <, 0);
    g_assert_nonnull(strstr(err.text, "lock"));
    viv_err_clear(&err);
    g_assert_cmpint(viv_blk_close(b, &err), ==, 0);
    for (unsigned i = 0; i < 2; i++) {
        g_assert_cmpint(viv_blockdev_del(i ? "f1" : "f0", &err), ==, 0);
        g_assert_cmpint(viv_blockdev_del(i ? "s1" : "s0", &err), ==, 0);
    }
    g_assert_cmpint(viv_blockdev_attach("f2", VIV_PERM_READ | VIV_PERM_WRITE, VIV_PERM_READ, "d", &b, &err), ==, 0);
    g_assert_cmpint(viv_blk_pwrite(b, 4096, "hello", 5, 0), ==, 0);
    g_assert_cmpint(viv_blk_close(b, &err), ==, 0);
    g_assert_cmpint(viv_blockdev_close_all(&err), ==, 0);
}

/* Texts that nobody would write: nothing may be lost of what was made for them. */
static void test_mutations(void)
{
    static const char *const words[] = {"driver=", "file", "backing", "raw", "qcow2", "null-co", ".", "=", ",", "image", "{", "}", "\"", ":",
                                        "size", "1M", "json:", "filename", "node-name", "on", "data-file", "%x", "0", "no", "blkdebug:", "x"};
    GRand *rand = g_rand_new_with_seed(7);
    struct viv_err err = VIV_ERR_INIT;
    unsigned opened = 0;

    for (int i = 0; i < 5000; i++) {
        GString *s = g_string_new(i % 4 ? "driver=raw,file.driver=null-co" : "");

        for (int k = g_rand_int_range(rand, 0, 5); k > 0; k--)
            g_string_insert(s, g_rand_int_range(rand, 0, s->len + 1), words[g_rand_int_range(rand, 0, G_N_ELEMENTS(words))]);
        struct viv_node *n = open_text(s->str, i & 1, &err);

        opened += n != NULL;
        g_assert_cmpint(viv_node_put(&n), ==, 0);
        g_string_free(s, TRUE);
    }
    g_assert_cmpuint(opened, >, 10);
    g_assert_null(viv_node_find("on"));
    g_rand_free(rand);
}

int main(int argc, char **argv)
{
    static const char *const files[] = {"deep", "base", "other", "mid", "top", "branch", "n0", "n1"};
    int ret;

    g_test_init(&argc, &argv, NULL);
    dir = g_dir_make_tmp("viv-build-XXXXXX", NULL);
    g_test_add_func("/block/build/deep", test_deep);
    g_test_add_func("/block/build/backing", test_backing);
    g_test_add_func("/block/build/zeroes", test_zeroes);
    g_test_add_func("/block/build/refused", test_refused);
    g_test_add_func("/block/build/bounds", test_bounds);
    g_test_add_func("/block/build/loop", test_loop);
    g_test_add_func("/block/build/named", test_named);
    g_test_add_func("/block/build/auto-read-only", test_auto_read_only);
    g_test_add_func("/block/build/mutations", test_mutations);
    ret = g_test_run();
    for (unsigned i = 0; i < G_N_ELEMENTS(files); i++) {
        g_autofree char *path = path_of(files[i]);

        g_unlink(path);
    }
    g_rmdir(dir);
    g_free(dir);
    return ret;
}
