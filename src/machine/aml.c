#include "machine/aml.h"

#include "base/bytes.h"

#include <glib.h>
#include <string.h>

#define MAX_DEPTH 16

enum { /* ACPI 6.4, 20.3 */
    OP_ZERO = 0x00, OP_ONE = 0x01, OP_NAME = 0x08, OP_BYTE = 0x0a, OP_WORD = 0x0b, OP_DWORD = 0x0c,
    OP_STRING = 0x0d, OP_QWORD = 0x0e, OP_SCOPE = 0x10, OP_BUFFER = 0x11, OP_PACKAGE = 0x12,
    OP_METHOD = 0x14, OP_DUAL_NAME = 0x2e, OP_MULTI_NAME = 0x2f, OP_EXT = 0x5b, OP_LOCAL0 = 0x60,
    OP_ARG0 = 0x68, OP_STORE = 0x70, OP_AND = 0x7b, OP_OR = 0x7d, OP_NOTIFY = 0x86,
    OP_DWORD_FIELD = 0x8a, OP_EQUAL = 0x93, OP_IF = 0xa0, OP_ELSE = 0xa1,
    OP_RETURN = 0xa4,
    EXT_MUTEX = 0x01, EXT_ACQUIRE = 0x23, EXT_RELEASE = 0x27, EXT_REGION = 0x80, EXT_FIELD = 0x81, EXT_DEVICE = 0x82,
};

struct open_term {
    size_t start;   /* where the PkgLength goes */
    bool resources; /* a buffer whose size is put in at the close as well */
};

struct viv_aml {
    GByteArray *buf;
    struct open_term open[MAX_DEPTH];
    unsigned depth;
};

struct viv_aml *viv_aml_new(void)
{
    struct viv_aml *a = g_new0(struct viv_aml, 1);

    a->buf = g_byte_array_new();
    return a;
}

void viv_aml_free(struct viv_aml *a)
{
    if (!a)
        return;
    g_byte_array_unref(a->buf);
    g_free(a);
}

const uint8_t *viv_aml_data(const struct viv_aml *a, size_t *len)
{
    g_assert(a->depth == 0);
    *len = a->buf->len;
    return a->buf->data;
}

static void put(struct viv_aml *a, const void *data, size_t len)
{
    g_byte_array_append(a->buf, data, (guint)len);
}

static void put8(struct viv_aml *a, uint8_t v)
{
    put(a, &v, 1);
}

static void put16(struct viv_aml *a, uint16_t v)
{
    uint8_t b[2];

    viv_st_le16(b, v);
    put(a, b, 2);
}

static void put32(struct viv_aml *a, uint32_t v)
{
    uint8_t b[4];

    viv_st_le32(b, v);
    put(a, b, 4);
}

static void put64(struct viv_aml *a, uint64_t v)
{
    uint8_t b[8];

    viv_st_le64(b, v);
    put(a, b, 8);
}

/* A NameSeg is four characters, padded with '_'. */
static void put_seg(struct viv_aml *a, const char *seg, size_t len)
{
    char out[4] = {'_', '_', '_', '_'};

    g_assert(len >= 1 && len <= 4);
    memcpy(out, seg, len);
    put(a, out, 4);
}

static void put_path(struct viv_aml *a, const char *name)
{
    unsigned segs = 1;

    while (*name == '\\' || *name == '^')
        put8(a, (uint8_t)*name++);
    if (!*name) {
        put8(a, 0); /* NullName: the root itself */
        return;
    }
    for (const char *p = name; *p; p++)
        segs += *p == '.';
    if (segs == 2) {
        put8(a, OP_DUAL_NAME);
    } else if (segs > 2) {
        put8(a, OP_MULTI_NAME);
        put8(a, (uint8_t)segs);
    }
    while (segs--) {
        size_t len = strcspn(name, ".");

        put_seg(a, name, len);
        name += len + (name[len] == '.');
    }
}

static void open_term(struct viv_aml *a, bool resources)
{
    g_assert(a->depth < MAX_DEPTH);
    a->open[a->depth++] = (struct open_term){a->buf->len, resources};
}

/* PkgLength counts its own bytes: 1 byte up to 63, else 4 bits in the lead byte and 8 in each that follows
 * (20.2.4). */
static unsigned encode_pkg_length(uint8_t out[4], size_t body)
{
    unsigned n = body + 1 <= 0x3f ? 1 : body + 2 <= 0xfff ? 2 : body + 3 <= 0xfffff ? 3 : 4;
    size_t len = body + n;

    g_assert(len <= 0xfffffff);
    if (n == 1) {
        out[0] = (uint8_t)len;
        return 1;
    }
    out[0] = (uint8_t)((n - 1) << 6 | (len & 0xf));
    for (unsigned i = 1; i < n; i++)
        out[i] = (uint8_t)(len >> (4 + 8 * (i - 1)));
    return n;
}

static void insert(struct viv_aml *a, size_t at, const uint8_t *data, unsigned len)
{
    size_t old = a->buf->len;

    g_byte_array_set_size(a->buf, (guint)(old + len));
    memmove(a->buf->data + at + len, a->buf->data + at, old - at);
    memcpy(a->buf->data + at, data, len);
}

static void insert_int16(struct viv_aml *a, size_t at, uint16_t v)
{
    uint8_t b[3] = {OP_WORD};

    viv_st_le16(b + 1, v);
    insert(a, at, b, 3);
}

void viv_aml_close(struct viv_aml *a)
{
    uint8_t len[4];
    struct open_term *t;

    g_assert(a->depth > 0);
    t = &a->open[--a->depth];
    if (t->resources) {
        put16(a, 0x0079); /* end tag, checksum 0: not used */
        insert_int16(a, t->start, (uint16_t)(a->buf->len - t->start));
    }
    insert(a, t->start, len, encode_pkg_length(len, a->buf->len - t->start));
}

void viv_aml_scope(struct viv_aml *a, const char *name)
{
    put8(a, OP_SCOPE);
    open_term(a, false);
    put_path(a, name);
}

void viv_aml_device(struct viv_aml *a, const char *name)
{
    put8(a, OP_EXT);
    put8(a, EXT_DEVICE);
    open_term(a, false);
    put_path(a, name);
}

void viv_aml_method(struct viv_aml *a, const char *name, unsigned args, bool serialized)
{
    put8(a, OP_METHOD);
    open_term(a, false);
    put_path(a, name);
    put8(a, (uint8_t)(args | (serialized ? 8 : 0)));
}

void viv_aml_package(struct viv_aml *a, unsigned count)
{
    put8(a, OP_PACKAGE);
    open_term(a, false);
    g_assert(count <= 255);
    put8(a, (uint8_t)count);
}

void viv_aml_if(struct viv_aml *a)
{
    put8(a, OP_IF);
    open_term(a, false);
}

void viv_aml_else(struct viv_aml *a)
{
    put8(a, OP_ELSE);
    open_term(a, false);
}

void viv_aml_name(struct viv_aml *a, const char *name)
{
    put8(a, OP_NAME);
    put_path(a, name);
}

void viv_aml_int(struct viv_aml *a, uint64_t v)
{
    if (v <= 1) {
        put8(a, v ? OP_ONE : OP_ZERO);
    } else if (v <= 0xff) {
        put8(a, OP_BYTE);
        put8(a, (uint8_t)v);
    } else if (v <= 0xffff) {
        put8(a, OP_WORD);
        put16(a, (uint16_t)v);
    } else if (v <= 0xffffffff) {
        put8(a, OP_DWORD);
        put32(a, (uint32_t)v);
    } else {
        put8(a, OP_QWORD);
        put64(a, v);
    }
}

void viv_aml_string(struct viv_aml *a, const char *s)
{
    put8(a, OP_STRING);
    put(a, s, strlen(s) + 1);
}

/* Three letters of five bits, four hex digits, big-endian (19.3.4). */
void viv_aml_eisaid(struct viv_aml *a, const char *id)
{
    uint32_t v = 0;
    uint8_t b[4];

    g_assert(strlen(id) == 7);
    for (int i = 0; i < 3; i++)
        v = v << 5 | (uint32_t)(id[i] - 0x40);
    for (int i = 3; i < 7; i++)
        v = v << 4 | (uint32_t)g_ascii_xdigit_value(id[i]);
    viv_st_be32(b, v);
    put8(a, OP_DWORD);
    put(a, b, 4);
}

/* Below 56 bytes, so that the PkgLength is one byte (20.2.4). */
void viv_aml_buffer(struct viv_aml *a, const uint8_t *data, uint8_t len)
{
    g_assert(len < 56);
    put8(a, OP_BUFFER);
    put8(a, (uint8_t)(len + 3)); /* itself, and the size as a byte constant */
    put8(a, OP_BYTE);
    put8(a, len);
    put(a, data, len);
}

void viv_aml_ref(struct viv_aml *a, const char *name)
{
    put_path(a, name);
}

void viv_aml_arg(struct viv_aml *a, unsigned n)
{
    put8(a, (uint8_t)(OP_ARG0 + n));
}

void viv_aml_local(struct viv_aml *a, unsigned n)
{
    put8(a, (uint8_t)(OP_LOCAL0 + n));
}

void viv_aml_return(struct viv_aml *a)
{
    put8(a, OP_RETURN);
}

void viv_aml_store(struct viv_aml *a)
{
    put8(a, OP_STORE);
}

void viv_aml_and(struct viv_aml *a)
{
    put8(a, OP_AND);
}

void viv_aml_or(struct viv_aml *a)
{
    put8(a, OP_OR);
}

void viv_aml_equal(struct viv_aml *a)
{
    put8(a, OP_EQUAL);
}

static void mutex_term(struct viv_aml *a, uint8_t op, const char *name)
{
    put8(a, OP_EXT);
    put8(a, op);
    put_path(a, name);
}

void viv_aml_mutex(struct viv_aml *a, const char *name)
{
    mutex_term(a, EXT_MUTEX, name);
    put8(a, 0); /* SyncLevel */
}

void viv_aml_acquire(struct viv_aml *a, const char *mutex)
{
    mutex_term(a, EXT_ACQUIRE, mutex);
    put16(a, 0xffff);
}

void viv_aml_release(struct viv_aml *a, const char *mutex)
{
    mutex_term(a, EXT_RELEASE, mutex);
}

void viv_aml_null(struct viv_aml *a)
{
    put8(a, 0);
}

void viv_aml_notify(struct viv_aml *a, const char *object, uint64_t value)
{
    put8(a, OP_NOTIFY);
    put_path(a, object);
    viv_aml_int(a, value);
}

void viv_aml_dword_field(struct viv_aml *a)
{
    put8(a, OP_DWORD_FIELD);
}

void viv_aml_region(struct viv_aml *a, const char *name, uint8_t space, uint64_t offset, uint64_t len)
{
    put8(a, OP_EXT);
    put8(a, EXT_REGION);
    put_path(a, name);
    put8(a, space);
    viv_aml_int(a, offset);
    viv_aml_int(a, len);
}

void viv_aml_field(struct viv_aml *a, const char *region, unsigned access_bytes,
                   const char *const *names, unsigned count, unsigned bits)
{
    put8(a, OP_EXT);
    put8(a, EXT_FIELD);
    open_term(a, false);
    put_path(a, region);
    put8(a, access_bytes == 1 ? 1 : access_bytes == 2 ? 2 : 3); /* ByteAcc, WordAcc, DWordAcc */
    g_assert(bits < 64);
    for (unsigned i = 0; i < count; i++) {
        put_path(a, names[i]);
        put8(a, (uint8_t)bits);
    }
    viv_aml_close(a);
}

void viv_aml_resources(struct viv_aml *a)
{
    put8(a, OP_BUFFER);
    open_term(a, true);
}

void viv_aml_res_io(struct viv_aml *a, uint16_t base, uint8_t len)
{
    put8(a, 0x47); /* I/O port descriptor, 7 bytes */
    put8(a, 1);    /* decodes 16 bits */
    put16(a, base);
    put16(a, base);
    put8(a, 1); /* alignment */
    put8(a, len);
}

void viv_aml_res_irq(struct viv_aml *a, unsigned irq)
{
    put8(a, 0x22); /* IRQ descriptor without flags: edge, active high */
    put16(a, (uint16_t)(1u << irq));
}

void viv_aml_res_dma(struct viv_aml *a, unsigned channel)
{
    put8(a, 0x2a); /* compatibility mode, 8 bits, not a bus master */
    put8(a, (uint8_t)(1u << channel));
    put8(a, 0);
}

void viv_aml_res_mem32(struct viv_aml *a, uint32_t base, uint32_t len)
{
    put8(a, 0x86); /* 32-bit fixed memory range */
    put16(a, 9);
    put8(a, 1); /* read-write */
    put32(a, base);
    put32(a, len);
}

void viv_aml_res_gsi(struct viv_aml *a, const uint32_t *gsi, unsigned count, bool level,
                     bool active_low, bool shared)
{
    put8(a, 0x89); /* extended interrupt */
    put16(a, (uint16_t)(2 + 4 * count));
    put8(a, (uint8_t)(1 | (level ? 0 : 2) | (active_low ? 4 : 0) | (shared ? 8 : 0)));
    put8(a, (uint8_t)count);
    for (unsigned i = 0; i < count; i++)
        put32(a, gsi[i]);
}

enum { RES_MEMORY = 0, RES_IO = 1, RES_BUS = 2 };

/* Address space descriptors: producer, positive decode, both ends fixed (6.4.3.5). */
static void window_head(struct viv_aml *a, uint8_t tag, uint16_t len, uint8_t type, uint8_t flags)
{
    put8(a, tag);
    put16(a, len);
    put8(a, type);
    put8(a, 0x0c);
    put8(a, flags);
}

static void word_window(struct viv_aml *a, uint8_t type, uint8_t flags, uint16_t first, uint16_t last)
{
    window_head(a, 0x88, 13, type, flags);
    put16(a, 0); /* granularity */
    put16(a, first);
    put16(a, last);
    put16(a, 0); /* translation */
    put16(a, (uint16_t)(last - first + 1));
}

void viv_aml_res_bus(struct viv_aml *a, uint16_t first, uint16_t last)
{
    word_window(a, RES_BUS, 0, first, last);
}

void viv_aml_res_io_window(struct viv_aml *a, uint16_t first, uint16_t last)
{
    word_window(a, RES_IO, 3 /* entire range */, first, last);
}

void viv_aml_res_mem_window(struct viv_aml *a, uint64_t first, uint64_t last, bool cacheable)
{
    uint8_t flags = (uint8_t)(1 | (cacheable ? 2 : 0)); /* read-write */

    if (last <= 0xffffffff) {
        window_head(a, 0x87, 23, RES_MEMORY, flags);
        put32(a, 0);
        put32(a, (uint32_t)first);
        put32(a, (uint32_t)last);
        put32(a, 0);
        put32(a, (uint32_t)(last - first + 1));
        return;
    }
    window_head(a, 0x8a, 43, RES_MEMORY, flags);
    put64(a, 0);
    put64(a, first);
    put64(a, last);
    put64(a, 0);
    put64(a, last - first + 1);
}
