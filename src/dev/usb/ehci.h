/* EHCI from inside: registers and ports (ehci.c), schedules (ehci_run.c, ehci_queue.c). (EHCI 1.0; section numbers are its.) */
#ifndef VIV_DEV_USB_EHCI_H
#define VIV_DEV_USB_EHCI_H

#include "bus/pci.h"
#include "bus/usb.h"

#define EHCI_PORTS 6

enum { /* 2.3.1 */
    EHCI_CMD_RUN = 1 << 0, EHCI_CMD_RESET = 1 << 1, EHCI_CMD_PERIODIC = 1 << 4, EHCI_CMD_ASYNC = 1 << 5, EHCI_CMD_ADVANCE = 1 << 6,
};
enum { /* 2.3.2 */
    EHCI_STS_INT = 1 << 0, EHCI_STS_ERROR = 1 << 1, EHCI_STS_PORT = 1 << 2, EHCI_STS_ROLL = 1 << 3, EHCI_STS_SYSTEM = 1 << 4,
    EHCI_STS_ADVANCE = 1 << 5,
};

struct ehci {
    struct viv_pci_dev pci;
    struct viv_usb_bus *bus;
    struct viv_timer *timer;
    struct viv_usb_port port[EHCI_PORTS];
    uint32_t sc[EHCI_PORTS];
    uint32_t cmd, sts, intr, periodic, async, flag;
    uint16_t index;  /* FRINDEX when it stands still, or when it began to run */
    int64_t began;   /* guest time of that */
    uint64_t done;   /* frames since */
    uint32_t quiet;  /* of these, the last ones without any progress */
};

static inline struct viv_space *ehci_mem(const struct ehci *e)
{
    return e->pci.dev.board->mem;
}
void ehci_update_irq(struct ehci *e);
void ehci_halt(struct ehci *e); /* host system error */
struct viv_usb_dev *ehci_find(struct ehci *e, unsigned address);

/* ---- ehci_run.c ---- */
void ehci_start(struct ehci *e);
void ehci_stop(struct ehci *e);
uint16_t ehci_index(const struct ehci *e);
void ehci_soon(struct ehci *e);
void ehci_timer(void *opaque);

/* ---- ehci_queue.c ---- */
struct ehci_walk {
    struct ehci *e;
    int left;  /* bytes of this frame */
    int steps; /* queue heads and transfer descriptors */
    bool progress, failed;
};
/* Carries out what the queue head at `at` holds; *next is its horizontal link. */
void ehci_queue(struct ehci_walk *w, uint32_t at, uint32_t *next);

#endif
