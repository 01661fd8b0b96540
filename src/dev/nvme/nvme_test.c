/* NVMe registers, queues and commands against a disk in memory; stopping with I/O in flight; what is hostile is bounded. */
#include "base/bytes.h"
#include "bus/bootorder.h"
#include "dev/nvme/nvme.h"
#include "dev/storage/disk_test.h"
#include "dev/test_rig.h"
#include "host/lock.h"
#include "mem/dma.h"

#include <errno.h>

enum { BAR = 0xf0000000u, TABLE = 0xf0010000u };
enum { ASQ = 0x10000, ACQ = 0x11000, ISQ = 0x12000, ICQ = 0x13000, LIST = 0x20000, DATA = 0x40000, ENTRIES = 32 };
enum { ENABLE = NVME_CC_EN | 6 << 16 | 4 << 20 };

extern const struct viv_dev_class viv_dev_nvme, viv_dev_i440fx;
const struct viv_dev_class *const rig_classes[] = {&viv_dev_i440fx, &viv_dev_nvme, NULL};

static struct nvme *n;
/* The driver's side of a queue pair. */
static struct pair {
    uint64_t sq, cq;
    uint32_t size, tail, head;
    bool phase;
} admin, io;

static void make(const char *opts)
{
    rig_init();
    rig_add_ram(4u << 20);
    disk.n = disk.fail = disk.flushes = disk.discards = disk.fua = disk.lifted = 0;
    for (unsigned i = 0; i < DISK_SIZE; i++)
        disk.data[i] = (uint8_t)(i * 7 + i / 251);
    viv_drive_add("d0", &disk, NULL, NULL);
    rig_add("i440FX", "addr=0");
    n = (struct nvme *)rig_add("nvme", opts);
    viv_dev_lock();
    viv_pci_config_write(rig.board.pci, n->pci.devfn, 0x10, BAR, 4);
    viv_pci_config_write(rig.board.pci, n->pci.devfn, 0x20, TABLE, 4);
    viv_pci_config_write(rig.board.pci, n->pci.devfn, 4, 6, 2);
    viv_dev_set_running_all(true);
    viv_dev_unlock();
}

static void enable(void)
{
    admin = (struct pair){ASQ, ACQ, ENTRIES, 0, 0, true};
    for (uint64_t at = ACQ; at < ACQ + 16 * ENTRIES; at += 8)
        set_mem64(at, 0);
    set_mem32(BAR + NVME_R_AQA, (ENTRIES - 1) << 16 | (ENTRIES - 1));
    set_mem64(BAR + NVME_R_ASQ, ASQ);
    set_mem64(BAR + NVME_R_ACQ, ACQ);
    set_mem32(BAR + NVME_R_CC, ENABLE);
    g_assert_cmphex(mem32(BAR + NVME_R_CSTS), ==, NVME_CSTS_RDY);
}

static void unmake(void)
{
    complete();
    rig_fini();
    viv_drive_free_all(NULL);
}

/* ---- commands ---- */

struct answer {
    uint16_t status, cid;
    uint32_t result;
};

static uint64_t doorbell(unsigned id, bool cq)
{
    return BAR + NVME_DOORBELLS + 8 * id + 4 * cq;
}

static void put(struct pair *q, uint8_t op, uint32_t ns, uint16_t cid, uint64_t prp1, uint64_t prp2, const uint32_t cdw[6])
{
    uint64_t at = q->sq + 64ull * q->tail;

    for (unsigned i = 0; i < 64; i += 8)
        set_mem64(at + i, 0);
    set_mem32(at, op | (uint32_t)cid << 16);
    set_mem32(at + 4, ns);
    set_mem64(at + 24, prp1);
    set_mem64(at + 32, prp2);
    for (unsigned i = 0; i < 6; i++)
        set_mem32(at + 40 + 4 * i, cdw[i]);
    q->tail = (q->tail + 1) % q->size;
}

static void ring(struct pair *q)
{
    set_mem32(doorbell(q == &io, false), q->tail);
}

static bool answered(struct pair *q, struct answer *a)
{
    uint64_t at = q->cq + 16ull * q->head;
    uint32_t last = mem32(at + 12);

    if ((last >> 16 & 1) != q->phase)
        return false;
    *a = (struct answer){last >> 17 & 0x7ff, (uint16_t)last, mem32(at)};
    q->head = (q->head + 1) % q->size;
    if (!q->head)
        q->phase = !q->phase;
    set_mem32(doorbell(q == &io, true), q->head);
    return true;
}

#define CDW(...) (const uint32_t[6]){__VA_ARGS__}

static uint16_t run(struct pair *q, uint8_t op, uint32_t ns, uint64_t prp1, uint64_t prp2, const uint32_t cdw[6])
{
    static uint16_t cid;
    struct answer a;

    put(q, op, ns, ++cid, prp1, prp2, cdw);
    ring(q);
    complete();
    g_assert_true(answered(q, &a));
    g_assert_cmpuint(a.cid, ==, cid);
    return a.status;
}

static uint16_t create(unsigned id, uint32_t sq_size, uint32_t cq_size)
{
    uint16_t status = run(&admin, 5, 0, ICQ, 0, CDW((cq_size - 1) << 16 | id, 3));

    return status ? status : run(&admin, 1, 0, ISQ, 0, CDW((sq_size - 1) << 16 | id, id << 16 | 1));
}

static void setup(const char *opts)
{
    make(opts);
    enable();
    for (uint64_t at = ICQ; at < ICQ + 4096; at += 8)
        set_mem64(at, 0);
    io = (struct pair){ISQ, ICQ, ENTRIES, 0, 0, true};
    g_assert_cmphex(create(1, ENTRIES, ENTRIES), ==, 0);
}

#define USUAL "drive=d0,serial=S1"

/* ---- tests ---- */

static void test_registers(void)
{
    g_autofree char *order = NULL;

    make(USUAL ",bootindex=3");
    order = viv_bootorder_text(false);
    g_assert_cmpstr(order, ==, "/pci@i0cf8/nvme@1/namespace@1,0");
    g_assert_cmphex(mem64(BAR), ==, 0x0040002000000000 | 30ull << 24 | 1 << 16 | 0x7ff);
    g_assert_cmphex(mem32(BAR + NVME_R_VS), ==, 0x10400);
    g_assert_cmphex(mem32(BAR + NVME_R_CSTS), ==, 0);
    set_mem32(BAR + NVME_R_CC, ENABLE); /* no queues of two entries */
    g_assert_cmphex(mem32(BAR + NVME_R_CSTS), ==, NVME_CSTS_CFS);
    set_mem32(BAR + NVME_R_CC, 0);
    g_assert_cmphex(mem32(BAR + NVME_R_CSTS), ==, 0);
    enable();
    set_mem32(BAR + NVME_R_CC, ENABLE | 1 << 14); /* shutdown */
    g_assert_cmphex(mem32(BAR + NVME_R_CSTS), ==, NVME_CSTS_RDY | NVME_CSTS_SHUTTING);
    complete();
    g_assert_cmphex(mem32(BAR + NVME_R_CSTS), ==, NVME_CSTS_RDY | NVME_CSTS_SHUT);
    g_assert_cmpuint(disk.flushes, ==, 1);
    set_mem32(BAR + NVME_R_CC, 0);
    enable();
    set_mem32(BAR + NVME_R_CC, NVME_CC_EN | 1 << 7); /* entries have no size yet; pages keep theirs */
    g_assert_cmphex(mem32(BAR + NVME_R_CC), ==, NVME_CC_EN);
    g_assert_cmphex(create(1, ENTRIES, ENTRIES), !=, 0);
    set_mem32(BAR + NVME_R_CC, ENABLE);
    g_assert_cmphex(create(1, ENTRIES, ENTRIES), ==, 0);
    set_mem32(BAR + NVME_R_CC, NVME_CC_EN); /* too late */
    g_assert_cmphex(mem32(BAR + NVME_R_CC), ==, ENABLE);
    unmake();
    rig_init();
    viv_drive_add("d0", &disk, NULL, NULL);
    rig_add("i440FX", "addr=0");
    rig_refused("nvme", "drive=d0", "serial is missing");
    rig_refused("nvme", "drive=d0,serial=a,max_ioqpairs=0", "max_ioqpairs");
    rig_refused("nvme", "drive=d0,serial=a,cmb_size_mb=1", "controller memory");
    rig_refused("nvme", "serial=a", "drive is missing");
    rig_fini();
    viv_drive_free_all(NULL);
}

static void test_identify(void)
{
    uint8_t p[4096];

    setup(USUAL ",logical_block_size=4096,physical_block_size=4096");
    g_assert_cmphex(run(&admin, 6, 0, DATA, 0, CDW(1)), ==, 0);
    viv_dma_read(rig.board.mem, DATA, p, sizeof(p));
    g_assert_cmpmem(p + 4, 6, "S1    ", 6);
    g_assert_cmpmem(p + 24, 16, "QEMU NVMe Ctrl  ", 16);
    g_assert_cmpuint(p[77], ==, 7);
    g_assert_cmpuint(viv_ld_le32(p + 516), ==, 1);
    g_assert_cmphex(run(&admin, 6, 1, DATA + 2048, DATA + 4096, CDW(0)), ==, 0); /* over two pages */
    viv_dma_read(rig.board.mem, DATA + 2048, p, 2048);
    g_assert_cmpuint(viv_ld_le64(p), ==, DISK_SIZE / 4096);
    g_assert_cmpuint(p[130], ==, 12);
    g_assert_cmphex(p[33], ==, 9); /* drivers leave the deallocate bit alone unless it is told of */
    g_assert_cmphex(run(&admin, 6, 0, DATA, 0, CDW(2)), ==, 0);
    g_assert_cmpuint(mem32(DATA), ==, 1);
    g_assert_cmpuint(mem32(DATA + 4), ==, 0);
    g_assert_cmphex(run(&admin, 6, 1, DATA, 0, CDW(3)), ==, 0);
    g_assert_cmphex(mem32(DATA), ==, 0x0801);
    g_assert_cmphex(run(&admin, 6, 2, DATA, 0, CDW(0)), ==, NVME_INVALID_NS);
    g_assert_cmphex(run(&admin, 6, 1, DATA, 0, CDW(0x42)), ==, NVME_INVALID_FIELD);
    g_assert_cmphex(run(&admin, 6, 1, 0xf0000000, 0, CDW(0)), ==, NVME_DATA_TRANSFER);
    g_assert_cmphex(run(&admin, 0x55, 1, DATA, 0, CDW(0)), ==, NVME_INVALID_OPCODE);
    unmake();
}

static void fill(uint64_t at, uint32_t len, uint8_t seed)
{
    g_autofree uint8_t *p = g_malloc(len);

    for (uint32_t i = 0; i < len; i++)
        p[i] = (uint8_t)(seed + i * 13 + i / 509);
    viv_dma_write(rig.board.mem, at, p, len);
}

static void assert_same(uint64_t gpa, const uint8_t *data, uint32_t len)
{
    g_autofree uint8_t *p = g_malloc(len);

    viv_dma_read(rig.board.mem, gpa, p, len);
    g_assert_cmpmem(p, len, data, len);
}

/* Buffers of every shape: within a page, over two, by a list, by lists that go on. */
static void test_data(void)
{
    uint32_t list = LIST + 4096 - 16; /* room for one page and the next list */

    setup(USUAL);
    g_assert_cmphex(run(&io, 2, 1, DATA + 512, 0, CDW(5, 0, 3)), ==, 0);
    assert_same(DATA + 512, disk.data + 5 * 512, 4 * 512);
    fill(DATA + 4096 - 1024, 4096, 3);
    g_assert_cmphex(run(&io, 1, 1, DATA + 4096 - 1024, DATA + 4096, CDW(8, 0, 7)), ==, 0);
    assert_same(DATA + 4096 - 1024, disk.data + 8 * 512, 4096);
    /* Twelve pages, last first, so that nothing is merged. */
    fill(DATA, 12 * 4096, 9);
    for (unsigned i = 0; i < 11; i++)
        set_mem64(LIST + 8 * i, DATA + 4096 * (10 - i));
    g_assert_cmphex(run(&io, 1, 1, DATA + 4096 * 11, LIST, CDW(64, 0, 95)), ==, 0);
    for (unsigned i = 0; i < 12; i++)
        assert_same(DATA + 4096 * (11 - i), disk.data + 64 * 512 + 4096 * i, 4096);
    /* The same through two lists. */
    set_mem64(list, DATA + 4096);
    set_mem64(list + 8, LIST + 8192);
    for (unsigned i = 0; i < 10; i++)
        set_mem64(LIST + 8192 + 8 * i, DATA + 4096 * (2 + i));
    g_assert_cmphex(run(&io, 2, 1, DATA, list, CDW(64, 0, 95)), ==, 0);
    assert_same(DATA, disk.data + 64 * 512, 12 * 4096);
    g_assert_cmphex(run(&io, 1, 1, DATA, 0, CDW(0, 0, 1 << 30)), ==, 0); /* FUA */
    g_assert_cmpuint(disk.fua, ==, 1);
    g_assert_cmphex(run(&admin, 9, 0, 0, 0, CDW(6, 0)), ==, 0); /* cache off */
    g_assert_cmphex(run(&io, 1, 1, DATA, 0, CDW(0)), ==, 0);
    g_assert_cmpuint(disk.fua, ==, 2);
    g_assert_cmphex(run(&admin, 2, 0xffffffff, DATA, 0, CDW(127 << 16 | 2)), ==, 0);
    g_assert_cmpuint(mem32(DATA + 64), ==, 2); /* reads and writes so far */
    g_assert_cmpuint(mem32(DATA + 80), ==, 4);
    unmake();
}

/* The cache is switched off while a write is under way, which ends after the flush that goes with that. */
static void test_cache_off(void)
{
    struct answer a;

    setup(USUAL);
    put(&io, 1, 1, 7, DATA, 0, CDW(0));
    ring(&io);
    put(&admin, 9, 0, 8, 0, 0, CDW(NVME_F_CACHE, 0));
    ring(&admin);
    g_assert_cmpuint(disk.n, ==, 2);
    complete(); /* the last one first */
    g_assert_true(answered(&admin, &a) && !a.status);
    g_assert_true(answered(&io, &a) && !a.status && a.cid == 7);
    g_assert_cmpuint(disk.fua, ==, 0);
    g_assert_cmpuint(disk.flushes, ==, 2);
    unmake();
}

static void test_commands(void)
{
    setup(USUAL);
    g_assert_cmphex(run(&io, 0, 0xffffffff, 0, 0, CDW(0)), ==, 0);
    g_assert_cmpuint(disk.flushes, ==, 1);
    g_assert_cmphex(run(&admin, 9, 0, 0, 0, CDW(NVME_F_CACHE, 0)), ==, 0); /* nobody will flush what was written so far */
    g_assert_cmpuint(disk.flushes, ==, 2);
    g_assert_cmphex(run(&admin, 9, 0, 0, 0, CDW(NVME_F_CACHE, 1)), ==, 0);
    g_assert_cmpuint(disk.flushes, ==, 2);
    g_assert_cmphex(run(&io, 8, 1, 0, 0, CDW(16, 0, 15)), ==, 0);
    g_assert_cmpuint(disk.data[16 * 512] | disk.data[31 * 512 + 511], ==, 0);
    for (unsigned i = 0; i < 3; i++) {
        set_mem32(DATA + 16 * i, 0);
        set_mem32(DATA + 16 * i + 4, i == 1 ? 0 : 8);
        set_mem64(DATA + 16 * i + 8, 8 * i);
    }
    g_assert_cmphex(run(&io, 9, 1, DATA, 0, CDW(2, 4)), ==, 0);
    g_assert_cmpuint(disk.discards, ==, 2);
    set_mem64(DATA + 8, DISK_SIZE / 512);
    g_assert_cmphex(run(&io, 9, 1, DATA, 0, CDW(2, 4)), ==, NVME_LBA_RANGE);
    g_assert_cmphex(run(&io, 2, 1, DATA, 0, CDW(DISK_SIZE / 512 - 1, 0, 1)), ==, NVME_LBA_RANGE);
    g_assert_cmphex(run(&io, 2, 1, DATA, 0, CDW(0xffffffff, 0xffffffff, 1)), ==, NVME_LBA_RANGE);
    g_assert_cmphex(run(&io, 2, 1, DATA, LIST, CDW(0, 0, 1024)), ==, NVME_INVALID_FIELD); /* more than MDTS */
    g_assert_cmphex(run(&io, 2, 2, DATA, 0, CDW(0)), ==, NVME_INVALID_NS);
    g_assert_cmphex(run(&io, 0x7f, 1, DATA, 0, CDW(0)), ==, NVME_INVALID_OPCODE);
    disk.fail = EIO;
    g_assert_cmphex(run(&io, 2, 1, DATA, 0, CDW(0)), ==, NVME_READ_ERROR);
    g_assert_cmphex(run(&io, 1, 1, DATA, 0, CDW(0)), ==, NVME_WRITE_FAULT);
    unmake();
    disk.ro = true;
    setup(USUAL);
    g_assert_cmphex(run(&io, 1, 1, DATA, 0, CDW(0)), ==, NVME_WRITE_PROTECTED);
    g_assert_cmphex(run(&io, 8, 1, DATA, 0, CDW(0)), ==, NVME_WRITE_PROTECTED);
    disk.ro = false;
    unmake();
}

static void test_queues(void)
{
    struct answer a;

    setup(USUAL ",max_ioqpairs=4");
    g_assert_cmphex(run(&admin, 9, 0, 0, 0, CDW(7, 0)), ==, NVME_SEQUENCE);
    g_assert_cmphex(run(&admin, 5, 0, ICQ, 0, CDW(7 << 16 | 1, 3)), ==, NVME_INVALID_QID); /* is there already */
    g_assert_cmphex(run(&admin, 5, 0, ICQ, 0, CDW(7 << 16 | 5, 3)), ==, NVME_INVALID_QID);
    g_assert_cmphex(run(&admin, 5, 0, ICQ, 0, CDW(0 << 16 | 2, 3)), ==, NVME_QUEUE_SIZE);
    g_assert_cmphex(run(&admin, 5, 0, ICQ + 8, 0, CDW(7 << 16 | 2, 3)), ==, NVME_PRP_OFFSET);
    g_assert_cmphex(run(&admin, 5, 0, ICQ, 0, CDW(7 << 16 | 2, 2)), ==, NVME_INVALID_FIELD);
    g_assert_cmphex(run(&admin, 5, 0, ICQ, 0, CDW(7 << 16 | 2, 9 << 16 | 3)), ==, NVME_INVALID_VECTOR);
    g_assert_cmphex(run(&admin, 1, 0, ISQ, 0, CDW(7 << 16 | 2, 2 << 16 | 1)), ==, NVME_INVALID_CQ);
    g_assert_cmphex(run(&admin, 4, 0, 0, 0, CDW(1)), ==, NVME_QUEUE_DELETION);
    /* A queue is gone when its commands have ended. */
    put(&io, 2, 1, 77, DATA, 0, CDW(0));
    ring(&io);
    put(&admin, 0, 0, 99, 0, 0, CDW(1));
    ring(&admin);
    g_assert_false(answered(&admin, &a));
    g_assert_cmpuint(disk.lifted, ==, 1);
    complete();
    g_assert_true(answered(&io, &a));
    g_assert_cmpuint(a.cid, ==, 77);
    g_assert_true(answered(&admin, &a));
    g_assert_cmpuint(a.cid, ==, 99);
    g_assert_cmphex(run(&admin, 4, 0, 0, 0, CDW(1)), ==, 0);
    /* No more is taken than can be answered. */
    io = (struct pair){ISQ, ICQ, ENTRIES, 0, 0, true};
    for (uint64_t at = ICQ; at < ICQ + 4096; at += 8)
        set_mem64(at, 0);
    g_assert_cmphex(create(1, ENTRIES, 4), ==, 0);
    for (unsigned i = 0; i < 10; i++)
        put(&io, 2, 1, (uint16_t)i, DATA, 0, CDW(0));
    ring(&io);
    g_assert_cmpuint(disk.n, ==, 3);
    complete();
    g_assert_cmpuint(disk.n, ==, 0);
    io.size = 4;
    g_assert_true(answered(&io, &a));
    g_assert_cmpuint(disk.n, ==, 1);
    for (unsigned i = 1; i < 10; i++) {
        complete();
        g_assert_true(answered(&io, &a));
    }
    g_assert_false(answered(&io, &a));
    unmake();
}

/* CSTS.RDY says whether the controller still writes into memory. */
static void test_stop(void)
{
    struct answer a;

    setup(USUAL);
    for (unsigned round = 0; round < 100; round++) {
        for (unsigned i = 0; i < 1 + round % 20; i++)
            put(&io, round & 1 ? 1 : 2, 1, (uint16_t)i, DATA, 0, CDW(0));
        ring(&io);
        set_mem32(BAR + NVME_R_CC, 0);
        g_assert_cmphex(mem32(BAR + NVME_R_CSTS), ==, NVME_CSTS_RDY);
        if (round % 3 == 0)
            set_mem32(BAR + NVME_R_CC, ENABLE); /* too early: it starts when it can */
        complete();
        g_assert_false(answered(&io, &a));
        g_assert_cmphex(mem32(BAR + NVME_R_CSTS), ==, round % 3 ? 0 : NVME_CSTS_RDY);
        g_assert_cmpuint(n->reqs.length, ==, 0);
        set_mem32(BAR + NVME_R_CC, 0);
        enable();
        for (uint64_t at = ICQ; at < ICQ + 4096; at += 8)
            set_mem64(at, 0);
        io = (struct pair){ISQ, ICQ, ENTRIES, 0, 0, true};
        g_assert_cmphex(create(1, ENTRIES, ENTRIES), ==, 0);
    }
    unmake();
}

static void test_interrupts(void)
{
    struct answer a;

    setup(USUAL);
    g_assert_cmpint(n->pci.intx_level, ==, 0);
    put(&io, 2, 1, 1, DATA, 0, CDW(0));
    ring(&io);
    complete();
    g_assert_cmpint(n->pci.intx_level, ==, 1);
    set_mem32(BAR + NVME_R_INTMS, 1);
    g_assert_cmpint(n->pci.intx_level, ==, 0);
    set_mem32(BAR + NVME_R_INTMC, 1);
    g_assert_cmpint(n->pci.intx_level, ==, 1);
    g_assert_true(answered(&io, &a));
    g_assert_cmpint(n->pci.intx_level, ==, 0);
    /* MSI-X: vector 0 has a place; what ends at once is one message. */
    viv_dev_lock();
    viv_pci_config_write(rig.board.pci, n->pci.devfn, n->pci.msix_cap + 2u, 0x8000, 2);
    viv_dev_unlock();
    set_mem64(TABLE, 0xfee00000);
    set_mem32(TABLE + 8, 0x41);
    set_mem32(TABLE + 12, 0);
    for (unsigned i = 0; i < 8; i++)
        put(&io, 0x7f, 1, (uint16_t)i, DATA, 0, CDW(0));
    rig.msis = 0;
    ring(&io);
    g_assert_cmpuint(rig.msis, ==, 1);
    g_assert_cmphex(rig.msi_data, ==, 0x41);
    g_assert_cmpint(n->pci.intx_level, ==, 0);
    unmake();
}

/* Failed for want of space: held, saved, and done by the process that loads it. */
static void test_held(void)
{
    g_autofree uint8_t *ram = g_malloc(0x80000);
    struct pair old_io, old_admin;
    uint8_t *state, *again;
    size_t len, len2;
    struct answer a;

    setup(USUAL);
    fill(DATA, 512, 5);
    disk.fail = ENOSPC;
    put(&io, 1, 1, 42, DATA, 0, CDW(7));
    put(&io, 1, 1, 43, DATA, 0, CDW(8));
    ring(&io);
    complete();
    g_assert_cmpuint(rig.requests, ==, 2);
    g_assert_cmpint(rig.request, ==, VIV_VM_IO_ERROR);
    g_assert_false(answered(&io, &a));
    viv_dev_lock();
    viv_dev_set_running_all(false);
    state = rig_save(&len);
    viv_dma_read(rig.board.mem, ASQ, ram, 0x80000);
    viv_dev_unlock();
    old_io = io;
    old_admin = admin;
    unmake();

    make(USUAL);
    viv_dma_write(rig.board.mem, ASQ, ram, 0x80000);
    io = old_io;
    admin = old_admin;
    viv_dev_lock();
    viv_dev_set_running_all(false);
    viv_dev_unlock();
    rig_load(state, len);
    viv_dev_lock();
    again = rig_save(&len2);
    g_assert_cmpmem(state, len, again, len2);
    viv_dev_set_running_all(true);
    viv_dev_unlock();
    complete();
    g_assert_true(answered(&io, &a));
    g_assert_cmphex(a.status, ==, 0);
    g_assert_true(answered(&io, &a));
    g_assert_cmphex(a.status, ==, 0);
    assert_same(DATA, disk.data + 7 * 512, 512);
    assert_same(DATA, disk.data + 8 * 512, 512);
    g_assert_cmphex(run(&io, 2, 1, DATA, 0, CDW(0)), ==, 0);
    g_free(state);
    g_free(again);
    /* Held, and given up by a stop. */
    disk.fail = ENOSPC;
    put(&io, 1, 1, 44, DATA, 0, CDW(7));
    ring(&io);
    complete();
    set_mem32(BAR + NVME_R_CC, 0);
    g_assert_cmphex(mem32(BAR + NVME_R_CSTS), ==, 0);
    g_assert_false(n->front.holding);
    unmake();
}

/* Saved queues that cannot be: completions of a queue that is not there, and one being deleted though nobody could have asked. */
static void test_damaged(void)
{
    static const uint8_t name[] = {'S', 2, 0, 's', 'q'};
    enum { HEAD = 5 + 4 + 2 + 7 + 2, CQ = HEAD + 20, DELETING = CQ + 2 };
    g_autofree uint8_t *state = NULL;
    uint8_t *sq;
    size_t len;

    make(USUAL);
    set_mem32(BAR + NVME_R_CC, 0); /* no admin queue */
    viv_dev_lock();
    viv_dev_set_running_all(false);
    state = rig_save(&len);
    viv_dev_unlock();
    sq = memmem(state, len, name, sizeof(name));
    g_assert_nonnull(sq);
    rig_load(state, len);
    sq[CQ] = sq[CQ + 1] = 0xff;
    rig_load_refused(state, len, "queue 0 is none that could be");
    sq[CQ] = sq[CQ + 1] = 0;
    sq = memmem(sq + 1, len - (size_t)(sq + 1 - state), name, sizeof(name));
    sq[HEAD + 8] = 2; /* two entries */
    sq[CQ] = 1;
    sq[DELETING] = 1;
    rig_load_refused(state, len, "queue 1 is none that could be");
    unmake();
}

static void test_hostile(void)
{
    struct answer a;

    setup(USUAL);
    /* Lists that end nowhere, lie elsewhere, are crooked. */
    for (unsigned i = 0; i < 512; i++)
        set_mem64(LIST + 8 * i, LIST);
    g_assert_cmphex(run(&io, 2, 1, DATA, LIST + 4096 - 8, CDW(0, 0, 1023)), ==, 0);
    g_assert_cmphex(run(&io, 2, 1, DATA, LIST + 4, CDW(0, 0, 1023)), ==, NVME_PRP_OFFSET);
    set_mem64(LIST + 4096 - 8, LIST + 8);
    g_assert_cmphex(run(&io, 2, 1, DATA, LIST + 4096 - 8, CDW(0, 0, 1023)), ==, NVME_PRP_OFFSET);
    for (unsigned i = 0; i < 512; i++)
        set_mem64(LIST + 8 * i, i == 2 ? BAR : LIST);
    g_assert_cmphex(run(&io, 2, 1, DATA, LIST, CDW(0, 0, 1023)), ==, NVME_DATA_TRANSFER);
    g_assert_cmphex(run(&io, 2, 1, DATA, 0xffffffffffff0000, CDW(0, 0, 1023)), ==, NVME_DATA_TRANSFER);
    g_assert_cmphex(run(&io, 2, 1, 0xfffffffffffff000, 0, CDW(0, 0, 15)), ==, NVME_DATA_TRANSFER);
    g_assert_cmphex(run(&io, 2, 1, DATA + 2, 0, CDW(0)), ==, NVME_PRP_OFFSET);
    g_assert_cmphex(run(&io, 2, 1, DATA + 512, DATA + 512, CDW(0, 0, 7)), ==, NVME_PRP_OFFSET);
    /* Event requests: no more than a few wait; a doorbell of no queue is told of once until the log has been read. */
    for (unsigned i = 0; i < 4; i++) {
        put(&admin, 0x0c, 0, (uint16_t)(100 + i), 0, 0, CDW(0));
        ring(&admin);
        g_assert_false(answered(&admin, &a));
    }
    g_assert_cmphex(run(&admin, 0x0c, 0, 0, 0, CDW(0)), ==, NVME_AER_LIMIT);
    set_mem32(doorbell(9, false), 1);
    g_assert_true(answered(&admin, &a));
    g_assert_cmphex(a.result, ==, 0x10000);
    set_mem32(doorbell(1, false), ENTRIES);
    g_assert_false(answered(&admin, &a));
    put(&admin, 2, 0xffffffff, 7, DATA, 0, CDW(15 << 16 | 1));
    ring(&admin);
    g_assert_true(answered(&admin, &a));
    g_assert_cmphex(a.result, ==, 0x10100);
    g_assert_true(answered(&admin, &a));
    g_assert_cmpuint(a.cid, ==, 7);
    unmake();
    /* Queues outside of RAM stop the controller. */
    make(USUAL);
    enable();
    g_assert_cmphex(run(&admin, 5, 0, 0xf8000000, 0, CDW(7 << 16 | 1, 3)), ==, 0);
    g_assert_cmphex(run(&admin, 1, 0, 0xf9000000, 0, CDW(7 << 16 | 1, 1 << 16 | 1)), ==, 0);
    set_mem32(doorbell(1, false), 1);
    g_assert_cmphex(mem32(BAR + NVME_R_CSTS), ==, NVME_CSTS_RDY | NVME_CSTS_CFS);
    set_mem32(BAR + NVME_R_CC, 0);
    enable();
    unmake();
}

static uint32_t log_changed(void)
{
    g_assert_cmphex(run(&admin, 2, 0xffffffff, DATA, 0, CDW(1023 << 16 | 4)), ==, 0);
    g_assert_cmpuint(mem32(DATA + 4), ==, 0);
    return mem32(DATA);
}

static void resize(uint64_t size)
{
    viv_dev_lock();
    disk_resize(size);
    viv_dev_unlock();
}

/* Another size: a notice, once until the list of changed namespaces was read, and only to who wants it. */
static void test_resize(void)
{
    struct answer a;

    setup(USUAL);
    put(&admin, 0x0c, 0, 77, 0, 0, CDW(0));
    ring(&admin);
    resize(DISK_SIZE / 2);
    g_assert_false(answered(&admin, &a));
    g_assert_cmphex(run(&admin, 6, 0, DATA, 0, CDW(1)), ==, 0);
    g_assert_cmphex(mem32(DATA + 92), ==, 0x100);
    g_assert_cmpuint(log_changed(), ==, 1);
    g_assert_cmpuint(log_changed(), ==, 0);
    g_assert_cmphex(run(&admin, 9, 0, 0, 0, CDW(NVME_F_EVENTS, 0x100)), ==, 0);
    resize(DISK_SIZE / 4);
    g_assert_true(answered(&admin, &a));
    g_assert_cmpuint(a.cid, ==, 77);
    g_assert_cmphex(a.result, ==, 0x40002);
    put(&admin, 0x0c, 0, 78, 0, 0, CDW(0));
    ring(&admin);
    resize(DISK_SIZE / 2);
    g_assert_false(answered(&admin, &a)); /* told already, and not read */
    g_assert_cmphex(run(&admin, 6, 1, DATA, 0, CDW(0)), ==, 0);
    g_assert_cmpuint(mem32(DATA), ==, DISK_SIZE / 512 / 2);
    g_assert_cmphex(run(&io, 2, 1, DATA, 0, CDW(DISK_SIZE / 512 / 2)), ==, NVME_LBA_RANGE);
    g_assert_cmpuint(log_changed(), ==, 1);
    resize(DISK_SIZE);
    g_assert_true(answered(&admin, &a));
    g_assert_cmpuint(a.cid, ==, 78);
    g_assert_cmphex(run(&io, 2, 1, DATA, 0, CDW(DISK_SIZE / 512 / 2)), ==, 0);
    unmake();
}

/* Many full queues: no more commands than there may be are taken at once, and in the end all of them were. */
static void test_many(void)
{
    enum { QUEUES = 3, SIZE = 2048, SQ = 0x100000, CQ = 0x200000 };
    unsigned ended = 0;

    make(USUAL);
    enable();
    for (unsigned q = 1; q <= QUEUES; q++) {
        g_assert_cmphex(run(&admin, 5, 0, CQ + q * 0x8000, 0, CDW((SIZE - 1) << 16 | q, 1)), ==, 0);
        g_assert_cmphex(run(&admin, 1, 0, SQ + q * 0x20000, 0, CDW((SIZE - 1) << 16 | q, q << 16 | 1)), ==, 0);
        for (unsigned i = 0; i < SIZE - 1; i++) {
            uint8_t cmd[64] = {2, 0, (uint8_t)i, (uint8_t)(i >> 8), 1, [26] = DATA >> 16};

            viv_dma_write(rig.board.mem, SQ + q * 0x20000 + 64 * i, cmd, sizeof(cmd));
        }
    }
    for (unsigned q = 1; q <= QUEUES; q++)
        set_mem32(doorbell(q, false), SIZE - 1);
    g_assert_cmpuint(n->reqs.length, ==, NVME_REQS_MOST);
    g_assert_cmphex(run(&admin, 6, 0, DATA, 0, CDW(1)), ==, 0); /* not the admin queue, which lets them end: run() completes */
    g_assert_cmpuint(n->reqs.length, ==, 0);
    for (unsigned q = 1; q <= QUEUES; q++)
        for (unsigned i = 0; i < SIZE; i++)
            ended += mem32(CQ + q * 0x8000 + 16 * i + 12) >> 16 == 1; /* phase, and no error */
    g_assert_cmpuint(ended, ==, QUEUES * (SIZE - 1));
    unmake();
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/nvme/registers", test_registers);
    g_test_add_func("/nvme/identify", test_identify);
    g_test_add_func("/nvme/data", test_data);
    g_test_add_func("/nvme/cache-off", test_cache_off);
    g_test_add_func("/nvme/commands", test_commands);
    g_test_add_func("/nvme/queues", test_queues);
    g_test_add_func("/nvme/stop", test_stop);
    g_test_add_func("/nvme/interrupts", test_interrupts);
    g_test_add_func("/nvme/held", test_held);
    g_test_add_func("/nvme/resize", test_resize);
    g_test_add_func("/nvme/many", test_many);
    g_test_add_func("/nvme/hostile", test_hostile);
    g_test_add_func("/nvme/damaged", test_damaged);
    return g_test_run();
}
