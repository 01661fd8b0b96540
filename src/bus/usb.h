/* USB: ports, devices, packets (USB 2.0 ch. 8, 9; docs/usb.md). Device lock held. */
#ifndef VIV_BUS_USB_H
#define VIV_BUS_USB_H

#include "bus/dev.h"

#include <sys/uio.h>

enum viv_usb_speed { VIV_USB_LOW, VIV_USB_FULL, VIV_USB_HIGH, VIV_USB_SUPER };
enum viv_usb_pid { VIV_USB_SETUP = 0x2d, VIV_USB_IN = 0x69, VIV_USB_OUT = 0xe1 };
enum viv_usb_status { VIV_USB_OK, VIV_USB_NAK, VIV_USB_STALL, VIV_USB_BABBLE, VIV_USB_ERROR, VIV_USB_GONE, VIV_USB_LATER };

struct viv_usb_dev;
struct viv_usb_port;

/* The controller's, alive until it has a result other than LATER. */
struct viv_usb_packet {
    enum viv_usb_pid pid;
    unsigned endpoint; /* 0-15, without direction */
    unsigned stream;
    const struct iovec *iov; /* guest memory, mapped, or the controller's own */
    unsigned iovs;
    size_t length, actual; /* bytes */
    bool short_ok;
    enum viv_usb_status status;
    uint8_t setup[8]; /* pid SETUP */
    void *mine; /* the controller's */
    void *devs; /* the device's, while LATER */
};

struct viv_usb_port_ops {
    void (*attached)(struct viv_usb_port *p);
    void (*detached)(struct viv_usb_port *p); /* all of its packets have ended with GONE before */
    /* A packet that was LATER has its result. */
    void (*done)(struct viv_usb_port *p, struct viv_usb_packet *k);
    /* An endpoint that answered NAK may have something; 0x80: IN. Also: remote wake-up while the port is suspended. */
    void (*wakeup)(struct viv_usb_port *p, unsigned endpoint);
};

struct viv_usb_port {
    const struct viv_usb_port_ops *ops;
    void *opaque;
    unsigned speeds; /* bits 1 << viv_usb_speed */
    char path[16];   /* "1", "2.3" */
    struct viv_usb_dev *dev; /* NULL: empty */
    struct viv_usb_port *next;
};

struct viv_usb_bus;
/* The bus of a controller. Companions: a high-speed controller takes the ports of others under it. */
struct viv_usb_bus *viv_usb_bus_new(struct viv_dev *controller, const char *name);
void viv_usb_bus_free(struct viv_usb_bus *b);
void viv_usb_bus_add_port(struct viv_usb_bus *b, struct viv_usb_port *p);
void viv_usb_bus_remove_port(struct viv_usb_bus *b, struct viv_usb_port *p);

struct viv_usb_dev_ops {
    void (*reset)(struct viv_usb_dev *d);
    /* A whole control request other than those the core answers from the descriptors. data: wLength bytes; returns how many
     * came (IN), 0, or -1: stall. */
    int (*control)(struct viv_usb_dev *d, const uint8_t setup[8], uint8_t *data);
    /* Sets k->status and k->actual; LATER: viv_usb_done() comes. */
    void (*data)(struct viv_usb_dev *d, struct viv_usb_packet *k);
    void (*cancel)(struct viv_usb_dev *d, struct viv_usb_packet *k);
    void (*configured)(struct viv_usb_dev *d, unsigned interface, unsigned alternate); /* may be NULL */
};

struct viv_usb_desc; /* dev/usb/desc.h */

struct viv_usb_dev {
    struct viv_dev dev;
    const struct viv_usb_dev_ops *ops;
    const struct viv_usb_desc *desc;
    struct viv_usb_port *port;
    enum viv_usb_speed speed;
    uint8_t address, configuration;
    uint8_t alternate[16];
    bool remote_wakeup;
    uint32_t halted; /* endpoints: bit n OUT, n + 16 IN */
    /* Endpoint 0's transfer. */
    uint8_t setup[8];
    uint8_t *control; /* 4 KiB */
    uint16_t control_len, control_at;
    uint8_t control_state;
};

/* Properties: bus, port. Finds a free port that fits; the error says which controller would. */
int viv_usb_dev_init(struct viv_usb_dev *d, struct viv_opts *opts, struct viv_err *err);
void viv_usb_dev_fini(struct viv_usb_dev *d);
extern const struct viv_state_table viv_usb_dev_state;

/* A controller's calls. */
void viv_usb_port_reset(struct viv_usb_port *p);
struct viv_usb_dev *viv_usb_find(struct viv_usb_port *p, unsigned address); /* behind hubs too */
void viv_usb_handle(struct viv_usb_dev *d, struct viv_usb_packet *k);
void viv_usb_cancel(struct viv_usb_dev *d, struct viv_usb_packet *k); /* no `done` after it */

/* A device's. */
void viv_usb_done(struct viv_usb_dev *d, struct viv_usb_packet *k);
void viv_usb_wakeup(struct viv_usb_dev *d, unsigned endpoint);
size_t viv_usb_copy(struct viv_usb_packet *k, void *data, size_t n); /* between packet and data, by its direction; k->actual counts */

#endif
