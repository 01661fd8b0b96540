/* Realtek RTL8139C+ (10ec:8139, revision 20h), the card called rtl8139. Built from the RTL8139C(L) data sheet (ring buffer and four
 * transmit registers, "C mode") and the RTL8139C+ data sheet (descriptor rings, "C+ mode"); register names are theirs.
 *
 * What is left out: wake-up, power management, boot ROM programming, loopback by TCR, the CRC of received frames (four zero bytes),
 * early interrupts (a frame is there whole), interrupts of transmit errors (there are none), writing the EEPROM. */
#ifndef VIV_DEV_NET_RTL8139_H
#define VIV_DEV_NET_RTL8139_H

#include "dev/net/microwire.h"
#include "dev/net/nic.h"

enum { /* registers */
    R_IDR0 = 0x00,
    R_MAR0 = 0x08,
    R_TSD0 = 0x10, /* C+: DTCCR */
    R_TSAD0 = 0x20, /* C+: TNPDS, THPDS */
    R_RBSTART = 0x30,
    R_ERSR = 0x36,
    R_CR = 0x37,
    R_CAPR = 0x38,
    R_CBR = 0x3a,
    R_IMR = 0x3c,
    R_ISR = 0x3e,
    R_TCR = 0x40,
    R_RCR = 0x44,
    R_TCTR = 0x48,
    R_MPC = 0x4c,
    R_9346CR = 0x50,
    R_CONFIG0 = 0x51,
    R_CONFIG1 = 0x52,
    R_TIMERINT = 0x54,
    R_MSR = 0x58,
    R_CONFIG3 = 0x59,
    R_CONFIG4 = 0x5a,
    R_MULINT = 0x5c,
    R_TSAD = 0x60,
    R_BMCR = 0x62,
    R_BMSR = 0x64,
    R_ANAR = 0x66,
    R_ANLPAR = 0x68,
    R_ANER = 0x6a,
    R_CSCR = 0x74,
    R_CONFIG5 = 0xd8,
    R_TPPOLL = 0xd9,
    R_CPCR = 0xe0,
    R_RDSAR = 0xe4,
    R_ETTHR = 0xec,
    R_END = 0x100,
};

enum { /* bits */
    CR_BUFE = 1 << 0,
    CR_TE = 1 << 2,
    CR_RE = 1 << 3,
    CR_RST = 1 << 4,
    INT_ROK = 1 << 0,
    INT_TOK = 1 << 2,
    INT_LINK = 1 << 5,
    INT_TDU = 1 << 7,
    INT_SW = 1 << 8,
    INT_TIMEOUT = 1 << 14,
    INT_ALL = 0xe1ff,
    RCR_AAP = 1 << 0,
    RCR_APM = 1 << 1,
    RCR_AM = 1 << 2,
    RCR_AB = 1 << 3,
    RCR_WRAP = 1 << 7,
    CPCR_TX = 1 << 0,
    CPCR_RX = 1 << 1,
    CPCR_CHECKSUM = 1 << 5,
    CPCR_VLAN = 1 << 6,
    TSD_OWN = 1 << 13,
    TSD_TOK = 1 << 15,
    CP_OWN = 1u << 31,
    CP_EOR = 1 << 30,
    CP_FS = 1 << 29,
    CP_LS = 1 << 28,
};

enum { CP_DESC = 16, CP_RING = 64 /* descriptors of a C+ ring */, FCS = 4, ETH = 14 };
enum { RTL_FRAME_MAX = 65536, RTL_SEGMENT_MAX = 4096 };

/* The dump of counters (DTCCR), in the order of the memory structure. */
struct rtl8139_tally {
    uint64_t tx_ok, rx_ok, rx_phys, rx_broadcast;
    uint32_t rx_multicast;
    uint16_t missed;
};

/* A C+ packet on its way out. */
struct rtl8139_tx {
    uint8_t *buf; /* RTL_FRAME_MAX: the packet as its descriptors hold it */
    uint32_t len;
    uint32_t first; /* first word of its first descriptor: what is to be done */
    uint16_t vlan;  /* tag to insert, with has_vlan */
    bool has_vlan;
    bool open;      /* its first descriptor was seen */
    bool skip;      /* it is too long or not in memory: thrown away at its end */
    bool ready;     /* whole; parts of it may be with the back end already */
    uint32_t segment; /* the next one to send */
};

struct rtl8139 {
    struct viv_pci_dev pci;
    struct nic nic;
    struct viv_timer *timer;    /* TIMERINT */
    struct viv_timer *tx_timer; /* more to send than one call may */
    struct viv_timer *rx_timer; /* C+: is there a descriptor again? No register says so */
    uint8_t reg[R_END];
    uint16_t eeprom[MICROWIRE_WORDS];
    struct microwire wire;
    struct rtl8139_tally tally;
    uint64_t tnpds, rdsar; /* C+ rings, as the chip took them */
    uint8_t tx_next, rx_next; /* C+ descriptors */
    uint8_t tsd_next;      /* C mode: which of the four is next */
    int64_t tctr_base;     /* guest time of TCTR 0 */
    bool link_up, running, rx_used, tx_blocked;
    struct rtl8139_tx tx;
};

/* rtl8139.c */
void rtl8139_interrupt(struct rtl8139 *r, uint16_t causes);
bool rtl8139_link(const struct rtl8139 *r);

/* rtl8139_rx.c */
bool rtl8139_can_receive(void *nic);
bool rtl8139_receive(void *nic, const uint8_t *frame, size_t len);
void rtl8139_receive_done(void *nic);
/* C mode: is the ring empty (CR.BUFE)? */
bool rtl8139_ring_empty(const struct rtl8139 *r);

/* rtl8139_tx.c */
void rtl8139_send_c(struct rtl8139 *r);     /* TSD registers */
void rtl8139_send_cplus(struct rtl8139 *r); /* descriptors */
void rtl8139_tx_reset(struct rtl8139 *r);
/* Both modes, after the back end was full or the VM stood. */
void rtl8139_send_more(struct rtl8139 *r);

static inline bool rtl8139_cplus_tx(const struct rtl8139 *r)
{
    return r->reg[R_CPCR] & CPCR_TX;
}

static inline bool rtl8139_cplus_rx(const struct rtl8139 *r)
{
    return r->reg[R_CPCR] & CPCR_RX;
}

#endif
