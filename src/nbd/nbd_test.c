/* Our server and our client over socket pairs: random requests from many threads against a model; then each of them
 * against peers that lie. */
#include "block/bitmap.h"
#include "block/fmt/raw/raw.h"
#include "block/mem_test.h"
#include "block/proto/nbd/nbd_int.h"
#include "nbd/server.h"

#include <sys/socket.h>
#include <unistd.h>

#define DISK    (8u << 20)
#define THREADS 6
#define ROUNDS  150

struct rig {
    struct mem mem;
    struct viv_blk *blk;
    struct viv_nbd_server *server;
    struct viv_nbd_export *export; /* the server's */
};

static void rig_start(struct rig *g, bool writable)
{
    struct viv_nbd_export_spec spec = {.name = "disk", .size = UINT64_MAX, .writable = writable, .allocation_depth = true};
    struct viv_nbd_server_opts so = {.handshake_seconds = 5};
    struct viv_node_opts o = {.unmap = true, .read_only = !writable};
    struct viv_node *n = NULL;
    struct viv_nbd_export *e = NULL;

    mem_init(&g->mem);
    mem_grow(&g->mem, DISK);
    g_assert_cmpint(viv_node_open_format(&viv_blk_raw, mem_node(&g->mem), &o, &n, NULL), ==, 0);
    g_assert_cmpint(viv_blk_new(n, VIV_PERM_READ | (writable ? VIV_PERM_WRITE : 0), VIV_PERM_READ, "test", false, &g->blk, NULL), ==, 0);
    g_assert_cmpint(viv_nbd_export_new(g->blk, &spec, &e, NULL), ==, 0);
    g->server = viv_nbd_server_new(&so);
    g_assert_cmpint(viv_nbd_server_add(g->server, e, NULL), ==, 0);
    g->export = e;
}

static void rig_stop(struct rig *g)
{
    viv_nbd_server_free(g->server);
    g_assert_cmpint(viv_blk_close(g->blk, NULL), ==, 0);
    mem_fini(&g->mem);
}

/* Our end of a new connection. */
static int rig_connect(struct rig *g)
{
    int pair[2];

    g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), ==, 0);
    g_assert_cmpint(viv_nbd_server_serve(g->server, pair[0], NULL, NULL), ==, 0);
    return pair[1];
}

static int open_chan(struct viv_nbd_chan *c, const char *name, struct viv_node **out, struct viv_err *err)
{
    struct viv_nbd_target t = {.host = g_strdup("test"), .port = g_strdup("1"), .export_name = g_strdup(name)};
    struct viv_nbd_pool *p = NULL;
    int ret = viv_nbd_pool_open_chan(c, &t, &p, err);

    if (!ret)
        *out = viv_nbd_node_new(p, "test");
    return ret;
}

/* --- both of ours --- */

struct worker {
    struct viv_node *n;
    uint64_t start, len; /* its part of the disk */
    uint32_t seed;
};

static void one_request(struct worker *w, GRand *r, uint8_t *model, uint8_t *buf)
{
    uint64_t off = g_rand_int_range(r, 0, w->len), len = g_rand_int_range(r, 1, 300000);
    struct viv_extent e;

    len = MIN(len, w->len - off);
    switch (g_rand_int_range(r, 0, 6)) {
    case 0:
    case 1:
        memset(buf, g_rand_int_range(r, 0, 256), len);
        memcpy(model + off, buf, len);
        g_assert_cmpint(viv_node_pwrite(w->n, w->start + off, buf, len), ==, 0);
        break;
    case 2:
        memset(model + off, 0, len);
        g_assert_cmpint(viv_node_write_zeroes(w->n, w->start + off, len, g_rand_boolean(r) ? VIV_BLK_UNMAP : 0), ==, 0);
        break;
    case 3:
        g_assert_cmpint(viv_node_status(w->n, w->start + off, len, &e), ==, 0);
        g_assert_cmpuint(e.len, >=, 1);
        g_assert_cmpuint(e.len, <=, len);
        g_assert_true(e.kind != VIV_MAP_ZERO || viv_buf_is_zero(model + off, e.len));
        break;
    case 4:
        g_assert_cmpint(viv_node_flush(w->n), ==, 0);
        break;
    }
    g_assert_cmpint(viv_node_pread(w->n, w->start + off, buf, len), ==, 0);
    g_assert_cmpmem(buf, len, model + off, len);
}

static void *worker(void *opaque)
{
    struct worker *w = opaque;
    g_autoptr(GRand) r = g_rand_new_with_seed(w->seed);
    g_autofree uint8_t *model = g_malloc0(w->len), *buf = g_malloc(w->len);

    for (unsigned i = 0; i < ROUNDS; i++)
        one_request(w, r, model, buf);
    return NULL;
}

static void test_model(void)
{
    struct worker w[THREADS];
    GThread *t[THREADS];
    struct viv_node *n = NULL;
    struct rig g;
    uint8_t b[10];

    rig_start(&g, true);
    g_assert_cmpint(open_chan(viv_nbd_chan_new(rig_connect(&g)), "disk", &n, NULL), ==, 0);
    g_assert_cmpuint(viv_node_size(n), ==, DISK);
    for (unsigned i = 0; i < THREADS; i++) {
        w[i] = (struct worker){n, i * (DISK / THREADS), DISK / THREADS, g_test_rand_int()};
        t[i] = g_thread_new("worker", worker, &w[i]);
    }
    for (unsigned i = 0; i < THREADS; i++)
        g_thread_join(t[i]);
    /* Past the end: zeroes to read, nothing to write. */
    memset(b, 7, sizeof(b));
    g_assert_cmpint(viv_node_pread(n, DISK - 5, b, 10), ==, 0);
    g_assert_true(viv_buf_is_zero(b + 5, 5));
    g_assert_cmpint(viv_node_pwrite(n, DISK - 5, b, 10), ==, -ENOSPC);
    viv_node_put(&n);
    rig_stop(&g);
}

static void test_read_only(void)
{
    struct viv_err err = VIV_ERR_INIT;
    struct viv_node *n = NULL;
    struct rig g;

    rig_start(&g, false);
    g_assert_cmpint(open_chan(viv_nbd_chan_new(rig_connect(&g)), "other", &n, &err), ==, -ENOENT);
    g_assert_nonnull(strstr(err.text, "not available: 'other'"));
    g_assert_cmpint(open_chan(viv_nbd_chan_new(rig_connect(&g)), "disk", &n, NULL), ==, 0);
    g_assert_cmpint(viv_node_pwrite(n, 0, "x", 1), ==, -EPERM); /* the server's word, as the client was not told */
    viv_node_put(&n);
    rig_stop(&g);
}

/* The server goes in the middle of everything: requests fail, nothing hangs. */
static void test_stop(void)
{
    struct viv_node *n = NULL;
    struct rig g;
    char b[100];

    rig_start(&g, true);
    g_assert_cmpint(open_chan(viv_nbd_chan_new(rig_connect(&g)), "disk", &n, NULL), ==, 0);
    viv_nbd_server_stop(g.server);
    g_assert_cmpint(viv_node_pread(n, 0, b, sizeof(b)), ==, -EIO);
    g_assert_cmpint(viv_node_pread(n, 0, b, sizeof(b)), ==, -EIO);
    viv_node_put(&n);
    rig_stop(&g);
}

/* Reads until the export goes away. */
static void *reader(void *opaque)
{
    uint8_t buf[4096];

    while (!viv_node_pread(opaque, 0, buf, sizeof(buf)))
        ;
    return NULL;
}

/* Exports come and go while clients are there. */
static void test_remove(void)
{
    struct viv_nbd_export_spec spec = {.name = "second", .size = UINT64_MAX};
    struct viv_node *n = NULL, *other = NULL, *late = NULL;
    struct viv_nbd_export *e = NULL;
    struct viv_err err = VIV_ERR_INIT;
    GThread *t;
    struct rig g;
    uint8_t b;

    rig_start(&g, true);
    g_assert_cmpint(open_chan(viv_nbd_chan_new(rig_connect(&g)), "disk", &n, NULL), ==, 0);
    t = g_thread_new("reader", reader, n);
    g_assert_cmpint(viv_nbd_export_new(g.blk, &spec, &e, NULL), ==, 0);
    g_assert_cmpint(viv_nbd_server_add(g.server, e, NULL), ==, 0);
    g_assert_cmpint(open_chan(viv_nbd_chan_new(rig_connect(&g)), "second", &other, NULL), ==, 0);
    g_assert_cmpint(viv_nbd_server_remove(g.server, g.export, false, &err), ==, -EBUSY);
    g_assert_cmpint(viv_nbd_server_remove(g.server, g.export, true, NULL), ==, 0);
    g_thread_join(t);
    g_assert_cmpint(open_chan(viv_nbd_chan_new(rig_connect(&g)), "disk", &late, NULL), !=, 0);
    g_assert_cmpint(viv_node_pread(other, 5, &b, 1), ==, 0);
    viv_node_put(&other);
    viv_node_put(&n);
    rig_stop(&g);
}

/* --- a client that lies --- */

static void send_bytes(int fd, const GByteArray *b)
{
    g_assert_cmpint(send(fd, b->data, b->len, MSG_NOSIGNAL), ==, b->len);
}

static void put(GByteArray *b, unsigned bytes, uint64_t v)
{
    uint8_t p[8];

    viv_st_be64(p, v);
    g_byte_array_append(b, p + 8 - bytes, bytes);
}

static void put_option(GByteArray *b, uint32_t option, uint32_t len)
{
    put(b, 8, VIV_NBD_OPTS_MAGIC);
    put(b, 4, option);
    put(b, 4, len);
}

static void put_go(GByteArray *b, const char *name)
{
    put_option(b, VIV_NBD_OPT_GO, 6 + strlen(name));
    put(b, 4, strlen(name));
    g_byte_array_append(b, (const uint8_t *)name, strlen(name));
    put(b, 2, 0);
}

static void put_request(GByteArray *b, uint16_t flags, uint16_t type, uint64_t offset, uint32_t len)
{
    struct viv_nbd_request r = {flags, type, 77, offset, len};
    uint8_t p[VIV_NBD_REQUEST_LEN];

    viv_nbd_put_request(p, &r);
    g_byte_array_append(b, p, sizeof(p));
}

static void take(int fd, void *buf, size_t len)
{
    if (len)
        g_assert_cmpint(recv(fd, buf, len, MSG_WAITALL), ==, len);
}

/* Greets; the server's hello is read. */
static int hostile(struct rig *g, uint32_t flags)
{
    g_autoptr(GByteArray) b = g_byte_array_new();
    int fd = rig_connect(g);
    uint8_t hello[18];

    take(fd, hello, sizeof(hello));
    put(b, 4, flags);
    send_bytes(fd, b);
    return fd;
}

/* The type of the option's next reply. */
static uint32_t reply_type(int fd)
{
    uint8_t head[20], waste[300];

    take(fd, head, sizeof(head));
    g_assert_cmpuint(viv_ld_be64(head), ==, VIV_NBD_REP_MAGIC);
    g_assert_cmpuint(viv_ld_be32(head + 16), <, sizeof(waste));
    take(fd, waste, viv_ld_be32(head + 16));
    return viv_ld_be32(head + 12);
}

static void ends(int fd)
{
    char c;

    g_assert_cmpint(recv(fd, &c, 1, 0), <=, 0);
    close(fd);
}

static uint32_t ask(int fd, uint32_t option, uint32_t claimed, const void *data, uint32_t len)
{
    g_autoptr(GByteArray) b = g_byte_array_new();

    put_option(b, option, claimed);
    if (len)
        g_byte_array_append(b, data, len);
    send_bytes(fd, b);
    return reply_type(fd);
}

/* Who has asked about an export, and not chosen it yet, keeps nothing of its image. */
static void test_remove_negotiated(void)
{
    static const char query[] = "\0\0\0\6second\0\0\0\1\0\0\0\23qemu:dirty-bitmap:b";
    const char *bitmaps[] = {"b"};
    struct viv_nbd_export_spec spec = {.name = "second", .size = UINT64_MAX, .bitmaps = bitmaps, .bitmap_count = 1};
    struct viv_nbd_export *e = NULL;
    struct viv_bitmap *b = NULL;
    struct rig g;
    int fd, refs;

    rig_start(&g, true);
    g_assert_cmpint(viv_bitmap_new(viv_blk_node(g.blk), "b", 65536, &b, NULL), ==, 0);
    viv_bitmap_enable(b, false);
    refs = viv_blk_node(g.blk)->refs;
    g_assert_cmpint(viv_nbd_export_new(g.blk, &spec, &e, NULL), ==, 0);
    g_assert_cmpint(viv_nbd_server_add(g.server, e, NULL), ==, 0);
    fd = hostile(&g, 3);
    g_assert_cmphex(ask(fd, VIV_NBD_OPT_STRUCTURED_REPLY, 0, NULL, 0), ==, VIV_NBD_REP_ACK);
    g_assert_cmphex(ask(fd, VIV_NBD_OPT_SET_META_CONTEXT, sizeof(query) - 1, query, sizeof(query) - 1), ==, VIV_NBD_REP_META_CONTEXT);
    g_assert_cmphex(reply_type(fd), ==, VIV_NBD_REP_ACK);
    g_assert_cmpint(viv_nbd_server_remove(g.server, e, false, NULL), ==, 0);
    g_assert_cmpuint(b->users, ==, 0);
    g_assert_cmpint(viv_blk_node(g.blk)->refs, ==, refs);
    viv_bitmap_free(b);
    g_assert_cmphex(ask(fd, VIV_NBD_OPT_ABORT, 0, NULL, 0), ==, VIV_NBD_REP_ACK);
    ends(fd);
    rig_stop(&g);
}

static void test_bad_options(void)
{
    g_autofree uint8_t *big = g_malloc0(100000);
    struct rig g;
    int fd;

    rig_start(&g, true);
    ends(hostile(&g, 0xff)); /* flags that nobody knows */
    fd = hostile(&g, 3);
    g_assert_cmphex(ask(fd, 4711, 5, "abcde", 5), ==, VIV_NBD_REP_ERR_UNSUP);
    g_assert_cmphex(ask(fd, VIV_NBD_OPT_LIST, 1, "x", 1), ==, VIV_NBD_REP_ERR_INVALID);
    g_assert_cmphex(ask(fd, VIV_NBD_OPT_STARTTLS, 0, NULL, 0), ==, VIV_NBD_REP_ERR_POLICY);
    g_assert_cmphex(ask(fd, VIV_NBD_OPT_GO, 3, "abc", 3), ==, VIV_NBD_REP_ERR_INVALID);
    g_assert_cmphex(ask(fd, VIV_NBD_OPT_GO, 6, "\xff\xff\xff\xff\0\0", 6), ==, VIV_NBD_REP_ERR_INVALID);
    g_assert_cmphex(ask(fd, VIV_NBD_OPT_GO, 7, "\0\0\0\1x\0\1", 7), ==, VIV_NBD_REP_ERR_INVALID);
    g_assert_cmphex(ask(fd, VIV_NBD_OPT_GO, 7, "\0\0\0\1x\0\0", 7), ==, VIV_NBD_REP_ERR_UNKNOWN);
    g_assert_cmphex(ask(fd, VIV_NBD_OPT_SET_META_CONTEXT, 12, "\0\0\0\4disk\0\0\0\1", 12), ==, VIV_NBD_REP_ERR_INVALID);
    g_assert_cmphex(ask(fd, VIV_NBD_OPT_STRUCTURED_REPLY, 0, NULL, 0), ==, VIV_NBD_REP_ACK);
    g_assert_cmphex(ask(fd, VIV_NBD_OPT_SET_META_CONTEXT, 16, "\0\0\0\4disk\xff\xff\xff\xff\xff\xff\xff\xff", 16), ==, VIV_NBD_REP_ERR_INVALID);
    g_assert_cmphex(ask(fd, VIV_NBD_OPT_SET_META_CONTEXT, 12, "\0\0\0\4disk\0\0\0\0", 12), ==, VIV_NBD_REP_ACK);
    g_assert_cmphex(ask(fd, VIV_NBD_OPT_INFO, 100000, big, 100000), ==, VIV_NBD_REP_ERR_TOO_BIG);
    g_assert_cmphex(ask(fd, VIV_NBD_OPT_ABORT, 0, NULL, 0), ==, VIV_NBD_REP_ACK);
    ends(fd);
    fd = hostile(&g, 3);
    for (unsigned i = 0; i < 127; i++)
        g_assert_cmphex(ask(fd, 100, 0, NULL, 0), ==, VIV_NBD_REP_ERR_UNSUP);
    g_assert_cmphex(ask(fd, 100, 0, NULL, 0), ==, VIV_NBD_REP_ERR_UNSUP);
    ends(fd); /* enough of that */
    rig_stop(&g);
}

/* In transmission with simple replies. */
static int transmit(struct rig *g)
{
    g_autoptr(GByteArray) b = g_byte_array_new();
    int fd = hostile(g, 3);

    put_go(b, "disk");
    send_bytes(fd, b);
    g_assert_cmphex(reply_type(fd), ==, VIV_NBD_REP_INFO);
    g_assert_cmphex(reply_type(fd), ==, VIV_NBD_REP_ACK);
    return fd;
}

static uint32_t request_error(int fd, uint16_t flags, uint16_t type, uint64_t offset, uint32_t len)
{
    g_autoptr(GByteArray) b = g_byte_array_new();
    uint8_t head[16];

    put_request(b, flags, type, offset, len);
    if (type == VIV_NBD_CMD_WRITE)
        g_byte_array_set_size(b, b->len + len);
    send_bytes(fd, b);
    take(fd, head, sizeof(head));
    g_assert_cmphex(viv_ld_be32(head), ==, VIV_NBD_SIMPLE_MAGIC);
    g_assert_cmpuint(viv_ld_be64(head + 8), ==, 77);
    return viv_ld_be32(head + 4);
}

static void test_bad_requests(void)
{
    g_autoptr(GByteArray) b = g_byte_array_new();
    struct rig g;
    int fd;

    rig_start(&g, true);
    fd = transmit(&g);
    g_assert_cmpuint(request_error(fd, 0, VIV_NBD_CMD_READ, DISK - 1, 2), ==, EINVAL);
    g_assert_cmpuint(request_error(fd, 0, VIV_NBD_CMD_READ, UINT64_MAX, 2), ==, EINVAL);
    g_assert_cmpuint(request_error(fd, 0, VIV_NBD_CMD_READ, 0, UINT32_MAX), ==, EINVAL);
    g_assert_cmpuint(request_error(fd, 0, VIV_NBD_CMD_WRITE, DISK - 1, 2), ==, ENOSPC);
    g_assert_cmpuint(request_error(fd, 0, VIV_NBD_CMD_TRIM, UINT64_MAX - 3, 8), ==, EINVAL);
    g_assert_cmpuint(request_error(fd, 0, VIV_NBD_CMD_WRITE_ZEROES, 1, UINT32_MAX), ==, ENOSPC);
    g_assert_cmpuint(request_error(fd, VIV_NBD_CMD_FLAG_DF, VIV_NBD_CMD_READ, 0, 1), ==, EINVAL);
    g_assert_cmpuint(request_error(fd, 0x8000, VIV_NBD_CMD_FLUSH, 0, 0), ==, EINVAL);
    g_assert_cmpuint(request_error(fd, 0, 99, 0, 0), ==, EINVAL);
    g_assert_cmpuint(request_error(fd, 0, VIV_NBD_CMD_BLOCK_STATUS, 0, 512), ==, EINVAL);
    g_assert_cmpuint(request_error(fd, VIV_NBD_CMD_FLAG_FUA, VIV_NBD_CMD_WRITE, 0, 1000), ==, 0);
    g_assert_cmpuint(request_error(fd, 0, VIV_NBD_CMD_CACHE, 0, DISK), ==, 0);
    put_request(b, 0, VIV_NBD_CMD_WRITE, 0, VIV_NBD_MAX_PAYLOAD + 1);
    send_bytes(fd, b);
    ends(fd);
    fd = transmit(&g); /* no magic */
    g_byte_array_set_size(b, 0);
    put(b, 8, 1);
    put(b, 8, 2);
    put(b, 8, 3);
    put(b, 4, 4);
    send_bytes(fd, b);
    ends(fd);
    fd = transmit(&g); /* gone in the middle of a write */
    g_byte_array_set_size(b, 0);
    put_request(b, 0, VIV_NBD_CMD_WRITE, 0, 1000);
    put(b, 8, 1);
    send_bytes(fd, b);
    close(fd);
    rig_stop(&g);
}

/* A client that asks and never takes its answers holds up nobody. */
static void test_slow_client(void)
{
    g_autoptr(GByteArray) b = g_byte_array_new();
    struct viv_node *n = NULL;
    struct rig g;
    char buf[512];
    int fd;

    rig_start(&g, true);
    fd = transmit(&g);
    for (unsigned i = 0; i < 64; i++)
        put_request(b, 0, VIV_NBD_CMD_READ, 0, 4u << 20);
    send_bytes(fd, b);
    g_usleep(100000);
    g_assert_cmpint(open_chan(viv_nbd_chan_new(rig_connect(&g)), "disk", &n, NULL), ==, 0);
    g_assert_cmpint(viv_node_pwrite(n, 0, "hello", 5), ==, 0);
    g_assert_cmpint(viv_node_pread(n, 0, buf, sizeof(buf)), ==, 0);
    g_assert_cmpmem(buf, 5, "hello", 5);
    viv_node_put(&n);
    close(fd);
    rig_stop(&g);
}

/* --- a server that lies --- */

/* An export of 1 MiB with structured replies and base:allocation as context 5. */
static GByteArray *lies_start(void)
{
    GByteArray *b = g_byte_array_new();
    static const uint32_t acks[] = {VIV_NBD_OPT_STRUCTURED_REPLY, VIV_NBD_OPT_SET_META_CONTEXT, VIV_NBD_OPT_GO};

    put(b, 8, VIV_NBD_INIT_MAGIC);
    put(b, 8, VIV_NBD_OPTS_MAGIC);
    put(b, 2, 3);
    for (unsigned i = 0; i < 3; i++) {
        if (acks[i] == VIV_NBD_OPT_SET_META_CONTEXT) {
            put(b, 8, VIV_NBD_REP_MAGIC);
            put(b, 4, acks[i]);
            put(b, 4, VIV_NBD_REP_META_CONTEXT);
            put(b, 4, 4 + 15);
            put(b, 4, 5);
            g_byte_array_append(b, (const uint8_t *)"base:allocation", 15);
        } else if (acks[i] == VIV_NBD_OPT_GO) {
            put(b, 8, VIV_NBD_REP_MAGIC);
            put(b, 4, acks[i]);
            put(b, 4, VIV_NBD_REP_INFO);
            put(b, 4, 12);
            put(b, 2, VIV_NBD_INFO_EXPORT);
            put(b, 8, 1 << 20);
            put(b, 2, VIV_NBD_HAS_FLAGS | VIV_NBD_SEND_FLUSH);
        }
        put(b, 8, VIV_NBD_REP_MAGIC);
        put(b, 4, acks[i]);
        put(b, 4, VIV_NBD_REP_ACK);
        put(b, 4, 0);
    }
    return b;
}

static void put_chunk(GByteArray *b, uint16_t flags, uint16_t type, uint64_t cookie, uint32_t len)
{
    uint8_t p[VIV_NBD_CHUNK_LEN];

    viv_nbd_put_chunk(p, flags, type, cookie, len);
    g_byte_array_append(b, p, sizeof(p));
}

static void put_data(GByteArray *b, bool last, uint64_t offset, uint32_t len)
{
    put_chunk(b, last, VIV_NBD_CHUNK_OFFSET_DATA, 1, 8 + len);
    put(b, 8, offset);
    for (uint32_t i = 0; i < len; i++)
        put(b, 1, 0xaa);
}

static void put_hole(GByteArray *b, bool last, uint64_t offset, uint32_t len)
{
    put_chunk(b, last, VIV_NBD_CHUNK_OFFSET_HOLE, 1, 12);
    put(b, 8, offset);
    put(b, 4, len);
}

/* What a read of [4096, 8192) gives when the server answers so. */
static int read_with(GByteArray *b, uint8_t *buf)
{
    struct viv_node *n = NULL;
    int ret;

    g_assert_cmpint(open_chan(viv_nbd_chan_new_memory(b->data, b->len), "", &n, NULL), ==, 0);
    memset(buf, 0x55, 4096);
    ret = viv_node_pread(n, 4096, buf, 4096);
    viv_node_put(&n);
    g_byte_array_unref(b);
    return ret;
}

static void test_good_pieces(void)
{
    GByteArray *b = lies_start();
    uint8_t buf[4096];

    put_data(b, false, 6000, 100); /* any order */
    put_data(b, false, 4096, 904);
    put_hole(b, false, 6100, 2092);
    put_hole(b, false, 5000, 1000);
    put_chunk(b, 1, VIV_NBD_CHUNK_NONE, 1, 0);
    g_assert_cmpint(read_with(b, buf), ==, 0);
    for (unsigned i = 0; i < 4096; i++)
        g_assert_cmpuint(buf[i], ==, i < 904 || (i >= 1904 && i < 2004) ? 0xaa : 0);
}

static void test_bad_pieces(void)
{
    uint8_t buf[4096];

    for (unsigned kind = 0; kind < 16; kind++) {
        GByteArray *b = lies_start();

        switch (kind) {
        case 0: put_data(b, true, 4096, 4095); break;                                   /* not all */
        case 1: put_data(b, false, 4096, 100); put_data(b, true, 4195, 3997); break;    /* overlap */
        case 2: put_data(b, true, 4095, 4097); break;                                   /* before */
        case 3: put_data(b, true, 4096, 4097); break;                                   /* behind */
        case 4: put_hole(b, true, 4096, UINT32_MAX); break;
        case 5: put_hole(b, true, UINT64_MAX - 1, 4096); break;
        case 6: put_chunk(b, 1, VIV_NBD_CHUNK_OFFSET_DATA, 1, 8); put(b, 8, 4096); break; /* empty */
        case 7: put_chunk(b, 1, VIV_NBD_CHUNK_OFFSET_DATA, 1, 3); put(b, 3, 0); break;
        case 8: put_chunk(b, 1, VIV_NBD_CHUNK_OFFSET_DATA, 2, 4104); break;             /* whose? */
        case 9: put_chunk(b, 1, 77, 1, 0); break;                                       /* what? */
        case 10: put_chunk(b, 1, VIV_NBD_CHUNK_ERR, 1, UINT32_MAX); break;
        case 11: put_chunk(b, 1, VIV_NBD_CHUNK_ERR, 1, 6); put(b, 4, 5); put(b, 2, 1); break; /* text outside */
        case 12: put_chunk(b, 1, VIV_NBD_CHUNK_BLOCK_STATUS, 1, 12); put(b, 4, 5); put(b, 8, 1); break;
        case 13: put(b, 4, VIV_NBD_SIMPLE_MAGIC); put(b, 4, 0); put(b, 8, 1); break;    /* not for reads */
        case 14: put(b, 8, 0); put(b, 8, 0); break;
        case 15: put_chunk(b, 0, VIV_NBD_CHUNK_NONE, 1, 0); break;                      /* never done */
        }
        g_assert_cmpint(read_with(b, buf), ==, -EIO);
    }
    /* Errors that are in order: the request fails, the connection lives. */
    for (unsigned kind = 0; kind < 2; kind++) {
        GByteArray *b = lies_start();

        put_data(b, false, 4096, 100);
        put_chunk(b, 1, kind ? VIV_NBD_CHUNK_ERR + 90 : VIV_NBD_CHUNK_ERR, 1, 8);
        put(b, 4, ENOSPC);
        put(b, 2, 2);
        put(b, 2, 0x6869);
        g_assert_cmpint(read_with(b, buf), ==, -ENOSPC);
    }
}

static int status_with(GByteArray *b, struct viv_extent *e)
{
    struct viv_node *n = NULL;
    int ret;

    g_assert_cmpint(open_chan(viv_nbd_chan_new_memory(b->data, b->len), "", &n, NULL), ==, 0);
    ret = viv_node_status(n, 4096, 8192, e);
    viv_node_put(&n);
    g_byte_array_unref(b);
    return ret;
}

static void test_status(void)
{
    struct viv_extent e;
    GByteArray *b = lies_start();

    put_chunk(b, 1, VIV_NBD_CHUNK_BLOCK_STATUS, 1, 12);
    put(b, 4, 5);
    put(b, 4, 100000); /* longer than asked */
    put(b, 4, VIV_NBD_STATE_ZERO | VIV_NBD_STATE_HOLE);
    g_assert_cmpint(status_with(b, &e), ==, 0);
    g_assert_true(e.kind == VIV_MAP_ZERO && !e.allocated && e.len == 8192);
    b = lies_start(); /* of a context that was not agreed on: it is data for all that is known */
    put_chunk(b, 1, VIV_NBD_CHUNK_BLOCK_STATUS, 1, 12);
    put(b, 4, 6);
    put(b, 4, 4096);
    put(b, 4, VIV_NBD_STATE_ZERO);
    g_assert_cmpint(status_with(b, &e), ==, 0);
    g_assert_true(e.kind == VIV_MAP_DATA && e.len >= 1 && e.len <= 8192);
}

/* --- names --- */

static void test_names(void)
{
    static const struct {
        const char *name, *host, *port, *path, *export_name;
    } good[] = {
        {"nbd://h/x", "h", "10809", NULL, "x"},
        {"nbd://h:12", "h", "12", NULL, ""},
        {"nbd://[::1]:12//a", "::1", "12", NULL, "/a"},
        {"nbd:///x", "localhost", "10809", NULL, "x"},
        {"nbd://h/hello%20world", "h", "10809", NULL, "hello world"},
        {"nbd+unix:///disk?socket=/tmp/a%3fb", NULL, NULL, "/tmp/a?b", "disk"},
        {"nbd+unix://?socket=s", NULL, NULL, "s", ""},
        {"nbd:h:12", "h", "12", NULL, ""},
        {"nbd:[::1]:12:exportname=a:b", "::1", "12", NULL, "a:b"},
        {"nbd:unix:/tmp/s:exportname=n", NULL, NULL, "/tmp/s", "n"},
    };
    static const char *const bad[] = {"nbd://h/%zz", "nbd://h/%00", "nbd+unix:///x", "nbd+unix://h/x?socket=s", "nbd://h/x?foo=1",
                                      "nbd://[::1", "nbd:h", "nbd::12", "nbd:unix:", "nbd://u@h/"};
    struct viv_nbd_target t;

    for (unsigned i = 0; i < G_N_ELEMENTS(good); i++) {
        g_assert_true(viv_nbd_is_name(good[i].name));
        g_assert_cmpint(viv_nbd_target_parse(good[i].name, NULL, &t, NULL), ==, 0);
        g_assert_cmpstr(t.host, ==, good[i].host);
        g_assert_cmpstr(t.port, ==, good[i].port);
        g_assert_cmpstr(t.path, ==, good[i].path);
        g_assert_cmpstr(t.export_name, ==, good[i].export_name);
        viv_nbd_target_fini(&t);
    }
    for (unsigned i = 0; i < G_N_ELEMENTS(bad); i++)
        g_assert_cmpint(viv_nbd_target_parse(bad[i], NULL, &t, NULL), ==, -EINVAL);
    g_assert_false(viv_nbd_is_name("nbd.img"));
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/nbd/names", test_names);
    g_test_add_func("/nbd/model", test_model);
    g_test_add_func("/nbd/read-only", test_read_only);
    g_test_add_func("/nbd/stop", test_stop);
    g_test_add_func("/nbd/remove", test_remove);
    g_test_add_func("/nbd/remove-negotiated", test_remove_negotiated);
    g_test_add_func("/nbd/bad-options", test_bad_options);
    g_test_add_func("/nbd/bad-requests", test_bad_requests);
    g_test_add_func("/nbd/slow-client", test_slow_client);
    g_test_add_func("/nbd/good-pieces", test_good_pieces);
    g_test_add_func("/nbd/bad-pieces", test_bad_pieces);
    g_test_add_func("/nbd/status", test_status);
    return g_test_run();
}
