/* Changes of the graph under a guest that writes: reopened images, other files and backing images, other sizes; all or nothing. */
#include "block/graph.h"
#include "block/bitmap.h"
#include "block/guest_test.h"
#include "block/image.h"
#include "block/job.h"
#include "host/lock.h"
#include "host/loop.h"

#include <errno.h>
#include <fcntl.h>

static int reopen(struct viv_err *err, const char *json)
{
    g_autofree char *text = g_strdup_printf("{\"o\": %s}", json);
    struct viv_raw_opts *all = NULL, *list;
    int ret;

    must(viv_raw_parse("test", NULL, text, &all, err), err);
    list = viv_raw_take_below(all, "o", "test");
    ret = viv_blockdev_reopen(list, err);
    viv_raw_free(list);
    viv_raw_free(all);
    return ret;
}

static void reopen_well(const char *json)
{
    struct viv_err err = VIV_ERR_INIT;

    if (reopen(&err, json))
        g_error("%s: %s", json, err.text);
}

static void reopen_fails(const char *json, const char *word)
{
    struct viv_err err = VIV_ERR_INIT;

    g_assert_cmpint(reopen(&err, json), <, 0);
    if (!strstr(err.text, word))
        g_error("'%s' is not in: %s", word, err.text);
}

static char *describe(const char *name, const char *backing, const char *file, const char *node)
{
    return g_strdup_printf("{\"driver\": \"qcow2\", \"node-name\": \"%s\", \"backing\": %s, \"file\": {\"driver\": \"file\", \"filename\": \"%s/%s\"%s}%s}",
                           name, backing, dir, name, file, node);
}

/* Options back and forth while the guest writes; nothing is lost, and what is not the guest's to lose is refused. */
static void test_options(void)
{
    struct guest *g = begin();
    struct viv_node *top = viv_node_find("top");
    g_autofree char *plain = describe("top", "\"mid\"", "", ""), *direct = describe("top", "\"mid\"", "", ", \"cache\": {\"direct\": true}"),
                    *unmap = describe("top", "\"mid\"", "", ", \"discard\": \"unmap\", \"detect-zeroes\": \"unmap\""),
                    *ro = describe("top", "\"mid\"", "", ", \"read-only\": true"),
                    *mid = describe("mid", "\"base\"", "", ""), *mid_ro = describe("mid", "\"base\"", "", ", \"read-only\": true"),
                    *both = g_strdup_printf("[%s, %s]", mid, ro);
    char *lists[] = {g_strdup_printf("[%s]", plain), g_strdup_printf("[%s]", direct), g_strdup_printf("[%s]", unmap),
                     g_strdup_printf("[%s]", mid), g_strdup_printf("[%s]", mid_ro)};

    run_guest(g);
    for (int i = 0; i < 40; i++) {
        reopen_well(lists[g_rand_int_range(rnd, 0, G_N_ELEMENTS(lists))]);
        g_usleep(2000);
    }
    reopen_well(lists[1]);
    g_assert_true(top->direct && top->file->direct && !top->unmap);
    reopen_well(lists[2]);
    g_assert_true(top->unmap && top->detect_zeroes == VIV_DETECT_UNMAP && !top->file->direct);
    reopen_well(lists[4]);
    /* mid would become writable, and top read-only, which its guest forbids: neither happens. */
    reopen_fails(both, "guest");
    g_assert_true(viv_node_find("mid")->read_only && viv_node_find("mid")->file->read_only && !top->read_only && top->unmap);
    stop_guest(g);
    end(g);
    expect_image("top", g->model);
    for (unsigned i = 0; i < G_N_ELEMENTS(lists); i++)
        g_free(lists[i]);
    guest_free(g);
}

static void copy_file(const char *from, const char *to)
{
    g_autofree char *a = path_of(from), *b = path_of(to), *data = NULL;
    gsize len;

    g_assert_true(g_file_get_contents(a, &data, &len, NULL));
    g_assert_true(g_file_set_contents(b, data, len, NULL));
}

/* Another backing image, another file, and back. */
static void test_children(void)
{
    struct guest *g;
    g_autofree char *to_copy = NULL, *to_mid = NULL, *loop = NULL, *filter = NULL;
    struct viv_err err = VIV_ERR_INIT;

    g = begin();
    copy_file("mid", "copy");
    add_node("copy", "base", true);
    to_copy = describe("top", "\"copy\"", "", "");
    to_mid = describe("top", "\"mid\"", "", "");
    loop = describe("mid", "\"top\"", "", ", \"read-only\": true");
    run_guest(g);
    for (int i = 0; i < 20; i++) {
        g_autofree char *list = g_strdup_printf("[%s]", i % 2 ? to_mid : to_copy);

        reopen_well(list);
        g_assert_cmpstr(viv_node_find("top")->backing->name, ==, i % 2 ? "mid" : "copy");
        g_usleep(2000);
    }
    filter = g_strdup_printf("[%s]", loop);
    reopen_fails(filter, "would create a cycle");
    stop_guest(g);
    must(viv_blockdev_del("copy", &err), &err);
    end(g);
    expect_image("top", g->model);
    guest_free(g);
}

/* Another file of the same bytes. */
static void test_file(void)
{
    struct guest *g = begin();
    struct viv_node *top = viv_node_find("top"), *was = top->file;
    g_autofree char *file = g_strdup_printf("driver=file,node-name=f2,filename=%s/second", dir);
    struct viv_err err = VIV_ERR_INIT;

    g_assert_cmpint(viv_node_flush(top), ==, 0);
    copy_file("top", "second");
    must(viv_blockdev_add_text(file, &err), &err);
    reopen_well("[{\"driver\": \"qcow2\", \"node-name\": \"top\", \"backing\": \"mid\", \"file\": \"f2\"}]");
    g_assert_cmpstr(top->file->name, ==, "f2");
    g_assert_cmpstr(top->filename, ==, top->file->filename);
    g_assert_cmpuint(top->file->parents, ==, 1);
    g_assert_true(was != top->file);
    g_assert_cmpint(viv_blk_pwrite(g->blk, 4096, "after", 5, 0), ==, 0);
    memcpy(g->model + 4096, "after", 5);
    reopen_fails("[{\"driver\": \"qcow2\", \"node-name\": \"top\", \"backing\": \"mid\", \"file\": \"mid\"}]", "read-only");
    reopen_fails("[{\"driver\": \"qcow2\", \"node-name\": \"top\", \"backing\": \"mid\", \"file\": \"t\"}]", "not in qcow2 format");
    g_assert_cmpstr(top->file->name, ==, "f2");
    g_assert_cmpuint(viv_node_find("t")->parents, ==, 0);
    end(g);
    expect_image("second", g->model);
    guest_free(g);
}

/* A list of which the last one fails: a file that was made writable for the first one is read-only again, or stays writable if it was. */
static void test_file_undone(void)
{
    struct guest *g = begin();
    struct viv_node *top = viv_node_find("top"), *was = top->file, *f2;
    g_autofree char *file = g_strdup_printf("driver=file,node-name=f2,filename=%s/second", dir), *other = describe("t", "null", "", ", \"read-only\": true"),
                    *mid = describe("mid", "\"base\"", "", ""), *both = g_strdup_printf("[%s, %s]", mid, other),
                    *list = g_strdup_printf("[{\"driver\": \"qcow2\", \"node-name\": \"top\", \"backing\": \"mid\", \"file\": \"f2\"}, %s]", other);
    struct viv_blk *blk = NULL;
    struct viv_err err = VIV_ERR_INIT;

    g_assert_cmpint(viv_node_flush(top), ==, 0);
    copy_file("top", "second");
    must(viv_blockdev_add_text(file, &err), &err);
    must(viv_blockdev_add_text("driver=qcow2,node-name=s,file=f2,backing=", &err), &err);
    reopen_well("[{\"driver\": \"qcow2\", \"node-name\": \"s\", \"backing\": null, \"file\": \"f2\", \"read-only\": true}]");
    must(viv_blockdev_del("s", &err), &err);
    f2 = viv_node_find("f2");
    g_assert_true(f2->read_only && !f2->stays_read_only);
    must(viv_blockdev_attach("t", ALL, ALL, "writer", &blk, &err), &err);
    reopen_fails(list, "writer");
    g_assert_true(f2->read_only && top->file == was && !was->read_only && !top->read_only);
    reopen_fails(both, "writer");
    g_assert_true(viv_node_find("mid")->read_only && viv_node_find("mid")->file->read_only);
    must(viv_blk_close(blk, &err), &err);
    end(g);
    expect_image("top", g->model);
    guest_free(g);
}

static unsigned told;

static void on_resized(void *opaque)
{
    g_assert_true(viv_dev_locked());
    told++;
}

/* Larger and smaller while the guest works in the part that stays. Bitmaps follow; who cannot be told keeps its size. */
static void test_resize(void)
{
    struct guest *g = begin();
    struct viv_node *top = viv_node_find("top");
    struct viv_err err = VIV_ERR_INIT;
    struct viv_bitmap *b;
    uint8_t end_of_it[512], zero[512] = {0};

    must(viv_bitmap_new(top, "b", 65536, &b, &err), &err);
    g_assert_cmpint(viv_block_resize(top, 2 * SIZE, &err), ==, -EBUSY);
    g_assert_nonnull(strstr(err.text, "guest"));
    viv_err_clear(&err);
    viv_blk_on_resize(g->blk, 4096, on_resized, NULL);
    run_guest(g);
    for (int i = 1; i <= 20; i++) {
        must(viv_block_resize(top, i % 4 == 3 ? SIZE : (uint64_t)SIZE + i * 100 * 4096, &err), &err);
        g_assert_cmpuint(told, ==, i);
        g_assert_cmpuint(b->size, ==, viv_node_size(top));
        g_usleep(2000);
    }
    stop_guest(g);
    must(viv_block_resize(top, SIZE + 4096, &err), &err);
    g_assert_cmpint(viv_blk_pread(g->blk, SIZE + 4096 - 512, end_of_it, 512), ==, 0);
    g_assert_cmpmem(end_of_it, 512, zero, 512);
    g_assert_cmpint(viv_blk_pread(g->blk, SIZE + 4096, end_of_it, 512), ==, -EINVAL);
    g_assert_cmpint(viv_block_resize(top, SIZE + 512, &err), ==, -EINVAL); /* not the guest's blocks */
    viv_err_clear(&err);
    g_assert_cmpint(viv_block_resize(viv_node_find("mid"), SIZE, &err), <, 0);
    viv_err_clear(&err);
    must(viv_block_resize(top, SIZE, &err), &err);
    viv_bitmap_free(b);
    end(g);
    expect_image("top", g->model);
    guest_free(g);
}

/* What is right one by one may be wrong together: a loop, a backing image that is written, two writers of one file. */
static void test_lists(void)
{
    struct guest *g = begin();
    g_autofree char *copy = describe("copy", "\"other\"", "", ", \"read-only\": true"), *other = describe("other", "\"copy\"", "", ", \"read-only\": true"),
                    *writable = describe("other", "null", "", ""), *loop = g_strdup_printf("[%s, %s]", copy, other),
                    *written = g_strdup_printf("[%s, %s]", copy, writable), *twice = g_strdup_printf("[%s, %s]", copy, copy),
                    *file = g_strdup_printf("driver=file,node-name=f2,filename=%s/second", dir);
    struct viv_node *top = viv_node_find("top"), *t = viv_node_find("t");
    struct viv_err err = VIV_ERR_INIT;

    make("copy", NULL);
    make("other", NULL);
    add_node("copy", "", true);
    add_node("other", "", true);
    reopen_fails(loop, "cycle");
    reopen_fails(written, "read-only=on");
    reopen_fails(twice, "twice");
    g_assert_null(viv_node_find("copy")->backing);
    copy_file("t", "second");
    must(viv_blockdev_add_text(file, &err), &err);
    reopen_fails("[{\"driver\": \"qcow2\", \"node-name\": \"t\", \"file\": \"f2\"}, "
                 "{\"driver\": \"qcow2\", \"node-name\": \"top\", \"backing\": \"mid\", \"file\": \"f2\"}]", "below both");
    g_assert_true(top->file != t->file);
    end(g);
    expect_image("top", g->model);
    guest_free(g);
}

/* An image below others may become writable; nobody writes it while they are in use, nor them while it is written. */
static void test_below(void)
{
    struct guest *g = begin();
    g_autofree char *mid = describe("mid", "\"base\"", "", ""), *list = g_strdup_printf("[%s]", mid), *mid_ro = describe("mid", "\"base\"", "", ", \"read-only\": true"),
                    *back = g_strdup_printf("[%s]", mid_ro);
    struct viv_blk *blk = NULL, *second = NULL;
    struct viv_err err = VIV_ERR_INIT;

    reopen_well(list);
    g_assert_cmpint(viv_blockdev_attach("mid", ALL, ALL, "export", &blk, &err), ==, -EBUSY);
    g_assert_nonnull(strstr(err.text, "backing image of 'top'"));
    viv_err_clear(&err);
    g_assert_cmpint(viv_block_resize(viv_node_find("mid"), SIZE / 2, &err), ==, -EBUSY);
    viv_err_clear(&err);
    must(viv_blockdev_attach("mid", VIV_PERM_READ, ALL, "reader", &blk, &err), &err);
    must(viv_blk_close(blk, &err), &err);
    /* Without a guest above it there is nobody who minds; but then none may come. */
    must(viv_blk_close(g->blk, &err), &err);
    must(viv_blockdev_attach("mid", ALL, ALL, "export", &blk, &err), &err);
    g_assert_cmpint(viv_blockdev_attach("top", ALL, ALL, "guest", &second, &err), ==, -EBUSY);
    g_assert_nonnull(strstr(err.text, "below it"));
    viv_err_clear(&err);
    must(viv_blk_close(blk, &err), &err);
    must(viv_blockdev_attach("top", ALL, ALL, "guest", &g->blk, &err), &err);
    reopen_well(back);
    end(g);
    expect_image("top", g->model);
    guest_free(g);
}

/* The same when what is written is a filter or an image whose file the backing image is. */
static void test_below_others(void)
{
    static const char *const writers[] = {"driver=blkdebug,node-name=w,image=mid", "driver=raw,node-name=w,file=mid"};
    struct guest *g = begin();
    g_autofree char *mid = describe("mid", "\"base\"", "", ""), *list = g_strdup_printf("[%s]", mid), *mid_ro = describe("mid", "\"base\"", "", ", \"read-only\": true"),
                    *back = g_strdup_printf("[%s]", mid_ro);
    struct viv_blk *blk = NULL, *second = NULL;
    struct viv_err err = VIV_ERR_INIT;

    reopen_well(list);
    for (unsigned i = 0; i < G_N_ELEMENTS(writers); i++) {
        g_assert_cmpint(viv_blockdev_add_text(writers[i], &err), ==, -EBUSY);
        g_assert_nonnull(strstr(err.text, "backing image of 'top'"));
        viv_err_clear(&err);
        must(viv_blk_close(g->blk, &err), &err);
        must(viv_blockdev_add_text(writers[i], &err), &err);
        must(viv_blockdev_attach("w", ALL, ALL, "export", &blk, &err), &err);
        for (int perms = VIV_PERM_READ; perms <= ALL; perms += ALL - VIV_PERM_READ) {
            g_assert_cmpint(viv_blockdev_attach("top", perms, ALL, "guest", &second, &err), ==, -EBUSY);
            g_assert_nonnull(strstr(err.text, "export writes 'mid' below it"));
            viv_err_clear(&err);
        }
        must(viv_blk_close(blk, &err), &err);
        must(viv_blockdev_attach("top", ALL, ALL, "guest", &g->blk, &err), &err);
        g_assert_cmpint(viv_blockdev_attach("w", ALL, ALL, "export", &blk, &err), ==, -EBUSY);
        g_assert_nonnull(strstr(err.text, "backing image of 'top', which is in use by guest"));
        viv_err_clear(&err);
        must(viv_blockdev_del("w", &err), &err);
    }
    reopen_well(back);
    end(g);
    expect_image("top", g->model);
    guest_free(g);
}

static void attach_fails(const char *name, const char *user)
{
    struct viv_node *n = viv_node_find(name);
    struct viv_err err = VIV_ERR_INIT;
    struct viv_blk *blk = NULL;

    viv_node_get(n);
    g_assert_cmpint(viv_blk_new(n, ALL, ALL, user, false, &blk, &err), ==, -EBUSY);
}

/* What an image consists of is its own, however many nodes lie between: no second writer, not by an export or a backup either. */
static void test_parts(void)
{
    struct guest *g = begin();
    struct viv_block_job_opts o = {.job.id = "j", .node = viv_node_find("top"), .sync = VIV_SYNC_FULL};
    g_autofree char *file = g_strdup_printf("driver=file,node-name=f,filename=%s/second", dir);
    struct viv_err err = VIV_ERR_INIT;
    struct viv_node_user *user = NULL;
    struct viv_blk *blk = NULL, *over = NULL;
    struct viv_node *f, *raw = NULL;

    g_assert_cmpint(viv_node_flush(viv_node_find("t")), ==, 0);
    copy_file("t", "second");
    must(viv_blockdev_add_text(file, &err), &err);
    must(viv_blockdev_add_text("driver=raw,node-name=r,file=f", &err), &err);
    must(viv_block_resize(viv_node_find("r"), SIZE, &err), &err);
    must(viv_blockdev_attach("r", ALL, ALL, "guest", &blk, &err), &err);
    f = viv_node_find("f");
    o.target = f;
    g_assert_cmpint(viv_job_backup(&o, &err), <, 0);
    g_assert_nonnull(strstr(err.text, "below another one"));
    viv_err_clear(&err);
    must(viv_blk_close(blk, &err), &err);
    must(viv_blockdev_add_text("driver=qcow2,node-name=q,file=r", &err), &err);
    attach_fails("f", "export");
    attach_fails("r", "export"); /* q has no users, and may write all the same */
    must(viv_blockdev_attach("q", ALL, ALL, "guest", &blk, &err), &err);
    attach_fails("r", "export");
    must(viv_blk_close(blk, &err), &err);
    must(viv_blockdev_del("q", &err), &err);
    must(viv_blockdev_del("r", &err), &err);

    /* A file with a user, and a window that an export has put over it: they agree, or not. */
    must(viv_node_attach(f, "backup", VIV_PERM_READ | VIV_PERM_WRITE, VIV_PERM_READ, &user, &err), &err);
    viv_node_get(f);
    must(viv_node_open_format(viv_blk_driver_find("raw"), f, &(struct viv_node_opts){0}, &raw, &err), &err);
    viv_node_get(raw);
    must(viv_blk_new(raw, VIV_PERM_READ, ALL, "reader", false, &over, &err), &err);
    must(viv_blk_close(over, &err), &err);
    viv_node_get(raw);
    g_assert_cmpint(viv_blk_new(raw, VIV_PERM_READ, VIV_PERM_READ, "reader", false, &over, &err), ==, -EBUSY);
    viv_err_clear(&err);
    viv_node_get(raw);
    g_assert_cmpint(viv_blk_new(raw, ALL, ALL, "export", false, &over, &err), ==, -EBUSY);
    g_assert_nonnull(strstr(err.text, "in use by backup"));
    viv_err_clear(&err);
    viv_node_detach(f, &user);
    g_assert_cmpint(viv_node_put(&raw), ==, 0);
    end(g);
    guest_free(g);
}

/* Two images on one file, which only read at first: one may become a writer when the other one is gone. */
static void test_two_images(void)
{
    static const char *const kinds[] = {"qcow2", "raw"};
    struct guest *g = begin();
    g_autofree char *file = g_strdup_printf("driver=file,node-name=f2,filename=%s/second", dir);
    struct viv_err err = VIV_ERR_INIT;

    g_assert_cmpint(viv_node_flush(viv_node_find("t")), ==, 0);
    copy_file("t", "second");
    must(viv_blockdev_add_text(file, &err), &err);
    for (unsigned i = 0; i < G_N_ELEMENTS(kinds); i++) {
        g_autofree char *add = g_strdup_printf("driver=%s,node-name=s,file=f2", kinds[i]),
                        *add2 = g_strdup_printf("driver=%s,node-name=s2,file=f2,read-only=on", kinds[i]),
                        *ro = g_strdup_printf("[{\"driver\": \"%s\", \"node-name\": \"s\", \"file\": \"f2\", \"read-only\": true}]", kinds[i]),
                        *rw = g_strdup_printf("[{\"driver\": \"%s\", \"node-name\": \"s\", \"file\": \"f2\"}]", kinds[i]),
                        *rw2 = g_strdup_printf("[{\"driver\": \"%s\", \"node-name\": \"s2\", \"file\": \"f2\"}]", kinds[i]);

        must(viv_blockdev_add_text(add, &err), &err);
        reopen_well(ro);
        must(viv_blockdev_add_text(add2, &err), &err);
        reopen_fails(rw, "stands on 'f2' too");
        reopen_fails(rw2, "stands on 'f2' too");
        g_assert_true(viv_node_find("s")->read_only && viv_node_find("s2")->read_only && viv_node_find("f2")->read_only);
        must(viv_blockdev_del("s2", &err), &err);
        reopen_well(rw);
        g_assert_true(!viv_node_find("s")->read_only && !viv_node_find("f2")->read_only);
        must(viv_blockdev_del("s", &err), &err);
    }
    end(g);
    guest_free(g);
}

static bool is_locked(const char *name, off_t byte)
{
    struct flock l = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = byte, .l_len = 1};
    g_autofree char *path = path_of(name);
    int fd = open(path, O_RDWR);

    g_assert_cmpint(fcntl(fd, F_OFD_GETLK, &l), ==, 0);
    close(fd);
    return l.l_type != F_UNLCK;
}

/* Locks that stay are never let go, not even for a moment: with somebody who has the right to write (and did not ask), to give up ours is all
 * the same possible, and what we do not share stays unshared; when somebody minds our writing, we go on reading as before. */
static void test_locks(void)
{
    enum { WRITES = 101, NO_WRITER = 201 };
    struct guest *g = begin();
    g_autofree char *path = path_of("t"), *rw = describe("t", "null", "", ""), *ro = describe("t", "null", "", ", \"read-only\": true"),
                    *writable = g_strdup_printf("[%s]", rw), *read_only = g_strdup_printf("[%s]", ro);
    struct flock l = {.l_type = F_RDLCK, .l_whence = SEEK_SET, .l_start = WRITES, .l_len = 1};
    int fd = open(path, O_RDWR);

    g_assert_true(is_locked("t", NO_WRITER));
    g_assert_cmpint(fcntl(fd, F_OFD_SETLK, &l), ==, 0);
    reopen_well(read_only);
    g_assert_true(is_locked("t", NO_WRITER));
    l.l_start = NO_WRITER;
    g_assert_cmpint(fcntl(fd, F_OFD_SETLK, &l), ==, 0);
    reopen_fails(writable, "lock");
    close(fd);
    g_assert_false(is_locked("t", WRITES));
    g_assert_true(is_locked("t", NO_WRITER));
    reopen_well(writable);
    g_assert_true(is_locked("t", WRITES));
    end(g);
    guest_free(g);
}

/* The new size is there, and not durable: that is an error, and all the same a new size. */
static void test_resize_unflushed(void)
{
    struct guest *g = begin();
    g_autofree char *path = path_of("second"),
                    *text = g_strdup_printf("driver=raw,node-name=r,file.driver=blkdebug,file.image.driver=file,file.image.filename=%s,"
                                            "file.inject-error.0.event=flush_to_disk,file.inject-error.0.errno=5", path);
    struct viv_err err = VIV_ERR_INIT;
    struct viv_blk *blk = NULL;
    unsigned before = told;

    g_assert_true(g_file_set_contents(path, (const char *)g->model, 65536, NULL));
    must(viv_blockdev_add_text(text, &err), &err);
    must(viv_blockdev_attach("r", ALL, ALL, "guest", &blk, &err), &err);
    viv_blk_on_resize(blk, 512, on_resized, NULL);
    g_assert_cmpint(viv_block_resize(viv_node_find("r"), 4096, &err), ==, -EIO);
    viv_err_clear(&err);
    g_assert_cmpuint(viv_blk_size(blk), ==, 4096);
    g_assert_cmpuint(told, ==, before + 1);
    viv_blk_close(blk, NULL);
    viv_blockdev_del("r", NULL);
    end(g);
    guest_free(g);
}

/* What could not be written stays with the driver: the guest goes on with it, and the next try works. */
static void test_unflushed(void)
{
    struct guest *g = begin();
    g_autofree char *text = g_strdup_printf("driver=blkdebug,node-name=bd,image.driver=file,image.filename=%s/second,inject-error.0.event=l2_update,"
                                            "inject-error.0.errno=28,inject-error.0.once=on", dir),
                    *other = g_strdup_printf("driver=file,node-name=f2,filename=%s/other", dir);
    struct viv_err err = VIV_ERR_INIT;
    struct viv_blk *blk = NULL;
    uint8_t buf[512] = {0};

    make("second", NULL);
    make("other", NULL);
    must(viv_blockdev_add_text(text, &err), &err);
    must(viv_blockdev_add_text("driver=qcow2,node-name=s,file=bd", &err), &err);
    must(viv_blockdev_add_text(other, &err), &err);
    must(viv_blockdev_attach("s", ALL, ALL, "guest", &blk, &err), &err);
    must(viv_blk_pwrite(blk, 1 << 20, "data", 5, 0), &err);
    reopen_fails("[{\"driver\": \"qcow2\", \"node-name\": \"s\", \"file\": \"f2\"}]", "completely");
    g_assert_cmpint(viv_blk_pread(blk, 1 << 20, buf, 5), ==, 0);
    g_assert_cmpstr((char *)buf, ==, "data");
    g_assert_cmpstr(viv_node_find("s")->file->name, ==, "bd");
    must(viv_blk_close(blk, &err), &err);
    must(viv_node_set_read_only(viv_node_find("s"), true, &err), &err);
    memset(buf, 0, sizeof(buf));
    g_assert_cmpint(viv_node_pread(viv_node_find("s"), 1 << 20, buf, 5), ==, 0);
    g_assert_cmpstr((char *)buf, ==, "data");
    end(g);
    guest_free(g);
}

/* A bitmap that the image keeps sleeps and wakes with it, as often as that may be. */
static void test_bitmap_kept(void)
{
    struct guest *g = begin();
    struct viv_bitmap_info info = {.name = (char *)"b", .granularity = 65536, .automatic = true};
    struct viv_node *t = viv_node_find("t");
    struct viv_err err = VIV_ERR_INIT;
    struct viv_blk *blk = NULL;

    must(t->drv->bitmaps->store(t, &info, NULL, &err), &err);
    for (unsigned i = 1; i <= 3; i++) {
        must(viv_blockdev_attach("t", ALL, ALL, "guest", &blk, &err), &err);
        must(viv_blk_pwrite(blk, i * 65536, "data", 5, 0), &err);
        must(viv_blk_close(blk, &err), &err);
        must(viv_node_set_read_only(t, true, &err), &err);
        g_assert_null(t->bitmaps);
        must(viv_node_set_read_only(t, false, &err), &err);
        g_assert_nonnull(viv_bitmap_find(t, "b"));
        g_assert_cmpuint(viv_bitmap_count(viv_bitmap_find(t, "b")), ==, i * 65536);
    }
    end(g);
    guest_free(g);
}

/* --- a change, and what comes meanwhile --- */

static bool tried;

static void try_others(void *unused)
{
    struct viv_block_job_opts o = {.job.id = "j", .node = viv_node_find("top"), .target = viv_node_find("t")};
    struct viv_err err = VIV_ERR_INIT;
    struct viv_blk *blk = NULL;

    g_assert_cmpint(viv_blockdev_attach("t", VIV_PERM_READ, ALL, "late", &blk, &err), ==, -EBUSY);
    viv_err_clear(&err);
    g_assert_cmpint(viv_blockdev_add_text("driver=null-co,node-name=late", &err), ==, -EBUSY);
    viv_err_clear(&err);
    g_assert_cmpint(viv_blockdev_del("t", &err), ==, -EBUSY);
    viv_err_clear(&err);
    g_assert_cmpint(viv_job_backup(&o, &err), <, 0);
    g_assert_nonnull(strstr(err.text, "another command"));
    __atomic_store_n(&tried, true, __ATOMIC_RELEASE);
}

static int slow_change(void *opaque, struct viv_err *err)
{
    viv_loop_call(try_others, NULL);
    while (!__atomic_load_n(&tried, __ATOMIC_ACQUIRE))
        g_usleep(1000);
    return 0;
}

static void test_quiet(void)
{
    struct guest *g = begin();
    struct viv_err err = VIV_ERR_INIT;

    must(viv_graph_run(slow_change, NULL, &err), &err);
    must(viv_blockdev_del("t", &err), &err);
    end(g);
    guest_free(g);
}

/* --- readers that are always there --- */

enum { READERS = 4 };

static bool enough;

static void *read_graph(void *unused)
{
    while (!__atomic_load_n(&enough, __ATOMIC_ACQUIRE)) {
        viv_graph_enter();
        g_usleep(1000);
        viv_graph_enter(); /* nested, while somebody waits to change it */
        g_usleep(1000);
        viv_graph_leave();
        viv_graph_leave();
    }
    return NULL;
}

static void *change_graph(void *done)
{
    for (int i = 0; i < 20; i++) {
        viv_graph_begin();
        viv_graph_enter();
        viv_graph_leave();
        viv_graph_end();
        g_usleep(1000);
    }
    __atomic_store_n((bool *)done, true, __ATOMIC_RELEASE);
    return NULL;
}

static void test_fair(void)
{
    pthread_t reader[READERS], writer;
    bool done = false, in_time;

    for (unsigned i = 0; i < READERS; i++)
        g_assert_cmpint(pthread_create(&reader[i], NULL, read_graph, NULL), ==, 0);
    g_usleep(20000);
    g_assert_cmpint(pthread_create(&writer, NULL, change_graph, &done), ==, 0);
    for (int i = 0; i < 500 && !__atomic_load_n(&done, __ATOMIC_ACQUIRE); i++)
        g_usleep(10000);
    in_time = __atomic_load_n(&done, __ATOMIC_ACQUIRE);
    __atomic_store_n(&enough, true, __ATOMIC_RELEASE);
    for (unsigned i = 0; i < READERS; i++)
        pthread_join(reader[i], NULL);
    pthread_join(writer, NULL);
    g_assert_true(in_time);
}

/* --- the monitor beside a slow reader, and somebody who waits to change the graph --- */

static bool inside, answered;

static void *read_slowly(void *in_time)
{
    viv_graph_enter();
    __atomic_store_n(&inside, true, __ATOMIC_RELEASE);
    for (int i = 0; i < 500 && !__atomic_load_n(&answered, __ATOMIC_ACQUIRE); i++)
        g_usleep(10000);
    *(bool *)in_time = __atomic_load_n(&answered, __ATOMIC_ACQUIRE);
    viv_graph_leave();
    return NULL;
}

static void test_device_lock(void)
{
    pthread_t reader, writer;
    bool in_time = false;

    g_assert_cmpint(pthread_create(&reader, NULL, read_slowly, &in_time), ==, 0);
    while (!__atomic_load_n(&inside, __ATOMIC_ACQUIRE))
        g_usleep(1000);
    g_assert_cmpint(pthread_create(&writer, NULL, change_once, NULL), ==, 0);
    g_usleep(200000); /* it waits for the reader by now */
    g_assert_true(viv_dev_locked());
    viv_graph_enter();
    viv_graph_leave();
    __atomic_store_n(&answered, true, __ATOMIC_RELEASE);
    pthread_join(reader, NULL);
    pthread_join(writer, NULL);
    g_assert_true(in_time);
}

int main(int argc, char **argv)
{
    const char *seed = g_getenv("SEED");
    int ret;

    g_test_init(&argc, &argv, NULL);
    rnd = g_rand_new_with_seed(seed ? (uint32_t)atoi(seed) : 1);
    dir = g_dir_make_tmp("viv-graph-XXXXXX", NULL);
    viv_dev_lock();
    g_test_add_func("/graph/options", test_options);
    g_test_add_func("/graph/children", test_children);
    g_test_add_func("/graph/file", test_file);
    g_test_add_func("/graph/file-undone", test_file_undone);
    g_test_add_func("/graph/resize", test_resize);
    g_test_add_func("/graph/resize-unflushed", test_resize_unflushed);
    g_test_add_func("/graph/unflushed", test_unflushed);
    g_test_add_func("/graph/bitmap-kept", test_bitmap_kept);
    g_test_add_func("/graph/locks", test_locks);
    g_test_add_func("/graph/quiet", test_quiet);
    g_test_add_func("/graph/fair", test_fair);
    g_test_add_func("/graph/device-lock", test_device_lock);
    g_test_add_func("/graph/lists", test_lists);
    g_test_add_func("/graph/below", test_below);
    g_test_add_func("/graph/below-others", test_below_others);
    g_test_add_func("/graph/parts", test_parts);
    g_test_add_func("/graph/two-images", test_two_images);
    ret = g_test_run();
    viv_dev_unlock();
    for (const char *const *name = (const char *const[]){"base", "mid", "top", "t", "copy", "other", "second", NULL}; *name; name++) {
        g_autofree char *path = path_of(*name);

        unlink(path);
    }
    rmdir(dir);
    g_free(dir);
    g_rand_free(rnd);
    return ret;
}
