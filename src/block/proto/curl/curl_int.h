/* The insides, for this folder only.
 *
 * A transfer is one range, by a blocking curl_easy_perform() in the thread that wants it; a handle, which keeps its connection,
 * is taken from a pool. Small reads are served from pieces of `readahead` bytes (chunks.h), large ones go straight to their
 * buffers. The file must stay as it was at open: length, and entity tag where there is one, are compared each time. */
#ifndef VIV_BLOCK_PROTO_CURL_CURL_INT_H
#define VIV_BLOCK_PROTO_CURL_CURL_INT_H

#include "block/chunks.h"
#include "block/proto/curl/curl.h"
#include "block/proto/curl/curl_api.h"

#include <glib.h>
#include <pthread.h>

#define CURL_CACHE_BYTES (16u << 20)
#define CURL_POOL_MAX    8u /* handles that wait for their next use */
#define CURL_TRIES       6
#define CURL_ETAG_MAX    256u

struct viv_curl_config {
    char *url;
    uint64_t readahead;
    unsigned timeout; /* seconds */
    bool no_verify;
    char *username, *password, *proxy_username, *proxy_password, *cookie; /* NULL: none */
};

struct viv_curl {
    struct viv_curl_config conf;
    bool http;
    char *shown;       /* the url without a password, for messages */
    const char *allow; /* schemes that a redirect may lead to */
    uint64_t size;
    char etag[CURL_ETAG_MAX]; /* "": none */
    struct viv_chunks chunks;
    pthread_mutex_t lock; /* of what follows */
    GQueue idle;          /* of CURL */
    bool told;            /* one message per run of failures */
};

void viv_curl_config_fini(struct viv_curl_config *c); /* wipes */
struct viv_curl *viv_curl_new(struct viv_curl_config *conf_take);
void viv_curl_free(struct viv_curl *c);

/* Length and entity tag of the file; whether the server gives ranges. */
int viv_curl_look(struct viv_curl *c, struct viv_err *err);
/* All of [offset, offset + len), which lies in the file, tried again after what may pass. */
int viv_curl_fetch(struct viv_curl *c, uint64_t offset, uint8_t *buf, size_t len);

extern const struct viv_opt_def viv_curl_opts[];
/* As o->own says. */
int viv_curl_open_opts(const struct viv_blk_driver *drv, const struct viv_node_opts *o, struct viv_node **out, struct viv_err *err);
int viv_curl_open(struct viv_curl_config *conf_take, const struct viv_blk_driver *drv, const struct viv_node_opts *o,
                  struct viv_node **out, struct viv_err *err);

#endif
