/* Files on http, https, ftp and ftps servers, read only, through libcurl. */
#ifndef VIV_BLOCK_PROTO_CURL_CURL_H
#define VIV_BLOCK_PROTO_CURL_CURL_H

#include "block/node.h"
#include "opt/opt.h"

#include <stdbool.h>

extern const struct viv_blk_driver viv_blk_http, viv_blk_https, viv_blk_ftp, viv_blk_ftps;

/* Does it begin with one of their schemes? */
bool viv_curl_is_name(const char *name);
/* Is it the name of one of the four drivers? */
bool viv_curl_is_driver(const char *name);
int viv_curl_open_name(const char *url, const struct viv_node_opts *o, struct viv_node **out, struct viv_err *err);

/* From options with that prefix ("", "file."): url and the others of VIV_CURL_OPTS. */
int viv_curl_open_opts(struct viv_opts *opts, const char *driver, const char *prefix, const struct viv_node_opts *o,
                       struct viv_node **out, struct viv_err *err);
/* -EINVAL when one of those was given for another driver, or beside a file name. */
int viv_curl_refuse_opts(struct viv_opts *opts, const char *prefix, struct viv_err *err);

#define VIV_CURL_OPTS(p)                                                                                               \
    {p "url", VIV_OPT_STR, "http, https, ftp, ftps: where the file is"},                                               \
        {p "readahead", VIV_OPT_SIZE, "http ...: small reads fetch so many bytes at once", "256k", .min = 512,         \
         .max = 16 << 20},                                                                                             \
        {p "timeout", VIV_OPT_INT, "http ...: seconds without a byte after which a transfer is given up", "5",         \
         .min = 1, .max = 10000},                                                                                      \
        {p "sslverify", VIV_OPT_BOOL, "https, ftps: the server's certificate must be right", "on"},                    \
        {p "username", VIV_OPT_STR, "http ...: user name"},                                                            \
        {p "password-secret", VIV_OPT_STR, "http ...: id of the -object secret with the password"},                    \
        {p "proxy-username", VIV_OPT_STR, "http ...: user name for the proxy"},                                        \
        {p "proxy-password-secret", VIV_OPT_STR, "http ...: id of the -object secret with the proxy's password"},      \
        {p "cookie", VIV_OPT_STR, "http, https: cookies, \"NAME=CONTENT; NAME=CONTENT\""},                             \
    {                                                                                                                  \
        p "cookie-secret", VIV_OPT_STR, "http, https: id of the -object secret with the cookies"                       \
    }

#endif
