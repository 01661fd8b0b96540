/* What software in real mode finds of a BIOS: interrupt vectors, a running timer, the first words of the data area. The
 * services themselves (int 10h to 1ah) are not there; their handlers return at once. */
#include "machine/firmware.h"

#include "base/log.h"
#include "base/units.h"
#include "mem/dma.h"
#include "mem/space.h"

#include <glib.h>

/* Where IBM's BIOS had its timer handler and its IRET, which is where people look. */
#define PIC1_HANDLER 0xfea5
#define PIC2_HANDLER 0xfeb0
#define IRET_HANDLER 0xff53
#define BIOS_SEGMENT 0xf000u

#define PIC1_VECTOR 0x08
#define PIC2_VECTOR 0x70

#define BDA_COM1   0x400    /* four words: port addresses */
#define BDA_EBDA   0x40e    /* segment */
#define BDA_MEMORY 0x413    /* KiB */
#define EBDA       0x9fc00u /* its first byte: its size in KiB */

static const uint8_t pic1_handler[] = {
    0x50, 0xb0, 0x20, 0xe6, 0x20, 0x58, 0xcf, /* push ax; mov al,20h; out 20h,al; pop ax; iret */
};
static const uint8_t pic2_handler[] = {
    0x50, 0xb0, 0x20, 0xe6, 0xa0, 0xe6, 0x20, 0x58, 0xcf, /* the same, out a0h,al first */
};
static const uint8_t iret_handler[] = {0xcf};

_Static_assert(PIC1_HANDLER + sizeof(pic1_handler) <= PIC2_HANDLER && VIV_BIOS_TABLES_END <= 0xf0000 + PIC1_HANDLER,
               "handlers lie behind the tables and apart");

static void put(struct viv_space *mem, uint32_t gpa, const void *data, size_t len)
{
    if (viv_dma_write(mem, gpa, data, len))
        viv_error("the BIOS's memory at 0x%x is not RAM", gpa);
}

void viv_firmware_low_memory(struct viv_space *mem, unsigned com_ports)
{
    static const uint16_t com[4] = {0x3f8, 0x2f8, 0x3e8, 0x2e8};
    uint16_t found[4];
    unsigned count = 0;
    const uint16_t ebda = EBDA >> 4, kib = EBDA / VIV_KIB;
    const uint8_t ebda_kib = 1;
    uint32_t ivt[256];

    for (unsigned i = 0; i < 256; i++)
        ivt[i] = BIOS_SEGMENT << 16 | IRET_HANDLER;
    for (unsigned i = 0; i < 8; i++) {
        ivt[PIC1_VECTOR + i] = BIOS_SEGMENT << 16 | PIC1_HANDLER;
        ivt[PIC2_VECTOR + i] = BIOS_SEGMENT << 16 | PIC2_HANDLER;
    }
    put(mem, 0, ivt, sizeof(ivt));
    put(mem, (BIOS_SEGMENT << 4) + PIC1_HANDLER, pic1_handler, sizeof(pic1_handler));
    put(mem, (BIOS_SEGMENT << 4) + PIC2_HANDLER, pic2_handler, sizeof(pic2_handler));
    put(mem, (BIOS_SEGMENT << 4) + IRET_HANDLER, iret_handler, sizeof(iret_handler));
    for (unsigned i = 0; i < 4; i++) {
        if (com_ports >> i & 1)
            found[count++] = com[i];
    }
    put(mem, BDA_COM1, found, count * sizeof(found[0]));
    put(mem, BDA_EBDA, &ebda, sizeof(ebda));
    put(mem, BDA_MEMORY, &kib, sizeof(kib));
    put(mem, EBDA, &ebda_kib, sizeof(ebda_kib));
}

void viv_firmware_pic(struct viv_space *io, bool pit)
{
    const uint8_t init[][2] = {
        {0x20, 0x11}, {0xa0, 0x11}, {0x21, PIC1_VECTOR}, {0xa1, PIC2_VECTOR}, {0x21, 0x04}, {0xa1, 0x02},
        {0x21, 0x01}, {0xa1, 0x01}, {0x21, pit ? 0xfa : 0xfb}, {0xa1, 0xff},
    };

    for (size_t i = 0; i < G_N_ELEMENTS(init); i++)
        viv_space_write_locked(io, init[i][0], init[i][1], 1);
}
