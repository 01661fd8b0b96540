/* libcurl, loaded when the first address is opened: it and the twenty libraries below it are most of a small program's start,
 * and most runs open files. The functions keep their names, so that code reads as any use of libcurl. */
#ifndef VIV_BLOCK_PROTO_CURL_CURL_API_H
#define VIV_BLOCK_PROTO_CURL_CURL_API_H

#include "base/err.h"

#define CURL_DISABLE_TYPECHECK /* its macros would hide ours */
#include <curl/curl.h>
#undef curl_easy_setopt
#undef curl_easy_getinfo

#define VIV_CURL_FUNCTIONS(_)                                                                                          \
    _(global_init) _(easy_init) _(easy_setopt) _(easy_perform) _(easy_getinfo) _(easy_cleanup) _(easy_strerror)       \
    _(url) _(url_set) _(url_get) _(url_cleanup) _(free)

struct viv_curl_api {
#define VIV_CURL_MEMBER(name) typeof(curl_##name) *name;
    VIV_CURL_FUNCTIONS(VIV_CURL_MEMBER)
#undef VIV_CURL_MEMBER
};
extern struct viv_curl_api viv_curl_api; /* after viv_curl_load() */

/* 0, or an error that says which package has it. Any thread; may block the first time. */
int viv_curl_load(struct viv_err *err);

#define curl_easy_init     viv_curl_api.easy_init
#define curl_easy_setopt   viv_curl_api.easy_setopt
#define curl_easy_perform  viv_curl_api.easy_perform
#define curl_easy_getinfo  viv_curl_api.easy_getinfo
#define curl_easy_cleanup  viv_curl_api.easy_cleanup
#define curl_easy_strerror viv_curl_api.easy_strerror
#define curl_url           viv_curl_api.url
#define curl_url_set       viv_curl_api.url_set
#define curl_url_get       viv_curl_api.url_get
#define curl_url_cleanup   viv_curl_api.url_cleanup
#define curl_free          viv_curl_api.free

#endif
