/* base/log's functions, saying nothing: a fuzzer's images are all wrong. */
#include "base/log.h"

uint32_t viv_log_mask;

void viv_error(const char *fmt, ...)
{
}

void viv_warn(const char *fmt, ...)
{
}

void viv_info(const char *fmt, ...)
{
}

void viv_guest_error(const char *who, const char *fmt, ...)
{
}
