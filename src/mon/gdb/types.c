/* Registers that gdb shows by the names of their bits: SDM 1, 3.4.3 (EFLAGS), 10.2.3 (MXCSR); SDM 3A, 2.2.1 (EFER) and 2.5 (control
 * registers); APM 2, 3.1.7 (EFER of AMD's). */
#include "mon/gdb/gdb_int.h"

struct field {
    const char *name;
    uint8_t first, last; /* 0: one bit */
};

static const struct field eflags[] = {{"CF", 0}, {"PF", 2}, {"AF", 4}, {"ZF", 6}, {"SF", 7}, {"TF", 8}, {"IF", 9}, {"DF", 10}, {"OF", 11}, {"IOPL", 12, 13},
                                      {"NT", 14}, {"RF", 16}, {"VM", 17}, {"AC", 18}, {"VIF", 19}, {"VIP", 20}, {"ID", 21}, {NULL}};
static const struct field mxcsr[] = {{"IE", 0}, {"DE", 1}, {"ZE", 2}, {"OE", 3}, {"UE", 4}, {"PE", 5}, {"DAZ", 6}, {"IM", 7}, {"DM", 8},
                                     {"ZM", 9}, {"OM", 10}, {"UM", 11}, {"PM", 12}, {"RC", 13, 14}, {"FZ", 15}, {NULL}};
static const struct field cr0[] = {{"PE", 0}, {"MP", 1}, {"EM", 2}, {"TS", 3}, {"ET", 4}, {"NE", 5}, {"WP", 16}, {"AM", 18}, {"NW", 29},
                                   {"CD", 30}, {"PG", 31}, {NULL}};
static const struct field cr4[] = {{"VME", 0}, {"PVI", 1}, {"TSD", 2}, {"DE", 3}, {"PSE", 4}, {"PAE", 5}, {"MCE", 6}, {"PGE", 7}, {"PCE", 8},
                                   {"OSFXSR", 9}, {"OSXMMEXCPT", 10}, {"UMIP", 11}, {"LA57", 12}, {"VMXE", 13}, {"SMXE", 14},
                                   {"FSGSBASE", 16}, {"PCIDE", 17}, {"OSXSAVE", 18}, {"SMEP", 20}, {"SMAP", 21}, {"PKE", 22}, {"CET", 23},
                                   {"PKS", 24}, {NULL}};
static const struct field efer[] = {{"SCE", 0}, {"LME", 8}, {"LMA", 10}, {"NXE", 11}, {"SVME", 12}, {"LMSLE", 13}, {"FFXSR", 14}, {"TCE", 15}, {NULL}};

static const struct {
    const char *type;
    const struct field *fields;
} flags[] = {{"bits_eflags", eflags}, {"bits_mxcsr", mxcsr}, {"bits_cr0", cr0}, {"bits_cr4", cr4}, {"bits_efer", efer}};

void gdb_put_flags(GString *xml, const char *type, unsigned bytes)
{
    for (size_t i = 0; i < G_N_ELEMENTS(flags); i++) {
        if (strcmp(flags[i].type, type))
            continue;
        g_string_append_printf(xml, "<flags id=\"%s\" size=\"%u\">", type, bytes);
        for (const struct field *f = flags[i].fields; f->name; f++)
            g_string_append_printf(xml, "<field name=\"%s\" start=\"%u\" end=\"%u\"/>", f->name, f->first, f->last ? f->last : f->first);
        g_string_append(xml, "</flags>");
    }
}
