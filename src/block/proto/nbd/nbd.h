/* NBD exports as disks: the client. */
#ifndef VIV_BLOCK_PROTO_NBD_NBD_H
#define VIV_BLOCK_PROTO_NBD_NBD_H

#include "block/node.h"
#include "block/proto/nbd/target.h"

extern const struct viv_blk_driver viv_blk_nbd;

/* By a name that viv_nbd_is_name() knows. */
int viv_nbd_open_name(const char *name, const struct viv_node_opts *o, struct viv_node **out, struct viv_err *err);
/* Takes what the target holds, also on failure. `filename`: for people. */
int viv_nbd_open(struct viv_nbd_target *t_take, const char *filename, const struct viv_node_opts *o,
                 struct viv_node **out, struct viv_err *err);

/* From options with that prefix ("", "file."): server.type and so on, or host, port, path; see VIV_NBD_OPTS. */
int viv_nbd_open_opts(struct viv_opts *opts, const char *prefix, const struct viv_node_opts *o, struct viv_node **out,
                      struct viv_err *err);

/* -EINVAL when one of those was given for another driver, or beside a file name. */
int viv_nbd_refuse_opts(struct viv_opts *opts, const char *prefix, struct viv_err *err);

extern const char *const viv_nbd_server_types[];
#define VIV_NBD_OPTS(p)                                                                                                \
    {p "server.type", VIV_OPT_ENUM, "nbd: inet or unix", NULL, viv_nbd_server_types},                                  \
        {p "server.host", VIV_OPT_STR, "nbd: host name or address"},                                                   \
        {p "server.port", VIV_OPT_STR, "nbd: port (10809)"}, {p "server.path", VIV_OPT_STR, "nbd: UNIX socket"},       \
        {p "host", VIV_OPT_STR, "nbd: as server.host"}, {p "port", VIV_OPT_STR, "nbd: as server.port"},                \
        {p "path", VIV_OPT_STR, "nbd: as server.path"}, {p "export", VIV_OPT_STR, "nbd: name of the export"},          \
        {p "tls-creds", VIV_OPT_STR, "nbd: id of a tls-creds object"},                                                 \
        {p "tls-hostname", VIV_OPT_STR, "nbd: whose certificate the server must show"},                                \
        {p "x-dirty-bitmap", VIV_OPT_STR, "nbd: metadata context to ask in place of base:allocation"},                 \
        {p "reconnect-delay", VIV_OPT_INT, "nbd: seconds that requests wait for a lost server to come back", "0",      \
         .max = 86400},                                                                                                \
    {                                                                                                                  \
        p "open-timeout", VIV_OPT_INT, "nbd: seconds to try again when the server is not there at first", "0",         \
            .max = 86400                                                                                               \
    }

#endif
