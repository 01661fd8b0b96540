/* Intel 82540EM (8086:100e), the card called e1000. Built from the "PCI/PCI-X Family of Gigabit Ethernet Controllers Software
 * Developer's Manual" (8254x, revision 4.0; section numbers are its) and the 82540EM's data sheet.
 *
 * What is left out: delays of interrupts by RDTR, RADV, TIDV and TADV (an interrupt comes at once, and ITR spaces them), flow
 * control frames, wake-up, management, the packet checksum field of receive descriptors, writing the EEPROM, VLAN tags with CFI
 * as a filter. The FCS of received frames is four zero bytes, where the driver does not have it stripped. */
#ifndef VIV_DEV_NET_E1000_H
#define VIV_DEV_NET_E1000_H

#include "dev/net/microwire.h"
#include "dev/net/nic.h"

enum { /* registers, 13.4: byte offsets */
    E_CTRL = 0x0000,
    E_STATUS = 0x0008,
    E_EECD = 0x0010,
    E_EERD = 0x0014,
    E_CTRL_EXT = 0x0018,
    E_MDIC = 0x0020,
    E_VET = 0x0038,
    E_ICR = 0x00c0,
    E_ITR = 0x00c4,
    E_ICS = 0x00c8,
    E_IMS = 0x00d0,
    E_IMC = 0x00d8,
    E_RCTL = 0x0100,
    E_TCTL = 0x0400,
    E_TIPG = 0x0410,
    E_LEDCTL = 0x0e00,
    E_PBA = 0x1000,
    E_RDBAL = 0x2800,
    E_RDBAH = 0x2804,
    E_RDLEN = 0x2808,
    E_RDH = 0x2810,
    E_RDT = 0x2818,
    E_RXDCTL = 0x2828,
    E_TDBAL = 0x3800,
    E_TDBAH = 0x3804,
    E_TDLEN = 0x3808,
    E_TDH = 0x3810,
    E_TDT = 0x3818,
    E_TXDCTL = 0x3828,
    E_STATS = 0x4000, /* to 40ffh, cleared by reading */
    E_MPC = 0x4010,
    E_PRC64 = 0x405c, /* then 127, 255, 511, 1023, 1522 */
    E_GPRC = 0x4074,
    E_BPRC = 0x4078,
    E_MPRC = 0x407c,
    E_GPTC = 0x4080,
    E_GORCL = 0x4088,
    E_GOTCL = 0x4090,
    E_RUC = 0x40a4,
    E_ROC = 0x40ac,
    E_TORL = 0x40c0,
    E_TOTL = 0x40c8,
    E_TPR = 0x40d0,
    E_TPT = 0x40d4,
    E_PTC64 = 0x40d8,
    E_MPTC = 0x40f0,
    E_BPTC = 0x40f4,
    E_TSCTC = 0x40f8,
    E_STATS_END = 0x4100,
    E_RXCSUM = 0x5000,
    E_MTA = 0x5200, /* 128 */
    E_RAL = 0x5400, /* 16 pairs */
    E_VFTA = 0x5600, /* 128 */
    E_REGS_END = 0x5900,
};

enum { /* bits */
    CTRL_SLU = 1 << 6,
    CTRL_RST = 1 << 26,
    CTRL_VME = 1 << 30,
    CTRL_PHY_RST = 1u << 31,
    STATUS_LU = 1 << 1,
    RCTL_EN = 1 << 1,
    RCTL_SBP = 1 << 2,
    RCTL_UPE = 1 << 3,
    RCTL_MPE = 1 << 4,
    RCTL_LPE = 1 << 5,
    RCTL_LBM = 3 << 6,
    RCTL_BAM = 1 << 15,
    RCTL_VFE = 1 << 18,
    RCTL_BSEX = 1 << 25,
    RCTL_SECRC = 1 << 26,
    TCTL_EN = 1 << 1,
    INT_TXDW = 1 << 0,
    INT_TXQE = 1 << 1,
    INT_LSC = 1 << 2,
    INT_RXDMT0 = 1 << 4,
    INT_RXO = 1 << 6,
    INT_RXT0 = 1 << 7,
    INT_MDAC = 1 << 9,
    INT_ALL = 0x1ffff,
};

enum { E_DESC = 16, PHY_REGS = 32 };
enum { TX_HEADER_MAX = 256, TX_FRAME_MAX = 65536 + 2 * TX_HEADER_MAX /* header, MSS and a tag fit */ };

/* 3.3.6: what a context descriptor says. */
struct e1000_context {
    uint8_t ipcss, ipcso, tucss, tucso, hdrlen;
    uint16_t ipcse, tucse, mss;
    uint32_t paylen;
    bool tcp, ip4;
};

/* A frame on its way out, over as many descriptors as it takes. */
struct e1000_tx {
    uint8_t desc[E_DESC];
    bool in_desc;     /* desc was read and is not done with */
    uint32_t taken;   /* bytes of its buffer that were taken */
    struct e1000_context ctx[2]; /* the last one, and the last one for segmentation */
    uint8_t *buf;     /* TX_FRAME_MAX */
    uint32_t len;     /* bytes in it */
    uint8_t header[TX_HEADER_MAX]; /* of the frame that is being cut, changed for the next segment */
    uint32_t segments; /* of that frame so far */
    bool ready;       /* buf is a whole frame that the back end has not taken yet */
    bool last;        /* ... the last of its packet */
    bool insert_vlan;
    uint8_t options;  /* POPTS of the packet's first data descriptor */
    uint16_t vlan;
    bool started;     /* its first descriptor was seen */
    bool cut;         /* it is to be cut in segments */
    bool whole;       /* ... by the back end */
    bool skip;        /* the rest of this packet is thrown away: it broke the rules */
};

struct e1000 {
    struct viv_pci_dev pci;
    struct nic nic;
    struct viv_timer *itr_timer; /* the next interrupt may be raised */
    struct viv_timer *tx_timer;  /* more to send than one call may */
    int64_t itr_until;           /* no interrupt before this time */
    uint32_t reg[E_REGS_END / 4];
    uint32_t io_addr;
    uint16_t eeprom[MICROWIRE_WORDS];
    uint16_t phy[PHY_REGS];
    struct microwire wire; /* the EEPROM's */
    bool link_up; /* the cable */
    bool running; /* the VM */
    bool rx_used; /* frames came since the last interrupt */
    bool tx_blocked; /* the back end will call */
    struct e1000_tx tx;
};

static inline uint32_t *e1000_reg(struct e1000 *e, unsigned offset)
{
    return &e->reg[offset / 4];
}

/* e1000.c */
void e1000_interrupt(struct e1000 *e, uint32_t causes);
/* Counts up, stopping at the top. */
void e1000_count(struct e1000 *e, unsigned stat, uint32_t n);
void e1000_count64(struct e1000 *e, unsigned low, uint64_t n);
/* Counters of a frame of `len` bytes with its FCS: by size (`sizes`: the first of six), kind, bytes. */
void e1000_count_sizes(struct e1000 *e, unsigned sizes, size_t len);
bool e1000_link(struct e1000 *e);

/* e1000_rom.c: EEPROM and PHY */
void e1000_eeprom_fill(struct e1000 *e);
void e1000_phy_reset(struct e1000 *e);
void e1000_phy_link(struct e1000 *e);
uint32_t e1000_eecd_read(struct e1000 *e);
void e1000_eecd_write(struct e1000 *e, uint32_t v);
void e1000_eerd_write(struct e1000 *e, uint32_t v);
void e1000_mdic_write(struct e1000 *e, uint32_t v);

/* e1000_rx.c */
bool e1000_can_receive(void *nic);
bool e1000_receive(void *nic, const uint8_t *frame, size_t len);
void e1000_receive_done(void *nic);

/* e1000_tx.c */
void e1000_transmit(struct e1000 *e);
void e1000_tx_reset(struct e1000 *e);
/* The packet on its way is not sent. */
void e1000_tx_drop(struct e1000 *e);
/* Do all fields that segmentation changes lie inside the header? */
bool e1000_context_good(const struct e1000_context *c);

#endif
