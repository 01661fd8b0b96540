/* virtio-scsi with disks in memory: data, addresses, task management, events, held commands, hostile frames. */
#include "base/bytes.h"
#include "bus/bootorder.h"
#include "bus/pci.h"
#include "bus/virtio_driver.h"
#include "bus/virtio_pci.h"
#include "dev/storage/disk_test.h"
#include "dev/storage/front.h"
#include "dev/test_rig.h"
#include "dev/virtio/virtio_scsi.h"
#include "host/lock.h"

#include <errno.h>

extern const struct viv_dev_class viv_dev_i440fx, viv_dev_virtio_scsi_pci, viv_dev_scsi_hd, viv_dev_scsi_cd;
const struct viv_dev_class *const rig_classes[] = {&viv_dev_i440fx, &viv_dev_virtio_scsi_pci, &viv_dev_scsi_hd, &viv_dev_scsi_cd, NULL};

#define BITS     (1ull << VIRTIO_SCSI_F_HOTPLUG | 1ull << VIRTIO_SCSI_F_CHANGE)
#define REQ_LEN  sizeof(struct virtio_scsi_cmd_req)
#define RESP_LEN sizeof(struct virtio_scsi_cmd_resp)
#define TMF(f)   offsetof(struct virtio_scsi_ctrl_tmf_req, f)

static struct td d;

static struct virtio_scsi *adapter(void)
{
    return (struct virtio_scsi *)d.v;
}

static void connect(void)
{
    td_start(&d, d.v, BITS, 0x10000);
    for (unsigned q = 0; q < 3; q++)
        td_queue_start(&d, q, 64);
    td_go(&d);
}

/* Device lock held from here to teardown. */
static void setup(const char *adapter_opts, const char *disk_opts)
{
    struct viv_dev *dev;

    rig_init();
    rig_add_ram(4u << 20);
    disk.n = disk.fail = disk.flushes = disk.discards = disk.fua = disk.lifted = 0;
    for (unsigned i = 0; i < DISK_SIZE; i++)
        disk.data[i] = (uint8_t)(i * 7 + i / 251);
    viv_drive_add("d0", &disk, NULL, NULL);
    viv_drive_add("none", NULL, NULL, NULL);
    rig_add("i440FX", "addr=0");
    dev = rig_add("virtio-scsi-pci", adapter_opts);
    rig_add("scsi-hd", disk_opts);
    viv_dev_lock();
    d = (struct td){.v = viv_virtio_of(dev), .mem = rig.board.mem};
    viv_dev_set_running_all(true);
}

static void end_all(void)
{
    viv_dev_unlock();
    complete();
    viv_dev_lock();
}

static void teardown(void)
{
    end_all();
    viv_dev_unlock();
    rig_fini();
    viv_drive_free_all(NULL);
}

struct cmd {
    uint64_t resp, data;
    uint32_t len;
};

static struct cmd ask_at(unsigned target, unsigned lun, uint64_t tag, const uint8_t *cdb, uint32_t len, const void *out)
{
    uint8_t req[REQ_LEN] = {0}, no[RESP_LEN];
    struct td_seg seg[4];
    struct cmd c = {.len = len};
    unsigned n = 0;

    memset(no, 0xee, sizeof(no));
    vscsi_put_address(req, target, lun);
    viv_st_le64(req + 8, tag);
    memcpy(req + offsetof(struct virtio_scsi_cmd_req, cdb), cdb, 16);
    seg[n++] = (struct td_seg){td_put(&d, req, REQ_LEN), REQ_LEN, false};
    c.data = len ? td_alloc(&d, len) : 0;
    if (out) {
        td_write(&d, c.data, out, len);
        seg[n++] = (struct td_seg){c.data, len, false};
    }
    c.resp = td_put(&d, no, RESP_LEN);
    seg[n++] = (struct td_seg){c.resp, RESP_LEN, true};
    if (len && !out) {
        seg[n++] = (struct td_seg){c.data, len / 3, true};
        seg[n++] = (struct td_seg){c.data + len / 3, len - len / 3, true};
    }
    td_add(&d, VSCSI_REQUEST, seg, n, false);
    td_kick(&d, VSCSI_REQUEST);
    return c;
}

static struct virtio_scsi_cmd_resp response(const struct cmd *c)
{
    struct virtio_scsi_cmd_resp r;

    td_read(&d, c->resp, &r, sizeof(r));
    return r;
}

#define CDB(...) (const uint8_t[16]){__VA_ARGS__}

/* To the disk at 0:0; its response in *r. */
static void run(const uint8_t *cdb, uint32_t len, const void *out, void *in, struct virtio_scsi_cmd_resp *r)
{
    struct cmd c = ask_at(0, 0, 1, cdb, len, out);
    uint16_t id;
    uint32_t used;

    end_all();
    g_assert_true(td_used(&d, VSCSI_REQUEST, &id, &used));
    *r = response(&c);
    if (in)
        td_read(&d, c.data, in, len);
    g_assert_cmpint(r->response, ==, VIRTIO_SCSI_S_OK);
}

static void assert_good(const struct virtio_scsi_cmd_resp *r, uint32_t resid)
{
    g_assert_cmpint(r->status, ==, 0);
    g_assert_cmpuint(r->sense_len, ==, 0);
    g_assert_cmpuint(r->resid, ==, resid);
}

static void power_on_told(void)
{
    struct virtio_scsi_cmd_resp r;

    run(CDB(0), 0, NULL, NULL, &r);
    g_assert_cmpint(r.status, ==, VIV_SCSI_CHECK);
    g_assert_cmpuint(r.sense_len, ==, 18);
    g_assert_cmpint(r.sense[2], ==, 6);
    g_assert_cmpint(r.sense[12], ==, 0x29);
}

/* What ends on an I/O thread is told by an interrupt, of a disk as of a CD: nobody rings the queue again before that. */
static void test_interrupts(void)
{
    struct viv_virtio_pci *p;

    setup("", "drive=d0,scsi-id=0");
    p = (struct viv_virtio_pci *)d.v->dev;
    viv_dev_unlock();
    viv_drive_add("d1", &disk, NULL, NULL);
    rig_add("scsi-cd", "drive=d1,scsi-id=1");
    viv_dev_lock();
    connect();
    for (unsigned target = 0; target < 2; target++) {
        ask_at(target, 0, 1, CDB(0), 0, NULL); /* takes the unit attention */
        p->isr = 0;
        ask_at(target, 0, 2, CDB(0x28, 0, 0, 0, 0, 0, 0, 0, 1), 4096, NULL);
        g_assert_cmphex(p->isr, ==, 0);
        end_all();
        g_assert_cmphex(p->isr, ==, 1);
    }
    teardown();
}

static void test_data(void)
{
    uint8_t buf[4096], other[4096];
    struct virtio_scsi_cmd_resp r;

    setup("", "drive=d0");
    connect();
    power_on_told();
    run(CDB(0x28, 0, 0, 0, 0, 3, 0, 0, 8), 4096, NULL, buf, &r);
    assert_good(&r, 0);
    g_assert_cmpmem(buf, 4096, disk.data + 3 * 512, 4096);
    memset(other, 0x5a, sizeof(other));
    run(CDB(0x2a, 0, 0, 0, 0, 64, 0, 0, 8), 4096, other, NULL, &r);
    assert_good(&r, 0);
    g_assert_cmpmem(disk.data + 64 * 512, 4096, other, 4096);
    run(CDB(0x28, 0, 0, 0, 0, 3, 0, 0, 2), 4096, NULL, buf, &r); /* more room than is asked for */
    assert_good(&r, 3072);
    run(CDB(0x12, 0, 0, 0, 255), 255, NULL, buf, &r);
    assert_good(&r, 255 - 36);
    g_assert_cmpmem(buf + 8, 8, "QEMU    ", 8);
    run(CDB(0x35), 0, NULL, NULL, &r);
    assert_good(&r, 0);
    g_assert_cmpuint(disk.flushes, ==, 1);
    run(CDB(0x28, 0, 0xff), 0, NULL, NULL, &r); /* beyond the end */
    g_assert_cmpint(r.sense[2], ==, VIV_SCSI_ILLEGAL_REQUEST);
    disk.fail = EIO;
    run(CDB(0x28, 0, 0, 0, 0, 3, 0, 0, 8), 4096, NULL, NULL, &r);
    g_assert_cmpint(r.sense[2], ==, VIV_SCSI_MEDIUM_ERROR);
    teardown();
}

/* The cache is switched off while a write is under way, which ends after the flush that goes with that. */
static void test_cache_off(void)
{
    static const uint8_t page[24] = {[4] = 8, 18};
    uint8_t buf[512] = {9};
    struct cmd write, off;

    setup("", "drive=d0");
    connect();
    power_on_told();
    disk.fua = disk.flushes = 0;
    write = ask_at(0, 0, 1, CDB(0x2a, 0, 0, 0, 0, 3, 0, 0, 1), 512, buf);
    off = ask_at(0, 0, 2, CDB(0x15, 0x10, 0, 0, sizeof(page)), sizeof(page), page);
    g_assert_cmpuint(disk.n, ==, 2);
    end_all(); /* the last one first */
    g_assert_cmpint(response(&off).status, ==, 0);
    g_assert_cmpint(response(&write).status, ==, 0);
    g_assert_cmpuint(disk.fua, ==, 0);
    g_assert_cmpuint(disk.flushes, ==, 2);
    teardown();
}

/* Which addresses there are, and how others are answered. */
static void test_addresses(void)
{
    static const struct {
        uint8_t lun[8];
        bool known;
        unsigned target, number;
    } rows[] = {
        {{1, 7, 0, 5}, true, 7, 5},      {{1, 7, 0x40, 5}, true, 7, 5},  {{1, 7, 0x41, 0x2c}, true, 7, 300},
        {{1, 0, 1, 5}, false, 0, 0},     {{0xc1, 1}, false, 0, 0},       {{0, 0}, false, 0, 0},
        {{1, 0, 0, 0, 1}, false, 0, 0},  {{1, 0, 0x80, 0}, false, 0, 0},
    };
    g_autofree char *order = NULL;
    uint8_t buf[64];
    struct cmd c;

    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        struct vscsi_address a = vscsi_address(rows[i].lun);

        g_assert_true(a.known == rows[i].known);
        if (a.known) {
            g_assert_cmpuint(a.target, ==, rows[i].target);
            g_assert_cmpuint(a.lun, ==, rows[i].number);
        }
    }
    setup("", "drive=d0,scsi-id=3,lun=300,bootindex=1");
    order = viv_bootorder_text(false);
    g_assert_cmpstr(order, ==, "/pci@i0cf8/scsi@1/channel@0/disk@3,12c");
    connect();
    c = ask_at(2, 0, 1, CDB(0x12, 0, 0, 0, 36), 36, NULL);
    g_assert_cmpint(response(&c).response, ==, VIRTIO_SCSI_S_BAD_TARGET);
    c = ask_at(3, 0, 1, CDB(0x12, 0, 0, 0, 36), 36, NULL);
    td_read(&d, c.data, buf, 36);
    g_assert_cmpint(response(&c).status, ==, 0);
    g_assert_cmphex(buf[0], ==, 0x7f);
    c = ask_at(3, 1, 1, CDB(0xa0, 0, 0, 0, 0, 0, 0, 0, 0, 64), 64, NULL);
    td_read(&d, c.data, buf, 64);
    g_assert_cmpuint(viv_ld_be32(buf), ==, 8);
    g_assert_cmphex(viv_ld_be16(buf + 8), ==, 0x412c);
    c = ask_at(3, 300, 1, CDB(0x12, 0, 0, 0, 255), 36, NULL); /* less room than the command may return */
    g_assert_cmpint(response(&c).response, ==, VIRTIO_SCSI_S_OK);
    c = ask_at(3, 300, 1, CDB(0), 0, NULL);
    c = ask_at(3, 300, 1, CDB(0x28, 0, 0, 0, 0, 0, 0, 0, 2), 512, NULL);
    g_assert_cmpint(response(&c).response, ==, VIRTIO_SCSI_S_OVERRUN);
    g_assert_cmpuint(disk.n, ==, 0);
    teardown();
}

static uint64_t manage(uint32_t subtype, unsigned target, unsigned lun, uint64_t tag)
{
    uint8_t req[sizeof(struct virtio_scsi_ctrl_tmf_req)] = {0}, no = 0xee;
    struct td_seg seg[2];

    viv_st_le32(req + TMF(subtype), subtype);
    vscsi_put_address(req + TMF(lun), target, lun);
    viv_st_le64(req + TMF(tag), tag);
    seg[0] = (struct td_seg){td_put(&d, req, sizeof(req)), sizeof(req), false};
    seg[1] = (struct td_seg){td_put(&d, &no, 1), 1, true};
    td_add(&d, VSCSI_CONTROL, seg, 2, false);
    td_kick(&d, VSCSI_CONTROL);
    return seg[1].gpa;
}

static uint8_t byte_at(uint64_t gpa)
{
    uint8_t b;

    td_read(&d, gpa, &b, 1);
    return b;
}

/* A function's answer waits for the requests that it names, and for no others. */
static void test_management(void)
{
    struct virtio_scsi_cmd_resp r;
    struct cmd a, b, c;
    uint64_t resp;

    setup("", "drive=d0");
    connect();
    power_on_told();
    a = ask_at(0, 0, 10, CDB(0x28, 0, 0, 0, 0, 0, 0, 0, 1), 512, NULL);
    b = ask_at(0, 0, 11, CDB(0x28, 0, 0, 0, 0, 1, 0, 0, 1), 512, NULL);
    g_assert_cmpuint(disk.n, ==, 2);
    g_assert_cmpint(byte_at(manage(VIRTIO_SCSI_T_TMF_QUERY_TASK, 0, 0, 11)), ==, VIRTIO_SCSI_S_FUNCTION_SUCCEEDED);
    g_assert_cmpint(byte_at(manage(VIRTIO_SCSI_T_TMF_QUERY_TASK, 0, 0, 12)), ==, 0);
    g_assert_cmpint(byte_at(manage(VIRTIO_SCSI_T_TMF_ABORT_TASK, 0, 5, 11)), ==, VIRTIO_SCSI_S_INCORRECT_LUN);
    g_assert_cmpint(byte_at(manage(VIRTIO_SCSI_T_TMF_ABORT_TASK, 9, 0, 11)), ==, VIRTIO_SCSI_S_BAD_TARGET);
    g_assert_cmpint(byte_at(manage(VIRTIO_SCSI_T_TMF_CLEAR_ACA, 0, 0, 11)), ==, VIRTIO_SCSI_S_FUNCTION_REJECTED);
    resp = manage(VIRTIO_SCSI_T_TMF_ABORT_TASK, 0, 0, 11);
    g_assert_cmphex(byte_at(resp), ==, 0xee); /* it moves data still */
    g_assert_cmpuint(disk.lifted, >=, 1);
    end_all();
    g_assert_cmpint(byte_at(resp), ==, 0);
    g_assert_cmpint(response(&a).response, ==, VIRTIO_SCSI_S_OK);
    g_assert_cmpint(response(&b).response, ==, VIRTIO_SCSI_S_ABORTED);
    /* A reset of the unit: all before it, none after it. */
    a = ask_at(0, 0, 20, CDB(0x28, 0, 0, 0, 0, 0, 0, 0, 1), 512, NULL);
    resp = manage(VIRTIO_SCSI_T_TMF_LOGICAL_UNIT_RESET, 0, 0, 0);
    c = ask_at(0, 0, 21, CDB(0x28, 0, 0, 0, 0, 1, 0, 0, 1), 512, NULL);
    end_all();
    g_assert_cmpint(byte_at(resp), ==, 0);
    g_assert_cmpint(response(&a).response, ==, VIRTIO_SCSI_S_RESET);
    g_assert_cmpint(response(&c).response, ==, VIRTIO_SCSI_S_OK);
    run(CDB(0), 0, NULL, NULL, &r);
    r = response(&(struct cmd){.resp = ask_at(0, 0, 1, CDB(0), 0, NULL).resp});
    g_assert_cmpint(r.status, ==, 0); /* the attention was told once */
    teardown();
}

static uint64_t give_event_buffer(void)
{
    uint8_t none[16] = {0xee};
    struct td_seg seg = {td_put(&d, none, 16), 16, true};

    td_add(&d, VSCSI_EVENT, &seg, 1, false);
    td_kick(&d, VSCSI_EVENT);
    return seg.gpa;
}

static void test_events(void)
{
    uint8_t ev[16];
    uint64_t at;

    setup("", "drive=d0");
    connect();
    at = give_event_buffer();
    viv_dev_unlock();
    rig_add("scsi-cd", "scsi-id=4,lun=1");
    viv_dev_lock();
    td_read(&d, at, ev, 16);
    g_assert_cmphex(viv_ld_le32(ev), ==, VIRTIO_SCSI_T_TRANSPORT_RESET);
    g_assert_cmpuint(ev[5], ==, 4);
    g_assert_cmpuint(ev[7], ==, 1);
    g_assert_cmpuint(viv_ld_le32(ev + 12), ==, VIRTIO_SCSI_EVT_RESET_RESCAN);
    /* Without a buffer it is told that something was missed. */
    viv_scsi_attention(viv_scsi_at(adapter()->bus, 0, 0), VIV_SCSI_ASC_SIZE_CHANGED);
    at = give_event_buffer();
    td_read(&d, at, ev, 16);
    g_assert_cmphex(viv_ld_le32(ev), ==, VIRTIO_SCSI_T_EVENTS_MISSED);
    at = give_event_buffer();
    viv_scsi_attention(viv_scsi_at(adapter()->bus, 0, 0), VIV_SCSI_ASC_SIZE_CHANGED);
    td_read(&d, at, ev, 16);
    g_assert_cmphex(viv_ld_le32(ev), ==, VIRTIO_SCSI_T_PARAM_CHANGE);
    g_assert_cmphex(viv_ld_le32(ev + 12), ==, 0x092a);
    teardown();
}

/* A write that found no space is in the saved state, and goes on in the process that loads it. */
static void test_held(void)
{
    uint8_t buf[512] = {9}, *state, *again;
    g_autofree uint8_t *ram = g_malloc(0x100000);
    size_t len, len2;
    struct cmd c;
    struct td old;

    setup("", "drive=d0");
    connect();
    power_on_told();
    disk.fail = ENOSPC;
    c = ask_at(0, 0, 5, CDB(0x2a, 0, 0, 0, 0, 3, 0, 0, 1), 512, buf);
    end_all();
    g_assert_cmpuint(rig.requests, ==, 1);
    g_assert_cmpint(rig.request, ==, VIV_VM_IO_ERROR);
    g_assert_cmphex(response(&c).response, ==, 0xee);
    viv_dev_set_running_all(false);
    state = rig_save(&len);
    old = d;
    td_read(&d, 0x10000, ram, 0x100000);
    viv_dev_unlock();
    rig_fini();
    viv_drive_free_all(NULL);

    setup("", "drive=d0");
    old.v = d.v;
    old.mem = d.mem;
    d = old;
    td_write(&d, 0x10000, ram, 0x100000);
    viv_dev_set_running_all(false);
    viv_dev_unlock();
    rig_load(state, len);
    viv_dev_lock();
    again = rig_save(&len2);
    g_assert_cmpmem(state, len, again, len2);
    g_free(again);
    g_free(state);
    viv_dev_set_running_all(true);
    end_all();
    g_assert_cmpint(response(&c).response, ==, VIRTIO_SCSI_S_OK);
    g_assert_cmpint(response(&c).status, ==, 0);
    g_assert_cmpuint(disk.data[3 * 512], ==, 9);
    teardown();
}

/* The same where it goes on in this process; and a reset gives it up. */
static void test_cont(void)
{
    uint8_t buf[512] = {9};
    struct cmd c;

    setup("", "drive=d0");
    connect();
    power_on_told();
    disk.fail = ENOSPC;
    c = ask_at(0, 0, 5, CDB(0x2a, 0, 0, 0, 0, 3, 0, 0, 1), 512, buf);
    end_all();
    viv_dev_set_running_all(false);
    disk.fail = 0;
    viv_dev_set_running_all(true);
    end_all();
    g_assert_cmpint(response(&c).response, ==, VIRTIO_SCSI_S_OK);
    g_assert_cmpuint(disk.data[3 * 512], ==, 9);

    disk.fail = ENOSPC;
    c = ask_at(0, 0, 5, CDB(0x2a, 0, 0, 0, 0, 4, 0, 0, 1), 512, buf);
    end_all();
    viv_virtio_set_status(d.v, 0);
    g_assert_null(adapter()->reqs);
    disk.fail = 0;
    viv_dev_set_running_all(false);
    viv_dev_set_running_all(true);
    g_assert_cmpuint(disk.n, ==, 0);
    teardown();
}

static void *end_later(void *unused)
{
    g_usleep(20000);
    complete();
    return NULL;
}

static void test_reset(void)
{
    GThread *t;

    setup("", "drive=d0");
    connect();
    power_on_told();
    for (unsigned i = 0; i < 10; i++)
        ask_at(0, 0, i, CDB(0x28, 0, 0, 0, 0, 0, 0, 0, 1), 512, NULL);
    g_assert_cmpuint(disk.n, ==, 10);
    t = g_thread_new("end", end_later, NULL);
    viv_virtio_set_status(d.v, 0); /* waits for all of them */
    g_assert_cmpuint(disk.n, ==, 0);
    g_assert_null(adapter()->reqs);
    viv_dev_unlock();
    g_thread_join(t);
    viv_dev_lock();
    connect();
    power_on_told();
    teardown();
}

static void broken(unsigned queue, const struct td_seg *seg, unsigned n)
{
    setup("", "drive=d0");
    connect();
    td_add(&d, queue, seg, n, false);
    td_kick(&d, queue);
    g_assert_true(d.v->broken);
    viv_virtio_set_status(d.v, 0);
    connect();
    power_on_told();
    teardown();
}

static void test_hostile(void)
{
    struct td_seg no_response[] = {{0x2000, REQ_LEN, false}, {0x3000, RESP_LEN - 1, true}};
    struct td_seg no_header[] = {{0x2000, REQ_LEN - 1, false}, {0x3000, RESP_LEN, true}};
    struct td_seg no_function[] = {{0x2000, 4, false}, {0x3000, 1, true}};
    uint8_t n[4] = {0xff, 0xff, 0xff, 0xff};

    broken(VSCSI_REQUEST, no_response, 2);
    broken(VSCSI_REQUEST, no_header, 2);
    broken(VSCSI_CONTROL, no_function, 2);
    setup("", "drive=d0");
    viv_virtio_config_write(d.v, offsetof(struct virtio_scsi_config, sense_size), n, 4);
    viv_virtio_config_write(d.v, offsetof(struct virtio_scsi_config, cdb_size), n, 4);
    g_assert_cmpuint(adapter()->sense_size, ==, 96);
    g_assert_cmpuint(adapter()->cdb_size, ==, 32);
    teardown();
    rig_init();
    rig_refused("scsi-hd", "", "drive is missing");
    rig_refused("scsi-cd", "", "no SCSI bus");
    rig_fini();
    viv_drive_free_all(NULL);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/virtio-scsi/data", test_data);
    g_test_add_func("/virtio-scsi/interrupts", test_interrupts);
    g_test_add_func("/virtio-scsi/cache-off", test_cache_off);
    g_test_add_func("/virtio-scsi/addresses", test_addresses);
    g_test_add_func("/virtio-scsi/management", test_management);
    g_test_add_func("/virtio-scsi/events", test_events);
    g_test_add_func("/virtio-scsi/held", test_held);
    g_test_add_func("/virtio-scsi/cont", test_cont);
    g_test_add_func("/virtio-scsi/reset", test_reset);
    g_test_add_func("/virtio-scsi/hostile", test_hostile);
    return g_test_run();
}
