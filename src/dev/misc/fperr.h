/* Port F0h, as the board wires it. Device lock held. */
#ifndef VIV_DEV_MISC_FPERR_H
#define VIV_DEV_MISC_FPERR_H

#include "bus/dev.h"

/* FERR# falls: ISA line 13 rises. */
void viv_fperr_assert(struct viv_dev *d);
/* IGNNE#, which is the CPUs' to end: may be unconnected. Borrowed. */
struct viv_fperr_ignne {
    void (*set)(bool on);
    bool (*get)(void);
};
void viv_fperr_connect(struct viv_dev *d, const struct viv_fperr_ignne *ignne);

#endif
