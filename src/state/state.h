/* Device state as data: one table of fields per struct, used by save, load and the check that no
 * mutable field was forgotten.
 *
 * Every member of a device's struct appears in its table exactly once: saved (VIV_F_*), or as
 * VIV_F_DERIVED (rebuilt by post_load from saved fields, with the reason), or as VIV_F_CONFIG (set when
 * the device is made, constant afterwards: wiring, backends, options). tools/check-state compares
 * the tables with the compiler's debug information and fails `make check` on a difference.
 *
 * Stream: little-endian, self-delimiting. A field is written as its elements; a table is versioned; a
 * section is named by the device's path and carries its length, so a mismatch is an error with a name in
 * it. Loading is of hostile input: lengths are checked, enums are checked by post_load. */
#ifndef VIV_STATE_STATE_H
#define VIV_STATE_STATE_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum viv_field_kind {
    VIV_FIELD_INT,    /* 1, 2, 4 or 8 byte integer or enum; count > 1: an array of them */
    VIV_FIELD_BOOL,   /* the same for bool: load refuses all but 0 and 1. VIV_F_INT picks it */
    VIV_FIELD_BYTES,  /* size bytes as they are */
    VIV_FIELD_STRUCT, /* embedded struct(s) with a table of their own */
    VIV_FIELD_VARBYTES, /* pointer to g_malloc'ed bytes, length in a uint32_t member `len_offset`; bounded */
    VIV_FIELD_TIMER,  /* struct viv_timer *: the expiry, INT64_MAX if not armed */
    VIV_FIELD_CUSTOM, /* save/load functions */
    VIV_FIELD_DERIVED,
    VIV_FIELD_CONFIG,
};

struct viv_state_table;
struct viv_state_writer;
struct viv_state_reader;

struct viv_field {
    const char *name; /* the member's name */
    enum viv_field_kind kind;
    size_t offset;
    size_t size;  /* of one element */
    size_t count; /* elements */
    int since; /* first table version that has it; 0 = always. Older streams leave it as reset has
                   * set it */
    const struct viv_state_table *sub;                         /* STRUCT */
    size_t len_offset;                                         /* VARBYTES */
    size_t max_len;                                            /* VARBYTES */
    void (*save)(struct viv_state_writer *w, const void *obj); /* CUSTOM */
    int (*load)(struct viv_state_reader *r, void *obj, int version,
                struct viv_err *err); /* CUSTOM */
    const char *why;                  /* DERIVED: how it comes back */
};

struct viv_state_table {
    const char *name;  /* in the stream, e.g. "i8254" */
    const char *ctype; /* the C struct's tag, for tools/check-state */
    int version;
    int min_version;                /* oldest that load accepts */
    const struct viv_field *fields; /* ends with a NULL name */
    void (*pre_save)(void *obj);    /* optional */
    int (*post_load)(void *obj, int version,
                     struct viv_err *err); /* optional; checks ranges, rebuilds */
};

#define VIV_FIELD_KIND_OF(value)                                                                   \
    (__builtin_types_compatible_p(__typeof__(value), bool) ? VIV_FIELD_BOOL : VIV_FIELD_INT)

#define VIV_F_INT(type, m)                                                                         \
    {                                                                                              \
        .name = #m, .kind = VIV_FIELD_KIND_OF(((struct type *)0)->m),                              \
        .offset = offsetof(struct type, m), .size = sizeof(((struct type *)0)->m), .count = 1      \
    }
#define VIV_F_INTS(type, m)                                                                        \
    {                                                                                              \
        .name = #m, .kind = VIV_FIELD_KIND_OF(((struct type *)0)->m[0]),                           \
        .offset = offsetof(struct type, m), .size = sizeof(((struct type *)0)->m[0]),              \
        .count = sizeof(((struct type *)0)->m) / sizeof(((struct type *)0)->m[0])                  \
    }
#define VIV_F_BYTES(type, m)                                                                       \
    {                                                                                              \
        .name = #m, .kind = VIV_FIELD_BYTES, .offset = offsetof(struct type, m),                   \
        .size = sizeof(((struct type *)0)->m), .count = 1                                          \
    }
#define VIV_F_STRUCT(type, m, table)                                                               \
    {                                                                                              \
        .name = #m, .kind = VIV_FIELD_STRUCT, .offset = offsetof(struct type, m),                  \
        .size = sizeof(((struct type *)0)->m), .count = 1, .sub = &(table)                         \
    }
#define VIV_F_STRUCTS(type, m, table)                                                              \
    {                                                                                              \
        .name = #m, .kind = VIV_FIELD_STRUCT, .offset = offsetof(struct type, m),                  \
        .size = sizeof(((struct type *)0)->m[0]),                                                  \
        .count = sizeof(((struct type *)0)->m) / sizeof(((struct type *)0)->m[0]), .sub = &(table) \
    }
/* `len_m`, the uint32_t member with the length, is listed as VIV_F_DERIVED. */
#define VIV_F_VARBYTES(type, m, len_m, max)                                                        \
    {                                                                                              \
        .name = #m, .kind = VIV_FIELD_VARBYTES, .offset = offsetof(struct type, m), .size = 1,     \
        .count = 1, .len_offset = offsetof(struct type, len_m), .max_len = (max)                   \
    }
#define VIV_F_TIMER(type, m)                                                                       \
    {                                                                                              \
        .name = #m, .kind = VIV_FIELD_TIMER, .offset = offsetof(struct type, m), .size = 8,        \
        .count = 1                                                                                 \
    }
#define VIV_F_CUSTOM(type, m, save_fn, load_fn)                                                    \
    {                                                                                              \
        .name = #m, .kind = VIV_FIELD_CUSTOM, .offset = offsetof(struct type, m), .count = 1,      \
        .save = (save_fn), .load = (load_fn)                                                       \
    }
#define VIV_F_DERIVED(type, m, reason)                                                             \
    {                                                                                              \
        .name = #m, .kind = VIV_FIELD_DERIVED, .offset = offsetof(struct type, m), .why = (reason) \
    }
#define VIV_F_CONFIG(type, m)                                                                      \
    {                                                                                              \
        .name = #m, .kind = VIV_FIELD_CONFIG, .offset = offsetof(struct type, m)                   \
    }
#define VIV_F_END                                                                                  \
    {                                                                                              \
        .name = NULL                                                                               \
    }

/* Writer: grows a buffer in memory, then viv_state_writer_finish hands it out (g_malloc'ed, caller frees): NULL when it was more than
 * VIV_STATE_MOST, which nobody would load; *len says then how much. */
#define VIV_STATE_MOST (1ull << 30)
struct viv_state_writer *viv_state_writer_new(void);
void viv_state_writer_free(struct viv_state_writer *w);
uint8_t *viv_state_writer_finish(struct viv_state_writer *w, size_t *len);
void viv_state_put(struct viv_state_writer *w, const void *data, size_t len);
void viv_state_put_u32(struct viv_state_writer *w, uint32_t v);
void viv_state_put_u64(struct viv_state_writer *w, uint64_t v);

/* One named section holding one object. */
void viv_state_save(struct viv_state_writer *w, const char *path, const struct viv_state_table *t,
                    void *obj);

/* Reader over borrowed bytes. */
struct viv_state_reader *viv_state_reader_new(const uint8_t *data, size_t len);
void viv_state_reader_free(struct viv_state_reader *r);
/* 0, or -EINVAL when the stream (or the section) ends before `len` bytes. */
int viv_state_get(struct viv_state_reader *r, void *data, size_t len, struct viv_err *err);
int viv_state_get_u32(struct viv_state_reader *r, uint32_t *v, struct viv_err *err);
int viv_state_get_u64(struct viv_state_reader *r, uint64_t *v, struct viv_err *err);

/* The name of the next section, which stays the next one. NULL: there is none. g_free. */
char *viv_state_peek_section(struct viv_state_reader *r, struct viv_err *err);
/* The next section must be `path`; on failure the object may be half loaded and must not run. */
int viv_state_load(struct viv_state_reader *r, const char *path, const struct viv_state_table *t,
                   void *obj, struct viv_err *err);
/* The same without an object: is the section of this path, kind and a version that is known? It is passed over. */
int viv_state_check(struct viv_state_reader *r, const char *path, const struct viv_state_table *t, struct viv_err *err);

#endif
