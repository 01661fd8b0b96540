/* libssh, loaded when the first address is opened, as libcurl is (curl_api.h). The functions keep their names. */
#ifndef VIV_BLOCK_PROTO_SSH_SSH_API_H
#define VIV_BLOCK_PROTO_SSH_SSH_API_H

#include "base/err.h"

#include <libssh/libssh.h>
#include <libssh/sftp.h>

#define VIV_SSH_FUNCTIONS(_)                                                                                           \
    _(ssh, new) _(ssh, free) _(ssh, connect) _(ssh, disconnect) _(ssh, get_error) _(ssh, get_error_code) _(ssh, get_fd) _(ssh, is_connected)  \
    _(ssh, options_set) _(ssh, options_get) _(ssh, options_get_port) _(ssh, options_parse_config)                      \
    _(ssh, get_server_publickey) _(ssh, get_publickey_hash) _(ssh, clean_pubkey_hash) _(ssh, key_free) _(ssh, key_type) \
    _(ssh, key_type_to_char) _(ssh, session_is_known_server) _(ssh, userauth_none) _(ssh, userauth_list)               \
    _(ssh, userauth_publickey_auto) _(ssh, string_free_char)                                                          \
    _(sftp, new) _(sftp, init) _(sftp, free) _(sftp, get_error) _(sftp, extension_supported) _(sftp, open)             \
    _(sftp, close) _(sftp, fstat) _(sftp, attributes_free) _(sftp, seek64) _(sftp, read) _(sftp, write)                \
    _(sftp, async_read_begin) _(sftp, async_read) _(sftp, fsync)

struct viv_ssh_api {
#define VIV_SSH_MEMBER(part, name) typeof(part##_##name) *f_##part##_##name;
    VIV_SSH_FUNCTIONS(VIV_SSH_MEMBER)
#undef VIV_SSH_MEMBER
};
extern struct viv_ssh_api viv_ssh_api; /* after viv_ssh_load() */

/* 0, or an error that says which package has it. Any thread; may block the first time. */
int viv_ssh_load(struct viv_err *err);

#define ssh_new                     viv_ssh_api.f_ssh_new
#define ssh_free                    viv_ssh_api.f_ssh_free
#define ssh_connect                 viv_ssh_api.f_ssh_connect
#define ssh_disconnect              viv_ssh_api.f_ssh_disconnect
#define ssh_get_error               viv_ssh_api.f_ssh_get_error
#define ssh_get_error_code          viv_ssh_api.f_ssh_get_error_code
#define ssh_get_fd                  viv_ssh_api.f_ssh_get_fd
#define ssh_is_connected            viv_ssh_api.f_ssh_is_connected
#define ssh_options_set             viv_ssh_api.f_ssh_options_set
#define ssh_options_get             viv_ssh_api.f_ssh_options_get
#define ssh_options_get_port        viv_ssh_api.f_ssh_options_get_port
#define ssh_options_parse_config    viv_ssh_api.f_ssh_options_parse_config
#define ssh_get_server_publickey    viv_ssh_api.f_ssh_get_server_publickey
#define ssh_get_publickey_hash      viv_ssh_api.f_ssh_get_publickey_hash
#define ssh_clean_pubkey_hash       viv_ssh_api.f_ssh_clean_pubkey_hash
#define ssh_key_free                viv_ssh_api.f_ssh_key_free
#define ssh_key_type                viv_ssh_api.f_ssh_key_type
#define ssh_key_type_to_char        viv_ssh_api.f_ssh_key_type_to_char
#define ssh_session_is_known_server viv_ssh_api.f_ssh_session_is_known_server
#define ssh_userauth_none           viv_ssh_api.f_ssh_userauth_none
#define ssh_userauth_list           viv_ssh_api.f_ssh_userauth_list
#define ssh_userauth_publickey_auto viv_ssh_api.f_ssh_userauth_publickey_auto
#define ssh_string_free_char        viv_ssh_api.f_ssh_string_free_char
#define sftp_new                    viv_ssh_api.f_sftp_new
#define sftp_init                   viv_ssh_api.f_sftp_init
#define sftp_free                   viv_ssh_api.f_sftp_free
#define sftp_get_error              viv_ssh_api.f_sftp_get_error
#define sftp_extension_supported    viv_ssh_api.f_sftp_extension_supported
#define sftp_open                   viv_ssh_api.f_sftp_open
#define sftp_close                  viv_ssh_api.f_sftp_close
#define sftp_fstat                  viv_ssh_api.f_sftp_fstat
#define sftp_attributes_free        viv_ssh_api.f_sftp_attributes_free
#define sftp_seek64                 viv_ssh_api.f_sftp_seek64
#define sftp_read                   viv_ssh_api.f_sftp_read
#define sftp_write                  viv_ssh_api.f_sftp_write
#define sftp_async_read_begin       viv_ssh_api.f_sftp_async_read_begin
#define sftp_async_read             viv_ssh_api.f_sftp_async_read
#define sftp_fsync                  viv_ssh_api.f_sftp_fsync

#endif
