/* A USB controller of four ports for unit tests of devices: packets by hand, through guest memory. */
#ifndef VIV_DEV_USB_USB_TEST_H
#define VIV_DEV_USB_USB_TEST_H

#include "base/bytes.h"
#include "bus/usb.h"
#include "dev/test_rig.h"
#include "host/lock.h"
#include "mem/dma.h"

#include <glib.h>

#define USB_RAM   (1u << 20)
#define USB_DATA  0x2000
#define USB_SETUP 0x1000

struct test_hc {
    struct viv_dev dev;
    struct viv_usb_bus *bus;
    struct viv_usb_port port[4];
};

static struct {
    struct test_hc *hc;
    unsigned attached, detached, wakeups, resumes, endpoint;
    struct viv_usb_dev *woken;
} usb;

static void hc_attached(struct viv_usb_port *p)
{
    usb.attached++;
}

static void hc_detached(struct viv_usb_port *p)
{
    usb.detached++;
}

static void hc_resume(struct viv_usb_port *p)
{
    usb.resumes++;
    p->suspended = false;
}

static void hc_wakeup(struct viv_dev *controller, struct viv_usb_dev *d, unsigned endpoint)
{
    usb.wakeups++;
    usb.woken = d;
    usb.endpoint = endpoint;
}

static unsigned hc_speeds = 1 << VIV_USB_LOW | 1 << VIV_USB_FULL | 1 << VIV_USB_HIGH | 1 << VIV_USB_SUPER;

static int hc_realize(struct viv_dev *d, struct viv_opts *opts, struct viv_err *err)
{
    static const struct viv_usb_bus_ops ops = {.wakeup = hc_wakeup};
    static const struct viv_usb_port_ops port_ops = {.attached = hc_attached, .detached = hc_detached, .resume = hc_resume};
    struct test_hc *h = usb.hc = (struct test_hc *)d;

    h->bus = viv_usb_bus_new(d, &ops);
    for (unsigned i = 0; i < 4; i++) {
        h->port[i] = (struct viv_usb_port){.ops = &port_ops, .number = i + 1, .speeds = hc_speeds, .enabled = true};
        viv_usb_bus_add_port(h->bus, &h->port[i], NULL);
    }
    return 0;
}

static void hc_unrealize(struct viv_dev *d)
{
    viv_usb_bus_free(((struct test_hc *)d)->bus);
}

static const struct viv_state_table hc_state = {
    .name = "test-hc", .ctype = "test_hc", .version = 1, .min_version = 1, .fields = (const struct viv_field[]){VIV_F_END}};
static const struct viv_dev_class test_hc_class = {
    .name = "test-hc", .desc = "", .size = sizeof(struct test_hc), .state = &hc_state, .realize = hc_realize, .unrealize = hc_unrealize};

/* Memory; and the controller, unless `bare`. */
static void usb_begin(bool bare)
{
    static struct viv_ram *ram;
    struct viv_region_desc d = {.name = "ram", .kind = VIV_REGION_RAM, .size = USB_RAM};
    struct viv_err err = VIV_ERR_INIT;

    rig_init();
    memset(&usb, 0, sizeof(usb));
    if (!ram && viv_ram_new("pc.ram", USB_RAM, &ram, &err) < 0)
        g_error("%s", err.text);
    memset(ram->hva, 0, USB_RAM);
    d.ram = ram;
    viv_region_map(viv_region_new(rig.board.mem, &d), 0, 0);
    if (!bare)
        rig_add("test-hc", NULL);
}

/* Bytes moved, or -status. */
static int usb_packet(struct viv_usb_dev *d, enum viv_usb_pid pid, unsigned endpoint, uint64_t at, uint32_t len)
{
    struct viv_usb_piece piece[2] = {{at, len / 2}, {at + len / 2, len - len / 2}}; /* memory in two pieces */
    struct viv_usb_packet k = {.pid = pid, .endpoint = endpoint, .pieces = piece, .count = 2, .length = len};

    viv_dev_lock();
    viv_usb_handle(d, &k);
    viv_dev_unlock();
    return k.status == VIV_USB_OK ? (int)k.actual : -(int)k.status;
}

/* A whole control transfer, 64 bytes a packet; data in or out at USB_DATA. Bytes moved or -status. */
static inline int usb_control(struct viv_usb_dev *d, unsigned request, uint16_t value, uint16_t index, uint16_t len)
{
    uint8_t s[8] = {(uint8_t)(request >> 8), (uint8_t)request};
    bool in = s[0] & 0x80 && len;
    int did = 0, rc;

    viv_st_le16(s + 2, value);
    viv_st_le16(s + 4, index);
    viv_st_le16(s + 6, len);
    viv_dma_write(rig.board.mem, USB_SETUP, s, 8);
    rc = usb_packet(d, VIV_USB_SETUP, 0, USB_SETUP, 8);
    while (rc >= 0 && did < len) {
        rc = usb_packet(d, in ? VIV_USB_IN : VIV_USB_OUT, 0, (uint64_t)USB_DATA + did, MIN(64u, len - did));
        did += MAX(rc, 0);
        if (rc >= 0 && rc < 64)
            break;
    }
    if (rc >= 0)
        rc = usb_packet(d, in ? VIV_USB_OUT : VIV_USB_IN, 0, USB_DATA, 0);
    return rc < 0 ? rc : did;
}

static inline void usb_configure(struct viv_usb_dev *d, uint8_t address)
{
    g_assert_cmpint(usb_control(d, 0x0005, address, 0, 0), ==, 0);
    g_assert_cmpint(usb_control(d, 0x0009, 1, 0, 0), ==, 0);
    g_assert_cmpint(d->address, ==, address);
}

static inline uint8_t usb_byte(unsigned at)
{
    return (uint8_t)viv_space_read(rig.board.mem, USB_DATA + at, 1);
}

#endif
