/* SCSI targets below a small adapter: what they answer, data in pieces, what is wrong is refused. */
#include "base/bytes.h"
#include "bus/scsi.h"
#include "dev/storage/disk_test.h"
#include "dev/storage/front.h"
#include "dev/test_rig.h"
#include "host/lock.h"

#include <errno.h>

extern const struct viv_dev_class viv_dev_scsi_cd, viv_dev_scsi_hd;
const struct viv_dev_class *const rig_classes[] = {&viv_dev_scsi_cd, &viv_dev_scsi_hd, NULL};

/* --- the adapter --- */

static struct {
    struct viv_scsi_bus *bus;
    struct viv_scsi_req *req;
    uint8_t data[DISK_SIZE], sense[VIV_SCSI_SENSE_LEN];
    size_t moved;
    unsigned dones;
    uint8_t status;
    bool waits; /* a move is under way */
} a;

static void on_moved(struct viv_scsi_req *r, size_t bytes)
{
    g_assert_true(r == a.req && a.waits);
    a.waits = false;
    a.moved += bytes;
}

static void on_done(struct viv_scsi_req *r)
{
    a.dones++;
    a.waits = false;
    a.status = r->status;
    memcpy(a.sense, r->sense, sizeof(a.sense));
    a.req = NULL;
    viv_scsi_put(r);
}

static const struct viv_scsi_bus_ops ops = {.ids = 2, .luns = 8, .moved = on_moved, .done = on_done};

static void begin(const uint8_t *cdb, size_t len)
{
    a.moved = 0;
    a.dones = 0;
    a.status = 0xff;
    memset(a.data, 0xee, sizeof(a.data));
    viv_dev_lock();
    a.req = viv_scsi_new(a.bus, 0, 0, 0, cdb, len, NULL);
    viv_dev_unlock();
}

/* Pieces of `piece` bytes in two iovecs, until `room` is full or the command ends. */
static void move(size_t piece, size_t room)
{
    for (unsigned steps = 0; a.req; steps++) {
        size_t n = MIN(piece, room - a.moved);
        struct iovec iov[2] = {{a.data + a.moved, n / 3}, {a.data + a.moved + n / 3, n - n / 3}};

        g_assert_cmpuint(steps, <, 100000);
        a.waits = true;
        viv_dev_lock();
        viv_scsi_move(a.req, iov, a.req->direction != VIV_SCSI_NONE && n ? 2 : 0);
        viv_dev_unlock();
        complete();
    }
    g_assert_cmpuint(a.dones, ==, 1);
}

static uint8_t run(const uint8_t *cdb, size_t len, size_t piece, size_t room)
{
    begin(cdb, len);
    move(piece, room);
    return a.status;
}

#define CDB(...) (const uint8_t[16]){__VA_ARGS__}, 16
#define ALL      sizeof(a.data), sizeof(a.data)

static void assert_sense(uint8_t key, uint16_t asc)
{
    g_assert_cmpint(a.status, ==, VIV_SCSI_CHECK);
    g_assert_cmpint(a.sense[0], ==, 0x70);
    g_assert_cmpint(a.sense[2], ==, key);
    g_assert_cmphex(viv_ld_be16(a.sense + 12), ==, asc);
}

static void setup(const char *cls, const char *opts)
{
    rig_init();
    disk.n = disk.fail = 0;
    for (unsigned i = 0; i < DISK_SIZE; i++)
        disk.data[i] = (uint8_t)(i * 7 + i / 251);
    viv_drive_add("d0", &disk, NULL, NULL);
    viv_drive_add("none", NULL, NULL, NULL);
    a.bus = viv_scsi_bus_new(NULL, "scsi.0", &ops);
    rig_add(cls, opts);
    run(CDB(0x00), ALL);
    assert_sense(6, 0x2900); /* power on, told once */
}

static void teardown(void)
{
    rig_fini();
    viv_scsi_bus_free(a.bus);
    viv_drive_free_all(NULL);
}

/* --- CD --- */

static void test_cd_answers(void)
{
    setup("scsi-cd", "drive=d0,serial=AB12");
    g_assert_cmpint(run(CDB(0x00), ALL), ==, 0);
    g_assert_cmpint(run(CDB(0x12, 0, 0, 0, 36), ALL), ==, 0);
    g_assert_cmpuint(a.moved, ==, 36);
    g_assert_cmpint(a.data[0], ==, 5);
    g_assert_cmpint(a.data[1], ==, 0x80);
    g_assert_cmpint(run(CDB(0x12, 1, 0x80, 0, 255), ALL), ==, 0);
    g_assert_cmpmem(a.data, 8, "\5\x80\0\4AB12", 8);
    g_assert_cmpint(run(CDB(0x12, 1, 0x83, 0, 255), ALL), ==, 0); /* as QEMU's: of it guests make names */
    g_assert_cmpmem(a.data, a.moved, "\5\x83\0\10\2\0\0\4AB12", 12);
    g_assert_cmpint(run(CDB(0x12, 1, 0, 0, 255), ALL), ==, 0);
    g_assert_cmpmem(a.data, 7, "\5\0\0\3\0\x80\x83", 7);
    teardown();
    setup("scsi-cd", "drive=d0"); /* no number, no page of it */
    g_assert_cmpint(run(CDB(0x12, 1, 0, 0, 255), ALL), ==, 0);
    g_assert_cmpmem(a.data, 6, "\5\0\0\2\0\x83", 6);
    run(CDB(0x12, 1, 0x80, 0, 255), ALL);
    assert_sense(5, 0x2400);
    run(CDB(0x12, 1, 0xc0, 0, 255), ALL);
    assert_sense(5, 0x2400);
    g_assert_cmpint(run(CDB(0x25), ALL), ==, 0);
    g_assert_cmpuint(viv_ld_be32(a.data), ==, DISK_SIZE / 2048 - 1);
    g_assert_cmpuint(viv_ld_be32(a.data + 4), ==, 2048);
    g_assert_cmpint(run(CDB(0x43, 2, 0, 0, 0, 0, 0, 1, 0), ALL), ==, 0);
    g_assert_cmpuint(a.moved, ==, 20);
    g_assert_cmpmem(a.data, 12, "\0\x12\1\1\0\x14\1\0\0\0\2\0", 12);
    g_assert_cmpint(a.data[14], ==, 0xaa);
    /* 512 sectors and 150: 8 seconds, 62 frames */
    g_assert_cmpmem(a.data + 16, 4, "\0\0\10\76", 4);
    g_assert_cmpint(run(CDB(0x46, 0, 0, 0, 0, 0, 0, 0, 8), ALL), ==, 0);
    g_assert_cmpuint(viv_ld_be16(a.data + 6), ==, 8);
    g_assert_cmpint(run(CDB(0x5a, 0, 0x2a, 0, 0, 0, 0, 1, 0), ALL), ==, 0);
    g_assert_cmpint(a.data[8], ==, 0x2a);
    g_assert_cmpuint(viv_ld_be16(a.data), ==, a.moved - 2);
    g_assert_cmpint(run(CDB(0xa0, 0, 0, 0, 0, 0, 0, 0, 0, 16), ALL), ==, 0);
    g_assert_cmpuint(viv_ld_be32(a.data), ==, 8);
    run(CDB(0xff), ALL);
    assert_sense(5, 0x2000);
    run((const uint8_t[4]){0x28}, 4, ALL); /* a CDB that is cut */
    assert_sense(5, 0x2400);
    teardown();
}

static void test_cd_read(void)
{
    static const size_t pieces[] = {1 << 20, 2048, 2047, 4097, 1000};

    setup("scsi-cd", "drive=d0");
    for (unsigned i = 0; i < G_N_ELEMENTS(pieces); i++) {
        g_assert_cmpint(run(CDB(0x28, 0, 0, 0, 0, 5, 0, 0, 9), pieces[i], sizeof(a.data)), ==, 0);
        g_assert_cmpmem(a.data, a.moved, disk.data + 5 * 2048, 9 * 2048);
    }
    g_assert_cmpint(run(CDB(0xa8, 0, 0, 0, 1, 0xff, 0, 0, 0, 1), ALL), ==, 0);
    g_assert_cmpmem(a.data, a.moved, disk.data + 511 * 2048, 2048);
    g_assert_cmpint(run(CDB(0xbe, 0, 0, 0, 0, 3, 0, 0, 2, 0x10), 100, 3000), ==, 0); /* room for a part */
    g_assert_cmpmem(a.data, a.moved, disk.data + 3 * 2048, 3000);
    g_assert_cmpint(run(CDB(0xbe, 0, 0, 0, 0, 3, 0, 0, 2, 0), ALL), ==, 0);
    g_assert_cmpuint(a.moved, ==, 0);
    run(CDB(0xbe, 0, 0, 0, 0, 3, 0, 0, 2, 0xf8), ALL);
    assert_sense(5, 0x2400);
    run(CDB(0xbe, 4, 0, 0, 0, 3, 0, 0, 2, 0x10), ALL); /* audio */
    assert_sense(5, 0x6400);
    run(CDB(0x28, 0, 0, 0, 1, 0xff, 0, 0, 2), ALL);
    assert_sense(5, 0x2100);
    run(CDB(0xa8, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff), ALL);
    assert_sense(5, 0x2100);
    g_assert_cmpint(run(CDB(0x28, 0, 0, 0, 0, 5), ALL), ==, 0); /* no sectors */
    disk.fail = EIO;
    run(CDB(0x28, 0, 0, 0, 0, 5, 0, 0, 1), ALL);
    assert_sense(3, 0x1100);
    teardown();
}

static uint8_t event(void)
{
    g_assert_cmpint(run(CDB(0x4a, 1, 0, 0, 0x10, 0, 0, 0, 8), ALL), ==, 0);
    g_assert_cmpint(a.data[2], ==, 4);
    return a.data[4];
}

static void test_cd_tray(void)
{
    struct viv_err err = VIV_ERR_INIT;
    struct viv_front *f;

    setup("scsi-cd", "drive=d0");
    f = viv_front_removable("d0", NULL, &err);
    g_assert_nonnull(f);
    g_assert_cmpint(run(CDB(0x1e, 0, 0, 0, 1), ALL), ==, 0);
    run(CDB(0x1b, 0, 0, 0, 2), ALL);
    assert_sense(5, 0x5302);
    viv_dev_lock();
    g_assert_cmpint(viv_front_eject(f, false, &err), ==, -EBUSY);
    viv_dev_unlock();
    g_assert_cmpint(event(), ==, 1); /* somebody wants it */
    g_assert_cmpint(event(), ==, 0);
    g_assert_cmpint(run(CDB(0x1e), ALL), ==, 0);
    g_assert_cmpint(run(CDB(0x1b, 0, 0, 0, 2), ALL), ==, 0);
    g_assert_true(f->tray_open);
    g_assert_cmpint(event(), ==, 3);
    run(CDB(0x28, 0, 0, 0, 0, 5, 0, 0, 1), ALL);
    assert_sense(2, 0x3a02);
    viv_dev_lock();
    g_assert_cmpint(viv_front_remove(f, &err), ==, 0);
    g_assert_null(f->drive->blk);
    g_assert_cmpint(viv_front_close_tray(f, &err), ==, 0);
    viv_dev_unlock();
    run(CDB(0x00), ALL);
    assert_sense(2, 0x3a01);
    viv_dev_lock();
    g_assert_cmpint(viv_front_insert(f, &disk, &err), ==, -EBUSY);
    g_assert_cmpint(viv_front_open_tray(f, false, &err), ==, 0);
    g_assert_cmpint(viv_front_insert(f, &disk, &err), ==, 0);
    g_assert_cmpint(viv_front_insert(f, &disk, &err), ==, -EBUSY);
    g_assert_cmpint(viv_front_close_tray(f, &err), ==, 0);
    viv_dev_unlock();
    g_assert_cmpint(event(), ==, 2);
    g_assert_cmpint(run(CDB(0x03, 0, 0, 0, 18), ALL), ==, 0);
    g_assert_cmphex(viv_ld_be16(a.data + 12), ==, 0x2800);
    g_assert_cmpint(run(CDB(0x00), ALL), ==, 0);
    teardown();
}

static void test_cd_hold(void)
{
    setup("scsi-cd", "drive=d0,rerror=stop");
    disk.fail = EIO;
    begin(CDB(0x28, 0, 0, 0, 0, 5, 0, 0, 2));
    for (unsigned i = 0; i < 3; i++) { /* fails again when it is sent again */
        struct iovec iov = {a.data, 4096};

        a.waits = true;
        viv_dev_lock();
        if (i)
            viv_dev_set_running_all(true);
        else
            viv_scsi_move(a.req, &iov, 1);
        viv_dev_unlock();
        if (i == 2)
            disk.fail = 0;
        complete();
        g_assert_cmpuint(a.dones, ==, i == 2);
    }
    g_assert_cmpuint(rig.requests, ==, 2);
    g_assert_cmpint(a.status, ==, 0);
    g_assert_cmpmem(a.data, 4096, disk.data + 5 * 2048, 4096);
    /* given up while held, and while in flight */
    disk.fail = EIO;
    for (unsigned flying = 0; flying < 2; flying++) {
        struct iovec iov = {a.data, 4096};

        begin(CDB(0x28, 0, 0, 0, 0, 5, 0, 0, 2));
        viv_dev_lock();
        viv_scsi_move(a.req, &iov, 1);
        if (flying)
            viv_scsi_cancel(a.req);
        viv_dev_unlock();
        complete();
        viv_dev_lock();
        if (!flying)
            viv_scsi_cancel(a.req);
        viv_dev_set_running_all(true);
        viv_dev_unlock();
        g_assert_cmpuint(a.dones, ==, 1);
        g_assert_cmpint(a.status, ==, VIV_SCSI_ABORTED);
        g_assert_cmpuint(disk.n, ==, 0);
    }
    teardown();
}

static void test_absent(void)
{
    setup("scsi-cd", "drive=d0");
    viv_dev_lock();
    a.req = viv_scsi_new(a.bus, 0, 3, 0, CDB(0x12, 0, 0, 0, 36), NULL);
    viv_dev_unlock();
    a.dones = a.moved = 0;
    move(ALL);
    g_assert_cmpint(a.data[0], ==, 0x7f);
    viv_dev_lock();
    a.req = viv_scsi_new(a.bus, 1, 0, 0, CDB(0x00), NULL);
    viv_dev_unlock();
    a.dones = 0;
    move(ALL);
    assert_sense(5, 0x2500);
    rig_refused("scsi-cd", "drive=none,scsi-id=0", "taken");
    rig_refused("scsi-cd", "drive=none,scsi-id=2", "0 to 1");
    rig_refused("scsi-cd", "drive=none,bus=scsi.7", "scsi.7");
    teardown();
}

/* --- disk --- */

/* With `data` of `len` bytes to send. */
static uint8_t send(const uint8_t *cdb, size_t cdb_len, const void *data, size_t len, size_t piece)
{
    begin(cdb, cdb_len);
    memcpy(a.data, data, len);
    move(piece, len);
    return a.status;
}

static void test_hd_data(void)
{
    static uint8_t w[8192];

    setup("scsi-hd", "drive=d0,write-cache=off");
    g_assert_cmpint(run(CDB(0x12, 0, 0, 0, 96), ALL), ==, 0);
    g_assert_cmpint(a.data[0] | a.data[1], ==, 0);
    g_assert_cmpint(run(CDB(0x25), ALL), ==, 0);
    g_assert_cmpuint(viv_ld_be32(a.data), ==, DISK_SIZE / 512 - 1);
    g_assert_cmpint(run(CDB(0x9e, 0x10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 32), ALL), ==, 0);
    g_assert_cmpuint(viv_ld_be64(a.data), ==, DISK_SIZE / 512 - 1);
    g_assert_cmpint(a.data[14], ==, 0x80);
    for (unsigned i = 0; i < sizeof(w); i++)
        w[i] = (uint8_t)(i * 5 + i / 253);
    disk.fua = 0;
    g_assert_cmpint(send(CDB(0x2a, 0, 0, 0, 0, 9, 0, 0, 16), w, sizeof(w), 1000), ==, 0);
    g_assert_cmpmem(disk.data + 9 * 512, sizeof(w), w, sizeof(w));
    g_assert_cmpuint(disk.fua, ==, 9);
    g_assert_cmpint(run(CDB(0x88, 0, 0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 16), 4096, sizeof(a.data)), ==, 0);
    g_assert_cmpmem(a.data, a.moved, w, sizeof(w));
    g_assert_cmpint(run(CDB(0x08, 0, 0, 9, 16), ALL), ==, 0);
    g_assert_cmpmem(a.data, a.moved, w, sizeof(w));
    g_assert_cmpint(run(CDB(0x08, 0, 0, 0, 0), ALL), ==, 0);
    g_assert_cmpuint(a.moved, ==, 256 * 512);
    run(CDB(0x88, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 2), ALL);
    assert_sense(5, 0x2100);
    run(CDB(0x28, 0x20, 0, 0, 0, 9, 0, 0, 1), ALL);
    assert_sense(5, 0x2400);
    disk.fail = ENOSPC;
    disk.flushes = 0;
    run(CDB(0x28, 0, 0, 0, 0, 9, 0, 0, 1), ALL);
    assert_sense(7, 0x2707);
    disk.fail = 0;
    g_assert_cmpint(run(CDB(0x35), ALL), ==, 0);
    g_assert_cmpuint(disk.flushes, ==, 1);
    g_assert_cmpint(run(CDB(0x1b, 0, 0, 0, 1), ALL), ==, 0); /* starts, and goes to sleep without a flush */
    g_assert_cmpint(run(CDB(0x1b, 0, 0, 0, 0x34), ALL), ==, 0);
    g_assert_cmpuint(disk.flushes, ==, 1);
    g_assert_cmpint(run(CDB(0x1b), ALL), ==, 0); /* stops */
    g_assert_cmpint(run(CDB(0x1b, 0, 0, 0, 0x30), ALL), ==, 0);
    g_assert_cmpuint(disk.flushes, ==, 3);
    g_assert_cmpint(run(CDB(0x2f, 0, 0, 0, 7, 0xff, 0, 0, 1), ALL), ==, 0);
    run(CDB(0x2f, 0, 0, 0, 7, 0xff, 0, 0, 2), ALL);
    assert_sense(5, 0x2100);
    run(CDB(0x5f), ALL); /* reservations */
    assert_sense(5, 0x2000);
    teardown();
}

/* Which writes are durable when they have ended, and what the disk says of that. */
static void test_hd_cache(void)
{
    static const struct {
        const char *opts;
        bool writethrough, on;
    } rows[] = {
        {"drive=d0", false, true},
        {"drive=d0", true, false},
        {"drive=d0,write-cache=on", true, true},
        {"drive=d0,write-cache=off", false, false},
    };
    uint8_t w[512] = {1};

    for (unsigned i = 0; i < G_N_ELEMENTS(rows); i++) {
        disk.writethrough = rows[i].writethrough;
        setup("scsi-hd", rows[i].opts);
        g_assert_cmpint(run(CDB(0x1a, 8, 8, 0, 255), ALL), ==, 0);
        g_assert_cmpint(a.data[4 + 2] & 4, ==, rows[i].on ? 4 : 0);
        disk.fua = 0;
        send(CDB(0x2a, 0, 0, 0, 0, 9, 0, 0, 1), w, sizeof(w), 512);
        g_assert_cmpuint(disk.fua, ==, !rows[i].on);
        send(CDB(0x2e, 0, 0, 0, 0, 9, 0, 0, 1), w, sizeof(w), 512); /* WRITE AND VERIFY */
        g_assert_cmpuint(disk.fua, ==, !rows[i].on + 1);
        teardown();
    }
    disk.writethrough = false;
}

static void test_hd_zero(void)
{
    uint8_t list[8 + 2 * 16] = {0, 38, 0, 32}, zero[512] = {0}, one[512] = {1};

    setup("scsi-hd", "drive=d0");
    g_assert_cmpint(send(CDB(0x41, 0, 0, 0, 0, 4, 0, 0, 3), zero, 512, 100), ==, 0);
    g_assert_cmpmem(disk.data + 4 * 512, 512, zero, 512);
    g_assert_cmpmem(disk.data + 6 * 512, 512, zero, 512);
    g_assert_cmpint(disk.data[7 * 512 + 1], !=, 0);
    send(CDB(0x41, 0, 0, 0, 0, 4, 0, 0, 3), one, 512, 512);
    assert_sense(5, 0x2600);
    g_assert_cmpint(run(CDB(0x93, 9, 0, 0, 0, 0, 0, 0, 0, 20, 0, 0, 0, 1), ALL), ==, 0);
    g_assert_cmpmem(disk.data + 20 * 512, 512, zero, 512);
    run(CDB(0x93, 0x19, 0, 0, 0, 0, 0, 0, 0, 20, 0, 0, 0, 1), ALL); /* anchored: there is no such thing here */
    assert_sense(5, 0x2400);
    run(CDB(0x93, 9, 0, 0, 0, 0, 0, 0, 0, 20, 0, 0, 0, 0), ALL);
    assert_sense(5, 0x2400);
    disk.discards = 0;
    viv_st_be64(list + 8, 1);
    viv_st_be32(list + 16, 5);
    viv_st_be64(list + 24, 100);
    viv_st_be32(list + 32, 7);
    g_assert_cmpint(send(CDB(0x42, 0, 0, 0, 0, 0, 0, 0, 40), list, 40, 7), ==, 0);
    g_assert_cmpuint(disk.discards, ==, 2);
    viv_st_be64(list + 24, UINT64_MAX - 3);
    send(CDB(0x42, 0, 0, 0, 0, 0, 0, 0, 40), list, 40, 40);
    assert_sense(5, 0x2100);
    g_assert_cmpuint(disk.discards, ==, 2); /* none of a list that is wrong */
    list[2] = 0xff; /* longer than what is sent */
    viv_st_be64(list + 24, 100);
    g_assert_cmpint(send(CDB(0x42, 0, 0, 0, 0, 0, 0, 0, 40), list, 40, 40), ==, 0);
    send(CDB(0x42, 0, 0, 0, 0, 0, 0, 0, 40), list, 5, 40);
    assert_sense(5, 0x1a00);
    teardown();
}

static void test_hd_modes(void)
{
    uint8_t page[32];

    setup("scsi-hd", "drive=d0");
    g_assert_cmpint(run(CDB(0x1a, 0, 0x3f, 0, 255), ALL), ==, 0);
    g_assert_cmpuint(a.data[0] + 1, ==, a.moved);
    g_assert_cmpint(a.data[2], ==, 0x10);
    g_assert_cmpint(run(CDB(0x1a, 8, 8, 0, 255), ALL), ==, 0);
    g_assert_cmpuint(a.moved, ==, 24);
    g_assert_cmpint(a.data[6], ==, 4);
    memcpy(page, a.data, 24);
    g_assert_cmpint(run(CDB(0x1a, 8, 4, 0, 255), ALL), ==, 0); /* geometry: never without cylinders */
    g_assert_cmpuint(a.moved, ==, 28);
    g_assert_cmpuint(viv_ld_be32(a.data + 6), ==, 2u << 8 | 16);
    g_assert_cmpint(run(CDB(0x1a, 8, 0x44, 0, 255), ALL), ==, 0); /* none of it can be set */
    g_assert_cmpint(a.data[9], ==, 0);
    page[0] = 0;
    page[6] = 0;
    disk.flushes = 0;
    g_assert_cmpint(send(CDB(0x15, 0x10, 0, 0, 24), page, 24, 24), ==, 0);
    g_assert_cmpuint(disk.flushes, ==, 1);
    g_assert_cmpint(run(CDB(0x1a, 8, 8, 0, 255), ALL), ==, 0);
    g_assert_cmpint(a.data[6], ==, 0);
    page[7] = 1; /* what cannot be set */
    send(CDB(0x15, 0x10, 0, 0, 24), page, 24, 24);
    assert_sense(5, 0x2600);
    page[3] = 200; /* a descriptor beyond the end */
    send(CDB(0x15, 0x10, 0, 0, 24), page, 24, 24);
    assert_sense(5, 0x1a00);
    teardown();
    disk.ro = true;
    setup("scsi-hd", "drive=d0,serial=S1,vendor=QEMU,product=QEMU HARDDISK");
    g_assert_cmpint(run(CDB(0x12, 0, 0, 0, 36), ALL), ==, 0);
    g_assert_cmpmem(a.data + 8, 28, "QEMU    QEMU HARDDISK   2.5+", 28);
    g_assert_cmpint(run(CDB(0x1a, 8, 8, 0, 255), ALL), ==, 0);
    g_assert_cmpint(a.data[2], ==, 0x90);
    run(CDB(0x2a, 0, 0, 0, 0, 9, 0, 0, 1), ALL);
    assert_sense(7, 0x2700);
    g_assert_cmpint(run(CDB(0x12, 1, 0xb2, 0, 255), ALL), ==, 0);
    g_assert_cmpint(a.data[5], ==, 0);
    teardown();
    disk.ro = false;
}

/* Random commands with random room: each ends once, and moves no more than was there or asked for. */
static void hostile(const char *cls)
{
    g_autoptr(GRand) rnd = g_rand_new_with_seed(7);
    uint8_t cdb[16];

    setup(cls, "drive=d0");
    for (unsigned i = 0; i < 20000; i++) {
        size_t room = (size_t)g_rand_int_range(rnd, 0, 20000);

        for (unsigned k = 0; k < sizeof(cdb); k++)
            cdb[k] = g_rand_int(rnd) & 3 ? 0 : (uint8_t)g_rand_int(rnd);
        cdb[0] = (uint8_t)i;
        run(cdb, sizeof(cdb), (size_t)g_rand_int_range(rnd, 1, 30000), room);
        g_assert_cmpuint(a.moved, <=, room);
        for (unsigned k = 0; k < 16; k++)
            g_assert_cmpint(a.data[a.moved + k], ==, 0xee);
    }
    teardown();
}

static void test_hostile_cd(void)
{
    hostile("scsi-cd");
}

static void test_hostile_hd(void)
{
    hostile("scsi-hd");
}

/* Another size: a unit attention, once, and then another capacity. */
static void test_hd_resize(void)
{
    setup("scsi-hd", "drive=d0");
    viv_dev_lock();
    disk_resize(DISK_SIZE / 2);
    viv_dev_unlock();
    run(CDB(0x00), ALL);
    assert_sense(6, VIV_SCSI_ASC_SIZE_CHANGED);
    g_assert_cmpint(run(CDB(0x25), ALL), ==, 0);
    g_assert_cmpuint(viv_ld_be32(a.data), ==, DISK_SIZE / 1024 - 1);
    disk.cut = 0;
    teardown();
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/scsi/cd/answers", test_cd_answers);
    g_test_add_func("/scsi/cd/read", test_cd_read);
    g_test_add_func("/scsi/cd/tray", test_cd_tray);
    g_test_add_func("/scsi/cd/hold", test_cd_hold);
    g_test_add_func("/scsi/cd/hostile", test_hostile_cd);
    g_test_add_func("/scsi/hd/data", test_hd_data);
    g_test_add_func("/scsi/hd/cache", test_hd_cache);
    g_test_add_func("/scsi/hd/zero", test_hd_zero);
    g_test_add_func("/scsi/hd/modes", test_hd_modes);
    g_test_add_func("/scsi/hd/resize", test_hd_resize);
    g_test_add_func("/scsi/hd/hostile", test_hostile_hd);
    g_test_add_func("/scsi/absent", test_absent);
    return g_test_run();
}
