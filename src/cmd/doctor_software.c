/* Whether the translator can make code here. The interpreter needs nothing of the host. */
#include "cmd/doctor.h"

#include "cpu/x86/xlate/xlate.h"

void doctor_check_software(struct doctor *d)
{
    struct viv_err err = VIV_ERR_INIT;

    if (viv_xlate_probe(&err) == 0) {
        doctor_add(d, DOCTOR_OK, "translator", NULL, "code can be made (-accel xlate)");
        doctor_set_software(d, "xlate");
        return;
    }
    doctor_add(d, DOCTOR_WARN, "translator", NULL, "%s: the software CPU is the slower -accel interp", err.text);
    doctor_set_software(d, "interp");
}
