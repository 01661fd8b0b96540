/* UHCI from inside: registers (uhci.c) and the walk of the schedule (uhci_run.c). */
#ifndef VIV_DEV_USB_UHCI_H
#define VIV_DEV_USB_UHCI_H

#include "bus/pci.h"
#include "bus/usb.h"

#define UHCI_PORTS 2

enum { /* UHCI 1.1, 2.1.2: USBSTS */
    UHCI_STS_INT = 1 << 0,
    UHCI_STS_ERROR = 1 << 1,
    UHCI_STS_RESUME = 1 << 2,
    UHCI_STS_SYSTEM_ERROR = 1 << 3,
    UHCI_STS_PROCESS_ERROR = 1 << 4,
};

enum { UHCI_WHY_IOC = 1, UHCI_WHY_SHORT = 2 }; /* of UHCI_STS_INT */

struct uhci_port {
    struct viv_usb_port port;
    uint16_t sc;
};

struct uhci {
    struct viv_pci_dev pci;
    struct viv_usb_bus *bus;
    struct viv_timer *timer;
    struct uhci_port ports[UHCI_PORTS];
    uint16_t cmd, sts, intr;
    uint8_t why;
    uint32_t list;      /* FLBASEADD */
    uint8_t sof;
    uint16_t frame;     /* FRNUM when it stands still, or when it began to run */
    int64_t began;      /* guest time of that */
    uint64_t done;      /* frames walked since */
    uint32_t quiet;     /* of these, the last ones without any progress */
};

bool uhci_running(const struct uhci *u);
void uhci_update_irq(struct uhci *u);
void uhci_halt(struct uhci *u, uint16_t status); /* the schedule cannot go on */

/* ---- uhci_run.c ---- */
void uhci_start(struct uhci *u);
void uhci_stop(struct uhci *u);
uint16_t uhci_frame_now(const struct uhci *u);
void uhci_soon(struct uhci *u); /* there is reason to look at the lists */
void uhci_timer(void *opaque);

#endif
