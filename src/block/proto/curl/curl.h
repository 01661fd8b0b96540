/* Files on http, https, ftp and ftps servers, read only, through libcurl. */
#ifndef VIV_BLOCK_PROTO_CURL_CURL_H
#define VIV_BLOCK_PROTO_CURL_CURL_H

#include "block/node.h"
#include "opt/opt.h"

#include <stdbool.h>

extern const struct viv_blk_driver viv_blk_http, viv_blk_https, viv_blk_ftp, viv_blk_ftps;

#endif
