/* vhost-user-blk without a front end's process: requests through a ring, with and without indirect tables; drivers and front ends
 * that break the rules. */
#include "export/vhost/rig_test.h"

#include "base/bytes.h"
#include "export/vhost/guard.h"

#include <signal.h>
#include <sys/mman.h>
#include <sys/socket.h>

enum { NEXT = 1, WRITE = 2, INDIRECT = 4 };

static void put_desc(uint8_t *table, unsigned i, uint64_t at, uint32_t len, uint16_t flags, uint16_t next)
{
    viv_st_le64(table + 16 * i, RIG_GUEST + at);
    viv_st_le32(table + 16 * i + 8, len);
    viv_st_le16(table + 16 * i + 12, flags);
    viv_st_le16(table + 16 * i + 14, next);
}

static void offer(struct rig *g, uint16_t head)
{
    uint16_t idx = viv_ld_le16(g->ram + RIG_AVAIL + 2);

    viv_st_le16(g->ram + RIG_AVAIL + 4 + 2 * (idx % RIG_NUM), head);
    viv_st_le16(g->ram + RIG_AVAIL + 2, idx + 1);
}

static void put_header(struct rig *g, uint32_t type, uint64_t sector)
{
    viv_st_le32(g->ram + RIG_DATA, type);
    viv_st_le32(g->ram + RIG_DATA + 4, 0);
    viv_st_le64(g->ram + RIG_DATA + 8, sector);
}

/* Header at DATA, data at DATA + 0x100, status at DATA + 0x80. */
static void put_request(struct rig *g, uint8_t *table, uint32_t type, uint64_t sector, uint32_t len, bool to_device)
{
    put_header(g, type, sector);
    g->ram[RIG_DATA + 0x80] = 0xee;
    put_desc(table, 0, RIG_DATA, 16, NEXT, len ? 1 : 2);
    put_desc(table, 1, RIG_DATA + 0x100, len, NEXT | (to_device ? 0 : WRITE), 2);
    put_desc(table, 2, RIG_DATA + 0x80, 1, WRITE, 0);
}

struct front {
    struct rig rig;
    struct viv_vhost_mem mem;
    struct viv_vhost_ring ring;
    struct viv_vhost_queue *q;
    int call;
};

static void front_init(struct front *f, bool writable)
{
    struct vhost_msg m;

    *f = (struct front){.call = eventfd(0, EFD_NONBLOCK)};
    rig_init(&f->rig, writable);
    m = rig_memory(&f->rig);
    g_assert_cmpint(viv_vhost_mem_set(&f->mem, &m.p.mem, m.fds, 1, NULL), ==, 0);
    pthread_mutex_init(&f->ring.lock, NULL);
    f->ring.num = RIG_NUM;
    f->ring.addr = rig_addr();
    f->ring.has_addr = true;
    g_assert_cmpint(viv_vhost_ring_start(&f->ring, &f->mem, false), ==, 0);
    f->q = viv_vhost_queue_new(&f->rig.disk, &f->ring, viv_vhost_disk_features(&f->rig.disk), f->call);
}

static void front_fini(struct front *f)
{
    viv_vhost_queue_stop(&f->q);
    viv_vhost_mem_clear(&f->mem);
    rig_fini(&f->rig);
    close(f->call);
}

/* Runs what was offered; the status of the request whose status byte lies where put_request() says. */
static uint8_t finish(struct front *f)
{
    struct viv_vhost_queue *q = f->q;
    uint64_t calls;

    g_assert_cmpint(viv_vhost_queue_run(q), ==, 0);
    for (int i = 0; i < 5000 && read(f->call, &calls, sizeof(calls)) < 0; i++)
        g_usleep(1000);
    return f->rig.ram[RIG_DATA + 0x80];
}

static uint8_t request(struct front *f, uint32_t type, uint64_t sector, uint32_t len, bool to_device)
{
    put_request(&f->rig, f->rig.ram + RIG_DESC, type, sector, len, to_device);
    offer(&f->rig, 0);
    return finish(f);
}

static void test_requests(void)
{
    struct front f;
    uint8_t *data, want[4096];

    front_init(&f, true);
    data = f.rig.ram + RIG_DATA + 0x100;
    for (unsigned i = 0; i < sizeof(want); i++)
        data[i] = want[i] = i * 7 + 1;
    g_assert_cmpint(request(&f, 1, 8, sizeof(want), true), ==, 0);
    g_assert_cmpint(request(&f, 4, 0, 0, true), ==, 0); /* FLUSH */
    memset(data, 0, sizeof(want));
    g_assert_cmpint(request(&f, 0, 8, sizeof(want), false), ==, 0);
    g_assert_cmpmem(data, sizeof(want), want, sizeof(want));
    g_assert_cmpint(viv_ld_le32(f.rig.ram + RIG_USED + 4 + 8 * 2 + 4), ==, sizeof(want) + 1);
    g_assert_cmpint(request(&f, 8, 0, 20, false), ==, 0); /* GET_ID */
    g_assert_cmpmem(data, 4, "rig", 4);
    viv_st_le64(data, 8); /* WRITE_ZEROES of sector 8 */
    viv_st_le32(data + 8, 1);
    viv_st_le32(data + 12, 1);
    g_assert_cmpint(request(&f, 13, 0, 16, true), ==, 0);
    g_assert_cmpint(request(&f, 0, 8, 1024, false), ==, 0);
    g_assert_true(viv_buf_is_zero(data, 512));
    g_assert_cmpmem(data + 512, 512, want + 512, 512);
    front_fini(&f);
}

static void test_indirect(void)
{
    struct front f;
    uint8_t *table;

    front_init(&f, true);
    table = f.rig.ram + 0x8000;
    memset(f.rig.ram + RIG_DATA + 0x100, 0x5a, 512);
    put_request(&f.rig, table, 1, 1, 512, true);
    put_desc(f.rig.ram + RIG_DESC, 5, 0x8000, 3 * 16, INDIRECT, 0);
    offer(&f.rig, 5);
    g_assert_cmpint(finish(&f), ==, 0);
    g_assert_cmpint(request(&f, 0, 1, 512, false), ==, 0);
    g_assert_cmpint(f.rig.ram[RIG_DATA + 0x100 + 511], ==, 0x5a);
    front_fini(&f);
}

/* Refused in the status; the ring goes on. */
static void test_refused(void)
{
    struct front f;
    uint8_t *data;

    front_init(&f, true);
    data = f.rig.ram + RIG_DATA + 0x100;
    g_assert_cmpint(request(&f, 0, RIG_DISK / 512, 512, false), ==, 1);  /* behind the end */
    g_assert_cmpint(request(&f, 0, UINT64_MAX / 512, 512, false), ==, 1);
    g_assert_cmpint(request(&f, 0, 0, 100, false), ==, 1);               /* no whole sector */
    g_assert_cmpint(request(&f, 77, 0, 512, false), ==, 2);
    viv_st_le64(data, 0);
    viv_st_le32(data + 8, UINT32_MAX);
    viv_st_le32(data + 12, 0);
    g_assert_cmpint(request(&f, 11, 0, 16, true), ==, 1);                /* too long a discard */
    viv_st_le32(data + 8, 1);
    viv_st_le32(data + 12, 2);
    g_assert_cmpint(request(&f, 11, 0, 16, true), ==, 2);                /* a flag that nobody knows */
    g_assert_cmpint(request(&f, 11, 0, 32, true), ==, 2);                /* two segments */
    front_fini(&f);
    front_init(&f, false);
    g_assert_cmpint(request(&f, 1, 0, 512, true), ==, 1);
    g_assert_cmpint(request(&f, 0, 0, 512, false), ==, 0);
    front_fini(&f);
}

/* Rings that make no sense. */
static void test_broken(void)
{
    struct front f;

    for (int what = 0; what < 9; what++) {
        uint8_t *desc, *table;

        front_init(&f, true);
        desc = f.rig.ram + RIG_DESC;
        table = f.rig.ram + 0x8000;
        put_request(&f.rig, desc, 0, 0, 512, false);
        put_request(&f.rig, table, 0, 0, 512, false);
        if (what == 0)
            put_desc(desc, 2, RIG_DATA, 1, WRITE | NEXT, 0); /* a loop */
        else if (what == 1)
            put_desc(desc, 0, RIG_DATA, 16, NEXT, RIG_NUM); /* outside */
        else if (what == 2)
            put_desc(desc, 1, RIG_MEM - 100, 512, WRITE | NEXT, 2); /* no memory */
        else if (what == 3)
            put_desc(desc, 0, RIG_DATA, 16, 0, 0); /* no status */
        else if (what == 4)
            put_desc(desc, 1, 0x8000, 48, INDIRECT | NEXT, 2);
        else if (what == 5)
            put_desc(table, 1, 0x8000, 48, INDIRECT, 0), put_desc(desc, 0, 0x8000, 48, INDIRECT, 0);
        else if (what == 6)
            put_desc(desc, 0, 0x8000, 47, INDIRECT, 0);
        else if (what == 7)
            put_desc(desc, 2, RIG_DATA + 0x80, 1, 0, 0); /* readable behind writable */
        offer(&f.rig, what == 8 ? RIG_NUM : 0);
        g_assert_cmpint(viv_vhost_queue_run(f.q), <, 0);
        front_fini(&f);
    }
    front_init(&f, true);
    viv_st_le16(f.rig.ram + RIG_AVAIL + 2, RIG_NUM + 1); /* more than there can be */
    g_assert_cmpint(viv_vhost_queue_run(f.q), <, 0);
    front_fini(&f);
}

/* --- messages --- */

static struct vhost_msg msg(uint32_t request, uint32_t size)
{
    return (struct vhost_msg){.h = {request, VHOST_VERSION, size}};
}

static void set_state(struct viv_vhost_session *s, uint32_t request, uint32_t index, uint32_t num)
{
    struct vhost_msg m = msg(request, 8);

    m.p.state = (struct vhost_vring_state){index, num};
    g_assert_cmpint(viv_vhost_session_do(s, &m, NULL), ==, 0);
}

static void set_fd(struct viv_vhost_session *s, uint32_t request, int fd)
{
    struct vhost_msg m = msg(request, 8);

    m.fds[0] = dup(fd);
    m.fd_count = 1;
    g_assert_cmpint(viv_vhost_session_do(s, &m, NULL), ==, 0);
    g_assert_cmpint(m.fds[0], ==, -1);
}

/* As a virtual machine does it; then its memory goes away and comes back while the queue runs. */
static void test_session(void)
{
    int kick = eventfd(0, EFD_NONBLOCK), call = eventfd(0, EFD_NONBLOCK);
    struct viv_vhost_session *s;
    struct vhost_msg m;
    uint64_t one = 1;
    struct rig g;

    rig_init(&g, true);
    s = viv_vhost_session_new(&g.disk);
    m = msg(VHOST_GET_FEATURES, 0);
    g_assert_cmpint(viv_vhost_session_do(s, &m, NULL), ==, 1);
    m.h = (struct vhost_header){VHOST_SET_FEATURES, VHOST_VERSION, 8};
    g_assert_cmpint(viv_vhost_session_do(s, &m, NULL), ==, 0);
    m = msg(VHOST_SET_PROTOCOL_FEATURES, 8);
    m.p.u64 = VHOST_PROTOCOL_REPLY_ACK | VHOST_PROTOCOL_CONFIG;
    g_assert_cmpint(viv_vhost_session_do(s, &m, NULL), ==, 0);
    m = rig_memory(&g);
    m.h.flags |= VHOST_FLAG_NEED;
    g_assert_cmpint(viv_vhost_session_do(s, &m, NULL), ==, 1);
    g_assert_cmpuint(m.p.u64, ==, 0);
    set_state(s, VHOST_SET_VRING_NUM, 0, RIG_NUM);
    set_state(s, VHOST_SET_VRING_BASE, 0, 0);
    m = msg(VHOST_SET_VRING_ADDR, sizeof(m.p.addr));
    m.p.addr = rig_addr();
    g_assert_cmpint(viv_vhost_session_do(s, &m, NULL), ==, 0);
    set_fd(s, VHOST_SET_VRING_CALL, call);
    set_fd(s, VHOST_SET_VRING_KICK, kick);
    set_state(s, VHOST_SET_VRING_ENABLE, 0, 1);
    for (unsigned i = 0; i < 20; i++) {
        put_request(&g, g.ram + RIG_DESC, 0, i, 512, false);
        offer(&g, 0);
        g_assert_cmpint(write(kick, &one, 8), ==, 8);
        for (int t = 0; t < 5000 && viv_ld_le16(g.ram + RIG_USED + 2) != i + 1; t++)
            g_usleep(1000);
        g_assert_cmpint(viv_ld_le16(g.ram + RIG_USED + 2), ==, i + 1);
        m = rig_memory(&g);
        g_assert_cmpint(viv_vhost_session_do(s, &m, NULL), ==, 0);
    }
    m = msg(VHOST_GET_VRING_BASE, 8);
    g_assert_cmpint(viv_vhost_session_do(s, &m, NULL), ==, 1);
    g_assert_cmpuint(m.p.state.num, ==, 20);
    viv_vhost_session_free(s);
    rig_fini(&g);
    close(kick);
    close(call);
}

/* Another size of the disk: told on the socket that the front end gave for that, if it gave one. */
static void test_resized(void)
{
    struct vhost_header want = {VHOST_BACKEND_CONFIG_CHANGE, VHOST_VERSION, 0}, h;
    struct viv_vhost_session *s;
    struct vhost_msg m;
    int pair[2];
    struct rig g;

    rig_init(&g, true);
    s = viv_vhost_session_new(&g.disk);
    g_assert_false(viv_vhost_session_tell_config(s));
    m = msg(VHOST_SET_BACKEND_REQ_FD, 0);
    g_assert_cmpint(viv_vhost_session_do(s, &m, NULL), <, 0);
    g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), ==, 0);
    set_fd(s, VHOST_SET_BACKEND_REQ_FD, pair[0]);
    close(pair[0]);
    g_assert_true(viv_vhost_session_tell_config(s));
    g_assert_cmpint(read(pair[1], &h, sizeof(h)), ==, sizeof(h));
    g_assert_cmpmem(&h, sizeof(h), &want, sizeof(want));
    close(pair[1]); /* it has gone: no signal, no error but that nobody was told */
    g_assert_false(viv_vhost_session_tell_config(s));
    viv_vhost_session_free(s);
    rig_fini(&g);
}

/* --- what was under way when somebody was killed --- */

/* As the specification lays it out: 16 bytes a queue, then 16 an entry. */
enum { LOG_VERSION = 8, LOG_NUM = 10, LOG_LAST = 12, LOG_USED = 14, LOG_DESC = 16, LOG_COUNTER = 8 };

static struct viv_vhost_session *resume(struct rig *g, int fd, uint64_t bytes, int kick, int call, uint16_t base)
{
    struct viv_vhost_session *s = viv_vhost_session_new(&g->disk);
    struct vhost_msg m = msg(VHOST_SET_PROTOCOL_FEATURES, 8);

    m.p.u64 = VHOST_PROTOCOL_INFLIGHT;
    g_assert_cmpint(viv_vhost_session_do(s, &m, NULL), ==, 0);
    m = msg(VHOST_SET_FEATURES, 8);
    m.p.u64 = VHOST_F_PROTOCOL_FEATURES;
    g_assert_cmpint(viv_vhost_session_do(s, &m, NULL), ==, 0);
    m = msg(VHOST_SET_INFLIGHT_FD, 24);
    m.p.inflight = (struct vhost_inflight){bytes, 0, 1, RIG_NUM};
    m.fds[0] = fd;
    m.fd_count = 1;
    g_assert_cmpint(viv_vhost_session_do(s, &m, NULL), ==, 0);
    m = rig_memory(g);
    g_assert_cmpint(viv_vhost_session_do(s, &m, NULL), ==, 0);
    set_state(s, VHOST_SET_VRING_NUM, 0, RIG_NUM);
    set_state(s, VHOST_SET_VRING_BASE, 0, base);
    m = msg(VHOST_SET_VRING_ADDR, sizeof(m.p.addr));
    m.p.addr = rig_addr();
    g_assert_cmpint(viv_vhost_session_do(s, &m, NULL), ==, 0);
    set_fd(s, VHOST_SET_VRING_CALL, call);
    set_fd(s, VHOST_SET_VRING_KICK, kick);
    set_state(s, VHOST_SET_VRING_ENABLE, 0, 1);
    return s;
}

static void wait_used(struct rig *g, uint16_t idx)
{
    for (int t = 0; t < 5000 && viv_ld_le16(g->ram + RIG_USED + 2) != idx; t++)
        g_usleep(1000);
    g_assert_cmpuint(viv_ld_le16(g->ram + RIG_USED + 2), ==, idx);
}

/* The structure is 20 bytes, or 24 as QEMU's front end sends it, which takes no answer of another length. */
static int get_area_of(struct rig *g, uint32_t size, uint64_t *bytes)
{
    struct viv_vhost_session *s = viv_vhost_session_new(&g->disk);
    struct vhost_msg m = msg(VHOST_GET_INFLIGHT_FD, size);

    m.p.inflight = (struct vhost_inflight){0, 0, 1, RIG_NUM};
    g_assert_cmpint(viv_vhost_session_do(s, &m, NULL), ==, 1);
    g_assert_cmpint(m.answer_fd, >=, 0);
    g_assert_cmpuint(m.h.size, ==, size);
    *bytes = m.p.inflight.size;
    g_assert_cmpuint(*bytes, >=, LOG_DESC + RIG_NUM * 16);
    g_assert_cmpint(ftruncate(m.answer_fd, 8), <, 0); /* sealed */
    viv_vhost_session_free(s);
    return m.answer_fd;
}

static int get_area(struct rig *g, uint64_t *bytes)
{
    close(get_area_of(g, 20, bytes));
    return get_area_of(g, 24, bytes);
}

static void mark(uint8_t *log, unsigned head, uint64_t counter)
{
    log[LOG_DESC + 16 * head] = 1;
    memcpy(log + LOG_DESC + 16 * head + LOG_COUNTER, &counter, 8);
}

/* Three requests were taken. One was given back without its mark being cleared; the others are done again, in their order, and then what
 * nobody has taken yet. */
static void test_inflight(void)
{
    int kick = eventfd(0, EFD_NONBLOCK), call = eventfd(0, EFD_NONBLOCK), fd;
    struct viv_vhost_session *s;
    uint64_t bytes, count;
    uint16_t two = 2;
    unsigned answered = 0;
    uint8_t *log;
    struct rig g;

    rig_init(&g, true);
    fd = get_area(&g, &bytes);
    log = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    g_assert_true(log != MAP_FAILED);
    s = resume(&g, fd, bytes, kick, call, 0); /* nothing yet: the area becomes one of ours */
    put_request(&g, g.ram + RIG_DESC, 0, 0, 512, false);
    offer(&g, 0);
    g_assert_cmpint(eventfd_write(kick, 1), ==, 0);
    wait_used(&g, 1);
    viv_vhost_session_free(s);
    g_assert_cmpuint(viv_ld_le16(log + LOG_VERSION), ==, 1);
    g_assert_cmpuint(viv_ld_le16(log + LOG_NUM), ==, RIG_NUM);
    g_assert_cmpuint(viv_ld_le16(log + LOG_USED), ==, 1);
    g_assert_cmpuint(log[LOG_DESC], ==, 0);

    for (unsigned i = 0; i < RIG_NUM; i++) /* each entry alone is a request, of a table of its own */
        put_desc(g.ram + RIG_DESC, i, RIG_DESC + 0x800, 48, INDIRECT, 0);
    put_request(&g, g.ram + RIG_DESC + 0x800, 0, 0, 512, false);
    for (unsigned i = 0; i < 4; i++)
        offer(&g, (uint16_t[]){5, 9, 3, 7}[i]);
    mark(log, 5, 10);
    mark(log, 9, 11);
    mark(log, 3, 12);
    /* 9 was the first to be ready: it is in the used ring, and still marked */
    viv_st_le32(g.ram + RIG_USED + 4 + 8, 9);
    viv_st_le16(g.ram + RIG_USED + 2, 2);
    memcpy(log + LOG_LAST, &(uint16_t){9}, 2);
    (void)!read(call, &count, 8);
    s = resume(&g, fd, bytes, kick, call, two);
    wait_used(&g, 5);
    for (unsigned i = 2; i < 5; i++) /* in whatever order they were ready */
        answered |= 1u << viv_ld_le32(g.ram + RIG_USED + 4 + 8 * i);
    g_assert_cmphex(answered, ==, 1u << 5 | 1u << 3 | 1u << 7);
    g_assert_cmpint(read(call, &count, 8), ==, 8);
    viv_vhost_session_free(s);
    for (unsigned i = 0; i < RIG_NUM; i++)
        g_assert_cmpuint(log[LOG_DESC + 16 * i], ==, 0);
    g_assert_cmpuint(viv_ld_le16(log + LOG_USED), ==, 5);

    /* Marks and numbers that nobody would write: the queue breaks or answers, and nothing else happens. */
    memset(log + LOG_DESC, 1, RIG_NUM * 16);
    memcpy(log + LOG_LAST, &(uint16_t){0xffff}, 2);
    memcpy(log + LOG_USED, &(uint16_t){77}, 2);
    put_desc(g.ram + RIG_DESC, 4, 1ull << 60, 48, INDIRECT, 0);
    viv_st_le16(g.ram + RIG_AVAIL + 2, 5 + RIG_NUM);
    s = resume(&g, fd, bytes, kick, call, 5);
    g_usleep(20000);
    viv_vhost_session_free(s);
    munmap(log, bytes);
    rig_fini(&g);
    close(fd);
    close(kick);
    close(call);
}

/* In the order of their numbers, whatever their places. */
static void test_order(void)
{
    g_autofree uint8_t *area = g_malloc0(LOG_DESC + 16 * RIG_NUM);
    uint16_t heads[RIG_NUM];
    uint64_t counter;

    memcpy(area + LOG_VERSION, &(uint16_t[]){1, RIG_NUM, 0, 4}, 8);
    mark(area, 2, 30);
    mark(area, 0, 31);
    mark(area, 15, 29);
    g_assert_cmpuint(viv_vhost_log_resume((struct viv_vhost_log *)area, RIG_NUM, 4, 3, heads, &counter), ==, 3);
    g_assert_cmpmem(heads, 6, (&(uint16_t[]){15, 2, 0}), 6);
    g_assert_cmpuint(counter, ==, 32);
    /* another size than it was made for: nobody's */
    g_assert_cmpint(viv_vhost_log_resume((struct viv_vhost_log *)area, RIG_NUM / 2, 4, 3, heads, &counter), ==, -ENOENT);
    /* marks of requests that this ring does not have are those of another one, and forgotten */
    g_assert_cmpint(viv_vhost_log_resume((struct viv_vhost_log *)area, RIG_NUM / 2, 4, 0, heads, &counter), ==, 0);
    mark(area, 2, 30);
    g_assert_cmpint(viv_vhost_log_resume((struct viv_vhost_log *)area, RIG_NUM / 2, 4, 0, heads, &counter), ==, -ENOENT);
    g_assert_cmpint(viv_vhost_log_resume((struct viv_vhost_log *)area, RIG_NUM / 2, 4, 1, heads, &counter), ==, 0);
}

/* A request that breaks the ring stays marked, but not for the ring that comes after it; and an area that knows of no request knows where the
 * ring stands, whatever the front end says. */
static void test_broken_mark(void)
{
    int kick = eventfd(0, EFD_NONBLOCK), call = eventfd(0, EFD_NONBLOCK), fd;
    struct viv_vhost_session *s;
    struct vhost_msg m;
    uint64_t bytes;
    uint8_t *log;
    struct rig g;

    rig_init(&g, true);
    fd = get_area(&g, &bytes);
    log = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    s = resume(&g, fd, bytes, kick, call, 0);
    put_desc(g.ram + RIG_DESC, 4, RIG_DATA, 16, 0, 0); /* no status */
    offer(&g, 4); /* it is taken, and marked, before anybody looks inside */
    g_assert_cmpint(eventfd_write(kick, 1), ==, 0);
    while (!__atomic_load_n(log + LOG_DESC + 16 * 4, __ATOMIC_ACQUIRE))
        g_usleep(1000);
    g_usleep(20000);
    m = msg(VHOST_GET_VRING_BASE, 8);
    m.p.state.index = 0;
    g_assert_cmpint(viv_vhost_session_do(s, &m, NULL), ==, 1);
    g_assert_cmpuint(log[LOG_DESC + 16 * 4], ==, 0);
    viv_vhost_session_free(s);

    memset(g.ram + RIG_AVAIL, 0, 0x100);
    put_request(&g, g.ram + RIG_DESC, 0, 0, 512, false);
    offer(&g, 0);
    s = resume(&g, fd, bytes, kick, call, 1); /* it stands at 0 */
    wait_used(&g, 1);
    viv_vhost_session_free(s);
    munmap(log, bytes);
    rig_fini(&g);
    close(fd);
    close(kick);
    close(call);
}

/* A driver whose used ring is its available ring: whatever is given back is there again. It can be stopped all the same. */
static void test_endless(void)
{
    struct viv_vhost_ring ring = {.num = RIG_NUM, .has_addr = true, .next_avail = UINT16_MAX, .lock = PTHREAD_MUTEX_INITIALIZER};
    int kick = eventfd(0, EFD_NONBLOCK);
    struct viv_vhost_queue *q = NULL;
    struct viv_vhost_mem mem = {0};
    struct vhost_msg m;
    struct rig g;

    rig_init(&g, true);
    m = rig_memory(&g);
    g_assert_cmpint(viv_vhost_mem_set(&mem, &m.p.mem, m.fds, 1, NULL), ==, 0);
    ring.addr = rig_addr();
    ring.addr.used = ring.addr.avail;
    viv_st_le32(g.ram + RIG_DATA, 8); /* GET_ID is answered at once, with one byte: heads are 0 and 1 */
    for (unsigned i = 0; i < 2; i++)
        put_desc(g.ram + RIG_DESC, i, RIG_DATA, 16, NEXT, 2);
    put_desc(g.ram + RIG_DESC, 2, RIG_DATA + 64, 1, WRITE, 0);
    g_assert_cmpint(viv_vhost_ring_start(&ring, &mem, false), ==, 0);
    g_assert_cmpint(viv_vhost_queue_start(&g.disk, &ring, 0, kick, -1, -1, &q, NULL), ==, 0);
    g_usleep(50000);
    g_assert_cmpuint(viv_ld_le16(g.ram + RIG_AVAIL + 2), >, 2);
    viv_vhost_queue_stop(&q);
    viv_vhost_mem_clear(&mem);
    rig_fini(&g);
    close(kick);
}

static void refuse_area(struct viv_vhost_session *s, int fd, struct vhost_inflight p, unsigned fds)
{
    struct vhost_msg m = msg(VHOST_SET_INFLIGHT_FD, sizeof(m.p.inflight));

    m.p.inflight = p;
    m.fds[0] = fd;
    m.fd_count = fds;
    g_assert_cmpint(viv_vhost_session_do(s, &m, NULL), <, 0);
}

static void test_bad_areas(void)
{
    struct viv_vhost_session *s;
    struct vhost_msg m;
    uint64_t bytes;
    struct rig g;
    int fd;

    rig_init(&g, true);
    fd = get_area(&g, &bytes);
    s = viv_vhost_session_new(&g.disk);
    refuse_area(s, fd, (struct vhost_inflight){bytes, 0, 1, RIG_NUM}, 0);
    refuse_area(s, fd, (struct vhost_inflight){bytes - 1, 0, 1, RIG_NUM}, 1);
    refuse_area(s, fd, (struct vhost_inflight){bytes, 64, 1, RIG_NUM}, 1);
    refuse_area(s, fd, (struct vhost_inflight){bytes, 1, 1, 2}, 1);
    refuse_area(s, fd, (struct vhost_inflight){bytes, ~63ull, 1, 2}, 1);
    refuse_area(s, fd, (struct vhost_inflight){bytes, 0, 3, 2}, 1);
    refuse_area(s, fd, (struct vhost_inflight){bytes, 0, 0, 2}, 1);
    refuse_area(s, fd, (struct vhost_inflight){bytes, 0, 1, 0}, 1);
    refuse_area(s, fd, (struct vhost_inflight){bytes, 0, 1, 4096}, 1);
    for (unsigned i = 0; i < 3; i++) {
        m = msg(VHOST_GET_INFLIGHT_FD, sizeof(m.p.inflight));
        m.p.inflight = (struct vhost_inflight[]){{0, 0, 3, 16}, {0, 0, 0, 16}, {0, 0, 1, 2000}}[i];
        g_assert_cmpint(viv_vhost_session_do(s, &m, NULL), <, 0);
    }
    viv_vhost_session_free(s);
    rig_fini(&g);
    close(fd);
}

/* Its data, or all of it, is suddenly not there: in the queue's thread and in those that move data. */
static void test_cut(void)
{
    for (unsigned i = 0; i < 4; i++) {
        int kick = eventfd(0, EFD_NONBLOCK);
        struct viv_vhost_session *s;
        struct vhost_msg m;
        uint64_t one = 1;
        struct rig g;

        rig_init(&g, true);
        s = viv_vhost_session_new(&g.disk);
        m = rig_memory(&g);
        g_assert_cmpint(viv_vhost_session_do(s, &m, NULL), ==, 0);
        set_state(s, VHOST_SET_VRING_NUM, 0, RIG_NUM);
        set_state(s, VHOST_SET_VRING_BASE, 0, 0);
        m = msg(VHOST_SET_VRING_ADDR, sizeof(m.p.addr));
        m.p.addr = rig_addr();
        g_assert_cmpint(viv_vhost_session_do(s, &m, NULL), ==, 0);
        set_fd(s, VHOST_SET_VRING_KICK, kick);
        set_state(s, VHOST_SET_VRING_ENABLE, 0, 1);
        put_request(&g, g.ram + RIG_DESC, 0, 0, 512, i & 1);
        offer(&g, 0);
        g_assert_cmpint(ftruncate(g.memfd, i & 2 ? 0 : RIG_DATA), ==, 0);
        g_assert_cmpint(write(kick, &one, 8), ==, 8);
        g_usleep(50000);
        viv_vhost_session_free(s);
        rig_fini(&g);
        close(kick);
    }
}

static uint8_t *foreign;
static unsigned foreign_hits;

static void on_foreign(int signo, siginfo_t *info, void *context)
{
    if (info->si_addr != foreign)
        abort();
    foreign_hits++;
    mmap(foreign, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
}

static uint8_t *map_cut(int fd)
{
    uint8_t *p;

    g_assert_cmpint(ftruncate(fd, 4096), ==, 0);
    p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    g_assert_true(p != MAP_FAILED);
    g_assert_cmpint(ftruncate(fd, 0), ==, 0);
    return p;
}

/* A fault of somebody else's is his, and the guard stays. Before all others: who was there first counts. */
static void test_guard(void)
{
    struct sigaction sa = {.sa_sigaction = on_foreign, .sa_flags = SA_SIGINFO};
    int fd[2] = {memfd_create("a", 0), memfd_create("b", 0)};
    uint8_t *ours;

    sigaction(SIGBUS, &sa, NULL);
    foreign = map_cut(fd[0]);
    ours = map_cut(fd[1]);
    g_assert_true(viv_guard_add(ours, 4096));
    g_assert_cmpuint(*(volatile uint8_t *)foreign, ==, 0);
    g_assert_cmpuint(foreign_hits, ==, 1);
    g_assert_cmpuint(*(volatile uint8_t *)ours, ==, 0);
    g_assert_cmpuint(foreign_hits, ==, 1);
    g_assert_true(viv_guard_remove(ours));
    for (unsigned i = 0; i < 2; i++) {
        munmap(i ? ours : foreign, 4096);
        close(fd[i]);
    }
}

static void test_bad_messages(void)
{
    struct viv_vhost_session *s;
    struct vhost_msg m;
    struct rig g;

    rig_init(&g, true);
    s = viv_vhost_session_new(&g.disk);
    m = rig_memory(&g);
    m.p.mem.region[0].size = RIG_MEM + 1; /* behind the file's end */
    g_assert_cmpint(viv_vhost_session_do(s, &m, NULL), <, 0);
    m = rig_memory(&g);
    m.p.mem.region[0].mmap_offset = UINT64_MAX - 10;
    g_assert_cmpint(viv_vhost_session_do(s, &m, NULL), <, 0);
    m = rig_memory(&g);
    m.p.mem.region[0].guest_addr = UINT64_MAX - 10;
    g_assert_cmpint(viv_vhost_session_do(s, &m, NULL), <, 0);
    m = rig_memory(&g);
    m.p.mem.count = 2;
    g_assert_cmpint(viv_vhost_session_do(s, &m, NULL), <, 0);
    m = rig_memory(&g);
    m.p.mem.count = UINT32_MAX;
    g_assert_cmpint(viv_vhost_session_do(s, &m, NULL), <, 0);
    m = msg(VHOST_SET_VRING_NUM, 8);
    m.p.state = (struct vhost_vring_state){2, 16}; /* there are two queues */
    g_assert_cmpint(viv_vhost_session_do(s, &m, NULL), <, 0);
    m.p.state = (struct vhost_vring_state){0, 2048};
    g_assert_cmpint(viv_vhost_session_do(s, &m, NULL), <, 0);
    m = msg(VHOST_GET_CONFIG, 12 + 60);
    m.p.config.offset = UINT32_MAX;
    m.p.config.size = 60;
    g_assert_cmpint(viv_vhost_session_do(s, &m, NULL), <, 0);
    m.p.config.offset = 0;
    g_assert_cmpint(viv_vhost_session_do(s, &m, NULL), ==, 1);
    g_assert_cmpuint(viv_ld_le64(m.p.config.data), ==, RIG_DISK / 512);
    m = msg(VHOST_SET_FEATURES, 8);
    m.p.u64 = 1ull << 63;
    g_assert_cmpint(viv_vhost_session_do(s, &m, NULL), <, 0);
    m = msg(VHOST_SET_FEATURES, 4);
    g_assert_cmpint(viv_vhost_session_do(s, &m, NULL), <, 0);
    m = msg(99, 0);
    g_assert_cmpint(viv_vhost_session_do(s, &m, NULL), <, 0);
    viv_vhost_session_free(s);
    rig_fini(&g);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/vhost/guard", test_guard);
    g_test_add_func("/vhost/requests", test_requests);
    g_test_add_func("/vhost/indirect", test_indirect);
    g_test_add_func("/vhost/refused", test_refused);
    g_test_add_func("/vhost/broken", test_broken);
    g_test_add_func("/vhost/session", test_session);
    g_test_add_func("/vhost/resized", test_resized);
    g_test_add_func("/vhost/bad-messages", test_bad_messages);
    g_test_add_func("/vhost/cut", test_cut);
    g_test_add_func("/vhost/inflight", test_inflight);
    g_test_add_func("/vhost/order", test_order);
    g_test_add_func("/vhost/broken-mark", test_broken_mark);
    g_test_add_func("/vhost/endless", test_endless);
    g_test_add_func("/vhost/bad-areas", test_bad_areas);
    return g_test_run();
}
