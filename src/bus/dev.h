/* A device: const class + instance, made from a class by name with typed properties.
 *
 * An instance struct begins with `struct viv_dev`. Classes are listed in dev/devices.def, one line each.
 * Regions, DMA, IRQ lines and backends arrive as handles; nothing in a device is file-scope state. All
 * calls hold the device lock (or happen before threads start). */
#ifndef VIV_BUS_DEV_H
#define VIV_BUS_DEV_H

#include "base/err.h"
#include "bus/intc.h"
#include "bus/irq.h"
#include "mem/space.h"
#include "opt/opt.h"
#include "state/state.h"

enum viv_bus_kind {
    VIV_BUS_NONE, /* wired by the board only */
    VIV_BUS_ISA,
    VIV_BUS_PCI,
    VIV_BUS_VIRTIO, /* virtio functions: reach a transport */
    VIV_BUS_VIRTIO_SERIAL,
    VIV_BUS_IDE,
    VIV_BUS_SCSI,
    VIV_BUS_USB,
};

/* What a board offers every device. Owned by the machine, outlives all devices. */
struct viv_board {
    struct viv_space *mem;
    struct viv_space *io;
    struct viv_intc *intc;
    /* Devices read a line from here at each use (not once): a chip that is made later may put itself
     * in front of another's line, as the HPET does with lines 0 and 8. */
    struct viv_irq isa_irq[16];
    struct viv_irq gsi_irq[24]; /* I/O APIC pins without an ISA line (16-23); unconnected where fn is NULL */
    bool runs_firmware; /* from ROM: expansion ROMs are of use */
    void *machine; /* the board's own struct, made by its build() */
    struct viv_pci_bus *pci;           /* NULL on microvm */
    struct viv_virtio_mmio_bus *vmmio; /* NULL on pc */
    uint32_t
        vm_identity; /* hash of the VM's uuid (else its name), for MAC addresses; 0: neither given */
};

struct viv_dev_class;

struct viv_dev {
    const struct viv_dev_class *cls;
    struct viv_board *board;
    char *id; /* -device id=, or NULL */
    char
        *path; /* unique and stable: names the section in saved state, e.g. "pci/03.0/virtio-net" */
    struct viv_dev *next; /* all devices in creation order */
};

struct viv_dev_class {
    const char *name; /* as typed: "virtio-net-pci" */
    const char *desc; /* one line of help */
    enum viv_bus_kind bus;
    bool internal;                       /* made by the board only: refused in -device */
    size_t size;                         /* of the instance */
    const struct viv_opt_def *props;     /* schema, NULL-terminated names; may be NULL */
    const struct viv_state_table *state; /* never NULL; covers the instance after struct viv_dev */

    /* Connects and becomes visible to the guest. `opts` holds typed, checked properties and is
     * borrowed for the call. On failure nothing is left behind. */
    int (*realize)(struct viv_dev *d, struct viv_opts *opts, struct viv_err *err);
    /* Power-on state. Called after realize and at each system reset. */
    void (*reset)(struct viv_dev *d);
    /* Unplug or end of process: releases what realize took. May be NULL. */
    void (*unrealize)(struct viv_dev *d);
    /* Run state: called when the VM stops (running=false; drain in-flight I/O before returning is not
     * needed: see viv_dev_quiesce) and resumes. May be NULL. */
    void (*vm_running)(struct viv_dev *d, bool running);
    /* True when no request of this device is in flight in a back end. May be NULL (always idle). */
    bool (*idle)(struct viv_dev *d);
    const void *data; /* constants of the class, for code that several classes share; may be NULL */
};

/* NULL when there is no such class. */
const struct viv_dev_class *viv_dev_class_find(const char *name);
/* The table from dev/devices.def; NULL-terminated. Set once at start by the program, so that bus/
 * does not depend on dev/. */
void viv_dev_set_classes(const struct viv_dev_class *const *classes);
const struct viv_dev_class *const *viv_dev_classes(void);

/* Makes, realizes and resets a device. `path` NULL: made by the bus, else from class name and a counter
 * ("i8042.0"). opts may be NULL (all defaults). Ownership stays with the device list. */
int viv_dev_new(struct viv_board *board, const char *cls, const char *id, const char *path,
                struct viv_opts *opts, struct viv_dev **out, struct viv_err *err);

/* -global CLASS.PROP=VALUE: for every device of that class made later, the board's own included, that does not get
 * the property told. Refused when there is no such class. check: after all devices, refuses one that reached none. */
int viv_dev_add_global(const char *cls, const char *prop, const char *value, struct viv_err *err);
int viv_dev_check_globals(struct viv_err *err);

struct viv_dev *viv_dev_first(void);
struct viv_dev *viv_dev_find(const char *id); /* NULL when there is none */
void viv_dev_reset_all(void);
void viv_dev_set_running_all(bool running);
bool viv_dev_idle_all(void);
void viv_dev_free_all(void);

/* Saves and loads every device, in creation order, one section each. Load: into a machine made the
 * same way and just reset; on failure it must not run. Interrupt lines are state of their receivers:
 * post_load never drives one. */
void viv_dev_save_all(struct viv_state_writer *w);
int viv_dev_load_all(struct viv_state_reader *r, struct viv_err *err);

#endif
