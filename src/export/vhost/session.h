/* One front end: what it has said so far, and the queues that run for it. Its messages come one after the other; a wrong one
 * ends the session. */
#ifndef VIV_EXPORT_VHOST_SESSION_H
#define VIV_EXPORT_VHOST_SESSION_H

#include "export/vhost/blk.h"

#define VIV_VHOST_QUEUES_MAX 64u

struct viv_vhost_session;

struct viv_vhost_session *viv_vhost_session_new(struct viv_vhost_disk *d);
/* Stops all queues. */
void viv_vhost_session_free(struct viv_vhost_session *s);
/* Does what a message says; its payload has h.size bytes, which are VHOST_PAYLOAD_MAX at most. Takes of its descriptors what it
 * keeps (sets them to -1). 1: m->p has become the answer, of m->h.size bytes, with m->answer_fd, to be closed by the caller; 0: there is none; negative: the session ends. */
int viv_vhost_session_do(struct viv_vhost_session *s, struct vhost_msg *m, struct viv_err *err);
/* The disk has another size: the front end is to read the configuration again. Any thread. False: it cannot be told. */
bool viv_vhost_session_tell_config(struct viv_vhost_session *s);

#endif
