/* A device: const class + instance, made from a class by name with typed properties.
 *
 * An instance struct begins with `struct viv_dev`. Classes are listed in dev/devices.def, one line each.
 * Regions, DMA, IRQ lines and backends arrive as handles; nothing in a device is file-scope state. All
 * calls hold the device lock (or happen before threads start). */
#ifndef VIV_BUS_DEV_H
#define VIV_BUS_DEV_H

#include "base/byname.h"
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
    VIV_BUS_FLOPPY,
};

/* What a board offers every device. Owned by the machine, outlives all devices. */
struct viv_board {
    struct viv_space *mem;
    struct viv_space *io;
    struct viv_space *smm; /* over `mem`: what CPUs in system management mode see; NULL: there is no such thing */
    struct viv_irq smi, smi_all; /* a pulse is an SMI: to the CPU whose access is being served, to all; unconnected without `smm` */
    struct viv_intc *intc;
    /* Devices read a line from here at each use (not once): a chip that is made later may put itself
     * in front of another's line, as the HPET does with lines 0 and 8. */
    struct viv_irq isa_irq[16];
    struct viv_irq gsi_irq[24]; /* I/O APIC pins without an ISA line (16-23); unconnected where fn is NULL */
    struct viv_irq a20; /* 0: address line 20 of the CPUs is masked (dev/misc/port92.c); unconnected: it never is */
    const char *isa_at; /* the PCI address of the ISA bridge as boot paths have it ("1f") */
    bool runs_firmware; /* from ROM: expansion ROMs are of use */
    bool made; /* devices that come from now on are plugged into a machine that a guest may know */
    void *machine; /* the board's own struct, made by its build() */
    struct viv_dev *isa_dma;           /* the 8237 pair (dev/dma/i8237.h); NULL: none */
    struct viv_pci_bus *pci;           /* NULL on microvm */
    struct viv_virtio_mmio_bus *vmmio; /* NULL on pc */
    uint32_t
        vm_identity; /* hash of the VM's uuid (else its name), for MAC addresses; 0: neither given */
};

struct viv_dev_class;

enum viv_dev_life {
    VIV_DEV_MAKING, /* in its realize() */
    VIV_DEV_THERE,
    VIV_DEV_ASKED,   /* the guest has been asked to let go of it */
    VIV_DEV_LEAVING, /* off its bus: no guest sees it, it is freed when nothing of it is under way */
};

struct viv_dev {
    const struct viv_dev_class *cls;
    struct viv_board *board;
    char *id; /* -device id=, or NULL */
    char
        *path; /* unique and stable: names the section in saved state, e.g. "pci/03.0/virtio-net" */
    struct viv_opts *opts; /* what it was made with, as given: for people */
    struct viv_dev *parent; /* whose bus it is on, and with whom it leaves; NULL: the machine's own */
    enum viv_dev_life life;
    int64_t asked_ns;     /* guest time when the guest was asked last */
    unsigned refs;        /* a call into it has let go of the device lock: it stays until that has returned */
    struct viv_dev *next; /* all devices in creation order */
};

/* How devices of a bus come and go while the machine runs (dev_plug.c). */
struct viv_hotplug {
    /* Can one be plugged in now, where `opts` say? Refuses with what would work. NULL: wherever there is a place. */
    int (*check)(struct viv_board *board, struct viv_opts *opts, struct viv_err *err);
    /* Realized and reset: tells the guest. May be NULL: it sees by itself. */
    void (*plugged)(struct viv_dev *d);
    /* Asks the guest to let go; who hears that it did calls viv_dev_unplug(). 1, and NULL: nobody need be asked. */
    int (*ask)(struct viv_dev *d, struct viv_err *err);
    /* Takes it off its bus: the guest reaches it no more, nor it the guest. A register write may be the cause: does not wait. */
    void (*unplug)(struct viv_dev *d);
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
    /* True when no request of this device is in flight in a back end. May be NULL (always idle). Somebody waits: I/O limits need
     * not count. */
    bool (*idle)(struct viv_dev *d);
    /* 0, or why the machine cannot be saved or loaded at the moment (a guest's mount, say). Asked before the VM is stopped for it.
     * May be NULL: it always can. */
    int (*can_save)(struct viv_dev *d, struct viv_err *err);
    /* How often each input was raised, since the process began: for people. May be NULL: it is no interrupt controller. */
    const uint64_t *(*irq_counts)(const struct viv_dev *d, unsigned *inputs);
    const struct viv_hotplug *hotplug; /* NULL: comes and goes with the machine (or its parent) only */
    const void *data; /* constants of the class, for code that several classes share; may be NULL */
} VIV_BY_NAME;

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
 * the property told. Refused when there is no such class. check: after all devices; one that reached none
 * is refused if it is wrong, and gets a warning if none can be plugged in later. */
int viv_dev_add_global(const char *cls, const char *prop, const char *value, struct viv_err *err);
int viv_dev_check_globals(struct viv_err *err);

/* ---- coming and going while the machine runs (dev_plug.c) ---- */

/* As viv_dev_new, and the guest is told. The errors are those that QMP's device_add is known for. */
int viv_dev_plug(struct viv_board *board, const char *cls, const char *id, struct viv_opts *opts, struct viv_err *err);
/* The guest is asked (or, where nobody need be, it goes at once). */
/* As events name it; to be freed. */
char *viv_dev_object_path(const struct viv_dev *d);
int viv_dev_ask_unplug(struct viv_dev *d, struct viv_err *err);
/* It is asked: for controllers whose saved state says so. */
void viv_dev_set_asked(struct viv_dev *d, bool asked);
/* The guest refused to let go: said by an event. */
void viv_dev_unplug_refused(struct viv_dev *d);
/* Goes at once with all that is on its buses, asked or not. Freed by the loop thread, with the event DEVICE_DELETED, when nothing of
 * it is under way any more. Any thread. */
void viv_dev_unplug(struct viv_dev *d);
/* A reset of the machine: those that were asked go. */
void viv_dev_unplug_asked(void);
/* Lets those that are leaving go, as far as they are idle; false: some are not. Loop thread. */
bool viv_dev_reap(void);

/* cls->reset, which may let go of the device lock: the device stays meanwhile. */
void viv_dev_reset(struct viv_dev *d);

struct viv_dev *viv_dev_first(void);
struct viv_dev *viv_dev_find(const char *id); /* NULL when there is none */
void viv_dev_reset_all(void);
void viv_dev_set_running_all(bool running);
bool viv_dev_idle_all(void);
int viv_dev_can_save_all(struct viv_err *err); /* the first refusal */
void viv_dev_free_all(void);
/* For dev_plug.c: takes it off the list, unrealizes and frees it. */
void viv_dev_free(struct viv_dev *d);
bool viv_dev_running(void); /* as viv_dev_set_running_all said */

/* Saves and loads every device, one section each, named by its path. Load: into a machine with the same devices (in any
 * order) that was just reset; on failure it must not run. Interrupt lines are state of their receivers:
 * post_load never drives one. */
void viv_dev_save_all(struct viv_state_writer *w);
int viv_dev_load_all(struct viv_state_reader *r, struct viv_err *err);
/* 0: it is of these devices, all of them. Nothing is loaded. */
int viv_dev_check_all(struct viv_state_reader *r, struct viv_err *err);

#endif
