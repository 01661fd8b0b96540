/* Back ends that stand in for block/, net/, chr/ and the device lock: nothing happens by itself, all in one thread, so that an input
 * does the same each time. */
#include "fuzz/device_rig.h"

#include "block/options.h"
#include "block/registry.h"
#include "chr/chr.h"
#include "dev/acpi/piix4_pm.h"
#include "dev/input/i8042.h"
#include "dev/storage/front.h"
#include "dev/virtio/virtio_balloon.h"
#include "host/lock.h"
#include "net/net.h"
#include "ui/console.h"
#include "ui/input.h"

#include <errno.h>
#include <glib.h>
#include <string.h>

enum { DISKS = 8, DEPTH = 8192, CHRS = 4 };

/* --- the device lock: who waits waits for a disk --- */

static bool held;

void viv_dev_lock(void)
{
    g_assert(!held);
    held = true;
}

void viv_dev_unlock(void)
{
    g_assert(held);
    held = false;
}

bool viv_dev_locked(void)
{
    return held;
}

void viv_dev_wait(pthread_cond_t *cond)
{
    if (!fuzz_complete(UINT32_MAX, 0))
        fuzz_fail("it would wait for ever");
}

/* --- disks --- */

struct disk {
    char id[8];
    uint8_t *data;
    uint64_t room, size;
    bool dirty;
};

struct viv_blk {
    struct disk *disk;
    void (*resized)(void *opaque);
    void *resized_opaque;
};

static struct disk disks[DISKS];
static struct {
    struct viv_blk_req *req;
    struct viv_blk *blk;
} queue[DEPTH];
static unsigned queued;

static struct viv_blk *open_disk(const char *id)
{
    struct viv_blk *b = g_new0(struct viv_blk, 1);
    unsigned i = 0;

    while (i < DISKS - 1 && disks[i].data && strcmp(disks[i].id, id))
        i++;
    b->disk = &disks[i];
    if (!b->disk->data) {
        g_strlcpy(b->disk->id, id, sizeof(b->disk->id));
        b->disk->room = *id == 'f' ? 1474560 : *id == 'l' ? 65536 : 256 << 10;
        b->disk->data = g_malloc(b->disk->room);
        b->disk->dirty = true;
    }
    return b;
}

void fuzz_add_drive(const char *id)
{
    struct viv_blk *b = open_disk(id);
    struct viv_drive *d;
    struct viv_err err = VIV_ERR_INIT;

    if (viv_drive_add(id, b, &d, &err) < 0)
        fuzz_fail("%s", err.text);
    d->cd = *id == 'c';
}

/* Before an input: all as it was. */
static void restore_disks(void)
{
    for (unsigned i = 0; i < DISKS && disks[i].data; i++) {
        disks[i].size = disks[i].room;
        for (uint64_t k = 0; disks[i].dirty && k < disks[i].room; k++)
            disks[i].data[k] = (uint8_t)(k >> 9 | (k & 1));
        disks[i].dirty = false;
    }
}

uint64_t viv_blk_size(const struct viv_blk *b)
{
    return b->disk->size ? b->disk->size : b->disk->room;
}

bool viv_blk_writable(const struct viv_blk *b)
{
    return *b->disk->id != 'c';
}

void viv_blk_on_resize(struct viv_blk *b, uint32_t unit, void (*resized)(void *opaque), void *opaque)
{
    b->resized = resized;
    b->resized_opaque = opaque;
}

void viv_blk_lift_limits(struct viv_blk *b)
{
}

int viv_blk_close(struct viv_blk *b, struct viv_err *err)
{
    g_free(b);
    return 0;
}

int viv_blockdev_attach(const char *node_name, unsigned perms, unsigned shared, const char *user, struct viv_blk **out, struct viv_err *err)
{
    return -ENOENT;
}

int viv_blk_pread(struct viv_blk *b, uint64_t offset, void *buf, size_t len)
{
    if (offset > viv_blk_size(b) || len > viv_blk_size(b) - offset)
        return -EIO;
    memcpy(buf, b->disk->data + offset, len);
    return 0;
}

int viv_blk_pwrite(struct viv_blk *b, uint64_t offset, const void *buf, size_t len, unsigned flags)
{
    if (offset > viv_blk_size(b) || len > viv_blk_size(b) - offset)
        return -EIO;
    memcpy(b->disk->data + offset, buf, len);
    b->disk->dirty = true;
    return 0;
}

void viv_blk_submit(struct viv_blk *b, struct viv_blk_req *r)
{
    g_assert_cmpuint(queued, <, DEPTH);
    queue[queued].blk = b;
    queue[queued++].req = r;
}

static int perform(struct disk *d, struct viv_blk_req *r)
{
    uint64_t at = r->offset;

    if (r->op == VIV_BLK_FLUSH)
        return 0;
    if (at > d->size || r->len > d->size - at)
        return -EIO;
    d->dirty |= r->op != VIV_BLK_READ;
    if (r->op == VIV_BLK_WRITE_ZEROES)
        memset(d->data + at, 0, r->len);
    if (r->op == VIV_BLK_WRITE_ZEROES || r->op == VIV_BLK_DISCARD)
        return 0;
    for (int i = 0; i < r->iovcnt; at += r->iov[i++].iov_len) {
        g_assert_cmpuint(at + r->iov[i].iov_len, <=, r->offset + r->len);
        if (r->op == VIV_BLK_READ)
            memcpy(r->iov[i].iov_base, d->data + at, r->iov[i].iov_len);
        else
            memcpy(d->data + at, r->iov[i].iov_base, r->iov[i].iov_len);
    }
    g_assert_cmpuint(at, ==, r->offset + r->len);
    return 0;
}

unsigned fuzz_complete(unsigned count, int error)
{
    unsigned done = 0;

    for (; queued && done < count; done++) {
        struct viv_blk_req *r = queue[--queued].req;
        struct disk *d = queue[queued].blk->disk;

        viv_dev_unlock(); /* as from an I/O thread */
        r->done(r, error ? -error : perform(d, r));
        viv_dev_lock();
    }
    while (done < count && fuzz_share_serve())
        done++;
    return done;
}

void fuzz_disk_act(unsigned what)
{
    struct viv_err err = VIV_ERR_INIT;
    struct viv_front *f = viv_front_next(NULL);

    for (unsigned n = what >> 4 & 3; n && f && viv_front_next(f); n--)
        f = viv_front_next(f);
    if (!f || !f->drive->blk)
        return;
    if (!f->removable) {
        struct viv_blk *b = f->drive->blk;

        if (b->resized && !viv_front_idle(f))
            fuzz_complete(UINT32_MAX, 0);
        b->disk->size = what & 1 ? b->disk->room : b->disk->room / 2;
        if (b->resized)
            b->resized(b->resized_opaque);
        return;
    }
    switch (what & 3) {
    case 0:
        viv_front_open_tray(f, what & 4, &err);
        break;
    case 1:
        viv_front_close_tray(f, &err);
        break;
    default: /* another one of the same contents */
        if (!viv_front_eject(f, what & 4, &err) && !f->drive->blk) {
            if (viv_front_insert(f, open_disk(f->drive->id), &err) < 0)
                fuzz_fail("insert: %s", err.text);
            viv_front_close_tray(f, &err);
        }
    }
}

/* --- the other end of a card's wire: takes frames, or is full --- */

struct viv_netdev {
    const struct viv_nic_ops *ops;
    void *nic;
};

static struct viv_netdev wires[2];
static unsigned wire_queues, wire_offloads;
static bool wire_full, wire_up;

void fuzz_wire_reset(unsigned queues)
{
    wire_queues = queues ? queues : 1;
    wire_full = false;
    wire_up = true;
    restore_disks();
}

struct viv_netdev *viv_netdev_find(const char *id)
{
    return !strcmp(id, "n0") ? &wires[0] : NULL;
}

const char *viv_netdev_id(const struct viv_netdev *n)
{
    return "n0";
}

unsigned viv_netdev_queues(const struct viv_netdev *n)
{
    return wire_queues;
}

struct viv_netdev *viv_netdev_queue(struct viv_netdev *n, unsigned i)
{
    g_assert_cmpuint(i, <, G_N_ELEMENTS(wires));
    return &wires[i];
}

void viv_netdev_use_queues(struct viv_netdev *n, unsigned count)
{
}

int viv_netdev_attach(struct viv_netdev *n, const struct viv_nic_ops *ops, void *nic, struct viv_err *err)
{
    g_assert(!n->ops);
    n->ops = ops;
    n->nic = nic;
    return 0;
}

void viv_netdev_detach(struct viv_netdev *n)
{
    n->ops = NULL;
}

unsigned viv_netdev_tx_offloads(const struct viv_netdev *n)
{
    return VIV_NET_CSUM | VIV_NET_TSO4 | VIV_NET_TSO6 | VIV_NET_ECN | VIV_NET_UFO;
}

unsigned viv_netdev_rx_offloads(const struct viv_netdev *n)
{
    return viv_netdev_tx_offloads(n);
}

bool viv_netdev_rx_trusted(const struct viv_netdev *n)
{
    return true;
}

void viv_netdev_restore_link(struct viv_netdev *n, bool up)
{
    wire_up = up;
}

bool viv_netdev_link_up(const struct viv_netdev *n)
{
    return wire_up;
}

bool viv_netdev_send_hdr(struct viv_netdev *n, const struct viv_net_hdr *hdr, const struct iovec *iov, int iovcnt)
{
    unsigned sum = 0;

    for (int i = 0; !wire_full && i < iovcnt; i++) {
        for (size_t k = 0; k < iov[i].iov_len; k += 64) /* all of it can be read */
            sum += ((const uint8_t *)iov[i].iov_base)[k];
        sum += iov[i].iov_len ? ((const uint8_t *)iov[i].iov_base)[iov[i].iov_len - 1] : 0;
    }
    __asm__ volatile("" : : "r"(sum));
    return !wire_full;
}

bool viv_netdev_send(struct viv_netdev *n, const struct iovec *iov, int iovcnt)
{
    return viv_netdev_send_hdr(n, NULL, iov, iovcnt);
}

void viv_netdev_set_rx(struct viv_netdev *n, unsigned offloads)
{
    g_assert(!(offloads & ~viv_netdev_rx_offloads(n)));
    wire_offloads = offloads;
}

void viv_netdev_can_receive_changed(struct viv_netdev *n)
{
}

void viv_netdev_save(struct viv_netdev *n, struct viv_state_writer *w)
{
}

int viv_netdev_load(struct viv_netdev *n, struct viv_state_reader *r, struct viv_err *err)
{
    return 0;
}

/* Ethernet, of a few kinds: to the card, to all, to a group, to others; ARP, IPv4 and IPv6 with TCP and UDP, VLAN, 802.3. */
static size_t make_frame(uint8_t *f, unsigned what, unsigned len)
{
    static const uint8_t to[4][6] = {{0x52, 0x54, 0, 0, 0, 5}, {255, 255, 255, 255, 255, 255}, {1, 0, 0x5e, 0, 0, 1}, {2, 2, 2, 2, 2, 2}};
    static const uint8_t kinds[8][4] = {{8, 6}, {8, 0, 6}, {8, 0, 17}, {0x86, 0xdd, 6}, {0x81, 0}, {8, 0, 1}, {0x86, 0xdd, 17}, {0, 60}};
    const uint8_t *kind = kinds[what >> 2 & 7];
    uint8_t *ip = f + 14;

    for (unsigned i = 0; i < len; i++)
        f[i] = (uint8_t)(i * 7);
    memcpy(f, to[what & 3], 6);
    memcpy(f + 6, to[3], 6);
    f[12] = kind[0];
    f[13] = kind[1];
    if (kind[0] == 8 && kind[2]) {
        memset(ip, 0, 20);
        ip[0] = 0x45;
        ip[2] = (uint8_t)((len - 14) >> 8);
        ip[3] = (uint8_t)(len - 14);
        ip[9] = kind[2];
        ip[32] = 0x50;
    } else if (kind[0] == 0x86) {
        ip[0] = 0x60;
        ip[4] = (uint8_t)((len - 54) >> 8);
        ip[5] = (uint8_t)(len - 54);
        ip[6] = kind[2];
    } else if (kind[0] == 0x81) {
        memcpy(ip, "\0\5\x08\0\x45", 5);
    }
    return len;
}

void fuzz_wire_give(unsigned what, unsigned len, bool header)
{
    static uint8_t frame[VIV_NET_MAX_FRAME];
    struct viv_netdev *n = &wires[wire_queues > 1 ? what >> 5 & 1 : 0];
    struct viv_net_hdr h = {.flags = what & 1 ? VIV_NET_HDR_NEEDS_CSUM : VIV_NET_HDR_DATA_VALID, .csum_start = 34, .csum_offset = 16};
    size_t size;

    if (!n->ops || !wire_up)
        return;
    len = MIN(len, VIV_NET_MAX_FRAME);
    size = make_frame(frame, what, MAX(len, 60)); /* the network sends none that are shorter */
    if ((wire_offloads & VIV_NET_TSO4) && what & 4)
        h = (struct viv_net_hdr){VIV_NET_HDR_NEEDS_CSUM, VIV_NET_GSO_TCPV4, 54, 1000, 34, 16};
    for (unsigned i = 0; i < 3 && n->ops->can_receive(n->nic); i++) {
        if (header && n->ops->receive_hdr && wire_offloads)
            n->ops->receive_hdr(n->nic, frame, size, &h);
        else
            n->ops->receive(n->nic, frame, size);
    }
    if (n->ops->receive_done)
        n->ops->receive_done(n->nic);
}

void fuzz_wire_set_full(bool full)
{
    wire_full = full;
    for (unsigned i = 0; !full && i < G_N_ELEMENTS(wires); i++) {
        if (wires[i].ops && wires[i].ops->send_ready)
            wires[i].ops->send_ready(wires[i].nic);
    }
}

void fuzz_wire_set_link(bool up)
{
    if (up == wire_up || !wires[0].ops)
        return;
    wire_up = up;
    wires[0].ops->link_changed(wires[0].nic, up);
}

/* --- the other end of a serial line: c0 to c3 --- */

struct viv_chr {
    const struct viv_chr_front *ops;
    void *front;
    void (*writable)(void *opaque);
    void *opaque;
};

static struct viv_chr chrs[CHRS];
static unsigned chr_room;

void fuzz_chr_reset(void)
{
    chr_room = UINT32_MAX;
}

struct viv_chr *viv_chr_find(const char *id)
{
    return id[0] == 'c' && id[1] >= '0' && id[1] < '0' + CHRS ? &chrs[id[1] - '0'] : NULL;
}

int viv_chr_attach(struct viv_chr *c, const struct viv_chr_front *ops, void *front, struct viv_err *err)
{
    g_assert(!c->ops);
    c->ops = ops;
    c->front = front;
    if (ops->event)
        ops->event(front, VIV_CHR_OPENED);
    return 0;
}

void viv_chr_detach(struct viv_chr *c, void *front)
{
    *c = (struct viv_chr){NULL};
}

size_t viv_chr_write(struct viv_chr *c, const uint8_t *buf, size_t len)
{
    len = MIN(len, chr_room);
    chr_room -= chr_room == UINT32_MAX ? 0 : (unsigned)len;
    return len;
}

void viv_chr_on_writable(struct viv_chr *c, void (*fn)(void *opaque), void *opaque)
{
    c->writable = fn;
    c->opaque = opaque;
}

void viv_chr_accept_input(struct viv_chr *c)
{
}

void fuzz_chr_give(unsigned which, uint8_t byte, unsigned count)
{
    struct viv_chr *c = &chrs[which % CHRS];
    uint8_t buf[256];
    size_t n;

    memset(buf, byte, sizeof(buf));
    n = c->ops ? MIN(c->ops->can_read(c->front), count) : 0;
    if (n)
        c->ops->read(c->front, buf, MIN(n, sizeof(buf)));
}

void fuzz_chr_event(unsigned which, unsigned event)
{
    struct viv_chr *c = &chrs[which % CHRS];

    if (c->ops && c->ops->event)
        c->ops->event(c->front, event % (VIV_CHR_BREAK + 1));
}

void fuzz_chr_set_room(unsigned bytes)
{
    chr_room = bytes;
    for (unsigned i = 0; bytes && i < CHRS; i++) {
        void (*fn)(void *) = chrs[i].writable;

        chrs[i].writable = NULL;
        if (fn)
            fn(chrs[i].opaque);
    }
}

/* --- who looks and types --- */

static struct viv_viewer *viewer;

static void shown(void *opaque, const struct viv_surface *s)
{
}

static void changed(void *opaque, unsigned x, unsigned y, unsigned width, unsigned height)
{
}

static void gone(void *opaque)
{
    viewer = NULL;
}

void fuzz_screen_reset(void)
{
    viv_viewer_free(viewer);
    viewer = NULL;
}

void fuzz_screen(unsigned what)
{
    static const struct viv_viewer_ops ops = {.shown = shown, .changed = changed, .gone = gone};
    struct viv_console *c = viv_console_at(what >> 4 & 1);

    if (!c)
        return;
    if (what & 2) {
        fuzz_screen_reset();
    } else if (what & 1 && !viewer) {
        viewer = viv_viewer_new(c, &ops, NULL);
        viv_viewer_set_period(viewer, 1000000); /* refreshed when the input says so */
    }
    if (what & 4 && viewer)
        viv_console_room(c, what >> 4 & 0xfff, what >> 6);
    viv_console_refresh(c);
    g_free(viv_console_text(c));
}

void fuzz_balloon(unsigned v)
{
    struct virtio_balloon *b = viv_balloon(NULL);
    struct viv_err err = VIV_ERR_INIT;

    if (b && v & 1)
        viv_balloon_poll(b, v >> 12, &err);
    else if (b)
        viv_balloon_set(b, (uint64_t)v << 8, &err);
    if (b)
        viv_balloon_actual(b);
}

void fuzz_hands(unsigned what, unsigned v)
{
    switch (what & 7) {
    case 0:
        viv_input_key(v & 0xff, v >> 15);
        break;
    case 1:
        viv_input_move(-1, (int8_t)v, (int8_t)(v >> 8));
        viv_input_sync(-1);
        break;
    case 2:
        viv_input_place(-1, v & 0xff, v >> 8, 256, 256);
        viv_input_sync(-1);
        break;
    case 3:
        viv_input_button(-1, (enum viv_button)(v % VIV_BUTTONS), v >> 4 & 1);
        viv_input_wheel(-1, (int)(v & 3) - 1, 0);
        viv_input_sync(-1);
        break;
    case 4:
        viv_input_release_all();
        break;
    case 5:
        if (fuzz_kbc)
            viv_i8042_key(fuzz_kbc, v & 0x1ff);
        break;
    case 6:
        if (fuzz_kbc)
            viv_i8042_mouse(fuzz_kbc, (int8_t)v, (int8_t)(v >> 8), (int)(v & 3) - 1, v >> 4 & 7);
        break;
    default:
        if (fuzz_pm && v & 1)
            viv_piix4_pm_power_button(fuzz_pm);
        fuzz_take_interrupt(v);
    }
}
