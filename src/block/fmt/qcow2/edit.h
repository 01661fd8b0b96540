/* Changing the header's cluster: fields, extensions, the backing file's name (change_backing, bitmaps, amend). */
#ifndef VIV_BLOCK_FMT_QCOW2_EDIT_H
#define VIV_BLOCK_FMT_QCOW2_EDIT_H

#include "block/fmt/qcow2/qcow2_int.h"

#include <glib.h>

struct qcow2_extension {
    uint32_t type, len;
    uint8_t *data; /* owned */
};

struct qcow2_edit {
    struct qcow2 *q;
    uint8_t *old;        /* the cluster as it is on disk */
    uint8_t *fields;     /* of the header itself: to be changed in place */
    uint32_t fields_len; /* 72 in version 2, the header length in version 3 */
    uint32_t fields_room;
    GArray *extensions;  /* struct qcow2_extension, without the end */
    char *backing;       /* NULL: none */
};

/* With q->lock; begin() and whatever its result end(). */
int qcow2_edit_begin(struct qcow2_edit *e, struct qcow2 *q);
/* data NULL: it goes. */
void qcow2_edit_extension(struct qcow2_edit *e, uint32_t type, const void *data, uint32_t len);
const struct qcow2_extension *qcow2_edit_find(const struct qcow2_edit *e, uint32_t type);
void qcow2_edit_backing(struct qcow2_edit *e, const char *name);
/* Durably: a power cut leaves the old header or the new one. -ENOSPC: the cluster is too small for that. */
int qcow2_edit_commit(struct qcow2_edit *e);
void qcow2_edit_end(struct qcow2_edit *e);

#endif
