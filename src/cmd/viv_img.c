/* viv-img: make, look at, check and convert disk images. Answers to qemu-img's command line. */
#include "cmd/img.h"
#include "cmd/img_copy.h"

#include "base/log.h"
#include "base/program.h"
#include "block/options.h"
#include "cmd/objects.h"
#include "opt/opt.h"

#include <signal.h>
#include <string.h>

static const struct {
    const char *name;
    int (*run)(int argc, char **argv);
    const char *usage;
} verbs[] = {
    {"amend", img_amend, "[-p] [-q] [-f fmt] [-t cache] [--force] -o options filename"},
    {"bench", img_bench,
     "[-c count] [-d depth] [-f fmt] [--flush-interval=n] [--no-drain] [-o offset] [--pattern=byte] [-q]\n"
     "          [-s buffer_size] [-S step_size] [-t cache] [-w] [-U] filename"},
    {"bitmap", img_bitmap,
     "(--merge SOURCE | --add | --remove | --clear | --enable | --disable)... [-b file [-F fmt]]\n"
     "          [-g granularity] [-f fmt] filename bitmap"},
    {"check", img_check,
     "[-q] [-f fmt] [--output=human|json] [-r leaks|all] [-T cache] [-U] filename"},
    {"commit", img_commit, "[-q] [-f fmt] [-t cache] [-b base] [-r rate_limit] [-d] [-p] filename"},
    {"compare", img_compare, "[-q] [-p] [-s] [-f fmt] [-F fmt] [-T cache] [-U] filename1 filename2"},
    {"convert", img_convert,
     "[-U] [-n] [-p] [-q] [-f fmt] [-O fmt] [-t cache] [-T cache] [-B backing [-F fmt]] [-o "
     "options]\n"
     "          [-l snapshot] [-S size] [-r rate_limit] [-m threads] [-W] [--target-is-zero] [--target-image-opts]\n"
     "          [--bitmaps [--skip-broken-bitmaps]] [--salvage] filename [filename2 ...] output"},
    {"create", img_create, "[-q] [-f fmt] [-b backing [-F fmt]] [-u] [-o options] filename [size]"},
    {"dd", img_dd, "[-U] [-f fmt] [-O fmt] [bs=block_size] [count=blocks] [skip=blocks] if=input of=output"},
    {"grow", img_grow, "[-q] [-f fmt] filename [+]size\n"
     "          (resize, and the partition table and the last partition with it)"},
    {"info", img_info, "[-f fmt] [--output=human|json] [--backing-chain] [-U] filename"},
    {"map", img_map,
     "[-f fmt] [--output=human|json] [--start-offset=offset] [--max-length=len] [-U] filename"},
    {"measure", img_measure,
     "[-f fmt] [-O fmt] [-o options] [-l snapshot] [--output=human|json] [-U] --size N | filename"},
    {"rebase", img_rebase, "[-U] [-q] [-f fmt] [-t cache] [-T cache] [-p] [-u] -b backing [-F fmt] filename"},
    {"resize", img_resize, "[-q] [-f fmt] [--preallocation=prealloc] [--shrink] filename [+|-]size"},
    {"snapshot", img_snapshot, "[-U] [-q] [-l | -a snapshot | -c snapshot | -d snapshot] filename"},
};

int img_print_help(void)
{
    viv_program_print_version();
    printf("usage: %s [-h | -V] command [command options]\n\nCommands:\n", viv_program_name());
    for (unsigned i = 0; i < G_N_ELEMENTS(verbs); i++)
        printf("  %-8s %s\n", verbs[i].name, verbs[i].usage);
    printf("\nEach takes --object objectdef and --image-opts (names are options: driver=qcow2,file.filename=a); names may be\n"
           "json:{...}.\nSizes take the suffixes k, M, G, T, P and E (1024).\n"
           "'create -f fmt -o help' lists a format's options.\n"
           "cache: writeback, none, writethrough, directsync, unsafe.\n"
           "Exit codes of check: 0 clean, 1 the check failed, 2 corrupt, 3 leaks only, 63 the "
           "format has "
           "no check.\n\n");
    viv_blk_print_drivers();
    return 0;
}

static int unknown(const char *name)
{
    const char *names[G_N_ELEMENTS(verbs) + 1] = {NULL};
    const char *near;

    for (unsigned i = 0; i < G_N_ELEMENTS(verbs); i++)
        names[i] = verbs[i].name;
    near = viv_nearest(name, names);
    if (near)
        return img_usage("Command not found: %s (did you mean '%s'?)", name, near);
    return img_usage("Command not found: %s", name);
}

int main(int argc, char **argv)
{
    viv_program_init(argv[0], "viv-img");
    cmd_objects_use();
    signal(SIGPIPE, SIG_IGN); /* a closed pipe is an error like any other */
    signal(SIGXFSZ, SIG_IGN);
    if (argc < 2)
        return img_usage("Not enough arguments");
    if (strcmp(argv[1], "-h") == 0 || strcmp(argv[1], "--help") == 0)
        return img_print_help();
    if (strcmp(argv[1], "-V") == 0 || strcmp(argv[1], "--version") == 0)
        return viv_program_print_version();
    for (unsigned i = 0; i < G_N_ELEMENTS(verbs); i++) {
        if (strcmp(argv[1], verbs[i].name) == 0) {
            int ret;

            ret = verbs[i].run(argc - 1, argv + 1);
            cmd_objects_free();
            img_copy_raise();
            if (fflush(stdout) && !ret)
                return img_error("cannot write to standard output");
            return ret;
        }
    }
    if (argv[1][0] == '-')
        return img_usage("unknown option '%s' before the command", argv[1]);
    return unknown(argv[1]);
}
