/* From the rows to "which rows share this opcode": built once, when first asked. */
#include "cpu/x86/decode/decode_int.h"

#include <assert.h>
#include <pthread.h>
#include <string.h>

#define MAX_ROWS 4096

/* Opcodes of a map stand at map_base; x87 maps are larger than 256 or smaller. */
static const uint16_t map_base[VIV_MAP_COUNT] = {
    [VIV_MAP_BASE] = 0,        [VIV_MAP_0F] = 256,       [VIV_MAP_0F38] = 512,
    [VIV_MAP_0F3A] = 768,      [VIV_MAP_X87_MEM] = 1024, [VIV_MAP_X87_REG] = 1088,
    [VIV_MAP_M5] = 1600,       [VIV_MAP_M6] = 1856,
};
#define SLOTS 2112

static struct viv_slot slots[3][SLOTS]; /* enum viv_encoding */
static uint16_t order[MAX_ROWS];        /* row numbers, grouped by slot, file order within one */
static pthread_once_t built = PTHREAD_ONCE_INIT;

static bool row_has_modrm(const struct viv_row *r)
{
    if (r->select & (0xffff | S_MEM | S_REG))
        return true;
    if (r->map >= VIV_MAP_X87_MEM || (r->select & (S_VEX | S_EVEX)))
        return r->map >= VIV_MAP_X87_MEM || r->opcode != 0x77; /* VZEROUPPER, VZEROALL */
    for (unsigned n = 0; n < 4; n++) {
        switch (viv_operand_info[r->operand[n]].kind) {
        case VIV_K_E: case VIV_K_R: case VIV_K_M: case VIV_K_G: case VIV_K_SREG: case VIV_K_CREG:
        case VIV_K_DREG: case VIV_K_P: case VIV_K_Q: case VIV_K_N: case VIV_K_V: case VIV_K_W:
        case VIV_K_U: case VIV_K_VM:
            return true;
        default:
            break;
        }
    }
    return false;
}

static struct viv_slot *slot_of(const struct viv_row *r)
{
    return &slots[r->select & S_EVEX ? VIV_ENC_EVEX : r->select & S_VEX ? VIV_ENC_VEX : VIV_ENC_LEGACY][map_base[r->map] + r->opcode];
}

static void build(void)
{
    unsigned next = 0;

    assert(viv_row_count <= MAX_ROWS);
    for (unsigned n = 0; n < viv_row_count; n++) {
        struct viv_slot *s = slot_of(&viv_rows[n]);

        s->count++;
        s->modrm |= row_has_modrm(&viv_rows[n]);
        s->mod_ignored |= viv_rows[n].map == VIV_MAP_0F && (viv_rows[n].opcode & 0xfc) == 0x20;
    }
    for (unsigned v = 0; v < 3; v++) {
        for (unsigned n = 0; n < SLOTS; n++) {
            slots[v][n].first = next;
            next += slots[v][n].count;
            slots[v][n].count = 0;
        }
    }
    for (unsigned n = 0; n < viv_row_count; n++) {
        struct viv_slot *s = slot_of(&viv_rows[n]);

        order[s->first + s->count++] = n;
    }
    for (unsigned n = 0xd8; n <= 0xdf; n++)
        slots[0][n].modrm = true; /* x87 escapes: rows are in maps of their own */
}

const struct viv_slot *viv_slot_find(unsigned map, unsigned opcode, unsigned encoding)
{
    pthread_once(&built, build);
    return &slots[encoding][map_base[map] + opcode];
}

const struct viv_row *viv_slot_row(const struct viv_slot *s, unsigned n)
{
    return &viv_rows[order[s->first + n]];
}
