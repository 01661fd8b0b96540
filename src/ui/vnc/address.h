/* Where a VNC server listens, or whom it calls. */
#ifndef VIV_UI_VNC_ADDRESS_H
#define VIV_UI_VNC_ADDRESS_H

#include "ui/vnc/vnc_int.h"

/* Fills s->listener by the options vnc, to, websocket, ipv4, ipv6; sets s->everybody, s->unix_only. May block (names). */
int vnc_address_listen(struct vnc_server *s, struct viv_opts *o, struct viv_err *err);
/* reverse=on: *fd is connected. Blocks. */
int vnc_address_connect(struct vnc_server *s, struct viv_opts *o, int *fd, struct viv_err *err);

#endif
