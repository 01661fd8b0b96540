/* Types 0 to 4, 8, 11, 16, 17, 19, 32, 127; sections of DSP0134 3.0 are named at each. */
#include "machine/smbios.h"

#include "base/bytes.h"
#include "base/checked.h"
#include "base/units.h"

#include <errno.h>
#include <glib.h>
#include <string.h>

#define HANDLE_BIOS   0x0000
#define HANDLE_SYSTEM 0x0100
#define HANDLE_BOARD  0x0200
#define HANDLE_CHASSIS 0x0300
#define HANDLE_CPU    0x0400
#define HANDLE_PORT   0x0800
#define HANDLE_TEXTS  0x0b00
#define HANDLE_ARRAY  0x1000
#define HANDLE_DIMM   0x1100
#define HANDLE_MAPPED 0x1300
#define HANDLE_BOOT   0x2000
#define HANDLE_END    0x7f00
#define DIMM_MAX      (16 * VIV_GIB) /* per type 17 device */

struct builder {
    const struct viv_smbios_info *info;
    GByteArray *buf;
    size_t start;       /* of the structure being written */
    unsigned strings;   /* of it */
    GString *text;      /* its string set */
    unsigned count;     /* structures */
    size_t largest;
};

/* Structure header (6.1.2): type, length of the formatted area, handle. */
static uint8_t *begin(struct builder *b, uint8_t type, uint8_t len, uint16_t handle)
{
    b->start = b->buf->len;
    b->strings = 0;
    g_string_truncate(b->text, 0);
    g_byte_array_set_size(b->buf, (guint)(b->start + len));
    memset(b->buf->data + b->start, 0, len);
    b->buf->data[b->start] = type;
    b->buf->data[b->start + 1] = len;
    viv_st_le16(b->buf->data + b->start + 2, handle);
    return b->buf->data + b->start;
}

/* A string's number for the formatted area; 0 is "none". */
static uint8_t string(struct builder *b, const char *s)
{
    if (!s || !*s)
        return 0;
    g_string_append_len(b->text, s, (gssize)strlen(s) + 1);
    return (uint8_t)++b->strings;
}

static void end(struct builder *b)
{
    if (!b->strings)
        g_string_append_len(b->text, "\0", 1);
    g_string_append_len(b->text, "\0", 1);
    g_byte_array_append(b->buf, (const guint8 *)b->text->str, (guint)b->text->len);
    b->largest = MAX(b->largest, b->buf->len - b->start);
    b->count++;
}

static struct viv_opts *given(const struct builder *b, unsigned type, const char *key)
{
    struct viv_opts *o = b->info->given ? b->info->given->of[type] : NULL;

    return o && viv_opts_given(o, key) ? o : NULL;
}

/* A field's text as a string: what was given, or else `def`. */
static uint8_t field(struct builder *b, unsigned type, const char *key, const char *def)
{
    struct viv_opts *o = given(b, type, key);

    return string(b, o ? viv_opts_str(o, key) : def);
}

static const char *field_text(const struct builder *b, unsigned type, const char *key, const char *def)
{
    struct viv_opts *o = given(b, type, key);

    return o ? viv_opts_str(o, key) : def;
}

static uint64_t field_number(const struct builder *b, unsigned type, const char *key, uint64_t def)
{
    struct viv_opts *o = given(b, type, key);

    return o ? (uint64_t)viv_opts_int(o, key) : def;
}

static void type0_bios(struct builder *b) /* 7.1 */
{
    uint8_t *p = begin(b, 0, 0x18, HANDLE_BIOS);
    struct viv_opts *uefi = given(b, 0, "uefi"), *release = given(b, 0, "release");

    p[4] = field(b, 0, "vendor", "Vivarium");
    p[5] = field(b, 0, "version", VIV_VERSION);
    viv_st_le16(p + 6, 0xe000);
    p[8] = field(b, 0, "date", "04/01/2024");
    viv_st_le64(p + 10, 1u << 3); /* characteristics are not given */
    p[0x13] = uefi && viv_opts_bool(uefi, "uefi") ? 0x1c : 0x14; /* extension 2: virtual machine, targeted content, UEFI */
    p[0x14] = 0xff;
    p[0x15] = 0xff;
    if (release)
        (void)sscanf(viv_opts_str(release, "release"), "%hhu.%hhu", &p[0x14], &p[0x15]); /* checked when it was given */
    p[0x16] = 0xff;
    p[0x17] = 0xff;
    end(b);
}

/* The first three fields of a UUID are little-endian in the table (7.2.1). */
static void put_uuid(uint8_t *p, const uint8_t *u)
{
    static const uint8_t order[16] = {3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15};

    for (int i = 0; i < 16; i++)
        p[i] = u[order[i]];
}

static void type1_system(struct builder *b, const struct viv_smbios_info *info) /* 7.2 */
{
    uint8_t *p = begin(b, 1, 0x1b, HANDLE_SYSTEM), own[16];
    const char *uuid = field_text(b, 1, "uuid", NULL);

    p[4] = field(b, 1, "manufacturer", "Vivarium");
    p[5] = field(b, 1, "product", info->product);
    p[6] = field(b, 1, "version", info->version);
    p[7] = field(b, 1, "serial", info->serial);
    if (uuid && viv_parse_uuid(uuid, own, NULL) == 0)
        put_uuid(p + 8, own);
    else if (info->uuid)
        put_uuid(p + 8, info->uuid);
    p[0x18] = 6; /* woken by the power switch */
    p[0x19] = field(b, 1, "sku", NULL);
    p[0x1a] = field(b, 1, "family", NULL);
    end(b);
}

static void type2_board(struct builder *b) /* 7.3 */
{
    uint8_t *p = begin(b, 2, 0x0f, HANDLE_BOARD);

    p[4] = field(b, 2, "manufacturer", "Vivarium");
    p[5] = field(b, 2, "product", b->info->product);
    p[6] = field(b, 2, "version", b->info->version);
    p[7] = field(b, 2, "serial", NULL);
    p[8] = field(b, 2, "asset", NULL);
    p[9] = 1; /* hosts others */
    p[10] = field(b, 2, "location", NULL);
    viv_st_le16(p + 11, HANDLE_CHASSIS);
    p[13] = 0x0a; /* motherboard */
    end(b);
}

static void type3_chassis(struct builder *b) /* 7.4 */
{
    uint8_t *p = begin(b, 3, 0x16, HANDLE_CHASSIS);

    p[4] = field(b, 3, "manufacturer", "Vivarium");
    p[5] = 1; /* other */
    p[6] = field(b, 3, "version", NULL);
    p[7] = field(b, 3, "serial", NULL);
    p[8] = field(b, 3, "asset", NULL);
    p[0x15] = field(b, 3, "sku", NULL); /* behind no contained elements */
    p[9] = 3; /* boot-up, power supply, thermal: safe */
    p[10] = 3;
    p[11] = 3;
    p[12] = 2; /* security unknown */
    end(b);
}

static void type4_cpu(struct builder *b, const struct viv_smbios_info *info, unsigned n) /* 7.5 */
{
    uint8_t *p = begin(b, 4, 0x30, (uint16_t)(HANDLE_CPU + n));
    const char *prefix = field_text(b, 4, "sock_pfx", NULL);
    g_autofree char *socket = prefix ? g_strdup_printf("%s%2x", prefix, n) : g_strdup_printf("CPU %u", n);
    uint64_t id = field_number(b, 4, "processor-id", (uint64_t)info->features << 32 | info->signature);
    unsigned total = info->cores * info->threads;

    p[4] = string(b, socket);
    p[5] = 3; /* central processor */
    p[6] = 1; /* family: other */
    p[7] = field(b, 4, "manufacturer", "Vivarium");
    viv_st_le64(p + 8, id);
    p[16] = field(b, 4, "version", info->cpu);
    viv_st_le16(p + 0x14, (uint16_t)field_number(b, 4, "max-speed", 2000)); /* MHz; nothing real to say */
    viv_st_le16(p + 0x16, (uint16_t)field_number(b, 4, "current-speed", 2000));
    p[0x18] = 0x41; /* populated, enabled */
    p[0x19] = 1;    /* upgrade: other */
    viv_st_le16(p + 0x1a, 0xffff);
    viv_st_le16(p + 0x1c, 0xffff);
    viv_st_le16(p + 0x1e, 0xffff);
    p[0x20] = field(b, 4, "serial", NULL);
    p[0x21] = field(b, 4, "asset", NULL);
    p[0x22] = field(b, 4, "part", NULL);
    p[0x23] = (uint8_t)MIN(info->cores, 255u);
    p[0x24] = p[0x23];
    p[0x25] = (uint8_t)MIN(total, 255u);
    viv_st_le16(p + 0x26, 0x04); /* 64-bit capable */
    viv_st_le16(p + 0x28, 1);
    viv_st_le16(p + 0x2a, (uint16_t)info->cores);
    viv_st_le16(p + 0x2c, (uint16_t)info->cores);
    viv_st_le16(p + 0x2e, (uint16_t)total);
    end(b);
}

static void type16_array(struct builder *b, uint64_t ram, unsigned dimms) /* 7.17 */
{
    uint8_t *p = begin(b, 16, 0x17, HANDLE_ARRAY);
    uint64_t kib = ram / VIV_KIB;

    p[4] = 1; /* other location */
    p[5] = 3; /* system memory */
    p[6] = 6; /* multi-bit ECC */
    viv_st_le32(p + 7, kib < 0x80000000u ? (uint32_t)kib : 0x80000000u);
    viv_st_le16(p + 11, 0xfffe);
    viv_st_le16(p + 13, (uint16_t)dimms);
    viv_st_le64(p + 15, kib < 0x80000000u ? 0 : ram);
    end(b);
}

static void type17_dimm(struct builder *b, unsigned n, uint64_t bytes) /* 7.18 */
{
    uint8_t *p = begin(b, 17, 0x28, (uint16_t)(HANDLE_DIMM + n));
    const char *prefix = field_text(b, 17, "loc_pfx", NULL);
    g_autofree char *locator = prefix ? g_strdup_printf("%s %u", prefix, n) : g_strdup_printf("DIMM %u", n);
    uint16_t speed = (uint16_t)field_number(b, 17, "speed", 0);
    uint64_t mib = bytes / VIV_MIB;

    viv_st_le16(p + 4, HANDLE_ARRAY);
    viv_st_le16(p + 6, 0xfffe);
    viv_st_le16(p + 8, 0xffff);
    viv_st_le16(p + 10, 0xffff);
    viv_st_le16(p + 12, mib < 0x7fff ? (uint16_t)mib : 0x7fff);
    p[14] = 9; /* form factor DIMM */
    p[16] = string(b, locator);
    p[17] = field(b, 17, "bank", NULL);
    p[18] = 7; /* RAM */
    viv_st_le16(p + 19, 2);
    viv_st_le16(p + 21, speed);
    p[23] = field(b, 17, "manufacturer", "Vivarium");
    p[24] = field(b, 17, "serial", NULL);
    p[25] = field(b, 17, "asset", NULL);
    p[26] = field(b, 17, "part", NULL);
    viv_st_le32(p + 28, mib < 0x7fff ? 0 : (uint32_t)mib);
    viv_st_le16(p + 32, speed);
    end(b);
}

static void type19_mapped(struct builder *b, unsigned n, uint64_t start, uint64_t bytes) /* 7.20 */
{
    uint8_t *p = begin(b, 19, 0x1f, (uint16_t)(HANDLE_MAPPED + n));
    uint64_t last = start + bytes - 1;

    if (last / VIV_KIB < 0xffffffffu) {
        viv_st_le32(p + 4, (uint32_t)(start / VIV_KIB));
        viv_st_le32(p + 8, (uint32_t)(last / VIV_KIB));
    } else {
        viv_st_le32(p + 4, 0xffffffff);
        viv_st_le32(p + 8, 0xffffffff);
        viv_st_le64(p + 15, start);
        viv_st_le64(p + 23, last);
    }
    viv_st_le16(p + 12, HANDLE_ARRAY);
    p[14] = 1; /* partition width */
    end(b);
}

static void type8_port(struct builder *b, struct viv_opts *o, unsigned n) /* 7.9 */
{
    uint8_t *p = begin(b, 8, 0x09, (uint16_t)(HANDLE_PORT + n));

    p[4] = string(b, viv_opts_str(o, "internal_reference"));
    p[6] = string(b, viv_opts_str(o, "external_reference"));
    p[7] = (uint8_t)viv_opts_int(o, "connector_type");
    p[8] = (uint8_t)viv_opts_int(o, "port_type");
    end(b);
}

static void type11_texts(struct builder *b, const GPtrArray *texts) /* 7.12 */
{
    uint8_t *p = begin(b, 11, 0x05, HANDLE_TEXTS);

    p[4] = (uint8_t)texts->len;
    for (guint i = 0; i < texts->len; i++)
        string(b, g_ptr_array_index(texts, i));
    end(b);
}

static bool from_file(const struct builder *b, unsigned type)
{
    return b->info->given && b->info->given->from_file >> type & 1;
}

/* Types that are there only when somebody wants them. */
static void wanted(struct builder *b)
{
    const struct viv_smbios_given *g = b->info->given;

    if (!g)
        return;
    if (g->of[2])
        type2_board(b);
    for (guint i = 0; i < g->ports->len; i++)
        type8_port(b, g_ptr_array_index(g->ports, i), i);
    if (g->texts->len)
        type11_texts(b, g->texts);
    for (guint i = 0; i < g->files->len; i++) {
        gsize len;
        const void *data = g_bytes_get_data(g_ptr_array_index(g->files, i), &len);

        g_byte_array_append(b->buf, data, (guint)len);
        b->largest = MAX(b->largest, len);
        b->count++;
    }
}

static void memory_types(struct builder *b, const struct viv_smbios_info *info)
{
    unsigned dimms = (unsigned)((info->ram_bytes + DIMM_MAX - 1) / DIMM_MAX);
    uint64_t left = info->ram_bytes;

    dimms = MIN(dimms, 256u); /* handles; 4 TiB, and what is more goes into the last */
    type16_array(b, info->ram_bytes, dimms);
    for (unsigned i = 0; i < dimms && !from_file(b, 17); i++) {
        uint64_t here = i + 1 < dimms ? MIN(left, DIMM_MAX) : left;

        type17_dimm(b, i, here);
        left -= here;
    }
    type19_mapped(b, 0, 0, info->below_4g);
    if (info->ram_bytes > info->below_4g)
        type19_mapped(b, 1, 4 * VIV_GIB, info->ram_bytes - info->below_4g);
}

/* 5.2.1 and 5.2.2 */
static void entry_points(uint8_t *e, const struct builder *b, uint32_t base)
{
    uint32_t table = base + VIV_SMBIOS_ENTRIES;
    uint32_t len = b->buf->len - VIV_SMBIOS_ENTRIES;
    uint8_t *e3 = e + 32;

    memcpy(e, "_SM_", 4);
    e[5] = 0x1f;
    e[6] = 2;
    e[7] = 8;
    viv_st_le16(e + 8, (uint16_t)b->largest);
    memcpy(e + 16, "_DMI_", 5);
    viv_st_le16(e + 22, (uint16_t)len);
    viv_st_le32(e + 24, table);
    viv_st_le16(e + 28, (uint16_t)b->count);
    e[30] = 0x28;
    e[21] = viv_checksum8(e + 16, 15);
    e[4] = viv_checksum8(e, 0x1f);

    memcpy(e3, "_SM3_", 5);
    e3[6] = 0x18;
    e3[7] = 3;
    e3[10] = 1;
    viv_st_le32(e3 + 12, len);
    viv_st_le64(e3 + 16, table);
    e3[5] = viv_checksum8(e3, 0x18);
}

int viv_smbios_build(const struct viv_smbios_info *info, uint32_t base, size_t max, uint8_t **out,
                     size_t *len, struct viv_err *err)
{
    struct builder b = {.info = info, .buf = g_byte_array_new(), .text = g_string_new(NULL)};
    int ret = 0;

    g_assert(viv_is_aligned(base, 16));
    g_byte_array_set_size(b.buf, VIV_SMBIOS_ENTRIES);
    memset(b.buf->data, 0, VIV_SMBIOS_ENTRIES);
    if ((!info->firmware || (info->given && info->given->of[0])) && !from_file(&b, 0))
        type0_bios(&b);
    if (!from_file(&b, 1))
        type1_system(&b, info);
    if (!from_file(&b, 3))
        type3_chassis(&b);
    for (unsigned i = 0; i < info->sockets && !from_file(&b, 4); i++)
        type4_cpu(&b, info, i);
    wanted(&b);
    memory_types(&b, info);
    begin(&b, 32, 0x0b, HANDLE_BOOT); /* no boot error (7.33) */
    end(&b);
    begin(&b, 127, 4, HANDLE_END);
    end(&b);
    entry_points(b.buf->data, &b, base);
    g_string_free(b.text, TRUE);
    if (b.buf->len > max || b.buf->len > 0xffff)
        ret = viv_fail(err, ENOSPC, "SMBIOS tables for %u sockets take %u bytes, the BIOS area has %zu",
                       info->sockets, b.buf->len, max);
    if (ret) {
        g_byte_array_unref(b.buf);
        return ret;
    }
    *len = b.buf->len;
    *out = g_byte_array_free(b.buf, FALSE);
    return 0;
}
