/* Errors of the x87 on a PC whose CPU has CR0.NE = 0: FERR# raises ISA line 13; a write to port F0h takes the line back and tells the CPU
 * by IGNNE# to go on in spite of the error. (IBM PC AT Technical Reference; PIIX3, 4.2.9.) The CPU ends IGNNE# itself, as the error is
 * cleared. */
#include "dev/misc/fperr.h"

#include "bus/isa.h"

#define LINE 13

struct fperr {
    struct viv_dev dev;
    bool error; /* the line */
    const struct viv_fperr_ignne *ignne;
    bool ignored; /* IGNNE# as it is saved */
    struct viv_region *region;
};

void viv_fperr_assert(struct viv_dev *d)
{
    ((struct fperr *)d)->error = true;
    viv_isa_set_irq(d, LINE, 1);
}

void viv_fperr_connect(struct viv_dev *d, const struct viv_fperr_ignne *ignne)
{
    ((struct fperr *)d)->ignne = ignne;
}

static void set_ignne(struct fperr *p, bool on)
{
    if (p->ignne)
        p->ignne->set(on);
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
    set_ignne(p, true);
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
    set_ignne(p, false);
    viv_isa_set_irq(d, LINE, 0);
}

static void pre_save(void *obj)
{
    struct fperr *p = obj;

    p->ignored = p->ignne && p->ignne->get();
}

static int post_load(void *obj, int version, struct viv_err *err)
{
    struct fperr *p = obj;

    set_ignne(p, version > 1 && p->ignored);
    return 0;
}

static const struct viv_state_table state = {
    .name = "x87-error",
    .ctype = "fperr",
    .version = 2,
    .min_version = 1,
    .fields =
        (const struct viv_field[]){
            VIV_F_CONFIG(fperr, dev),
            VIV_F_INT(fperr, error),
            VIV_F_CONFIG(fperr, ignne),
            {.name = "ignored", .kind = VIV_FIELD_BOOL, .offset = offsetof(struct fperr, ignored), .size = sizeof(bool), .count = 1,
             .since = 2},
            VIV_F_CONFIG(fperr, region),
            VIV_F_END,
        },
    .pre_save = pre_save,
    .post_load = post_load,
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
