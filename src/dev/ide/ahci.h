/* AHCI (Serial ATA AHCI 1.3.1) from inside: the HBA's registers (ahci.c), a port's (ahci_port.c), its commands (ahci_cmd.c). */
#ifndef VIV_DEV_IDE_AHCI_H
#define VIV_DEV_IDE_AHCI_H

#include "bus/pci.h"
#include "dev/ide/ide.h"

#define AHCI_PORTS 6
#define AHCI_SLOTS 32

enum { /* PxIS, PxIE (3.3.5) */
    PORT_IRQ_D2H = 1 << 0,
    PORT_IRQ_PIO = 1 << 1,
    PORT_IRQ_SDB = 1 << 3,
    PORT_IRQ_CONNECT = 1 << 6, /* as long as SERR has it */
    PORT_IRQ_OVERFLOW = 1 << 24,
    PORT_IRQ_INTERFACE = 1 << 27, /* fatal */
    PORT_IRQ_BUS = 1 << 29,       /* fatal */
    PORT_IRQ_TASK = 1 << 30,
    PORT_IRQ_ALL = 0x7dc000ff,
};

enum { /* PxCMD (3.3.7) */
    PORT_ST = 1 << 0,
    PORT_CLO = 1 << 3,
    PORT_FRE = 1 << 4,
    PORT_FR = 1 << 14,
    PORT_CR = 1 << 15,
};

/* Why a port's unit is being reset. */
enum ahci_reset { AHCI_RESET_NONE, AHCI_RESET_STOP, AHCI_RESET_COMMAND, AHCI_RESET_LINK };

struct ahci;

struct ahci_port {
    struct ahci *hba;
    unsigned n;
    struct ide_channel ch;
    uint64_t clb, fb; /* command list, received FISes */
    uint32_t is, ie, cmd, tfd, sig, sctl, serr, sact, ci;
    uint8_t slot;     /* the command that the unit works on; AHCI_SLOTS: none */
    uint8_t last;     /* the one issued last */
    uint8_t reset;    /* enum ahci_reset, until it is through */
    bool halted;      /* after an error, until ST falls */
    bool atapi;       /* the unit takes its packet from the command table */
    uint8_t packet[16];
    uint32_t queued;  /* tags that the unit works on */
    bool issuing, moving; /* on the stack */
};
extern const struct viv_state_table ahci_port_state;

struct ahci {
    struct viv_pci_dev pci;
    uint32_t ghc, is;
    bool resetting; /* GHC.HR, until every port is quiet */
    struct ahci_port port[AHCI_PORTS];
};

/* ---- ahci.c ---- */
void ahci_update_irq(struct ahci *a);
void ahci_port_quiet(struct ahci *a); /* a port may have become quiet */

/* ---- ahci_port.c ---- */
void ahci_port_init(struct ahci_port *p, struct ahci *a, unsigned n, const char *name);
void ahci_port_fini(struct ahci_port *p);
/* Registers as after power on; the unit, if there is one, sends its signature when it is ready. */
void ahci_port_reset(struct ahci_port *p);
/* Everything under way is forgotten; false: requests are in flight. */
bool ahci_port_stop(struct ahci_port *p, enum ahci_reset why);
bool ahci_port_busy(const struct ahci_port *p);
uint32_t ahci_port_read(struct ahci_port *p, unsigned reg);
void ahci_port_write(struct ahci_port *p, unsigned reg, uint32_t v);
void ahci_port_raise(struct ahci_port *p, uint32_t bits);
/* The unit's registers as PxTFD and PxSIG show them after a reset. */
void ahci_port_signature(struct ahci_port *p);

/* ---- ahci_cmd.c ---- */
extern const struct ide_host_ops ahci_host_ops;
void ahci_issue(struct ahci_port *p);
void ahci_send_registers(struct ahci_port *p, bool irq); /* the unit's, in a FIS */

#endif
