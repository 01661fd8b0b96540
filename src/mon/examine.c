/* x, xp, print, i, o, memsave, pmemsave, cpu: looking at and into memory, ports, registers. */
#include "mon/mon_int.h"

#include "accel/accel.h"
#include "base/units.h"
#include "cpu/vcpu.h"
#include "cpu/x86/state.h"
#include "cpu/x86/xlate/disasm.h"
#include "host/open.h"
#include "machine/vm.h"
#include "mem/space.h"
#include "mon/expr.h"
#include "mon/memory.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define COMMAND(name) static int name(struct viv_opts *o, json_t **result, struct viv_err *err)

#define COUNT_MAX 65536

static unsigned current; /* CPU: what "cpu N" chose */

unsigned viv_mon_current_cpu(void)
{
    return current;
}

struct viv_vcpu *viv_mon_cpu(struct viv_err *err)
{
    if (!viv_vcpu_count)
        viv_fail(err, ENODEV, "No CPU: machine '%s' has none", viv_vm_config()->cls->name);
    return viv_vcpu_count ? viv_vcpus[current] : NULL;
}

int viv_mon_choose_cpu(int64_t n, struct viv_err *err)
{
    if (!viv_mon_cpu(err))
        return -ENODEV;
    if (n < 0 || n >= viv_vcpu_count)
        return viv_fail(err, EINVAL, "there is no CPU %" PRId64 ": 0 to %u", n, viv_vcpu_count - 1);
    current = (unsigned)n;
    return 0;
}

/* ---- formats: /COUNT FORMAT SIZE, in any order ---- */

struct format {
    unsigned count;
    char letter; /* o d u x c i */
    unsigned size;
};

/* What is not said is as it was said last. */
static int parse_format(const char *text, struct format *f, struct viv_err *err)
{
    static char letter = 'x';
    static unsigned size = 4;

    *f = (struct format){1, letter, size};
    if (!text)
        return 0;
    text++;
    if (g_ascii_isdigit(*text)) {
        char *end;
        guint64 n = g_ascii_strtoull(text, &end, 10);

        if (!n || n > COUNT_MAX)
            return viv_fail(err, EINVAL, "count %.20s: 1 to %u", text, COUNT_MAX);
        f->count = (unsigned)n;
        text = end;
    }
    for (; *text; text++) {
        const char *sizes = "bhwg", *at = strchr(sizes, *text);

        if (at)
            f->size = 1u << (at - sizes);
        else if (strchr("oduxci", *text))
            f->letter = *text;
        else
            return viv_fail(err, EINVAL, "format '%c': o d u x c i, size b h w g", *text);
    }
    if (f->letter == 'c')
        f->size = 1;
    letter = f->letter;
    size = f->size;
    return 0;
}

static void put_char(GString *out, uint8_t c)
{
    if (c == '\'' || c == '\\')
        g_string_append_printf(out, "'\\%c'", c);
    else if (g_ascii_isprint((char)c))
        g_string_append_printf(out, "'%c'", c);
    else if (c == '\n' || c == '\r')
        g_string_append_printf(out, "'\\%c'", c == '\n' ? 'n' : 'r');
    else
        g_string_append_printf(out, "'\\x%02x'", c);
}

static int64_t extend(uint64_t v, unsigned size)
{
    return (int64_t)(v << (64 - 8 * size)) >> (64 - 8 * size);
}

static void put_value(GString *out, uint64_t v, char letter, unsigned size)
{
    static const uint8_t digits[9] = {[1] = 3, [2] = 5, [4] = 10, [8] = 20}, octal[9] = {[1] = 3, [2] = 6, [4] = 11, [8] = 22};

    switch (letter) {
    case 'o': g_string_append_printf(out, "%#*" PRIo64, octal[size], v); break;
    case 'd': g_string_append_printf(out, "%*" PRId64, digits[size], extend(v, size)); break;
    case 'u': g_string_append_printf(out, "%*" PRIu64, digits[size], v); break;
    case 'c': put_char(out, (uint8_t)v); break;
    default: g_string_append_printf(out, "0x%0*" PRIx64, (int)(2 * size), v); break;
    }
}

/* ---- x, xp ---- */

static void dump(GString *out, struct viv_vcpu *v, uint64_t addr, const struct format *f)
{
    unsigned line = f->size == 1 ? 8 : 16 / f->size;

    for (unsigned i = 0; i < f->count; i++, addr += f->size) {
        uint64_t value = 0;

        if (i % line == 0)
            g_string_append_printf(out, "%s%016" PRIx64 ":", i ? "\n" : "", addr);
        if (viv_mon_mem_read(v, addr, (uint8_t *)&value, f->size) < f->size) {
            g_string_append(out, " Cannot access memory");
            break;
        }
        g_string_append_c(out, ' ');
        put_value(out, value, f->letter, f->size);
    }
    g_string_append_c(out, '\n');
}

static int disassemble(GString *out, struct viv_vcpu *v, const struct viv_x86 *c, uint64_t addr, unsigned count, struct viv_err *err)
{
    int rc = viv_xlate_disasm_load(err);

    for (unsigned i = 0; i < count && !rc; i++) {
        uint8_t code[16];
        char text[128];
        size_t have = viv_mon_mem_read(v, addr, code, 15);
        unsigned n = have ? viv_xlate_disasm_one(code, have, addr, c->mode, text, sizeof(text)) : 0;

        g_string_append_printf(out, "0x%08" PRIx64 ":", addr);
        if (!n) {
            g_string_append(out, " unable to read memory\n");
            break;
        }
        g_string_append_c(out, ' ');
        for (unsigned k = 0; k < MAX(n, 8); k++) {
            if (k < n)
                g_string_append_printf(out, " %02x", code[k]);
            else
                g_string_append(out, "   ");
        }
        g_string_append_printf(out, "  %s\n", text);
        addr += n;
    }
    return rc;
}

static const struct viv_opt_def examine_args[] = {
    {.name = "fmt", .type = VIV_OPT_STR},
    {.name = "addr", .type = VIV_OPT_STR, .required = true},
    VIV_OPT_END,
};

static int examine(struct viv_opts *o, bool physical, json_t **result, struct viv_err *err)
{
    struct viv_vcpu *cpu = viv_mon_cpu(err), *v = physical ? NULL : cpu;
    struct format f;
    uint64_t addr;
    int rc = cpu ? parse_format(viv_opts_str(o, "fmt"), &f, err) : -ENODEV;
    bool running = viv_mon_freeze();

    if (!rc)
        rc = viv_mon_expr(cpu, viv_opts_str(o, "addr"), &addr, err);
    if (!rc) {
        GString *out = g_string_new(NULL);

        if (f.letter == 'i')
            rc = disassemble(out, v, cpu->x86, addr, f.count, err);
        else
            dump(out, v, addr, &f);
        *result = rc ? NULL : json_string(out->str);
        g_string_free(out, TRUE);
    }
    viv_mon_thaw(running);
    return rc;
}

COMMAND(examine_linear)
{
    return examine(o, false, result, err);
}

COMMAND(examine_physical)
{
    return examine(o, true, result, err);
}

/* ---- print, i, o ---- */

static int value_of(const char *text, uint64_t *value, struct viv_err *err)
{
    struct viv_vcpu *cpu = viv_mon_cpu(err);
    bool running = viv_mon_freeze();
    int rc = cpu ? viv_mon_expr(cpu, text, value, err) : -ENODEV;

    viv_mon_thaw(running);
    return rc;
}

static int finish(GString *out, json_t **result)
{
    *result = json_string(out->str);
    g_string_free(out, TRUE);
    return 0;
}

COMMAND(print)
{
    struct format f;
    uint64_t v;
    GString *out;
    int rc = parse_format(viv_opts_str(o, "fmt"), &f, err);

    if (!rc)
        rc = value_of(viv_opts_str(o, "addr"), &v, err);
    if (rc < 0)
        return rc;
    out = g_string_new(NULL);
    switch (f.letter) {
    case 'o': g_string_append_printf(out, "%#" PRIo64 "\n", v); break;
    case 'd': g_string_append_printf(out, "%" PRId64 "\n", (int64_t)v); break;
    case 'u': g_string_append_printf(out, "%" PRIu64 "\n", v); break;
    case 'c': put_char(out, (uint8_t)v), g_string_append_c(out, '\n'); break;
    default: g_string_append_printf(out, "%#" PRIx64 "\n", v); break;
    }
    return finish(out, result);
}

static int port(struct viv_opts *o, uint16_t *n, struct format *f, struct viv_err *err)
{
    uint64_t v;
    int rc = parse_format(viv_opts_str(o, "fmt") ? viv_opts_str(o, "fmt") : "/b", f, err);

    if (!rc)
        rc = value_of(viv_opts_str(o, "addr"), &v, err);
    if (!rc && (v > 0xffff || f->size > 4))
        rc = viv_fail(err, EINVAL, "ports are 0 to 0xffff, of 1, 2 or 4 bytes (/b, /h, /w)");
    *n = (uint16_t)(rc ? 0 : v);
    return rc;
}

COMMAND(port_in)
{
    struct format f;
    uint16_t n;
    int rc = port(o, &n, &f, err);
    GString *out;

    if (rc < 0)
        return rc;
    out = g_string_new(NULL);
    g_string_append_printf(out, "port%c[0x%04x] = 0x%0*" PRIx64 "\n", " bw l"[f.size], n, (int)(2 * f.size),
                           viv_space_read_locked(viv_vm_board()->io, n, f.size));
    return finish(out, result);
}

static const struct viv_opt_def out_args[] = {
    {.name = "fmt", .type = VIV_OPT_STR},
    {.name = "addr", .type = VIV_OPT_STR, .required = true},
    {.name = "value", .type = VIV_OPT_STR, .required = true},
    VIV_OPT_END,
};

COMMAND(port_out)
{
    struct format f;
    uint64_t v;
    uint16_t n;
    int rc = port(o, &n, &f, err);

    if (!rc)
        rc = value_of(viv_opts_str(o, "value"), &v, err);
    if (!rc)
        viv_space_write_locked(viv_vm_board()->io, n, v, f.size);
    return rc;
}

/* ---- memsave ---- */

static const struct viv_opt_def memsave_args[] = {
    {.name = "val", .type = VIV_OPT_INT, .required = true, .min = INT64_MIN, .max = INT64_MAX},
    {.name = "size", .type = VIV_OPT_INT, .required = true, .min = 1, .max = INT64_MAX},
    {.name = "filename", .type = VIV_OPT_STR, .required = true},
    {.name = "cpu-index", .type = VIV_OPT_INT, .min = 0, .max = INT32_MAX},
    VIV_OPT_END,
};

/* Physical memory (no v) has holes, the one below 1 MiB on every PC: they are zeros, and so are devices. */
static int save_to(FILE *file, struct viv_vcpu *v, uint64_t addr, uint64_t size, struct viv_err *err)
{
    uint8_t buf[4096];

    while (size) {
        size_t n = (size_t)MIN(size, sizeof(buf) - addr % sizeof(buf)), got = viv_mon_mem_read(v, addr, buf, n);

        if (!v)
            memset(buf + got, 0, n - got);
        else if (got < n)
            return viv_fail(err, EINVAL, "Invalid addr 0x%016" PRIx64 "/size %" PRIu64 " specified", addr, size);
        if (fwrite(buf, 1, n, file) != n)
            return viv_fail_os(err, errno, "cannot write");
        addr += n;
        size -= n;
    }
    return 0;
}

static int save(struct viv_opts *o, struct viv_vcpu *v, struct viv_err *err)
{
    const char *path = viv_opts_str(o, "filename");
    int fd = viv_open(path, O_WRONLY | O_CREAT | O_TRUNC, 0666, err), rc;
    FILE *file = fd < 0 ? NULL : fdopen(fd, "wb");
    bool running;

    if (!file)
        return fd < 0 ? fd : viv_fail_os(err, errno, "%s", path);
    running = viv_mon_freeze();
    rc = save_to(file, v, (uint64_t)viv_opts_int(o, "val"), (uint64_t)viv_opts_int(o, "size"), err);
    viv_mon_thaw(running);
    if (fclose(file) && !rc)
        rc = viv_fail_os(err, errno, "%s", path);
    return rc;
}

COMMAND(memsave)
{
    int64_t n = viv_opts_given(o, "cpu-index") ? viv_opts_int(o, "cpu-index") : current;

    if (!viv_mon_cpu(err))
        return -ENODEV;
    if (n >= viv_vcpu_count)
        return viv_fail(err, EINVAL, "there is no CPU %" PRId64 ": 0 to %u", n, viv_vcpu_count - 1);
    return save(o, viv_vcpus[n], err);
}

COMMAND(pmemsave)
{
    return save(o, NULL, err);
}

static const struct viv_opt_def cpu_args[] = {
    {.name = "index", .type = VIV_OPT_INT, .required = true, .min = 0, .max = INT32_MAX},
    VIV_OPT_END,
};

COMMAND(choose_cpu)
{
    return viv_mon_choose_cpu(viv_opts_int(o, "index"), err);
}

const struct viv_mon_cmd viv_mon_examine[] = {
    {"x", NULL, "/fmt addr", examine_args, "memory at a linear address: /COUNT, o d u x c i, b h w g", examine_linear, .hmp_rest = true},
    {"xp", NULL, "/fmt addr", examine_args, "memory at a physical address", examine_physical, .hmp_rest = true},
    {"print", NULL, "/fmt addr", examine_args, "the value of an expression ($rip and the like are registers)", print, .hmp_rest = true},
    {"p", NULL, "/fmt addr", examine_args, "the value of an expression", print, .hmp_rest = true},
    {"i", NULL, "/fmt addr", examine_args, "reads an I/O port", port_in},
    {"o", NULL, "/fmt addr value", out_args, "writes an I/O port", port_out},
    {"cpu", NULL, "index", cpu_args, "the CPU that x, print and memsave are about", choose_cpu},
    {"memsave", "memsave", "val size filename:file", memsave_args, "saves memory at a linear address to a file", memsave},
    {"pmemsave", "pmemsave", "val size filename:file", memsave_args, "saves memory at a physical address to a file", pmemsave},
    {0},
};
