/* -fw_cfg: items that a person hands to firmware and guest (Linux shows them in /sys/firmware/qemu_fw_cfg). */
#include "machine/machine.h"

#include "base/log.h"
#include "base/units.h"
#include "dev/misc/fw_cfg.h"
#include "host/datadir.h"

#include <errno.h>
#include <glib.h>
#include <string.h>

#define FILE_MAX (64 * VIV_MIB)

const struct viv_opt_def viv_fw_cfg_opts[] = {
    {.name = "name", .type = VIV_OPT_STR, .help = "the item's name; those of people begin with opt/"},
    {.name = "file", .type = VIV_OPT_STR, .help = "its contents are this file's"},
    {.name = "string", .type = VIV_OPT_STR, .help = "its contents are this text, without a 0 behind it"},
    {.name = "gen_id", .type = VIV_OPT_REFUSED, .help = "no object makes items; use file= or string="},
    VIV_OPT_END,
};

static int add(struct viv_opts *o, struct viv_dev *fw_cfg, struct viv_err *err)
{
    const char *name = viv_opts_str(o, "name"), *file = viv_opts_str(o, "file"), *string = viv_opts_str(o, "string");
    g_autofree uint8_t *data = NULL;
    size_t len = string ? strlen(string) : 0;
    int r;

    if (!name || !*name)
        return viv_fail(err, EINVAL, "name= is missing");
    if (!file == !string)
        return viv_fail(err, EINVAL, "name=%.60s: it needs %s file= and string=", name, file ? "only one of" : "one of");
    if (viv_fw_cfg_has_file(fw_cfg, name))
        return viv_fail(err, EEXIST, "name=%.60s: there is such an item already", name);
    if (!g_str_has_prefix(name, "opt/"))
        viv_warn("-fw_cfg name=%.60s: names of people's own items begin with opt/", name);
    if (string)
        return viv_fw_cfg_add_file(fw_cfg, name, string, len, NULL, err);
    r = viv_datadir_read(file, FILE_MAX, &data, &len, err);
    return r ? r : viv_fw_cfg_add_file(fw_cfg, name, data, len, NULL, err);
}

int viv_machine_add_fw_cfg(const struct viv_machine_config *cfg, struct viv_err *err)
{
    struct viv_dev *fw_cfg = viv_fw_cfg_find();

    for (const char *const *text = cfg->fw_cfg; text && *text; text++) {
        struct viv_opts *o;
        int r;

        if (!fw_cfg)
            return viv_fail(err, ENOTSUP, "-fw_cfg: machine %s has no fw_cfg device", cfg->cls->name);
        r = viv_opts_parse("-fw_cfg", viv_fw_cfg_opts, "name", *text, &o, err);
        if (r < 0)
            return r;
        r = add(o, fw_cfg, err);
        viv_opts_free(o);
        if (r < 0) {
            viv_err_prefix(err, "-fw_cfg");
            return r;
        }
    }
    return 0;
}
