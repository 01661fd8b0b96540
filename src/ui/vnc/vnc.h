/* VNC servers (docs/screens.md "VNC"): a console shown to RFB clients. All calls: loop thread, device lock held. */
#ifndef VIV_UI_VNC_VNC_H
#define VIV_UI_VNC_VNC_H

#include "base/err.h"
#include "opt/opt.h"

#include <stdbool.h>
#include <stdint.h>

struct json_t;

/* What -vnc takes behind the address, whose key is "vnc". */
extern const struct viv_opt_def viv_vnc_opts[];

/* Listens. `layout`: of -k, NULL: none was named. `guest`: its name, or NULL. `o` is not kept. */
int viv_vnc_new(struct viv_opts *o, const char *layout, const char *guest, struct viv_err *err);
unsigned viv_vnc_count(void);
/* Ends all connections and the thread. */
void viv_vnc_free_all(void);

/* `id` NULL: the only one. -ENODEV: there is none. The password is copied; its first 8 bytes count. */
int viv_vnc_set_password(const char *id, const char *password, struct viv_err *err);
/* Seconds since the Unix epoch; INT64_MAX: never. */
int viv_vnc_set_expiry(const char *id, int64_t when, struct viv_err *err);
/* Reads the certificates of the first server again, for who comes from now on. */
int viv_vnc_reload_certs(struct viv_err *err);
/* Takes a connected socket over, in any case. */
int viv_vnc_add_client_take(const char *id, int fd, bool skip_auth, struct viv_err *err);
/* As query-vnc and query-vnc-servers have it; new references. */
struct json_t *viv_vnc_query(void);
struct json_t *viv_vnc_query_servers(void);

#endif
