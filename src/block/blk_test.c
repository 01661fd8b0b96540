/* Handles on raw images: data, the asynchronous front end, drain, locks, options. */
#include "block/blk.h"
#include "block/options.h"
#include "block/throttle.h"
#include "block/stats.h"

#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <glib/gstdio.h>
#include <string.h>
#include <unistd.h>

static char *dir;

#define RW     (VIV_PERM_READ | VIV_PERM_WRITE)
#define SHARED VIV_PERM_READ

static char *make_file(const char *name, uint64_t size)
{
    char *path = g_build_filename(dir, name, NULL);
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);

    g_assert_cmpint(fd, >=, 0);
    g_assert_cmpint(ftruncate(fd, size), ==, 0);
    close(fd);
    return path;
}

static struct viv_blk *open_raw(const char *path)
{
    struct viv_err err = VIV_ERR_INIT;
    struct viv_blk *b = NULL;

    if (viv_blk_open_path(path, "raw", RW, SHARED, "test", &b, &err))
        g_error("%s", err.text);
    return b;
}

/* What is data is asked of the file system once; a hole that is made later is seen all the same. */
static void test_holes(void)
{
    g_autofree char *path = make_file("holes.raw", 4 << 20);
    struct viv_blk *b = open_raw(path);
    uint8_t w[65536];
    struct viv_extent e;

    memset(w, 1, sizeof(w));
    for (unsigned i = 16; i < 48; i++)
        g_assert_cmpint(viv_blk_pwrite(b, i * sizeof(w), w, sizeof(w), 0), ==, 0);
    for (unsigned i = 0; i < 2; i++) {
        g_assert_cmpint(viv_node_status(viv_blk_node(b), 20 * sizeof(w), 44 * sizeof(w), &e), ==, 0);
        g_assert_cmpint(e.kind, ==, VIV_MAP_DATA);
        g_assert_cmpuint(e.len, ==, 28 * sizeof(w));
    }
    g_assert_cmpint(viv_node_status(viv_blk_node(b), 0, 4 << 20, &e), ==, 0);
    g_assert_cmpint(e.kind, ==, VIV_MAP_ZERO);
    g_assert_cmpint(viv_node_write_zeroes(viv_blk_node(b)->file, 20 * sizeof(w), sizeof(w), VIV_BLK_UNMAP), ==, 0);
    g_assert_cmpint(viv_node_status(viv_blk_node(b), 20 * sizeof(w), 44 * sizeof(w), &e), ==, 0);
    g_assert_cmpint(e.kind, ==, VIV_MAP_ZERO);
    g_assert_cmpuint(e.len, ==, sizeof(w));
    viv_blk_node(b)->file->detect_zeroes = VIV_DETECT_UNMAP; /* the short way past the image does not miss it */
    memset(w, 0, sizeof(w));
    g_assert_cmpint(viv_blk_pwrite(b, 30 * sizeof(w), w, sizeof(w), 0), ==, 0);
    g_assert_cmpint(viv_node_status(viv_blk_node(b), 30 * sizeof(w), sizeof(w), &e), ==, 0);
    g_assert_cmpint(e.kind, ==, VIV_MAP_ZERO);
    g_assert_cmpint(viv_blk_close(b, NULL), ==, 0);
}

static void test_data(void)
{
    g_autofree char *path = make_file("data.raw", 1000001);
    struct viv_blk *b = open_raw(path);
    uint8_t w[5000], r[6000];
    struct viv_err err = VIV_ERR_INIT;

    g_assert_cmpuint(viv_blk_size(b), ==, 1000448); /* rounded up to sectors */
    memset(w, 0xa5, sizeof(w));
    g_assert_cmpint(viv_blk_pwrite(b, 12345, w, sizeof(w), VIV_BLK_FUA), ==, 0);
    g_assert_cmpint(viv_blk_pread(b, 12000, r, sizeof(r)), ==, 0);
    for (unsigned i = 0; i < sizeof(r); i++)
        g_assert_cmpuint(r[i], ==, i >= 345 && i < 345 + sizeof(w) ? 0xa5 : 0);
    g_assert_cmpint(viv_blk_pwrite_zeroes(b, 13000, 1000, VIV_BLK_UNMAP), ==, 0);
    g_assert_cmpint(viv_blk_pread(b, 13000, r, 1001), ==, 0);
    g_assert_cmpuint(r[999], ==, 0);
    g_assert_cmpuint(r[1000], ==, 0xa5);
    /* The last sector passes the end of the file. */
    g_assert_cmpint(viv_blk_pread(b, 999936, r, 512), ==, 0);
    g_assert_cmpint(viv_blk_pwrite(b, 999936, w, 512, 0), ==, 0);
    g_assert_cmpint(viv_blk_pread(b, 1000448, r, 1), ==, -EINVAL);
    g_assert_cmpint(viv_blk_pread(b, UINT64_MAX, r, 2), ==, -EINVAL);
    g_assert_cmpint(viv_blk_close(b, &err), ==, 0);
}

struct async {
    struct viv_blk_req req;
    struct iovec v;
    uint8_t buf[4096];
    int result;
    unsigned *left;
    pthread_t submitter;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t cond = PTHREAD_COND_INITIALIZER;

static void on_done(struct viv_blk_req *req, int result)
{
    struct async *a = req->opaque;

    g_assert_false(pthread_equal(pthread_self(), a->submitter));
    pthread_mutex_lock(&lock);
    a->result = result;
    --*a->left;
    pthread_cond_broadcast(&cond);
    pthread_mutex_unlock(&lock);
}

static void submit(struct viv_blk *b, struct async *a, enum viv_blk_op op, uint64_t offset,
                   unsigned *left)
{
    a->v = (struct iovec){a->buf, sizeof(a->buf)};
    a->left = left;
    a->result = 1;
    a->submitter = pthread_self();
    a->req = (struct viv_blk_req){.op = op,
                                  .offset = offset,
                                  .len = sizeof(a->buf),
                                  .iov = &a->v,
                                  .iovcnt = 1,
                                  .done = on_done,
                                  .opaque = a};
    viv_blk_submit(b, &a->req);
}

static void wait_all(unsigned *left)
{
    pthread_mutex_lock(&lock);
    while (*left)
        pthread_cond_wait(&cond, &lock);
    pthread_mutex_unlock(&lock);
}

static void test_async(void)
{
    enum { N = 200 };
    g_autofree char *path = make_file("async.raw", 1 << 20);
    struct viv_blk *b = open_raw(path);
    struct async *a = g_new0(struct async, N);
    const struct viv_blk_counters *c = viv_blk_counters(b);
    unsigned left = N;

    for (int i = 0; i < N; i++) {
        memset(a[i].buf, i + 1, sizeof(a[i].buf));
        submit(b, &a[i], VIV_BLK_WRITE, i * 4096, &left);
    }
    wait_all(&left);
    left = N + 1;
    viv_blk_drain(b);
    for (int i = 0; i < N; i++) {
        g_assert_cmpint(a[i].result, ==, 0);
        memset(a[i].buf, 0, sizeof(a[i].buf));
        submit(b, &a[i], VIV_BLK_READ, i * 4096, &left);
    }
    g_assert_cmpuint(viv_blk_in_flight(b), ==, N); /* none starts while drained */
    g_assert_cmpint(a[0].result, ==, 1);
    viv_blk_resume(b);
    pthread_mutex_lock(&lock);
    left--;
    pthread_mutex_unlock(&lock);
    wait_all(&left);
    for (int i = 0; i < N; i++) {
        g_assert_cmpint(a[i].result, ==, 0);
        g_assert_cmpuint(a[i].buf[77], ==, (uint8_t)(i + 1));
    }
    left = 1;
    submit(b, &a[0], VIV_BLK_READ, 1 << 20, &left); /* outside: an error, but not from submit */
    wait_all(&left);
    g_assert_cmpint(a[0].result, ==, -EINVAL);
    g_assert_cmpuint(c->ops[VIV_STAT_WRITE], ==, N);
    g_assert_cmpuint(c->bytes[VIV_STAT_READ], ==, N * sizeof(a[0].buf));
    g_assert_cmpuint(c->invalid[VIV_STAT_READ], ==, 1);
    g_assert_cmpuint(c->failed[VIV_STAT_READ], ==, 0);
    g_assert_cmpuint(c->written_end, ==, (N - 1) * 4096 + sizeof(a[0].buf));
    g_assert_cmpuint(c->ns[VIV_STAT_READ], >, 0);
    g_assert_cmpint(c->last, >, 0);
    viv_blk_drain(b); /* done() may run just before the request is counted off */
    g_assert_cmpuint(viv_blk_in_flight(b), ==, 0);
    viv_blk_resume(b);
    viv_blk_close(b, NULL);
    g_free(a);
}

/* What lies in the page cache is moved at once, and seen by all others; what is no plain read or write is not tried. */
static void test_try(void)
{
    g_autofree char *path = make_file("try.raw", 1 << 20);
    struct viv_blk *b = open_raw(path);
    uint8_t w[4096], r[4096] = {0}, large[65537];
    struct iovec v = {w, sizeof(w)};
    struct viv_blk_req q = {.op = VIV_BLK_WRITE, .offset = 8192, .len = sizeof(w), .iov = &v, .iovcnt = 1};
    int ret;

    memset(w, 7, sizeof(w));
    ret = viv_blk_try(b, &q);
    g_assert_true(ret == 0 || ret == -EAGAIN); /* as the file system can */
    g_assert_cmpint(viv_blk_run(b, &q), ==, 0);
    q.op = VIV_BLK_READ;
    v.iov_base = r;
    ret = viv_blk_try(b, &q);
    g_assert_true(ret == -EAGAIN || (ret == 0 && memcmp(r, w, sizeof(r)) == 0));
    g_assert_cmpint(viv_blk_run(b, &q), ==, 0);
    g_assert_cmpmem(r, sizeof(r), w, sizeof(w));
    viv_blk_drain(b);
    g_assert_cmpint(viv_blk_try(b, &q), ==, -EAGAIN);
    viv_blk_resume(b);
    q.op = VIV_BLK_WRITE;
    q.flags = VIV_BLK_FUA;
    g_assert_cmpint(viv_blk_try(b, &q), ==, -EAGAIN);
    q.flags = 0;
    q.offset = (1 << 20) - 4095;
    g_assert_cmpint(viv_blk_try(b, &q), ==, -EAGAIN);
    g_assert_cmpint(viv_blk_run(b, &q), ==, -EINVAL);
    v = (struct iovec){large, sizeof(large)};
    q = (struct viv_blk_req){.op = VIV_BLK_READ, .len = sizeof(large), .iov = &v, .iovcnt = 1};
    g_assert_cmpint(viv_blk_try(b, &q), ==, -EAGAIN);
    q = (struct viv_blk_req){.op = VIV_BLK_FLUSH};
    g_assert_cmpint(viv_blk_try(b, &q), ==, -EAGAIN);
    g_assert_cmpint(viv_blk_close(b, NULL), ==, 0);
}

static void test_locks(void)
{
    g_autofree char *path = make_file("lock.raw", 4096);
    struct viv_blk *b = open_raw(path), *other = NULL;
    struct viv_err err = VIV_ERR_INIT;

    g_assert_cmpint(viv_blk_open_path(path, "raw", RW, SHARED, "other", &other, &err), ==, -EAGAIN);
    g_assert_nonnull(strstr(err.text, "this process itself"));
    viv_err_clear(&err);
    g_assert_cmpint(viv_blk_open_path(path, "raw", VIV_PERM_READ, SHARED, "other", &other, &err),
                    ==, -EAGAIN);
    viv_blk_close(b, NULL);
    viv_err_clear(&err);
    g_assert_cmpint(viv_blk_open_path(path, "raw", VIV_PERM_READ, SHARED, "a", &b, &err), ==, 0);
    g_assert_cmpint(viv_blk_open_path(path, "raw", VIV_PERM_READ, SHARED, "b", &other, &err), ==,
                    0);
    viv_blk_close(b, NULL);
    viv_blk_close(other, NULL);
}

/* A guest may not turn a disk that was guessed to be raw into something else. */
static void test_probed_raw(void)
{
    g_autofree char *path = make_file("probed.raw", 1 << 16);
    struct viv_err err = VIV_ERR_INIT;
    struct viv_blk *b = NULL;
    uint8_t head[512] = "QFI\xfb\0\0\0\3";

    g_assert_cmpint(viv_blk_open_path(path, NULL, RW, SHARED, "test", &b, &err), ==, 0);
    g_assert_cmpint(viv_blk_pwrite(b, 0, head, sizeof(head), 0), ==, -EPERM);
    g_assert_cmpint(viv_blk_pwrite(b, 512, head, sizeof(head), 0), ==, 0);
    g_assert_cmpint(viv_blk_pwrite(b, 0, "QFI\xfb", 4, 0), ==, 0);
    g_assert_cmpint(viv_blk_pwrite(b, 4, "\0\0\0\3", 4, 0), ==, -EPERM);
    viv_blk_close(b, NULL);
}

static struct viv_blk *drive(const char *text, struct viv_err *err)
{
    struct viv_raw_opts *image = NULL;
    struct viv_opts *o = NULL;
    struct viv_blk *b = NULL;

    viv_err_clear(err);
    if (viv_drive_parse("-drive", text, &o, &image, err) == 0)
        viv_blk_open(o, image, RW, SHARED, "test", &b, err);
    viv_raw_free(image);
    viv_opts_free(o);
    return b;
}

static void test_drive(void)
{
    g_autofree char *path = make_file("drive.raw", 1 << 20);
    g_autofree char *good =
        g_strdup_printf("file=%s,format=raw,if=none,id=d0,cache=writethrough", path);
    g_autofree char *ro = g_strdup_printf("file.filename=%s,driver=raw,readonly=on", path);
    g_autofree char *aio = g_strdup_printf("file=%s,format=raw,aio=native", path);
    g_autofree char *fmt = g_strdup_printf("file=%s,format=vmdk", path);
    struct viv_err err = VIV_ERR_INIT;
    struct viv_blk *b = drive(good, &err);

    g_assert_nonnull(b);
    g_assert_true(viv_blk_writable(b));
    g_assert_cmpint(viv_blk_pwrite(b, 0, "x", 1, 0), ==, 0);
    viv_blk_close(b, NULL);
    b = drive(ro, &err);
    g_assert_nonnull(b);
    g_assert_false(viv_blk_writable(b));
    g_assert_cmpint(viv_blk_pwrite(b, 0, "x", 1, 0), ==, -EROFS);
    viv_blk_close(b, NULL);
    g_assert_null(drive(aio, &err));
    g_assert_nonnull(strstr(err.text, "aio=io_uring works"));
    g_assert_null(drive(fmt, &err));
    g_assert_nonnull(strstr(err.text, "raw"));
    g_assert_null(drive("file=/nonexistent/x,format=raw", &err));
    g_assert_nonnull(strstr(err.text, "No such file"));
}

static void nothing(struct viv_blk_req *req, int result)
{
    g_assert_cmpint(result, ==, 0);
    g_atomic_int_inc((int *)req->opaque);
}

/* What a limit of one request a second holds ends at once when the handle closes. */
static void test_limits(void)
{
    struct viv_blk_req r[30];
    struct viv_err err = VIV_ERR_INIT;
    struct viv_blk *b = drive("driver=raw,file.driver=null-co,file.size=1M,iops=1", &err);
    int ended = 0;

    g_assert_nonnull(b);
    for (unsigned i = 0; i < G_N_ELEMENTS(r); i++) {
        r[i] = (struct viv_blk_req){.op = VIV_BLK_WRITE_ZEROES, .len = 512, .done = nothing, .opaque = &ended};
        viv_blk_submit(b, &r[i]);
    }
    g_assert_cmpuint(viv_blk_in_flight(b), >, 10);
    g_assert_cmpint(viv_blk_close(b, &err), ==, 0);
    g_assert_cmpint(g_atomic_int_get(&ended), ==, (int)G_N_ELEMENTS(r));
}

static void wait_ended(const int *ended, int n)
{
    for (int i = 0; i < 10000 && g_atomic_int_get(ended) < n; i++)
        g_usleep(1000);
    g_assert_cmpint(g_atomic_int_get(ended), ==, n);
}

/* Other limits let go of what the old ones held; a group goes from one handle to another with its limits. */
static void test_other_limits(void)
{
    const struct viv_limits slow = {.l = {[VIV_LIMIT_IOPS_TOTAL] = {.avg = 1}}}, none = {0};
    struct viv_blk_req r[30];
    struct viv_err err = VIV_ERR_INIT;
    struct viv_blk *b = drive("driver=raw,file.driver=null-co,file.size=1M", &err), *next;
    struct viv_throttle *kept;
    struct viv_limits l;
    int ended = 0;

    g_assert_null(viv_blk_limits(b));
    g_assert_cmpint(viv_blk_set_limits(b, "nobody", &none, &err), ==, -ENOENT);
    viv_err_clear(&err);
    for (int round = 0; round < 2; round++) {
        g_assert_cmpint(viv_blk_set_limits(b, "some", &slow, &err), ==, 0);
        for (unsigned i = 0; i < G_N_ELEMENTS(r); i++) {
            r[i] = (struct viv_blk_req){.op = VIV_BLK_WRITE_ZEROES, .len = 512, .done = nothing, .opaque = &ended};
            viv_blk_submit(b, &r[i]);
        }
        g_assert_cmpuint(viv_blk_in_flight(b), >, 10);
        g_assert_cmpint(viv_blk_set_limits(b, NULL, round ? &none : &slow, &err), ==, 0);
        wait_ended(&ended, (round + 1) * (int)G_N_ELEMENTS(r));
    }
    g_assert_null(viv_blk_limits(b));
    g_assert_cmpint(viv_blk_set_limits(b, "some", &slow, &err), ==, 0);
    kept = viv_throttle_ref(viv_blk_limits(b));
    g_assert_cmpint(viv_blk_close(b, &err), ==, 0);
    next = drive("driver=raw,file.driver=null-co,file.size=1M", &err);
    viv_blk_join_limits(next, kept);
    g_assert_cmpstr(viv_throttle_name(viv_blk_limits(next)), ==, "some");
    viv_throttle_limits(viv_blk_limits(next), &l);
    g_assert_cmpuint(l.l[VIV_LIMIT_IOPS_TOTAL].avg, ==, 1);
    g_assert_cmpint(viv_blk_close(next, &err), ==, 0);
    g_assert_null(viv_throttle_find("some"));
}

static void test_snapshot(void)
{
    g_autofree char *path = make_file("snapshot.raw", 1 << 20);
    g_autofree char *with = g_strdup_printf("file=%s,format=raw,snapshot=on", path);
    struct viv_err err = VIV_ERR_INIT;
    struct viv_blk *b = open_raw(path), *reader = NULL;
    uint8_t buf[3] = {0};

    g_assert_cmpint(viv_blk_pwrite(b, 1000, "old", 3, 0), ==, 0);
    viv_blk_close(b, NULL);
    b = drive(with, &err);
    g_assert_nonnull(b);
    g_assert_true(viv_blk_writable(b));
    g_assert_cmpint(viv_blk_pread(b, 1000, buf, 3), ==, 0);
    g_assert_cmpmem(buf, 3, "old", 3);
    g_assert_cmpint(viv_blk_pwrite(b, 1000, "new", 3, VIV_BLK_FUA), ==, 0);
    g_assert_cmpint(viv_blk_pread(b, 1000, buf, 3), ==, 0);
    g_assert_cmpmem(buf, 3, "new", 3);
    /* The image is only read, so others may read it too. */
    g_assert_cmpint(viv_blk_open_path(path, "raw", VIV_PERM_READ, SHARED, "r", &reader, &err), ==,
                    0);
    g_assert_cmpint(viv_blk_pread(reader, 1000, buf, 3), ==, 0);
    g_assert_cmpmem(buf, 3, "old", 3);
    viv_blk_close(reader, NULL);
    g_assert_cmpint(viv_blk_close(b, NULL), ==, 0);
}

static int blockdev(const char *text, struct viv_err *err)
{
    viv_err_clear(err);
    return viv_blockdev_add_text(text, err);
}

static void test_blockdev(void)
{
    g_autofree char *path = make_file("bd.raw", 1 << 20);
    g_autofree char *file = g_strdup_printf("file,filename=%s,node-name=f0", path);
    struct viv_err err = VIV_ERR_INIT;
    struct viv_blk *a = NULL, *b = NULL;

    g_assert_cmpint(blockdev(file, &err), ==, 0);
    g_assert_cmpint(blockdev("{\"driver\":\"raw\",\"file\":\"f0\",\"node-name\":\"d0\"}", &err), ==,
                    0);
    g_assert_cmpint(blockdev("driver=null-co,node-name=d0", &err), ==, -EEXIST);
    g_assert_cmpint(blockdev("driver=raw,file=f0,node-name=d1", &err), ==, -EBUSY);
    /* Nothing is parsed and ignored. */
    g_assert_cmpint(blockdev("driver=raw,filename=x,node-name=d1", &err), ==, -EINVAL);
    g_assert_nonnull(strstr(err.text, "file.filename"));
    g_assert_cmpint(blockdev("driver=file,filename=x,backing=y,node-name=d1", &err), <, 0);
    g_assert_cmpint(blockdev("driver=raw,file=f0,aio=threads,node-name=d1", &err), ==, -EINVAL);
    g_assert_cmpint(blockdev("driver=null-co,filename=x,node-name=d1", &err), ==, -EINVAL);
    g_assert_cmpint(blockdev("driver=raw,file=f0,cache-size=1,node-name=d1", &err), <, 0);
    g_assert_cmpint(blockdev("driver=nfs,node-name=d1", &err), ==, -ENOTSUP);
    g_assert_cmpint(viv_blockdev_attach("d0", RW, SHARED, "disk 'a'", &a, &err), ==, 0);
    viv_err_clear(&err);
    g_assert_cmpint(viv_blockdev_attach("d0", RW, SHARED, "disk 'b'", &b, &err), ==, -EBUSY);
    g_assert_nonnull(strstr(err.text, "disk 'a'"));
    viv_err_clear(&err);
    g_assert_cmpint(viv_blockdev_del("d0", &err), ==, -EBUSY);
    g_assert_cmpint(viv_blk_pwrite(a, 4096, "hello", 6, 0), ==, 0);
    g_assert_cmpint(viv_blk_close(a, NULL), ==, 0);
    g_assert_cmpint(viv_blockdev_del("d0", NULL), ==, 0);
    g_assert_cmpint(viv_blockdev_close_all(NULL), ==, 0);
    g_assert_null(viv_node_find("f0"));
}

static void cleanup(void)
{
    GDir *d = g_dir_open(dir, 0, NULL);
    const char *name;

    while ((name = g_dir_read_name(d)) != NULL) {
        g_autofree char *path = g_build_filename(dir, name, NULL);

        g_unlink(path);
    }
    g_dir_close(d);
    g_rmdir(dir);
    g_free(dir);
}

int main(int argc, char **argv)
{
    int ret;

    g_test_init(&argc, &argv, NULL);
    dir = g_dir_make_tmp("viv-blk-XXXXXX", NULL);
    g_test_add_func("/block/blk/holes", test_holes);
    g_test_add_func("/block/raw/data", test_data);
    g_test_add_func("/block/raw/async", test_async);
    g_test_add_func("/block/blk/try", test_try);
    g_test_add_func("/block/locks", test_locks);
    g_test_add_func("/block/probed-raw", test_probed_raw);
    g_test_add_func("/block/drive", test_drive);
    g_test_add_func("/block/raw/limits", test_limits);
    g_test_add_func("/block/raw/other-limits", test_other_limits);
    g_test_add_func("/block/snapshot", test_snapshot);
    g_test_add_func("/block/blockdev", test_blockdev);
    ret = g_test_run();
    cleanup();
    return ret;
}
