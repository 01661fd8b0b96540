#include "cpu/x86/xlate/disasm.h"

#include "cpu/vcpu.h"
#include "cpu/x86/state.h"
#include "host/library.h"

#include <capstone/capstone.h>
#include <errno.h>
#include <glib.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdbool.h>

/* The library's binary interface is that of the header's major number. */
#define STRING_(x) #x
#define STRING(x)  STRING_(x)
#define LIBRARY    "libcapstone.so." STRING(CS_API_MAJOR)

#define FUNCTIONS(_) _(open) _(malloc) _(disasm_iter)
static struct api {
#define MEMBER(name) typeof(cs_##name) *name;
    FUNCTIONS(MEMBER)
#undef MEMBER
} cs;

static const struct viv_library_symbol symbols[] = {
#define SYMBOL(name) {"cs_" #name, offsetof(struct api, name)},
    FUNCTIONS(SYMBOL)
#undef SYMBOL
};

static struct viv_library library = {
    .need = "disassembly needs",
    .title = "the disassembler Capstone",
    .package = "libcapstone" STRING(CS_API_MAJOR),
    .names = {LIBRARY},
    .api = &cs,
    .symbols = symbols,
    .count = sizeof(symbols) / sizeof(*symbols),
    .lock = PTHREAD_MUTEX_INITIALIZER,
};

/* A handle is not for two threads at once. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct decoder {
    cs_mode mode;
    csh handle;
    cs_insn *insn;
} decoders[] = {{.mode = CS_MODE_16}, {.mode = CS_MODE_32}, {.mode = CS_MODE_64}};
static bool loaded;

int viv_xlate_disasm_load(struct viv_err *err)
{
    int rc = viv_library_load(&library, err);

    if (rc < 0 || loaded)
        return rc;
    for (size_t i = 0; i < 3; i++) {
        struct decoder *d = &decoders[i];

        if (cs.open(CS_ARCH_X86, d->mode, &d->handle) != CS_ERR_OK || !(d->insn = cs.malloc(d->handle)))
            return viv_fail(err, ENOTSUP, "%s: cannot disassemble x86", LIBRARY);
    }
    loaded = true;
    return 0;
}

static const struct decoder *decoder_for(unsigned mode)
{
    switch ((enum viv_cpu_mode)mode) {
    case VIV_MODE_LONG:
        return &decoders[2];
    case VIV_MODE_PROT32:
    case VIV_MODE_COMPAT32:
        return &decoders[1];
    default:
        return &decoders[0];
    }
}

unsigned viv_xlate_disasm_one(const uint8_t *code, size_t n, uint64_t at, unsigned mode, char *text, size_t size)
{
    const struct decoder *d = decoder_for(mode);
    unsigned len = 1;

    if (!loaded || !n)
        return 0;
    pthread_mutex_lock(&lock);
    if (cs.disasm_iter(d->handle, &code, &n, &at, d->insn)) {
        g_snprintf(text, size, "%s%s%s", d->insn->mnemonic, *d->insn->op_str ? " " : "", d->insn->op_str);
        len = d->insn->size;
    } else {
        g_snprintf(text, size, "(bad)");
    }
    pthread_mutex_unlock(&lock);
    return len;
}

static void put_line(FILE *f, uint64_t at, const uint8_t *code, size_t n, const char *name, const char *operands)
{
    fprintf(f, "0x%016" PRIx64 ":  ", at);
    for (size_t i = 0; i < n; i++)
        fprintf(f, "%02x ", code[i]);
    for (size_t i = n; i < 11; i++)
        fputs("   ", f);
    fprintf(f, " %s%s%s\n", name, *operands ? " " : "", operands);
}

/* What capstone does not know is one byte of data. */
static void put_code(FILE *f, const struct decoder *d, const uint8_t *code, size_t n, uint64_t at)
{
    while (n) {
        const uint8_t *start = code;
        uint64_t address = at;

        if (!cs.disasm_iter(d->handle, &code, &n, &at, d->insn)) {
            put_line(f, address, start, 1, "(bad)", "");
            code = start + 1;
            n--;
            at = address + 1;
            continue;
        }
        put_line(f, address, start, d->insn->size, d->insn->mnemonic, d->insn->op_str);
    }
}

static void put_entry(FILE *f, const char *title, const char *what, const struct decoder *d, const uint8_t *code, size_t n,
                      uint64_t at)
{
    if (!loaded)
        return;
    pthread_mutex_lock(&lock);
    flockfile(f);
    fprintf(f, "%s: CPU %u%s\n", title, viv_vcpu_self ? viv_vcpu_self->index : 0, what);
    put_code(f, d, code, n, at);
    fputc('\n', f);
    funlockfile(f);
    pthread_mutex_unlock(&lock);
}

void viv_xlate_log_in(FILE *f, uint64_t rip, const uint8_t *code, size_t n, unsigned mode)
{
    static const char *const names[] = {
        [VIV_MODE_REAL] = ", real mode",         [VIV_MODE_V86] = ", virtual-8086 mode",
        [VIV_MODE_PROT16] = ", 16 bits",         [VIV_MODE_PROT32] = ", 32 bits",
        [VIV_MODE_COMPAT16] = ", 16 bits (compatibility mode)",
        [VIV_MODE_COMPAT32] = ", 32 bits (compatibility mode)",
        [VIV_MODE_LONG] = ", 64 bits",
    };

    put_entry(f, "IN", mode < sizeof(names) / sizeof(names[0]) ? names[mode] : "", decoder_for(mode), code, n, rip);
}

void viv_xlate_log_out(FILE *f, const uint8_t *code, size_t n, uint64_t at)
{
    g_autofree char *what = g_strdup_printf(", %zu bytes", n);

    put_entry(f, "OUT", what, &decoders[2], code, n, at);
}
