/* Items that a board and devices hand to firmware and guests through the fw_cfg device. */
#ifndef VIV_DEV_MISC_FW_CFG_H
#define VIV_DEV_MISC_FW_CFG_H

#include "bus/dev.h"

enum { /* keys with a fixed meaning */
       VIV_FW_CFG_SIGNATURE = 0x00,
       VIV_FW_CFG_ID = 0x01,
       VIV_FW_CFG_UUID = 0x02,
       VIV_FW_CFG_RAM_SIZE = 0x03,
       VIV_FW_CFG_NOGRAPHIC = 0x04,
       VIV_FW_CFG_NB_CPUS = 0x05,
       VIV_FW_CFG_KERNEL_ADDR = 0x07,
       VIV_FW_CFG_KERNEL_SIZE = 0x08,
       VIV_FW_CFG_INITRD_ADDR = 0x0a,
       VIV_FW_CFG_INITRD_SIZE = 0x0b,
       VIV_FW_CFG_BOOT_DEVICE = 0x0c,
       VIV_FW_CFG_NUMA = 0x0d,
       VIV_FW_CFG_BOOT_MENU = 0x0e,
       VIV_FW_CFG_MAX_CPUS = 0x0f,
       VIV_FW_CFG_KERNEL_ENTRY = 0x10,
       VIV_FW_CFG_KERNEL_DATA = 0x11,
       VIV_FW_CFG_INITRD_DATA = 0x12,
       VIV_FW_CFG_CMDLINE_ADDR = 0x13,
       VIV_FW_CFG_CMDLINE_SIZE = 0x14,
       VIV_FW_CFG_CMDLINE_DATA = 0x15,
       VIV_FW_CFG_SETUP_ADDR = 0x16,
       VIV_FW_CFG_SETUP_SIZE = 0x17,
       VIV_FW_CFG_SETUP_DATA = 0x18,
       VIV_FW_CFG_FILE_DIR = 0x19,
       VIV_FW_CFG_FILE_FIRST = 0x20,
};

/* All: before the guest runs, device lock held (or no threads yet). Data is copied. A second call for the same key or
 * name replaces the first. */
void viv_fw_cfg_add(struct viv_dev *d, uint16_t key, const void *data, size_t len);
void viv_fw_cfg_add_u16(struct viv_dev *d, uint16_t key, uint16_t v); /* little-endian */
void viv_fw_cfg_add_u32(struct viv_dev *d, uint16_t key, uint32_t v);
void viv_fw_cfg_add_u64(struct viv_dev *d, uint16_t key, uint64_t v);
/* A named file ("etc/e820", "opt/org.example/x"), read only. -EINVAL for a name of 56 bytes or more or an empty one;
 * -ENOSPC when all keys are taken. The key it got is *key (may be NULL). */
int viv_fw_cfg_add_file(struct viv_dev *d, const char *name, const void *data, size_t len,
                        uint16_t *key, struct viv_err *err);
/* A file that the guest may write by DMA, within its length: `data` is the caller's, and its state; `written` is called after each
 * write. As long as the fw_cfg device lives. */
int viv_fw_cfg_add_writable(struct viv_dev *d, const char *name, void *data, size_t len, void (*written)(void *opaque), void *opaque,
                            struct viv_err *err);

/* A file that the guest reads, of the caller's memory; `asked` is called each time it is selected, and may change it. */
int viv_fw_cfg_add_asked(struct viv_dev *d, const char *name, void *data, size_t len, void (*asked)(void *opaque), void *opaque,
                         struct viv_err *err);

extern const struct viv_dev_class viv_dev_fw_cfg;
/* The machine's; NULL: it has none. */
struct viv_dev *viv_fw_cfg_find(void);

bool viv_fw_cfg_has_file(struct viv_dev *d, const char *name);

#endif
