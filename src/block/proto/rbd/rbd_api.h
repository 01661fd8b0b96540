/* librbd and librados, loaded when the first image is opened, as libcurl is (curl_api.h). The functions keep their names. */
#ifndef VIV_BLOCK_PROTO_RBD_RBD_API_H
#define VIV_BLOCK_PROTO_RBD_RBD_API_H

#include "base/err.h"

#include <rbd/librbd.h>

#define VIV_RBD_FUNCTIONS(_)                                                                                           \
    _(rados_create) _(rados_conf_read_file) _(rados_conf_set) _(rados_connect) _(rados_shutdown)                       \
    _(rados_ioctx_create) _(rados_ioctx_destroy) _(rados_ioctx_set_namespace)                                          \
    _(rbd_create) _(rbd_open) _(rbd_open_read_only) _(rbd_close) _(rbd_stat) _(rbd_get_features) _(rbd_get_flags)       \
    _(rbd_resize2) _(rbd_flush) _(rbd_diff_iterate2)                                                                   \
    _(rbd_aio_create_completion) _(rbd_aio_wait_for_complete) _(rbd_aio_get_return_value) _(rbd_aio_release)           \
    _(rbd_aio_readv) _(rbd_aio_writev) _(rbd_aio_discard) _(rbd_aio_write_zeroes)

struct viv_rbd_api {
#define VIV_RBD_MEMBER(name) typeof(name) *f_##name;
    VIV_RBD_FUNCTIONS(VIV_RBD_MEMBER)
#undef VIV_RBD_MEMBER
};
extern struct viv_rbd_api viv_rbd_api; /* after viv_rbd_load() */

/* 0, or an error that says which package has it. Any thread; may block the first time. */
int viv_rbd_load(struct viv_err *err);

#define rados_create              viv_rbd_api.f_rados_create
#define rados_conf_read_file      viv_rbd_api.f_rados_conf_read_file
#define rados_conf_set            viv_rbd_api.f_rados_conf_set
#define rados_connect             viv_rbd_api.f_rados_connect
#define rados_shutdown            viv_rbd_api.f_rados_shutdown
#define rados_ioctx_create        viv_rbd_api.f_rados_ioctx_create
#define rados_ioctx_destroy       viv_rbd_api.f_rados_ioctx_destroy
#define rados_ioctx_set_namespace viv_rbd_api.f_rados_ioctx_set_namespace
#define rbd_create                viv_rbd_api.f_rbd_create
#define rbd_open                  viv_rbd_api.f_rbd_open
#define rbd_open_read_only        viv_rbd_api.f_rbd_open_read_only
#define rbd_close                 viv_rbd_api.f_rbd_close
#define rbd_stat                  viv_rbd_api.f_rbd_stat
#define rbd_get_features          viv_rbd_api.f_rbd_get_features
#define rbd_get_flags             viv_rbd_api.f_rbd_get_flags
#define rbd_resize2               viv_rbd_api.f_rbd_resize2
#define rbd_flush                 viv_rbd_api.f_rbd_flush
#define rbd_diff_iterate2         viv_rbd_api.f_rbd_diff_iterate2
#define rbd_aio_create_completion viv_rbd_api.f_rbd_aio_create_completion
#define rbd_aio_wait_for_complete viv_rbd_api.f_rbd_aio_wait_for_complete
#define rbd_aio_get_return_value  viv_rbd_api.f_rbd_aio_get_return_value
#define rbd_aio_release           viv_rbd_api.f_rbd_aio_release
#define rbd_aio_readv             viv_rbd_api.f_rbd_aio_readv
#define rbd_aio_writev            viv_rbd_api.f_rbd_aio_writev
#define rbd_aio_discard           viv_rbd_api.f_rbd_aio_discard
#define rbd_aio_write_zeroes      viv_rbd_api.f_rbd_aio_write_zeroes

#endif
