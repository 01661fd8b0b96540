/* A client's side of the negotiation. Blocking, bounded by the channel's deadline. */
#ifndef VIV_BLOCK_PROTO_NBD_HANDSHAKE_H
#define VIV_BLOCK_PROTO_NBD_HANDSHAKE_H

#include "block/proto/nbd/chan.h"
#include "block/proto/nbd/target.h"

/* What a server says of an export. */
struct viv_nbd_info {
    uint64_t size;  /* a multiple of min_block */
    uint16_t flags; /* transmission flags */
    bool has_blocks;
    uint32_t min_block, pref_block, max_payload; /* defaults unless has_blocks */
    bool structured;
    bool has_context; /* block status is answered, as this number */
    uint32_t context;
    char *name, *description; /* only after viv_nbd_ask(); cleaned of control characters */
};
void viv_nbd_info_fini(struct viv_nbd_info *i);

/* Up to the transmission of t's export. */
int viv_nbd_handshake(struct viv_nbd_chan *c, const struct viv_nbd_target *t, struct viv_nbd_info *out,
                      struct viv_err *err);

/* Piecewise, for listing: greets (TLS, structured replies), then any number of questions, then goodbye. */
int viv_nbd_greet(struct viv_nbd_chan *c, const struct viv_nbd_target *t, bool *structured, struct viv_err *err);
/* Names (raw, NULL-terminated array, g_strfreev) of what the server lists. */
int viv_nbd_list(struct viv_nbd_chan *c, char ***names, struct viv_err *err);
int viv_nbd_ask(struct viv_nbd_chan *c, const char *export_name, struct viv_nbd_info *out, struct viv_err *err);
int viv_nbd_list_contexts(struct viv_nbd_chan *c, const char *export_name, char ***names, struct viv_err *err);
void viv_nbd_abort(struct viv_nbd_chan *c);

/* `text` from a peer as one line that is safe to print; g_free. */
char *viv_nbd_clean_text(const void *text, size_t len);

#endif
