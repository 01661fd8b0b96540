/* Errors of the x87 on a PC whose CPU has CR0.NE = 0: FERR# raises ISA line 13; a write to port F0h takes the line back and tells the CPU
 * by IGNNE# to go on in spite of the error. (IBM PC AT Technical Reference; PIIX3, 4.2.9.) The CPU ends IGNNE# itself, as the error is
 * cleared. */
#include "dev/misc/fperr.h"

#include "bus/isa.h"

#define LINE 13

struct fperr {
    struct viv_dev dev;
    bool error; /* the line */
    struct viv_irq ignne;
    struct viv_region *region;
};

void viv_fperr_assert(struct viv_dev *d)
{
    ((struct fperr *)d)->error = true;
    viv_isa_set_irq(d, LINE, 1);
}

void viv_fperr_connect(struct viv_dev *d, struct viv_irq ignne)
{
    ((struct fperr *)d)->ignne = ignne;
}

static uint64_t fperr_read(void *opaque, uint64_t off, unsigned size)
{
    return 0xff;
}

static void fperr_write(void *opaque, uint64_t off, uint64_t v, unsigned size)
{
    struct fperr *p = opaque;

    if (!p->error)
        return;
    p->error = false;
    viv_irq_set(&p->ignne, 1);
    viv_isa_set_irq(&p->dev, LINE, 0);
}

static int fperr_realize(struct viv_dev *d, struct viv_opts *opts, struct viv_err *err)
{
    static const struct viv_region_ops ops = {fperr_read, fperr_write, 1, 1, false, false};

    ((struct fperr *)d)->region = viv_isa_add_ports(d, "x87-error", 0xf0, 2, &ops);
    return 0;
}

static void fperr_unrealize(struct viv_dev *d)
{
    viv_region_free(((struct fperr *)d)->region);
}

static void fperr_reset(struct viv_dev *d)
{
    struct fperr *p = (struct fperr *)d;

    p->error = false;
    viv_irq_set(&p->ignne, 0);
    viv_isa_set_irq(d, LINE, 0);
}

static const struct viv_state_table state = {
    .name = "x87-error",
    .ctype = "fperr",
    .version = 1,
    .min_version = 1,
    .fields = (const struct viv_field[]){VIV_F_CONFIG(fperr, dev), VIV_F_INT(fperr, error), VIV_F_CONFIG(fperr, ignne),
                                         VIV_F_CONFIG(fperr, region), VIV_F_END},
};

const struct viv_dev_class viv_dev_fperr = {
    .name = "x87-error",
    .desc = "interrupt 13 of the x87, port F0h",
    .bus = VIV_BUS_ISA,
    .internal = true,
    .size = sizeof(struct fperr),
    .state = &state,
    .realize = fperr_realize,
    .reset = fperr_reset,
    .unrealize = fperr_unrealize,
};
