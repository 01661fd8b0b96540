/* virtio-blk against a disk in memory whose requests complete when the test says so. The disk stands in for the
 * block layer (block/block.h), so that order, failure and time are the test's. */
#include "base/bytes.h"
#include "bus/virtio_driver.h"
#include "bus/virtio_mmio.h"
#include "bus/vmreq.h"
#include "dev/storage/disk_test.h"
#include "dev/virtio/virtio_blk.h"
#include "host/iothread.h"
#include "host/lock.h"

#include <errno.h>
#include <glib.h>
#include <pthread.h>
#include <string.h>
#include <unistd.h>

#define RAM_SIZE  (4u << 20)

extern const struct viv_dev_class viv_dev_virtio_blk_device;

static unsigned stops;

void viv_vm_request(enum viv_vm_request what, int code, const char *who)
{
    g_assert_cmpint(what, ==, VIV_VM_IO_ERROR);
    stops++;
}

/* --- the machine --- */

static struct viv_board board;
static struct viv_ram *ram;
static unsigned interrupts;

static void note_irq(void *opaque, int n, int level)
{
    interrupts += level;
}

static int try_make(const char *text, struct viv_virtio_mmio **out, struct viv_err *err)
{
    static const struct viv_dev_class *const table[] = {&viv_dev_virtio_blk_device, NULL};
    struct viv_irq irq = {note_irq, NULL, 0};
    struct viv_opts *opts = NULL;
    struct viv_dev *d;
    int rc;

    viv_dev_set_classes(table);
    board.mem = viv_space_new("mem", 40);
    board.io = viv_space_new("io", 16);
    if (!ram)
        g_assert_cmpint(viv_ram_new("ram", RAM_SIZE, &ram, err), ==, 0);
    viv_region_map(viv_region_new(board.mem, &(struct viv_region_desc){.name = "ram",
                                                                       .kind = VIV_REGION_RAM,
                                                                       .size = RAM_SIZE,
                                                                       .ram = ram}),
                   0, 0);
    board.vmmio = viv_virtio_mmio_bus_new(&board, 0xfeb00000, 1, &irq);
    rc = viv_opts_parse("-device virtio-blk-device", viv_dev_virtio_blk_device.props, NULL, text, &opts, err);
    if (!rc) {
        rc = viv_dev_new(&board, "virtio-blk-device", NULL, NULL, opts, &d, err);
        viv_opts_free(opts);
    }
    if (!rc)
        *out = (struct viv_virtio_mmio *)d;
    interrupts = stops = 0;
    return rc;
}

static struct viv_virtio_mmio *make(const char *text)
{
    struct viv_virtio_mmio *m = NULL;
    struct viv_err err = VIV_ERR_INIT;

    disk.n = disk.fail = disk.flushes = disk.discards = disk.fua = 0;
    g_assert_cmpint(viv_drive_add("d0", &disk, NULL, &err), ==, 0);
    viv_dev_lock();
    if (try_make(text, &m, &err))
        g_error("%s", err.text);
    viv_dev_set_running_all(true);
    return m; /* device lock held */
}

static void free_board(void)
{
    viv_virtio_mmio_bus_free(board.vmmio);
    viv_space_free(board.mem);
    viv_space_free(board.io);
}

static void unmake(void)
{
    viv_dev_free_all();
    free_board();
    viv_dev_unlock();
    viv_drive_free_all(NULL);
}

#define BITS(a) (1ull << (a))
#define FEATURES                                                                                   \
    (BITS(VIRTIO_BLK_F_FLUSH) | BITS(VIRTIO_BLK_F_DISCARD) | BITS(VIRTIO_BLK_F_WRITE_ZEROES) | BITS(VIV_VIRTIO_F_EVENT_IDX))

struct io {
    uint64_t status, data;
    uint16_t id;
};

static struct io ask(struct td *d, uint32_t type, uint64_t sector, uint32_t len, bool write, const void *data)
{
    uint8_t header[16] = {0}, no = 0xee;
    struct td_seg seg[8];
    struct io io;
    unsigned n = 0;

    viv_st_le32(header, type);
    viv_st_le64(header + 8, sector);
    seg[n++] = (struct td_seg){td_put(d, header, 16), 16, false};
    io.data = len ? td_alloc(d, len) : 0;
    if (data)
        td_write(d, io.data, data, len);
    /* in up to three pieces of odd length */
    for (uint32_t at = 0; at < len;) {
        uint32_t part = len - at > 700 && n < 3 ? 333 * n : len - at;

        seg[n++] = (struct td_seg){io.data + at, part, !write};
        at += part;
    }
    io.status = td_put(d, &no, 1);
    seg[n++] = (struct td_seg){io.status, 1, true};
    io.id = td_add(d, 0, seg, n, false);
    return io;
}

static void *end_one(void *req)
{
    struct viv_blk_req *r = req;

    r->done(r, perform(&disk, r));
    return NULL;
}

/* Device lock held: the first to end waits for it on its thread, the others end meanwhile. */
static void disk_complete_together(void)
{
    GThread *first = g_thread_new("first", end_one, disk.queue[--disk.n]);
    struct viv_front *f = viv_front_next(NULL);

    while (!__atomic_load_n(&f->ended, __ATOMIC_ACQUIRE))
        g_usleep(100);
    while (disk.n)
        end_one(disk.queue[--disk.n]);
    viv_dev_unlock();
    g_thread_join(first);
    viv_dev_lock();
}

static void go(struct td *d)
{
    td_kick(d, 0);
    viv_dev_unlock();
    complete();
    viv_dev_lock();
}

static uint8_t status_of(struct td *d, const struct io *io)
{
    uint8_t s;

    td_read(d, io->status, &s, 1);
    return s;
}

static void start(struct td *d, struct viv_virtio_mmio *m, uint64_t features)
{
    td_start(d, m->v, features, 0x10000);
    td_queue_start(d, 0, 64);
    td_go(d);
}

static uint8_t one(struct td *d, uint32_t type, uint64_t sector, uint32_t len, bool write, const void *data)
{
    struct io io = ask(d, type, sector, len, write, data);
    uint16_t id;
    uint32_t used;

    go(d);
    g_assert_true(td_used(d, 0, &id, &used));
    g_assert_cmpuint(id, ==, io.id);
    return status_of(d, &io);
}

static void test_data(void)
{
    struct viv_virtio_mmio *m = make("drive=d0,serial=ABC123");
    uint8_t w[5120], r[5120];
    uint16_t id;
    uint32_t used;
    struct io io[3];
    struct td d;

    start(&d, m, FEATURES);
    for (unsigned i = 0; i < sizeof(w); i++)
        w[i] = i * 13 + i / 256;
    g_assert_cmpint(one(&d, 1, 7, sizeof(w), true, w), ==, 0);
    g_assert_cmpmem(disk.data + 7 * 512, sizeof(w), w, sizeof(w));
    g_assert_cmpuint(disk.fua, ==, 0);
    /* three at once; the disk answers backwards */
    for (unsigned i = 0; i < 3; i++)
        io[i] = ask(&d, 0, 7 + i, 1024, false, NULL);
    interrupts = 0;
    go(&d);
    for (unsigned i = 0; i < 3; i++) {
        g_assert_true(td_used(&d, 0, &id, &used));
        g_assert_cmpuint(used, ==, 1025);
    }
    for (unsigned i = 0; i < 3; i++) {
        td_read(&d, io[i].data, r, 1024);
        g_assert_cmpmem(r, 1024, w + 512 * i, 1024);
        g_assert_cmpint(status_of(&d, &io[i]), ==, 0);
    }
    g_assert_cmpint(one(&d, 4, 0, 0, true, NULL), ==, 0);
    g_assert_cmpuint(disk.flushes, ==, 1);
    io[0] = ask(&d, 8, 0, 20, false, NULL);
    go(&d);
    g_assert_true(td_used(&d, 0, &id, &used));
    td_read(&d, io[0].data, r, 20);
    g_assert_cmpstr((char *)r, ==, "ABC123");
    unmake();
}

static void expect_limits(const char *opts, uint32_t discard, uint32_t zeroes)
{
    struct viv_virtio_mmio *m = make(opts);
    struct virtio_blk_config c;

    viv_virtio_config_read(m->v, 0, &c, sizeof(c));
    g_assert_cmpuint(viv_ld_le32(&c.max_discard_sectors), ==, discard);
    g_assert_cmpuint(viv_ld_le32(&c.max_write_zeroes_sectors), ==, zeroes);
    unmake();
}

/* Where a driver cuts long ranges, blocks stay whole. */
static void test_range_limits(void)
{
    expect_limits("drive=d0", 4194303, 4194303);
    expect_limits("drive=d0,logical_block_size=4096,physical_block_size=4096", 4194296, 4194296);
    expect_limits("drive=d0,logical_block_size=4096,physical_block_size=4096,max-discard-sectors=5,max-write-zeroes-sectors=17", 8, 16);
}

static void test_ranges(void)
{
    struct viv_virtio_mmio *m = make("drive=d0");
    uint8_t seg[16] = {0}, buf[512];
    struct td d;

    start(&d, m, FEATURES);
    memset(disk.data, 0x55, DISK_SIZE);
    viv_st_le64(seg, 8);
    viv_st_le32(seg + 8, 16);
    g_assert_cmpint(one(&d, 13, 0, 16, true, seg), ==, 0);
    g_assert_cmpuint(disk.data[8 * 512 - 1], ==, 0x55);
    g_assert_cmpuint(disk.data[8 * 512], ==, 0);
    g_assert_cmpuint(disk.data[24 * 512 - 1], ==, 0);
    g_assert_cmpuint(disk.data[24 * 512], ==, 0x55);
    g_assert_cmpint(one(&d, 11, 0, 16, true, seg), ==, 0);
    g_assert_cmpuint(disk.discards, ==, 1);
    viv_st_le32(seg + 12, 1); /* unmap on a discard */
    g_assert_cmpint(one(&d, 11, 0, 16, true, seg), ==, 2);
    viv_st_le32(seg + 12, 0);
    viv_st_le64(seg, DISK_SIZE / 512 - 8);
    g_assert_cmpint(one(&d, 13, 0, 16, true, seg), ==, 1);
    viv_st_le64(seg, UINT64_MAX / 512);
    g_assert_cmpint(one(&d, 13, 0, 16, true, seg), ==, 1);
    /* reads and writes past the end, and of half a sector */
    g_assert_cmpint(one(&d, 0, DISK_SIZE / 512, 512, false, NULL), ==, 1);
    g_assert_cmpint(one(&d, 1, UINT64_MAX, 512, true, buf), ==, 1);
    g_assert_cmpint(one(&d, 0, 0, 100, false, NULL), ==, 1);
    g_assert_cmpint(one(&d, 99, 0, 512, false, NULL), ==, 2);
    unmake();
}

static void test_cache(void)
{
    struct viv_virtio_mmio *m = make("drive=d0,write-cache=off");
    uint8_t buf[512] = {1}, wce;
    struct td d;

    start(&d, m, FEATURES | BITS(VIRTIO_BLK_F_CONFIG_WCE));
    g_assert_cmpint(one(&d, 1, 0, 512, true, buf), ==, 0);
    g_assert_cmpuint(disk.fua, ==, 1);
    wce = 1;
    viv_virtio_config_write(m->v, 32, &wce, 1);
    g_assert_cmpint(one(&d, 1, 0, 512, true, buf), ==, 0);
    g_assert_cmpuint(disk.fua, ==, 1);
    unmake();
    /* A driver that cannot flush gets durable writes. */
    m = make("drive=d0");
    start(&d, m, 0);
    g_assert_cmpint(one(&d, 1, 0, 512, true, buf), ==, 0);
    g_assert_cmpuint(disk.fua, ==, 1);
    unmake();
}

static void test_errors(void)
{
    struct viv_virtio_mmio *m = make("drive=d0");
    uint8_t buf[512] = {7};
    uint16_t id;
    uint32_t used;
    struct io io;
    struct td d;

    start(&d, m, FEATURES);
    disk.fail = EIO;
    g_assert_cmpint(one(&d, 1, 0, 512, true, buf), ==, 1); /* report */
    disk.fail = ENOSPC;
    io = ask(&d, 1, 3, 512, true, buf);
    go(&d);
    g_assert_cmpuint(stops, ==, 1); /* enospc: stop and hold */
    g_assert_false(td_used(&d, 0, &id, &used));
    viv_dev_set_running_all(false);
    g_assert_true(viv_dev_idle_all());
    disk.fail = 0;
    viv_dev_set_running_all(true);
    viv_dev_unlock();
    complete();
    viv_dev_lock();
    g_assert_true(td_used(&d, 0, &id, &used));
    g_assert_cmpuint(id, ==, io.id);
    g_assert_cmpint(status_of(&d, &io), ==, 0);
    g_assert_cmpuint(disk.data[3 * 512], ==, 7);
    unmake();

    /* Held, and then its place is gone: it is not held for ever. */
    m = make("drive=d0,werror=stop");
    start(&d, m, FEATURES);
    disk.fail = ENOSPC;
    io = ask(&d, 1, DISK_SIZE / 512 - 1, 512, true, buf);
    go(&d);
    g_assert_cmpuint(stops, ==, 1);
    viv_dev_set_running_all(false);
    disk.fail = 0;
    disk_resize(DISK_SIZE / 2);
    viv_dev_set_running_all(true);
    viv_dev_unlock();
    complete();
    viv_dev_lock();
    g_assert_cmpuint(stops, ==, 1);
    g_assert_true(td_used(&d, 0, &id, &used));
    g_assert_cmpint(status_of(&d, &io), ==, 1);
    disk_resize(DISK_SIZE);
    unmake();

    m = make("drive=d0,werror=ignore");
    start(&d, m, FEATURES);
    disk.fail = EIO;
    g_assert_cmpint(one(&d, 1, 0, 512, true, buf), ==, 0);
    g_assert_cmpint(one(&d, 0, 0, 512, false, NULL), ==, 1);
    unmake();
}

static uint8_t *save(size_t *len)
{
    struct viv_state_writer *w = viv_state_writer_new();
    uint8_t *data;

    viv_dev_save_all(w);
    data = viv_state_writer_finish(w, len);
    viv_state_writer_free(w);
    return data;
}

/* A request that waits for space is in the saved state, and goes on in the process that loads it. */
static void test_state(gconstpointer packed)
{
    uint64_t features = FEATURES | (packed ? BITS(VIV_VIRTIO_F_RING_PACKED) : 0);
    struct viv_virtio_mmio *m = make("drive=d0,packed=on");
    struct viv_state_reader *r;
    struct viv_err err = VIV_ERR_INIT;
    uint8_t buf[512] = {9}, *state, *again;
    size_t len, len2;
    uint16_t id;
    uint32_t used;
    struct io io;
    struct td d;

    start(&d, m, features);
    g_assert_cmpint(one(&d, 1, 1, 512, true, buf), ==, 0);
    disk.fail = ENOSPC;
    io = ask(&d, 1, 3, 512, true, buf);
    go(&d);
    viv_dev_set_running_all(false);
    state = save(&len);
    unmake();

    memset(disk.data, 0, DISK_SIZE);
    m = make("drive=d0,packed=on");
    viv_dev_set_running_all(false);
    r = viv_state_reader_new(state, len);
    if (viv_dev_load_all(r, &err) < 0)
        g_error("%s", err.text);
    viv_state_reader_free(r);
    again = save(&len2);
    g_assert_cmpmem(state, len, again, len2);
    d.v = m->v;
    d.mem = board.mem;
    viv_dev_set_running_all(true);
    viv_dev_unlock();
    complete();
    viv_dev_lock();
    g_assert_true(td_used(&d, 0, &id, &used));
    g_assert_cmpuint(id, ==, io.id);
    g_assert_cmpuint(disk.data[3 * 512], ==, 9);
    g_assert_cmpint(one(&d, 1, 5, 512, true, buf), ==, 0);
    unmake();
    /* Cut anywhere, the state is refused, not believed. */
    m = make("drive=d0,packed=on");
    for (size_t cut = 0; cut < len; cut += 3) {
        r = viv_state_reader_new(state, cut);
        err = (struct viv_err)VIV_ERR_INIT;
        g_assert_cmpint(viv_dev_load_all(r, &err), <, 0);
        viv_state_reader_free(r);
    }
    unmake();
    g_free(state);
    g_free(again);
}

static void *complete_later(void *arg)
{
    usleep(20000);
    complete();
    return NULL;
}

/* Reset waits for the disk; nothing is returned to the driver of the life before. */
static void test_reset(void)
{
    struct viv_virtio_mmio *m = make("drive=d0");
    pthread_t t;
    uint16_t id;
    uint32_t used;
    struct td d;

    start(&d, m, FEATURES);
    ask(&d, 0, 0, 512, false, NULL);
    td_kick(&d, 0);
    g_assert_cmpuint(disk.n, ==, 1);
    g_assert_false(viv_dev_idle_all());
    pthread_create(&t, NULL, complete_later, NULL);
    viv_virtio_set_status(m->v, 0);
    g_assert_cmpuint(disk.n, ==, 0);
    g_assert_true(viv_dev_idle_all());
    pthread_join(t, NULL);
    g_assert_false(td_used(&d, 0, &id, &used));
    start(&d, m, FEATURES);
    g_assert_cmpint(one(&d, 0, 0, 512, false, NULL), ==, 0);
    unmake();
}

static void test_hostile(void)
{
    struct viv_virtio_mmio *m = make("drive=d0");
    struct td_seg seg[2] = {{0x1000, 15, false}, {0x2000, 1, true}};
    struct td d;

    start(&d, m, FEATURES);
    td_add(&d, 0, seg, 2, false);
    td_kick(&d, 0);
    g_assert_true(m->v->broken);
    start(&d, m, FEATURES);
    seg[0].len = 16;
    td_add(&d, 0, seg, 1, false); /* no room for a status */
    td_kick(&d, 0);
    g_assert_true(m->v->broken);
    unmake();
}

static void refused(const char *text, const char *word)
{
    struct viv_virtio_mmio *m;
    struct viv_err err = VIV_ERR_INIT;

    g_assert_cmpint(try_make(text, &m, &err), <, 0);
    if (!strstr(err.text, word))
        g_error("'%s' is not in: %s", word, err.text);
    free_board();
}

static void test_options(void)
{
    struct viv_virtio_mmio *m;
    uint8_t c[60];

    viv_drive_add("d0", &disk, NULL, NULL);
    viv_drive_add("empty", NULL, NULL, NULL);
    refused("", "drive");
    refused("drive=nope", "nope");
    refused("drive=empty", "empty");
    refused("drive=d0,logical_block_size=1000", "powers of two");
    refused("drive=d0,logical_block_size=4096,physical_block_size=512", "less than");
    refused("drive=d0,queue-size=100", "power of two");
    refused("drive=d0,iothread=io0", "no iothread 'io0'");
    refused("drive=d0,serail=1", "serial");
    refused("drive=d0,packed=maybe", "packed");
    viv_drive_free_all(NULL);
    disk.ro = true;
    m = make("drive=d0,num-queues=4,logical_block_size=4096,physical_block_size=8192");
    viv_virtio_config_read(m->v, 0, c, sizeof(c));
    g_assert_cmpuint(viv_ld_le64(c), ==, DISK_SIZE / 512);
    g_assert_cmpuint(viv_ld_le32(c + 20), ==, 4096);
    g_assert_cmpuint(c[24], ==, 1);
    g_assert_cmpuint(viv_ld_le16(c + 34), ==, 4);
    g_assert_true(m->v->host_features & BITS(VIRTIO_BLK_F_RO));
    g_assert_false(m->v->host_features & BITS(VIRTIO_BLK_F_DISCARD));
    unmake();
    disk.ro = false;
}

/* What ends together is told of together, with one interrupt; and while the drive is drained what the guest asks for waits. */
static void test_front(void)
{
    struct viv_virtio_mmio *m = make("drive=d0,rerror=stop");
    struct viv_front *f = viv_front_next(NULL);
    uint8_t buf[512] = {7};
    struct io io[4];
    uint16_t id;
    uint32_t used;
    struct td d;

    start(&d, m, FEATURES & ~BITS(VIV_VIRTIO_F_EVENT_IDX));
    for (unsigned i = 0; i < 4; i++)
        io[i] = ask(&d, 1, i, 512, true, buf);
    interrupts = 0;
    td_kick(&d, 0);
    g_assert_cmpuint(f->in_flight, ==, 4);
    /* The one who finds the stack empty waits for the lock; the others end meanwhile. */
    disk_complete_together();
    for (unsigned i = 0; i < 4; i++) {
        g_assert_true(td_used(&d, 0, &id, &used));
        g_assert_cmpint(status_of(&d, &io[i]), ==, 0);
    }
    g_assert_cmpuint(interrupts, ==, 1);

    viv_front_drain(f);
    io[0] = ask(&d, 0, 0, 512, false, NULL);
    td_kick(&d, 0);
    g_assert_cmpuint(disk.n, ==, 0);
    g_assert_cmpuint(f->in_flight, ==, 0);
    viv_front_resume(f);
    g_assert_cmpuint(disk.n, ==, 1);
    go(&d);
    g_assert_cmpint(status_of(&d, &io[0]), ==, 0);

    /* A medium that went away meanwhile is an error of the guest's, no reason to stop. */
    viv_front_drain(f);
    io[0] = ask(&d, 0, 0, 512, false, NULL);
    td_kick(&d, 0);
    f->drive->blk = NULL;
    viv_front_resume(f);
    f->drive->blk = &disk;
    g_assert_cmpint(status_of(&d, &io[0]), ==, VIRTIO_BLK_S_IOERR);
    g_assert_cmpuint(stops, ==, 0);
    g_assert_false(f->holding);
    unmake();
}

/* Another size: the driver is told that the configuration has changed, and reads it there. */
static void test_resize(void)
{
    struct viv_virtio_mmio *m = make("drive=d0");
    uint8_t c[8], buf[512] = {0};
    struct io io;
    struct td d;

    start(&d, m, FEATURES);
    interrupts = 0;
    disk_resize(DISK_SIZE / 2);
    g_assert_cmpuint(interrupts, ==, 1);
    viv_virtio_config_read(m->v, 0, c, sizeof(c));
    g_assert_cmpuint(viv_ld_le64(c), ==, DISK_SIZE / 1024);
    io = ask(&d, 1, DISK_SIZE / 1024, 512, true, buf);
    td_kick(&d, 0);
    go(&d);
    g_assert_cmpint(status_of(&d, &io), ==, VIRTIO_BLK_S_IOERR);
    disk_resize(DISK_SIZE);
    io = ask(&d, 1, DISK_SIZE / 1024, 512, true, buf);
    td_kick(&d, 0);
    go(&d);
    g_assert_cmpint(status_of(&d, &io), ==, 0);
    unmake();
    interrupts = 0;
    disk_resize(DISK_SIZE / 2);
    g_assert_cmpuint(interrupts, ==, 0); /* nobody is told any more */
    disk_resize(DISK_SIZE);
}

/* The device lock comes and goes until the iothread has taken n requests out of the ring. */
static void wait_taken(unsigned n)
{
    while (disk.n < n) {
        viv_dev_unlock();
        g_usleep(200);
        viv_dev_lock();
    }
    g_assert_cmpuint(disk.n, ==, n);
}

/* A kick returns before anything is popped; what a stopped machine was kicked for is served when it goes on. */
static void test_iothread(void)
{
    struct viv_err err = VIV_ERR_INIT;
    struct viv_virtio_mmio *m;
    struct io io;
    uint16_t id;
    uint32_t used;
    struct td d;

    g_assert_cmpint(viv_iothread_add("io0", &err), ==, 0);
    m = make("drive=d0,iothread=io0");
    g_assert_cmpint(viv_iothread_del("io0", &err), ==, -EBUSY);
    viv_err_clear(&err);
    start(&d, m, FEATURES);
    for (unsigned i = 0; i < 5; i++)
        io = ask(&d, 0, i, 512, false, NULL);
    td_kick(&d, 0);
    g_assert_cmpuint(disk.n, ==, 0);
    wait_taken(5);
    go(&d);
    for (unsigned i = 0; i < 5; i++)
        g_assert_true(td_used(&d, 0, &id, &used));
    g_assert_cmpint(status_of(&d, &io), ==, 0);

    ask(&d, 0, 0, 512, false, NULL);
    td_kick(&d, 0);
    viv_dev_set_running_all(false);
    viv_dev_unlock();
    g_usleep(5000);
    viv_dev_lock();
    g_assert_cmpuint(disk.n, ==, 0);
    g_assert_true(viv_dev_idle_all());
    viv_dev_set_running_all(true);
    wait_taken(1);
    go(&d);
    g_assert_true(td_used(&d, 0, &id, &used));

    ask(&d, 0, 0, 512, false, NULL); /* a reset before the thread comes to it */
    td_kick(&d, 0);
    viv_virtio_set_status(m->v, 0);
    viv_dev_unlock();
    g_usleep(5000);
    viv_dev_lock();
    g_assert_cmpuint(disk.n, ==, 0);
    start(&d, m, FEATURES);
    ask(&d, 0, 0, 512, false, NULL);
    td_kick(&d, 0);
    wait_taken(1);
    go(&d);
    ask(&d, 0, 0, 512, false, NULL); /* and the device goes with a kick on its way */
    td_kick(&d, 0);
    unmake();
    viv_dev_lock();
    g_assert_cmpint(viv_iothread_del("io0", &err), ==, 0);
    viv_dev_unlock();
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/virtio-blk/data", test_data);
    g_test_add_func("/virtio-blk/ranges", test_ranges);
    g_test_add_func("/virtio-blk/ranges/limits", test_range_limits);
    g_test_add_func("/virtio-blk/cache", test_cache);
    g_test_add_func("/virtio-blk/errors", test_errors);
    g_test_add_data_func("/virtio-blk/state-split", NULL, test_state);
    g_test_add_data_func("/virtio-blk/state-packed", "", test_state);
    g_test_add_func("/virtio-blk/reset", test_reset);
    g_test_add_func("/virtio-blk/hostile", test_hostile);
    g_test_add_func("/virtio-blk/front", test_front);
    g_test_add_func("/virtio-blk/resize", test_resize);
    g_test_add_func("/virtio-blk/iothread", test_iothread);
    g_test_add_func("/virtio-blk/options", test_options);
    return g_test_run();
}
