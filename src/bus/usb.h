/* USB: buses, ports, devices, packets (USB 2.0 ch. 8, 9; docs/usb.md). Device lock held.
 *
 * A controller hands a packet to a device and has its result when the call returns: nothing is ever under way, so there is nothing
 * to cancel, to wait for or to save. A device that is not ready says NAK, as on the wire, and calls viv_usb_wakeup() when it is
 * worth while to ask again. */
#ifndef VIV_BUS_USB_H
#define VIV_BUS_USB_H

#include "base/byname.h"
#include "bus/dev.h"
#include "bus/usb_desc.h"

#define VIV_USB_CONTROL_MOST 4096 /* bytes of a control transfer's data */
#define VIV_USB_ADDRESSES    128
#define VIV_USB_TIERS        5 /* hubs behind each other (USB 2.0 4.1.1) */

enum viv_usb_pid { VIV_USB_SETUP = 0x2d, VIV_USB_IN = 0x69, VIV_USB_OUT = 0xe1 };
/* ERROR: nobody answered, or the memory is not there. */
enum viv_usb_status { VIV_USB_OK, VIV_USB_NAK, VIV_USB_STALL, VIV_USB_BABBLE, VIV_USB_ERROR };

struct viv_usb_dev;
struct viv_usb_port;
struct viv_usb_bus;

/* Part of a packet's memory: guest-physical. */
struct viv_usb_piece {
    uint64_t at;
    uint32_t len;
};

/* One transaction or more on an endpoint: with OK and fewer bytes than asked for, the last one was short. NAK may come after some
 * bytes (a multiple of the endpoint's packet size): the rest is for later. */
struct viv_usb_packet {
    enum viv_usb_pid pid;
    unsigned endpoint; /* 0-15, without direction */
    const struct viv_usb_piece *pieces;
    unsigned count;
    size_t length; /* of all pieces */
    size_t actual;
    enum viv_usb_status status;
    struct viv_space *mem;
};

struct viv_usb_port_ops {
    void (*attached)(struct viv_usb_port *p);
    void (*detached)(struct viv_usb_port *p); /* p->dev is NULL already */
    /* The device resumes a suspended port. */
    void (*resume)(struct viv_usb_port *p);
} VIV_BY_NAME;

/* A controller's or hub's. */
struct viv_usb_port {
    const struct viv_usb_port_ops *ops;
    void *opaque;
    unsigned number; /* from 1 */
    unsigned speeds; /* bits 1 << viv_usb_speed */
    bool enabled;    /* packets go through: kept by the owner */
    bool suspended;  /* the same */
    struct viv_usb_bus *bus;
    struct viv_usb_dev *hub; /* NULL: the controller's */
    struct viv_usb_dev *dev; /* NULL: empty */
    struct viv_usb_port *companion, *master; /* the same place at another controller: see viv_usb_bus_companion() */
    bool lent;               /* what is plugged in here goes to the companion: kept by the owner */
    char path[24];           /* "1", "2.3" */
    struct viv_usb_port *next;
};

struct viv_usb_bus_ops {
    /* An endpoint that answered NAK may have something; 0x80: IN. */
    void (*wakeup)(struct viv_dev *controller, struct viv_usb_dev *d, unsigned endpoint);
} VIV_BY_NAME;

/* A controller's bus, named by the controller's id ("xhci.0") or by number ("usb-bus.0"). */
struct viv_usb_bus *viv_usb_bus_new(struct viv_dev *controller, const struct viv_usb_bus_ops *ops);
void viv_usb_bus_free(struct viv_usb_bus *b); /* its ports have been removed; NULL allowed */
struct viv_usb_bus *viv_usb_bus_find(const char *name);
/* Sets bus, hub and path; ops, opaque, number and speeds are the caller's. */
void viv_usb_bus_add_port(struct viv_usb_bus *b, struct viv_usb_port *p, struct viv_usb_dev *hub);
void viv_usb_bus_remove_port(struct viv_usb_port *p); /* a device in it is left without a port */
/* The bus's ports become another form of those of the high-speed controller with bus `master`, from its n-th on (from 0): devices
 * are plugged in there and handed over as its driver says. Their bus has no name of its own any more. */
int viv_usb_bus_companion(struct viv_usb_bus *b, const char *master, unsigned first, const char *what, struct viv_err *err);
/* For people: walks; NULL starts and ends them. */
struct viv_usb_bus *viv_usb_bus_next(struct viv_usb_bus *b);
struct viv_usb_port *viv_usb_port_next(struct viv_usb_bus *b, struct viv_usb_port *p);
unsigned viv_usb_bus_number(const struct viv_usb_bus *b);

struct viv_usb_dev_ops {
    /* The bus was reset: nothing is configured. May be NULL. */
    void (*reset)(struct viv_usb_dev *d);
    /* A control request that the descriptors do not answer, or a descriptor that is not among them (viv_usb_in()). `data`: what
     * came, or room for VIV_USB_CONTROL_MOST bytes. Returns how many bytes there are for the host, 0, or -1: stall. */
    int (*control)(struct viv_usb_dev *d, const uint8_t setup[8], uint8_t *data);
    /* Endpoints 1-15 of the current configuration, not halted. k->status is OK and k->actual 0 to begin with. */
    void (*data)(struct viv_usb_dev *d, struct viv_usb_packet *k);
    /* Another configuration (0: none) or alternate setting. May be NULL. */
    void (*configured)(struct viv_usb_dev *d);
    /* The host has cleared a halt (endpoint as in a descriptor). May be NULL. */
    void (*unhalted)(struct viv_usb_dev *d, unsigned endpoint);
} VIV_BY_NAME;

enum viv_usb_stage { VIV_USB_IDLE, VIV_USB_DATA_IN, VIV_USB_DATA_OUT, VIV_USB_STATUS_IN, VIV_USB_STALLED };

struct viv_usb_dev {
    struct viv_dev dev;
    const struct viv_usb_dev_ops *ops;
    const struct viv_usb_desc *desc;
    struct viv_usb_port *port; /* NULL: unplugged */
    char *serial;              /* its string in place of the descriptors'; NULL: that one */
    struct viv_usb_port *ports; /* a hub's */
    unsigned port_count;
    enum viv_usb_speed speed;
    uint8_t address, configuration;
    uint8_t alternate[VIV_USB_INTERFACES];
    bool remote_wakeup;
    uint32_t halted; /* endpoints: bit n OUT, n + 16 IN */
    /* Endpoint 0's transfer. */
    uint8_t stage; /* enum viv_usb_stage */
    uint8_t setup[8];
    uint16_t control_len, control_at;
    uint8_t control[VIV_USB_CONTROL_MOST];
};

/* VIV_F_STRUCT(my_dev, usb, viv_usb_dev_state). */
extern const struct viv_state_table viv_usb_dev_state;

#define VIV_USB_PROPS                                                                                      \
    {.name = "bus", .type = VIV_OPT_STR, .help = "bus to plug into (default: the first with a free port)"}, \
    {                                                                                                      \
        .name = "port", .type = VIV_OPT_STR, .help = "port of the bus: 1, or 2.1 for port 1 of the hub in port 2"  \
    }

/* In realize(), ops and desc set: finds a free port that takes one of its speeds and plugs it in; the error says which controller
 * would do. */
int viv_usb_dev_init(struct viv_usb_dev *d, struct viv_opts *opts, struct viv_err *err);
/* Of every class on a USB: guests see plugs and hear of them from the port. */
extern const struct viv_hotplug viv_usb_hotplug;
void viv_usb_dev_fini(struct viv_usb_dev *d);
/* In the class's reset(): as after a reset of the bus. */
void viv_usb_dev_reset(struct viv_usb_dev *d);
/* How firmware names the place: "/pci@i0cf8/usb@1,2/hub@2/storage@1". g_free; NULL: not a PCI controller. */
char *viv_usb_fw_path(const struct viv_usb_dev *d, const char *kind);

/* ---- a controller's calls ---- */

/* A device that is in `from` leaves for `to`, which is empty, and may run at another speed there. */
void viv_usb_port_hand_over(struct viv_usb_port *from, struct viv_usb_port *to);
void viv_usb_port_reset(struct viv_usb_port *p); /* resets the device in it */
/* Who answers at this address, behind hubs too; through enabled ports only. */
struct viv_usb_dev *viv_usb_find(struct viv_usb_port *root, unsigned address);
/* By an xHCI route string, 4 bits a tier; ports need not be enabled. */
struct viv_usb_dev *viv_usb_at(struct viv_usb_port *root, uint32_t route);
/* Are all ports up to the controller enabled and not suspended? */
bool viv_usb_reachable(const struct viv_usb_dev *d);
void viv_usb_handle(struct viv_usb_dev *d, struct viv_usb_packet *k);
const char *viv_usb_speed_text(enum viv_usb_speed s); /* Mb/s */

/* ---- a device's ---- */

void viv_usb_wakeup(struct viv_usb_dev *d, unsigned endpoint);
/* Between the packet and data, by its direction, from k->actual on, which counts; returns how many of n bytes the packet takes. */
size_t viv_usb_copy(struct viv_usb_packet *k, void *data, size_t n);
/* An answer that does not go on: all of it, or BABBLE. */
void viv_usb_answer(struct viv_usb_packet *k, const void *data, size_t n);
static inline bool viv_usb_in(const uint8_t setup[8])
{
    return setup[0] & 0x80;
}

#endif
