/* e1000: the EEPROM (5.) and the PHY, a Marvell 88E1011 (8., 13.4.7). */
#include "dev/net/e1000.h"

#include <string.h>

/* ---- EEPROM ---- */

enum { EE_SK = 1, EE_CS = 2, EE_DI = 4, EE_DO = 8, EE_FWE = 0x30, EE_REQ = 0x40, EE_GNT = 0x80, EE_PRES = 0x100 };
enum { EE_CHECKSUM = 63, EE_SUM = 0xbaba };
enum { EERD_START = 1, EERD_DONE = 1 << 4 };

/* Table 5-2. */
void e1000_eeprom_fill(struct e1000 *e)
{
    uint16_t sum = 0, *w = e->eeprom;

    memset(w, 0, sizeof(e->eeprom));
    for (unsigned i = 0; i < 3; i++)
        w[i] = (uint16_t)(e->nic.mac[2 * i] | e->nic.mac[2 * i + 1] << 8);
    w[3] = 0x0420;  /* compatibility: a NIC for clients */
    w[8] = 0xffff;  /* no part number */
    w[9] = 0xffff;
    w[10] = 0x4408; /* signature 01, ids are loaded */
    w[11] = 0x001e; /* subsystem: PRO/1000 MT desktop */
    w[12] = 0x8086;
    w[13] = 0x100e;
    w[14] = 0x8086;
    w[15] = 0x3040; /* four-wire PHY, no wake-up */
    for (unsigned i = 16; i < EE_CHECKSUM; i++)
        w[i] = 0xffff;
    for (unsigned i = 0; i < EE_CHECKSUM; i++)
        sum += w[i];
    w[EE_CHECKSUM] = EE_SUM - sum;
}

uint32_t e1000_eecd_read(struct e1000 *e)
{
    uint32_t v = *e1000_reg(e, E_EECD) & (EE_SK | EE_CS | EE_DI | EE_FWE | EE_REQ);

    return v | EE_PRES | (v & EE_REQ ? EE_GNT : 0) | (e->wire.data_out ? EE_DO : 0);
}

void e1000_eecd_write(struct e1000 *e, uint32_t v)
{
    *e1000_reg(e, E_EECD) = v;
    microwire_drive(&e->wire, e->eeprom, v & EE_CS, v & EE_SK, v & EE_DI);
}

void e1000_eerd_write(struct e1000 *e, uint32_t v)
{
    if (v & EERD_START)
        v = (v & 0xff00) | EERD_DONE | (uint32_t)e->eeprom[v >> 8 & (MICROWIRE_WORDS - 1)] << 16;
    *e1000_reg(e, E_EERD) = v;
}

/* ---- PHY ---- */

enum { PHY_CTRL = 0, PHY_STATUS = 1, PHY_LPA = 5, PHY_LPA1000 = 10, PHY_SPECIFIC = 17, PHY_ADDR = 1 };
enum { PC_RESTART = 1 << 9, PC_RESET = 1 << 15, PS_LINK = 1 << 2, PS_DONE = 1 << 5, SP_LINK = 1 << 10, SP_RESOLVED = 1 << 11 };
enum { MDIC_WRITE = 1, MDIC_READ = 2, MDIC_READY = 1 << 28, MDIC_INT = 1 << 29, MDIC_ERROR = 1 << 30 };

static const uint16_t phy_writable[PHY_REGS] = {
    [PHY_CTRL] = 0x7dc0, [4] = 0xffff, [7] = 0xffff, [9] = 0xffff, [16] = 0xffff, [18] = 0xffff, [20] = 0xffff,
    [24] = 0xffff, [25] = 0xffff, [26] = 0xffff, [29] = 0xffff, [30] = 0xffff,
};

void e1000_phy_reset(struct e1000 *e)
{
    memset(e->phy, 0, sizeof(e->phy));
    e->phy[PHY_CTRL] = 0x1140;   /* autonegotiation, full duplex, 1000 Mb/s */
    e->phy[PHY_STATUS] = 0x7949; /* can do all of 10 and 100, autonegotiation, extended registers */
    e->phy[2] = 0x0141;
    e->phy[3] = 0x0c20;
    e->phy[4] = 0x0de1;
    e->phy[9] = 0x0e00;
    e->phy[15] = 0x3000; /* 1000BASE-T, both duplexes */
    e->phy[16] = 0x0068;
    e->phy[20] = 0x0c60;
    e1000_phy_link(e);
}

void e1000_phy_link(struct e1000 *e)
{
    bool up = e->link_up;

    e->phy[PHY_STATUS] = (uint16_t)((e->phy[PHY_STATUS] & ~(PS_LINK | PS_DONE)) | (up ? PS_LINK | PS_DONE : 0));
    e->phy[PHY_LPA] = up ? 0x45e1 : 0;
    e->phy[PHY_LPA1000] = up ? 0x7c00 : 0;
    e->phy[PHY_SPECIFIC] = up ? 0xa000 | SP_LINK | SP_RESOLVED : 0x8000; /* 1000 Mb/s, full duplex */
}

void e1000_mdic_write(struct e1000 *e, uint32_t v)
{
    unsigned r = v >> 16 & 31, op = v >> 26 & 3;

    if ((v >> 21 & 31) != PHY_ADDR || (op != MDIC_WRITE && op != MDIC_READ)) {
        v |= MDIC_ERROR;
    } else if (op == MDIC_READ) {
        v = (v & 0xffff0000) | e->phy[r];
    } else if (r == PHY_CTRL && v & PC_RESET) {
        e1000_phy_reset(e);
    } else {
        e->phy[r] = (uint16_t)((e->phy[r] & ~phy_writable[r]) | (v & phy_writable[r]));
        if (r == PHY_CTRL && v & PC_RESTART && e->link_up)
            e1000_interrupt(e, INT_LSC); /* done before anybody could look */
    }
    *e1000_reg(e, E_MDIC) = v | MDIC_READY;
    if (v & MDIC_INT)
        e1000_interrupt(e, INT_MDAC);
}
