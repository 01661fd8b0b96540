#include "base/log.h"

int main(int argc, char **argv)
{
    viv_log_set_program("viv-vm");
    viv_error("no machine can be started yet");
    return 1;
}
