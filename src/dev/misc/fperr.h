/* Port F0h, as the board wires it. Device lock held. */
#ifndef VIV_DEV_MISC_FPERR_H
#define VIV_DEV_MISC_FPERR_H

#include "bus/dev.h"

/* FERR# falls: ISA line 13 rises. */
void viv_fperr_assert(struct viv_dev *d);
/* Who is IGNNE#. */
void viv_fperr_connect(struct viv_dev *d, struct viv_irq ignne);

#endif
