/* -smbios: what a person wants the tables to say. */
#include "machine/smbios.h"

#include "base/units.h"
#include "host/datadir.h"

#include <errno.h>
#include <string.h>

#define FILE_MAX (64 * VIV_KIB)
#define HEADER   4

#define TEXT(n, what) {.name = n, .type = VIV_OPT_STR, .help = what}
#define NUMBER(n, most, what) {.name = n, .type = VIV_OPT_INT, .min = 0, .max = most, .help = what}

static const struct viv_opt_def type0[] = {
    TEXT("vendor", "who made the firmware"), TEXT("version", "its version"), TEXT("date", "its date, as mm/dd/yyyy"),
    TEXT("release", "its release, as major.minor"), {.name = "uefi", .type = VIV_OPT_BOOL, .help = "it is a UEFI"},
    VIV_OPT_END,
};
static const struct viv_opt_def type1[] = {
    TEXT("manufacturer", "who made the machine"), TEXT("product", "its name"), TEXT("version", "its version"),
    TEXT("serial", "its serial number"), TEXT("uuid", "its UUID (default: that of -uuid)"), TEXT("sku", "its order number"),
    TEXT("family", "its family"),
    VIV_OPT_END,
};
static const struct viv_opt_def type2[] = {
    TEXT("manufacturer", "who made the board"), TEXT("product", "its name"), TEXT("version", "its version"),
    TEXT("serial", "its serial number"), TEXT("asset", "its asset tag"), TEXT("location", "where it is in the case"),
    VIV_OPT_END,
};
static const struct viv_opt_def type3[] = {
    TEXT("manufacturer", "who made the case"), TEXT("version", "its version"), TEXT("serial", "its serial number"),
    TEXT("asset", "its asset tag"), TEXT("sku", "its order number"),
    VIV_OPT_END,
};
static const struct viv_opt_def type4[] = {
    TEXT("sock_pfx", "sockets' names are this and a number"), TEXT("manufacturer", "who made the CPUs"), TEXT("version", "their name"),
    TEXT("serial", "their serial number"), TEXT("asset", "their asset tag"), TEXT("part", "their part number"),
    NUMBER("max-speed", 65535, "MHz"), NUMBER("current-speed", 65535, "MHz"),
    {.name = "processor-id", .type = VIV_OPT_INT, .help = "CPUID's signature and features (default: the CPU model's)"},
    VIV_OPT_END,
};
static const struct viv_opt_def type8[] = {
    TEXT("external_reference", "the name on the case"), TEXT("internal_reference", "the name on the board"),
    NUMBER("connector_type", 255, "of DSP0134, 7.9.2"), NUMBER("port_type", 255, "of DSP0134, 7.9.3"),
    VIV_OPT_END,
};
static const struct viv_opt_def type11[] = {
    {.name = "value", .type = VIV_OPT_LIST, .help = "a text for who looks in the guest"},
    {.name = "path", .type = VIV_OPT_LIST, .help = "the same out of a file"},
    VIV_OPT_END,
};
static const struct viv_opt_def type17[] = {
    TEXT("loc_pfx", "slots' names are this and a number"), TEXT("bank", "the bank's name"), TEXT("manufacturer", "who made the memory"),
    TEXT("serial", "its serial number"), TEXT("asset", "its asset tag"), TEXT("part", "its part number"), NUMBER("speed", 65535, "MT/s"),
    VIV_OPT_END,
};
static const struct viv_opt_def *const schemas[VIV_SMBIOS_TYPES] = {
    [0] = type0, [1] = type1, [2] = type2, [3] = type3, [4] = type4, [8] = type8, [11] = type11, [17] = type17};

/* Texts lie in a table that ends each with a 0, and none is empty (DSP0134 6.1.3). */
static int add_text(struct viv_smbios_given *g, const char *text, size_t len, const char *what, struct viv_err *err)
{
    if (!len || memchr(text, 0, len))
        return viv_fail(err, EINVAL, "%s: a text %s", what, len ? "has no zero bytes" : "cannot be empty");
    if (g->texts->len == 255)
        return viv_fail(err, E2BIG, "%s: 255 texts are what type 11 can hold", what);
    g_ptr_array_add(g->texts, g_strndup(text, len));
    return 0;
}

static int add_texts(struct viv_smbios_given *g, struct viv_opts *o, struct viv_err *err)
{
    int r = 0;

    for (size_t i = 0; !r && i < viv_opts_list_len(o, "value"); i++) {
        const char *text = viv_opts_list_item(o, "value", i);

        r = add_text(g, text, strlen(text), "value=", err);
    }
    for (size_t i = 0; !r && i < viv_opts_list_len(o, "path"); i++) {
        const char *path = viv_opts_list_item(o, "path", i);
        g_autofree uint8_t *data = NULL;
        size_t len = 0;

        r = viv_datadir_read(path, FILE_MAX, &data, &len, err);
        if (!r)
            r = add_text(g, (const char *)data, len, path, err);
    }
    return r;
}

/* A structure as it lies in the table: header, fields, texts to the empty one. */
static bool well_formed(const uint8_t *p, size_t len)
{
    size_t at = len >= HEADER ? p[1] : 0;

    if (at < HEADER || at + 2 > len)
        return false;
    while (at + 2 < len && (p[at] || p[at + 1]))
        at++;
    return at + 2 == len && !p[at] && !p[at + 1];
}

static int add_file(struct viv_smbios_given *g, const char *path, struct viv_err *err)
{
    uint8_t *data = NULL;
    size_t len = 0;
    int r = viv_datadir_read(path, FILE_MAX, &data, &len, err);

    if (r)
        return r;
    if (!well_formed(data, len) || data[0] == 127) {
        g_free(data);
        return viv_fail(err, EINVAL, "'%s' is not one structure of a table: header, fields, texts and two zeros", path);
    }
    if (data[0] < VIV_SMBIOS_TYPES && g->of[data[0]]) {
        r = viv_fail(err, EINVAL, "'%s' has type %u, for which fields were given: say one of both", path, data[0]);
        g_free(data);
        return r;
    }
    if (data[0] < VIV_SMBIOS_TYPES)
        g->from_file |= 1u << data[0];
    g_ptr_array_add(g->files, g_bytes_new_take(data, len));
    return 0;
}

static int check(struct viv_opts *o, unsigned type, struct viv_err *err)
{
    unsigned char major, minor;
    uint8_t uuid[16];
    char end;

    if (type == 0 && viv_opts_given(o, "release") && sscanf(viv_opts_str(o, "release"), "%hhu.%hhu%c", &major, &minor, &end) != 2)
        return viv_fail(err, EINVAL, "release=%.40s: it has to be like 1.0, each up to 255", viv_opts_str(o, "release"));
    if (type == 1 && viv_opts_given(o, "uuid"))
        return viv_parse_uuid(viv_opts_str(o, "uuid"), uuid, err);
    return 0;
}

static int add_fields(struct viv_smbios_given *g, unsigned type, const struct viv_raw_opts *raw, struct viv_err *err)
{
    g_autofree char *what = g_strdup_printf("type=%u", type);
    struct viv_opts *o = g->of[type];
    bool fresh = !o || type == 8 || type == 11;
    int r = 0;

    if (g->from_file >> type & 1)
        return viv_fail(err, EINVAL, "type=%u came from a file: say one of both", type);
    if (fresh)
        o = viv_opts_new(what, schemas[type]);
    for (size_t i = 0; !r && i < viv_raw_count(raw); i++) {
        const char *key, *value;

        viv_raw_at(raw, i, &key, &value);
        if (strcmp(key, "type"))
            r = viv_opts_set(o, key, value, err);
    }
    if (!r)
        r = check(o, type, err);
    if (!r && type == 11)
        r = add_texts(g, o, err);
    if (fresh)
        g_ptr_array_add(g->opts, o);
    if (fresh && !r)
        g->of[type] = o;
    if (!r && type == 8)
        g_ptr_array_add(g->ports, o);
    return r;
}

static int add(struct viv_smbios_given *g, const struct viv_raw_opts *raw, struct viv_err *err)
{
    const char *file = viv_raw_get(raw, "file"), *type = viv_raw_get(raw, "type");
    uint64_t n = 0;
    int r;

    if (file && viv_raw_count(raw) > 1)
        return viv_fail(err, EINVAL, "file= is a whole structure: nothing stands beside it");
    if (file)
        return add_file(g, file, err);
    if (!type)
        return viv_fail(err, EINVAL, "type= or file= is missing");
    r = viv_parse_u64(type, &n, err);
    if (r)
        return r;
    if (n >= VIV_SMBIOS_TYPES || !schemas[n])
        return viv_fail(err, ENOTSUP, "type=%.20s: fields of types 0, 1, 2, 3, 4, 8, 11 and 17 can be given; file= takes any structure", type);
    return add_fields(g, (unsigned)n, raw, err);
}

struct viv_smbios_given *viv_smbios_given_new(void)
{
    struct viv_smbios_given *g = g_new0(struct viv_smbios_given, 1);

    g->texts = g_ptr_array_new_with_free_func(g_free);
    g->ports = g_ptr_array_new();
    g->files = g_ptr_array_new_with_free_func((GDestroyNotify)g_bytes_unref);
    g->opts = g_ptr_array_new_with_free_func((GDestroyNotify)viv_opts_free);
    return g;
}

void viv_smbios_given_free(struct viv_smbios_given *g)
{
    if (!g)
        return;
    g_ptr_array_unref(g->texts);
    g_ptr_array_unref(g->ports);
    g_ptr_array_unref(g->files);
    g_ptr_array_unref(g->opts);
    g_free(g);
}

int viv_smbios_given_add(struct viv_smbios_given *g, const char *text, struct viv_err *err)
{
    struct viv_raw_opts *raw;
    int r = viv_raw_parse("-smbios", NULL, text, &raw, err);

    if (r)
        return r;
    r = add(g, raw, err);
    viv_raw_free(raw);
    if (r)
        viv_err_prefix(err, "-smbios");
    return r;
}
