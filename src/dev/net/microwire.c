#include "dev/net/microwire.h"

#include "base/log.h"

#include <errno.h>
#include <string.h>

enum { IDLE, COMMAND, READING, DEAF };
enum { OP_READ = 2 };

void microwire_reset(struct microwire *m)
{
    memset(m, 0, sizeof(*m));
    m->data_out = true;
}

/* A start bit, two of operation, six of address; a word comes out at the clocks that follow, and the next one after it. */
static void clock_rises(struct microwire *m, const uint16_t *words, bool in)
{
    switch (m->state) {
    case IDLE:
        if (in) {
            m->state = COMMAND;
            m->in = m->bits = 0;
        }
        break;
    case COMMAND:
        m->in = (uint16_t)(m->in << 1 | in);
        if (++m->bits < 8)
            break;
        m->bits = 0;
        m->addr = m->in & (MICROWIRE_WORDS - 1);
        if (m->in >> 6 == OP_READ) {
            m->state = READING;
            m->data_out = false;
        } else {
            viv_log(VIV_LOG_UNIMP, "EEPROM operation %#x: it cannot be written", m->in);
            m->state = DEAF;
        }
        break;
    case READING:
        if (!m->bits) {
            m->out = words[m->addr];
            m->addr = (m->addr + 1) & (MICROWIRE_WORDS - 1);
            m->bits = 16;
        }
        m->data_out = m->out >> --m->bits & 1;
        break;
    default:
        break;
    }
}

void microwire_drive(struct microwire *m, const uint16_t *words, bool select, bool clock, bool in)
{
    if (!select) {
        m->state = IDLE;
        m->data_out = true; /* ready */
    } else if (clock && !(m->selected && m->clock)) {
        clock_rises(m, words, in);
    }
    m->selected = select;
    m->clock = clock;
}

static int post_load(void *obj, int version, struct viv_err *err)
{
    struct microwire *m = obj;

    return m->state > DEAF || m->bits > 16 || m->addr >= MICROWIRE_WORDS
               ? viv_fail(err, EINVAL, "an EEPROM in state %u", m->state)
               : 0;
}

static const struct viv_field fields[] = {
    VIV_F_INT(microwire, state), VIV_F_INT(microwire, selected), VIV_F_INT(microwire, clock), VIV_F_INT(microwire, in),
    VIV_F_INT(microwire, out),   VIV_F_INT(microwire, bits),     VIV_F_INT(microwire, addr),  VIV_F_INT(microwire, data_out),
    VIV_F_END,
};

const struct viv_state_table microwire_state = {
    .name = "microwire",
    .ctype = "microwire",
    .version = 1,
    .min_version = 1,
    .fields = fields,
    .post_load = post_load,
};
