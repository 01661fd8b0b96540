/* A hostile driver of a device, and back ends that do anything at any time. VIV_FUZZ_FORMAT names the family of devices (without: the
 * first byte picks one); the input is a list of steps (device_rig.h).
 *
 * What must hold: no crash, no access outside of guest RAM, no step that takes long, nobody waits for ever, what was saved loads again
 * and is the same, and what was saved and then changed is refused or does no harm. */
#include "fuzz/fuzz.h"

#include "fuzz/device_rig.h"

#include "base/bytes.h"
#include "bus/pci.h"
#include "bus/virtio_pci_int.h"
#include "host/clock.h"
#include "host/lock.h"

#include <errno.h>
#include <glib.h>
#include <string.h>

enum { STEPS_MOST = 600, RING = 0x10000, DATA = 0x40000, QUEUES = 16 };

static uint64_t little(const uint8_t *p, unsigned bytes)
{
    uint64_t v = 0;

    for (unsigned i = 0; i < bytes; i++)
        v |= (uint64_t)p[i] << 8 * i;
    return v;
}

struct place {
    struct viv_space *space;
    uint64_t at;
};

static bool place(const uint8_t *a, struct place *p)
{
    uint32_t size;
    uint64_t base, off = little(a + 1, 2);

    if (!fuzz_window_at(a[0] & 15, &p->space, &base, &size))
        return false;
    off |= (uint64_t)(a[0] >> 4) << 16;
    p->at = base + off % size;
    return true;
}

static unsigned width(const struct place *p, uint8_t op)
{
    unsigned size = 1u << (op >> 6);

    return p->space == fuzz_board.io && size > 4 ? 4 : size;
}

static void touch(uint8_t op, const uint8_t *a)
{
    struct place p;
    unsigned size, kind = fuzz_step_kind(op);

    if (!place(a, &p))
        return;
    size = width(&p, op);
    if (kind == STEP_OUT)
        viv_space_write_locked(p.space, p.at, little(a + 3, 1u << (op >> 4 & 3)), size);
    else if (kind == STEP_IN)
        viv_space_read_locked(p.space, p.at, size);
    else if (kind == STEP_ADD)
        viv_space_write_locked(p.space, p.at, viv_space_read_locked(p.space, p.at, size) + a[3], size);
    for (unsigned i = 0; kind == STEP_REP && i < a[3] * 2u; i++) {
        if (op & 0x10)
            viv_space_write_locked(p.space, p.at, i * 0x01010101u, size);
        else
            viv_space_read_locked(p.space, p.at, size);
    }
}

static void ram(uint8_t op, const uint8_t *a)
{
    uint32_t at = (uint32_t)a[0] << 12 | (little(a + 1, 2) & 0xfff);

    if (fuzz_step_kind(op) == STEP_RAM) {
        for (unsigned i = 0; i < a[3]; i++)
            viv_space_write_locked(fuzz_board.mem, (at + i) % RAM_SIZE, a[4 + i], 1);
    } else {
        viv_space_write_locked(fuzz_board.mem, at & ~7u, little(a + 3, 2) * 16, 1u << (op >> 4 & 3));
    }
}

static void config(uint8_t op, const uint8_t *a)
{
    unsigned size = 1u << (op >> 4 & 3);

    if (!fuzz_board.pci)
        return;
    if (size > 4)
        size = 4;
    viv_pci_config_write(fuzz_board.pci, fuzz_function(a[0]), a[1] & ~(size - 1), (uint32_t)little(a + 2, size), size);
    viv_pci_config_read(fuzz_board.pci, fuzz_function(a[0]), a[1] & ~(size - 1), size);
}

static void back_end(unsigned what, unsigned v)
{
    switch (what % 13) {
    case 0:
    case 1:
        fuzz_complete(v & 7 ? v & 7 : UINT32_MAX, (v >> 8) > 200 ? (v >> 8 & 1 ? EIO : ENOSPC) : 0);
        break;
    case 2:
        fuzz_wire_give(v & 0x3f, v >> 6, false);
        break;
    case 3:
        fuzz_wire_give(v & 0x3f, v >> 6, true);
        break;
    case 4:
        fuzz_wire_set_full(v & 1);
        break;
    case 5:
        fuzz_wire_set_link(v & 1);
        break;
    case 6:
        fuzz_chr_give(v >> 14, (uint8_t)v, (v >> 8 & 15) + 1);
        break;
    case 7:
        fuzz_chr_event(v >> 14, v & 7);
        break;
    case 8:
        fuzz_chr_set_room(v & 0xff);
        break;
    case 9:
        fuzz_screen(v);
        break;
    case 10:
        fuzz_disk_act(v);
        break;
    case 11:
        fuzz_balloon(v);
        break;
    default:
        fuzz_hands(what >> 4, v);
    }
}

/* A reload takes longer than all else that an input does: some times are as good as many. */
#define RELOADS_MOST 3

static unsigned reloads;

static void control(unsigned what, unsigned v)
{
    if ((what % 5 == 1 || what % 5 == 2) && reloads++ >= RELOADS_MOST)
        return;
    switch (what % 5) {
    case 0:
        viv_dev_reset_all();
        break;
    case 1:
        fuzz_board_reload(0, 0);
        break;
    case 2:
        fuzz_board_reload(v % 5 + 1, v);
        break;
    case 3:
        fuzz_board_stop();
        viv_dev_set_running_all(true);
        break;
    default:
        fuzz_complete(UINT32_MAX, 0);
    }
}

/* --- a virtio driver that keeps to the rules, on a window that is a modern function's BAR 4 or a slot of a microvm --- */

static struct {
    uint64_t base; /* 0: not started */
    bool mmio, packed;
    struct {
        uint16_t size, next;
        bool wrap;
    } queue[QUEUES];
} virtio;

/* Registers of the common configuration (virtio 1.2, 4.1.4.3) where they lie in a slot (4.2.2); 0: not there. */
static unsigned mmio_register(unsigned off)
{
    static const uint8_t at[0x38] = {
        [0x00] = 0x14, [0x04] = 0x10, [0x08] = 0x24, [0x0c] = 0x20, [0x14] = 0x70, [0x16] = 0x30, [0x18] = 0x38, [0x1c] = 0x44, [0x20] = 0x80,
        [0x24] = 0x84, [0x28] = 0x90, [0x2c] = 0x94, [0x30] = 0xa0, [0x34] = 0xa4,
    };

    return at[off];
}

static void common(unsigned off, uint64_t v, unsigned size)
{
    if (virtio.mmio) {
        for (unsigned i = 0; i < size; i += 4) {
            if (mmio_register(off + i))
                viv_space_write_locked(fuzz_board.mem, virtio.base + mmio_register(off + i), (uint32_t)(v >> 8 * i), 4);
        }
        return;
    }
    viv_space_write_locked(fuzz_board.mem, virtio.base + VIV_VPCI_COMMON + off, v, size);
}

static void virtio_start(unsigned flags, unsigned size_code, uint32_t features)
{
    struct viv_space *space;
    uint32_t size, low;
    uint64_t base;

    if (!fuzz_window_at(size_code >> 4, &space, &base, &size) || (size != VIV_VPCI_SIZE && base - FUZZ_VIRTIO_MMIO >= 0x1000))
        return;
    virtio.base = base;
    virtio.mmio = size != VIV_VPCI_SIZE;
    common(0x14, 0, 1);
    common(0x14, 3, 1);
    common(0x00, 0, 4);
    low = (uint32_t)viv_space_read_locked(fuzz_board.mem, virtio.base + (virtio.mmio ? mmio_register(4) : 4), 4);
    common(0x08, 0, 4);
    common(0x0c, features ? low & features : low, 4);
    common(0x08, 1, 4);
    virtio.packed = flags & 1;
    common(0x0c, 1 | (virtio.packed ? 4 : 0), 4);
    common(0x14, 11, 1);
    if (flags & 2)
        common(0x10, 0, 2);
    for (unsigned q = 0; q < QUEUES; q++) {
        uint64_t at = RING + 0x1000u * q;

        common(0x16, q, 2);
        virtio.queue[q].size = size_code & 1 ? 16 : 4 << (size_code >> 1 & 1);
        virtio.queue[q].next = 0;
        virtio.queue[q].wrap = true;
        common(0x18, virtio.queue[q].size, 2);
        common(0x20, at, 8);
        common(0x28, at + 0x400, 8);
        common(0x30, at + 0x800, 8);
        if (flags & 2)
            common(0x1a, q & 1, 2);
        if (!(flags & 4 && q == (flags >> 3 & 15)))
            common(0x1c, 1, 2);
        memset(fuzz_ram->hva + at, 0, 0x1000);
    }
    common(0x14, 15, 1);
}

/* Lengths: small ones as they are, large ones in steps. */
static uint32_t length(uint8_t code)
{
    return code < 192 ? code : code < 255 ? (code - 191u) * 256 : 0xffff;
}

static void virtio_request(const uint8_t *a)
{
    unsigned q = a[0] % QUEUES, out = a[1] & 3, in = a[1] >> 2 & 3, n = out + in, size = virtio.queue[q].size;
    bool table = a[1] & 0x10;
    uint8_t *ring = fuzz_ram->hva + RING + 0x1000 * q, *descs = table ? ring + 0xc00 : ring;
    unsigned slot = virtio.queue[q].next, first_flags = 0;

    if (!virtio.base || !size || !n)
        return;
    if (virtio.packed)
        first_flags = virtio.queue[q].wrap ? 1 << 7 : 1 << 15;
    else
        slot = slot % size;
    for (unsigned i = 0; i < n; i++) {
        unsigned at = table ? i : (slot + i) % size;
        uint8_t *d = descs + 16 * at;
        unsigned flags = (i + 1 < n && !(table && virtio.packed) ? 1 : 0) | (i >= out ? 2 : 0);

        if (virtio.packed && !table) /* the wrap counter turns where the ring ends */
            first_flags = (virtio.queue[q].wrap != (slot + i >= size)) ? 1 << 7 : 1 << 15;
        viv_st_le64(d, DATA + (uint64_t)(a[2] >> 4) * 0x1000 + (a[2] & 15) + i * 0x4000);
        viv_st_le32(d + 8, length(a[3 + i % 4]));
        viv_st_le16(d + (virtio.packed ? 14 : 12), (uint16_t)(flags | (table ? 0 : virtio.packed ? first_flags : 0)));
        viv_st_le16(d + (virtio.packed ? 12 : 14), (uint16_t)(virtio.packed ? slot : table ? i + 1 : (at + 1) % size));
    }
    if (table) {
        uint8_t *d = ring + 16 * slot;

        viv_st_le64(d, RING + 0x1000u * q + 0xc00);
        viv_st_le32(d + 8, 16 * n);
        viv_st_le16(d + (virtio.packed ? 14 : 12), (uint16_t)(4 | (virtio.packed ? first_flags : 0)));
        if (virtio.packed)
            viv_st_le16(d + 12, (uint16_t)slot);
    }
    if (virtio.packed) {
        unsigned end = slot + (table ? 1 : n);

        virtio.queue[q].wrap ^= end >= size;
        virtio.queue[q].next = (uint16_t)(end % size);
    } else {
        uint16_t avail = viv_ld_le16(ring + 0x402);

        viv_st_le16(ring + 0x404 + 2 * (avail % size), (uint16_t)slot);
        viv_st_le16(ring + 0x402, avail + 1);
        virtio.queue[q].next = (uint16_t)((slot + (table ? 1 : n)) % size);
    }
    if (a[1] & 0x20)
        return;
    if (virtio.mmio)
        viv_space_write_locked(fuzz_board.mem, virtio.base + 0x50, q, 4);
    else
        viv_space_write_locked(fuzz_board.mem, virtio.base + VIV_VPCI_NOTIFY + 4 * q, q, 2);
}

/* --- */

static void step(const uint8_t *data, size_t len)
{
    uint8_t a[5 + 256] = {0}, op = data[0];
    int64_t time;

    memcpy(a, data + 1, len - 1);
    switch (fuzz_step_kind(op)) {
    case STEP_RAM:
        a[3] = (uint8_t)(len > 5 ? len - 5 : 0);
        /* fall through */
    case STEP_PTR:
        ram(op, a);
        return;
    case STEP_CFG:
        config(op, a);
        return;
    case STEP_TIME:
        time = (int64_t)(little(a, 2) & 0xfff) << (a[1] >> 4);
        viv_guest_clock_step(MIN(time, 20000000));
        break;
    case STEP_BACK:
        back_end(a[0], (unsigned)little(a + 1, 2));
        break;
    case STEP_CTL:
        control(a[0], (unsigned)little(a + 1, 2));
        break;
    case STEP_VQ:
        virtio_request(a);
        break;
    case STEP_START:
        virtio_start(a[0], a[1], (uint32_t)little(a + 2, 4));
        return;
    default:
        touch(op, a);
        return;
    }
    fuzz_run_loop();
}

static const struct fuzz_family *choose(uint8_t first)
{
    const char *name = g_getenv("VIV_FUZZ_FORMAT");
    unsigned count = 0;

    for (; fuzz_families[count].name; count++)
        if (name && !strcmp(fuzz_families[count].name, name))
            return &fuzz_families[count];
    if (name)
        fuzz_fail("no family '%s'", name);
    return &fuzz_families[first % count];
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2)
        return 0;
    memset(&virtio, 0, sizeof(virtio));
    reloads = 0;
    viv_dev_lock();
    fuzz_board_make(choose(data[0]));
    data++;
    size--;
    for (unsigned i = 0; size && i < STEPS_MOST; i++) {
        size_t len = fuzz_step_len(data, size);

        step(data, len);
        if (fuzz_io_error) { /* the VM is stopped, and goes on: held requests are sent again */
            fuzz_io_error = false;
            fuzz_board_stop();
            viv_dev_set_running_all(true);
            fuzz_run_loop();
        }
        data += len;
        size -= len;
    }
    fuzz_board_free();
    viv_dev_unlock();
    return 0;
}
