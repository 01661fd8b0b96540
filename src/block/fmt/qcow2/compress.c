/* One compressed cluster: raw deflate, or a zstd frame; both may be followed by padding. */
#include "block/fmt/deflate/deflate.h"
#include "block/fmt/qcow2/qcow2_int.h"

#include <errno.h>
#include <glib.h>
#include <zstd.h>

#define RAW_DEFLATE (-15) /* of any window, no header */

/* What a frame may make us allocate: 8 MiB. The largest cluster has 2. */
#define ZSTD_WINDOW_LOG_MAX 23

/* What a thread keeps from one cluster to the next. */
static void dctx_free(gpointer ctx)
{
    ZSTD_freeDCtx(ctx);
}

static void cctx_free(gpointer ctx)
{
    ZSTD_freeCCtx(ctx);
}

static ZSTD_DCtx *own_dctx(void)
{
    static GPrivate mine = G_PRIVATE_INIT(dctx_free);
    ZSTD_DCtx *ctx = g_private_get(&mine);

    if (!ctx && (ctx = ZSTD_createDCtx())) {
        ZSTD_DCtx_setParameter(ctx, ZSTD_d_windowLogMax, ZSTD_WINDOW_LOG_MAX);
        g_private_set(&mine, ctx);
    }
    return ctx;
}

static ZSTD_CCtx *own_cctx(void)
{
    static GPrivate mine = G_PRIVATE_INIT(cctx_free);
    ZSTD_CCtx *ctx = g_private_get(&mine);

    if (!ctx && (ctx = ZSTD_createCCtx()))
        g_private_set(&mine, ctx);
    return ctx;
}

static int inflate_zstd(const uint8_t *in, size_t in_len, uint8_t *out, size_t out_len)
{
    ZSTD_DCtx *ctx = own_dctx();
    ZSTD_inBuffer ib = {in, in_len, 0};
    ZSTD_outBuffer ob = {out, out_len, 0};
    size_t frame = ZSTD_findFrameCompressedSize(in, in_len), ret = 1;

    if (!ctx)
        return -ENOMEM;
    if (!ZSTD_isError(frame) && ZSTD_decompressDCtx(ctx, out, out_len, in, frame) == out_len)
        return 0;
    /* More than one frame, or one that holds more: as much as the cluster takes. */
    ZSTD_DCtx_reset(ctx, ZSTD_reset_session_only);
    while (ob.pos < ob.size && ib.pos < ib.size) {
        ret = ZSTD_decompressStream(ctx, &ob, &ib);
        if (ZSTD_isError(ret))
            break;
    }
    return !ZSTD_isError(ret) && ob.pos == ob.size ? 0 : -EIO;
}

int qcow2_inflate(unsigned type, const uint8_t *in, size_t in_len, uint8_t *out, size_t out_len)
{
    return type == 1 ? inflate_zstd(in, in_len, out, out_len) : viv_inflate(in, in_len, out, out_len, RAW_DEFLATE);
}

static int deflate_zstd(const uint8_t *in, size_t in_len, uint8_t *out, size_t *out_len)
{
    ZSTD_CCtx *ctx = own_cctx();
    size_t ret;

    if (!ctx)
        return -ENOMEM;
    ret = ZSTD_compressCCtx(ctx, out, *out_len, in, in_len, ZSTD_CLEVEL_DEFAULT);
    if (ZSTD_isError(ret))
        return -E2BIG;
    *out_len = ret;
    return 0;
}

int qcow2_deflate(unsigned type, const uint8_t *in, size_t in_len, uint8_t *out, size_t *out_len)
{
    return type == 1 ? deflate_zstd(in, in_len, out, out_len) : viv_deflate(in, in_len, out, *out_len, false, out_len);
}
