/* CRC-32C (Castagnoli, polynomial 0x1EDC6F41 reflected): iSCSI's, VHDX's, ext4's. */
#ifndef VIV_BASE_CRC32C_H
#define VIV_BASE_CRC32C_H

#include <stddef.h>
#include <stdint.h>

/* The sum of what `crc` is the sum of, and `len` bytes more; 0 to begin with. Any thread. */
uint32_t viv_crc32c(uint32_t crc, const void *data, size_t len);
/* The same, for hosts whose CPU has no instruction for it, and for tests. */
uint32_t viv_crc32c_table(uint32_t crc, const void *data, size_t len);

#endif
