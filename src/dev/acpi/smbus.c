#include "dev/acpi/smbus.h"

enum {
    STATUS = 0,
    CONTROL = 2,

    STS_DEV_ERR = 0x04,
    STS_W1C = 0xfe, /* all but HOST_BUSY, which is never seen: transactions end at once */
    STS_ENDED = 0x1e,
    CNT_INTREN = 0x01,
    CNT_START = 0x40,
};

uint8_t viv_smbus_read(struct viv_smbus *s, unsigned reg)
{
    return s->reg[reg];
}

void viv_smbus_write(struct viv_smbus *s, unsigned reg, uint8_t v)
{
    if (reg == STATUS) {
        s->reg[STATUS] &= ~(v & STS_W1C);
        return;
    }
    s->reg[reg] = v;
    if (reg == CONTROL && (v & CNT_START)) {
        s->reg[CONTROL] &= ~CNT_START;
        s->reg[STATUS] |= STS_DEV_ERR;
    }
}

bool viv_smbus_irq(const struct viv_smbus *s)
{
    return (s->reg[STATUS] & STS_ENDED) && (s->reg[CONTROL] & CNT_INTREN);
}

const struct viv_state_table viv_smbus_state = {
    .name = "smbus-host",
    .ctype = "viv_smbus",
    .version = 1,
    .min_version = 1,
    .fields = (const struct viv_field[]){VIV_F_BYTES(viv_smbus, reg), VIV_F_END},
};
