/* What a board (in place of firmware) does to the host bridge. */
#ifndef VIV_DEV_PCI_I440FX_H
#define VIV_DEV_PCI_I440FX_H

#include "bus/dev.h"

/* Makes C0000h-FFFFFh plain RAM, as firmware does when it has shadowed itself. A reset undoes it. Device lock
 * held. */
void viv_i440fx_open_shadow(struct viv_dev *d);

#endif
