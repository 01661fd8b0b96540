/* A 9P2000.L server of one shared folder: messages in, messages out, no transport.
 *
 * 9P2000 is Plan 9's protocol (intro(5) of its manual), .L its form for Linux (the diod project's protocol.md lists the messages).
 * Several threads may serve requests of one session at a time; each has to be made ready by viv_p9_thread_init(). A client
 * is hostile: every length is checked, fids, extended attributes in memory and locks are bounded, names are single components. */
#ifndef VIV_SHARE_P9_H
#define VIV_SHARE_P9_H

#include "share/fsdev.h"

#include <sys/uio.h>

#define VIV_P9_MSIZE_MAX (1u << 20)
#define VIV_P9_MSIZE_MIN 4096u

struct viv_p9;

/* `dev` is borrowed for the session's life. */
int viv_p9_new(const struct viv_fsdev *dev, struct viv_p9 **out, struct viv_err *err);
void viv_p9_free(struct viv_p9 *p); /* NULL allowed; no request under way */
/* Files made by this thread get the mode that the guest says (its umask is its own from now on). */
void viv_p9_thread_init(void);

/* A request is announced in the order of arrival (any thread, one at a time), for Tflush; then served on some thread; and done when the
 * client has its answer. */
struct viv_p9_ticket {
    uint16_t tag;
    uint64_t number;
    struct viv_p9_ticket *next, *prev; /* the session's */
};
void viv_p9_announce(struct viv_p9 *p, struct viv_p9_ticket *t, const struct iovec *msg, int n);
/* Serves the message in msg[0..n), `len` bytes; the answer goes to reply[0..rn), `room` bytes. Returns the answer's length, 0 when
 * the message is so short, or the room so small, that there can be none. May block on the file system. */
size_t viv_p9_serve(struct viv_p9 *p, struct viv_p9_ticket *t, const struct iovec *msg, int n, size_t len, const struct iovec *reply,
                    int rn, size_t room);
/* The answer is sent, or dropped: a Tflush that waits for it may be answered now. Any thread, never waits long. */
void viv_p9_done(struct viv_p9 *p, struct viv_p9_ticket *t);

/* Forgets all fids: the client is gone. No request under way. */
void viv_p9_reset(struct viv_p9 *p);
/* Has a client attached? Any thread. */
bool viv_p9_mounted(struct viv_p9 *p);

#endif
