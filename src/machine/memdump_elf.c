/* A dump as an ELF core file: header, program headers (one of notes, then the loads), notes, memory. Readers take 32-bit guests from
 * 32-bit files only, so these are such as long as everything in them fits. */
#include "machine/memdump_int.h"

#include <elf.h>

/* More headers than e_phnum holds: their number is in section header 0, the only one (ELF gABI, "Program header"). */
static bool many(uint32_t headers)
{
    return headers >= PN_XNUM;
}

static bool fits_32(const struct memdump *d, uint64_t headers)
{
    const struct memdump_block *last = &g_array_index(d->blocks, struct memdump_block, d->blocks->len - 1);

    return !d->is_64bit && last->gpa + (last->size - 1) <= UINT32_MAX &&
           sizeof(Elf32_Ehdr) + sizeof(Elf32_Shdr) + headers * sizeof(Elf32_Phdr) + d->notes->len + d->total <= UINT32_MAX;
}

/* The same for both sizes; `C` is 32 or 64. */
#define DEFINE_HEADERS(C)                                                                                                          \
    static void put_headers_##C(const struct memdump *d, uint32_t headers, uint16_t machine, GByteArray *out)                       \
    {                                                                                                                              \
        Elf##C##_Ehdr e = {.e_type = ET_CORE, .e_machine = machine, .e_version = EV_CURRENT, .e_ehsize = sizeof(e),               \
                           .e_phentsize = sizeof(Elf##C##_Phdr), .e_shentsize = sizeof(Elf##C##_Shdr),                              \
                           .e_phnum = many(headers) ? PN_XNUM : (uint16_t)headers};                                              \
        Elf##C##_Shdr s = {.sh_info = headers};                                                                                     \
        Elf##C##_Phdr p = {.p_type = PT_NOTE, .p_filesz = d->notes->len, .p_memsz = d->notes->len};                               \
        uint64_t memory;                                                                                                           \
                                                                                                                                   \
        memcpy(e.e_ident, ELFMAG, SELFMAG);                                                                                        \
        e.e_ident[EI_CLASS] = ELFCLASS##C;                                                                                         \
        e.e_ident[EI_DATA] = ELFDATA2LSB;                                                                                          \
        e.e_ident[EI_VERSION] = EV_CURRENT;                                                                                        \
        e.e_shoff = many(headers) ? sizeof(e) : 0;                                                                                 \
        e.e_shnum = many(headers);                                                                                                 \
        e.e_phoff = sizeof(e) + e.e_shnum * sizeof(s);                                                                             \
        p.p_offset = (Elf##C##_Off)(e.e_phoff + headers * sizeof(p));                                                               \
        memory = p.p_offset + d->notes->len;                                                                                       \
        g_byte_array_append(out, (const guint8 *)&e, sizeof(e));                                                                   \
        if (many(headers))                                                                                                         \
            g_byte_array_append(out, (const guint8 *)&s, sizeof(s));                                                               \
        g_byte_array_append(out, (const guint8 *)&p, sizeof(p));                                                                   \
        for (guint i = 0; i < d->loads->len; i++) {                                                                                \
            const struct memdump_load *l = &g_array_index(d->loads, struct memdump_load, i);                                       \
                                                                                                                                   \
            p = (Elf##C##_Phdr){.p_type = PT_LOAD, .p_offset = (Elf##C##_Off)(memory + l->offset), .p_vaddr = (Elf##C##_Addr)l->lin, \
                                .p_paddr = (Elf##C##_Addr)l->gpa, .p_filesz = (Elf##C##_Word64)l->size,                             \
                                .p_memsz = (Elf##C##_Word64)l->size, .p_flags = PF_R | PF_W | PF_X};                                \
            g_byte_array_append(out, (const guint8 *)&p, sizeof(p));                                                               \
        }                                                                                                                          \
    }

/* What p_filesz is. */
typedef Elf32_Word Elf32_Word64;
typedef Elf64_Xword Elf64_Word64;
DEFINE_HEADERS(32)
DEFINE_HEADERS(64)

int memdump_write_elf(struct memdump *d, struct viv_err *err)
{
    uint32_t headers = 1 + d->loads->len;
    g_autoptr(GByteArray) head = g_byte_array_new();
    int rc;

    if (fits_32(d, headers))
        put_headers_32(d, headers, EM_386, head);
    else
        put_headers_64(d, headers, d->is_64bit ? EM_X86_64 : EM_386, head);
    rc = memdump_put(d, head->data, head->len, err);
    if (!rc)
        rc = memdump_put(d, d->notes->data, d->notes->len, err);
    for (guint i = 0; i < d->blocks->len && !rc; i++) {
        const struct memdump_block *b = &g_array_index(d->blocks, struct memdump_block, i);

        for (uint64_t at = 0, n; at < b->size && !rc; at += n) {
            n = MIN(b->size - at, 1u << 20);
            rc = memdump_put(d, b->hva + at, n, err);
            if (!rc)
                atomic_fetch_add(&d->completed, n);
        }
    }
    return rc;
}
