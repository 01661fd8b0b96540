/* libfuse, loaded when the first image is exported as a file: nothing else needs it. The functions keep their names. */
#ifndef VIV_EXPORT_FUSE_API_H
#define VIV_EXPORT_FUSE_API_H

#include "base/err.h"

#define FUSE_USE_VERSION 31
#include <fuse3/fuse_lowlevel.h>

#define VIV_FUSE_FUNCTIONS(_)                                                                                          \
    _(opt_add_arg) _(opt_free_args) _(set_log_func) _(session_new) _(session_destroy) _(session_mount)                 \
    _(session_unmount) _(session_fd) _(session_exited) _(session_receive_buf) _(session_process_buf)                   \
    _(reply_attr) _(reply_open) _(reply_buf) _(reply_write) _(reply_err) _(reply_lseek) _(reply_statfs) _(req_userdata)

struct viv_fuse_api {
#define VIV_FUSE_MEMBER(name) typeof(fuse_##name) *name;
    VIV_FUSE_FUNCTIONS(VIV_FUSE_MEMBER)
#undef VIV_FUSE_MEMBER
};
extern struct viv_fuse_api viv_fuse_api; /* after viv_fuse_load() */

/* 0, or an error that says which package has it. May block the first time. */
int viv_fuse_load(struct viv_err *err);

#define fuse_opt_add_arg         viv_fuse_api.opt_add_arg
#define fuse_opt_free_args       viv_fuse_api.opt_free_args
#define fuse_set_log_func        viv_fuse_api.set_log_func
#undef fuse_session_new
#define fuse_session_new         viv_fuse_api.session_new
#define fuse_session_destroy     viv_fuse_api.session_destroy
#define fuse_session_mount       viv_fuse_api.session_mount
#define fuse_session_unmount     viv_fuse_api.session_unmount
#define fuse_session_fd          viv_fuse_api.session_fd
#define fuse_session_exited      viv_fuse_api.session_exited
#define fuse_session_receive_buf viv_fuse_api.session_receive_buf
#define fuse_session_process_buf viv_fuse_api.session_process_buf
#define fuse_reply_attr          viv_fuse_api.reply_attr
#define fuse_reply_open          viv_fuse_api.reply_open
#define fuse_reply_buf           viv_fuse_api.reply_buf
#define fuse_reply_write         viv_fuse_api.reply_write
#define fuse_reply_err           viv_fuse_api.reply_err
#define fuse_reply_lseek         viv_fuse_api.reply_lseek
#define fuse_reply_statfs        viv_fuse_api.reply_statfs
#define fuse_req_userdata        viv_fuse_api.req_userdata

#endif
