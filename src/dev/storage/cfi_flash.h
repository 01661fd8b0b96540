/* A flash chip that a board has placed: what it needs of it beyond the class. */
#ifndef VIV_DEV_STORAGE_CFI_FLASH_H
#define VIV_DEV_STORAGE_CFI_FLASH_H

#include "bus/dev.h"

#define VIV_CFI_FLASH_BLOCK 4096u /* what is erased at once: the size of a chip is a multiple of it */

/* Its contents, as long as the device lives: for a board that shows a part of them elsewhere too. */
struct viv_ram *viv_cfi_flash_ram(struct viv_dev *d);

#endif
