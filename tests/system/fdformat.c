/* Formats a diskette of 1.44M, all tracks, as fdformat(8) does: fdformat DEVICE. */
#include <fcntl.h>
#include <linux/fd.h>
#include <stdio.h>
#include <sys/ioctl.h>

int main(int argc, char **argv)
{
    struct floppy_struct g = {2880, 18, 2, 80, 0, 0x1b, 0x00, 0xcf, 0x6c, "H1440"};
    int fd = open(argv[1], O_RDWR | O_NDELAY);

    if (fd < 0 || ioctl(fd, FDSETPRM, &g) < 0 || ioctl(fd, FDFMTBEG, NULL) < 0) {
        perror(argv[1]);
        return 1;
    }
    for (unsigned track = 0; track < g.track; track++) {
        for (unsigned head = 0; head < g.head; head++) {
            struct format_descr d = {.device = 0, .head = head, .track = track};

            if (ioctl(fd, FDFMTTRK, &d) < 0) {
                perror("format");
                return 1;
            }
        }
    }
    if (ioctl(fd, FDFMTEND, NULL) < 0) {
        perror("end");
        return 1;
    }
    return 0;
}
