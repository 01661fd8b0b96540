/* etc/table-loader: how firmware puts the ACPI tables where it wants them. A list of 128-byte commands (SeaBIOS and OVMF
 * take the same): allocate a file, add a file's address to a pointer in another, correct a checksum. */
#include "machine/acpi.h"

#include "base/bytes.h"
#include "base/units.h"

#include <glib.h>
#include <string.h>

#define ENTRY       128
#define NAME        56
#define RSDP_FILE   "etc/acpi/rsdp"
#define TABLES_FILE "etc/acpi/tables"

enum { ALLOCATE = 1, ADD_POINTER = 2, ADD_CHECKSUM = 3 };
enum { ZONE_HIGH = 1, ZONE_FSEG = 2 };

static uint8_t *add(GByteArray *s, uint32_t command)
{
    static const uint8_t zeros[ENTRY];

    g_byte_array_append(s, zeros, ENTRY);
    viv_st_le32(s->data + s->len - ENTRY, command);
    return s->data + s->len - ENTRY + 4;
}

static void allocate(GByteArray *s, const char *file, uint32_t align, uint8_t zone)
{
    uint8_t *e = add(s, ALLOCATE);

    memcpy(e, file, strlen(file));
    viv_st_le32(e + NAME, align);
    e[NAME + 4] = zone;
}

/* The blob's first bytes are the RSDP's file. The tables' is the whole blob, so that offsets are the same in both. */
static const char *file_of(uint32_t at)
{
    return at < VIV_ACPI_RSDP_BYTES ? RSDP_FILE : TABLES_FILE;
}

static void pointer(GByteArray *s, const struct viv_acpi_pointer *p)
{
    uint8_t *e = add(s, ADD_POINTER);

    memcpy(e, file_of(p->at), strlen(file_of(p->at)));
    memcpy(e + NAME, TABLES_FILE, strlen(TABLES_FILE));
    viv_st_le32(e + 2 * NAME, p->at);
    e[2 * NAME + 4] = p->size;
}

static void sum(GByteArray *s, const struct viv_acpi_sum *c)
{
    uint8_t *e = add(s, ADD_CHECKSUM);

    memcpy(e, file_of(c->at), strlen(file_of(c->at)));
    viv_st_le32(e + NAME, c->at);
    viv_st_le32(e + NAME + 4, c->start);
    viv_st_le32(e + NAME + 8, c->len);
}

int viv_acpi_build_files(const struct viv_acpi_info *info, struct viv_acpi_files *out, struct viv_err *err)
{
    struct viv_acpi_links links;
    GByteArray *script;
    int r = viv_acpi_build(info, 0, VIV_MIB, &out->blob, &out->blob_len, &links, err);

    if (r < 0)
        return r;
    script = g_byte_array_new();
    allocate(script, RSDP_FILE, 16, ZONE_FSEG);
    allocate(script, TABLES_FILE, 64, ZONE_HIGH);
    for (unsigned i = 0; i < links.pointer_count; i++)
        pointer(script, &links.pointers[i]);
    for (unsigned i = 0; i < links.sum_count; i++) {
        sum(script, &links.sums[i]);
        out->blob[links.sums[i].at] = 0; /* OVMF sums it in, too */
    }
    out->script_len = script->len;
    out->script = g_byte_array_free(script, FALSE);
    return 0;
}
