/* cpu.c: which kernel tables this machine can run, and which one is in use. */
#include <string.h>

#include "fnn.h"

extern const fnn_isa fnn_isa_base, fnn_isa_avx2, fnn_isa_avx512, fnn_isa_neon;

static const fnn_isa *usable[4];
static int n_usable;
static const fnn_isa *active;

/* Best first.  __builtin_cpu_supports asks the CPU and, through XGETBV, the operating system. */
static void detect(void)
{
    if (n_usable) return;
#if defined(__x86_64__)
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
        __builtin_cpu_supports("fma"))
        usable[n_usable++] = &fnn_isa_avx512;
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
        usable[n_usable++] = &fnn_isa_avx2;
    usable[n_usable++] = &fnn_isa_base;
#elif defined(__aarch64__)
    usable[n_usable++] = &fnn_isa_neon;
#else
    usable[n_usable++] = &fnn_isa_base;
#endif
    active = usable[0];
}

int fnn_isa_count(void)
{
    detect();
    return n_usable;
}

const char *fnn_isa_name(int i)
{
    detect();
    return i >= 0 && i < n_usable ? usable[i]->name : NULL;
}

int fnn_isa_select(const char *name)
{
    detect();
    for (int i = 0; i < n_usable; i++)
        if (!strcmp(usable[i]->name, name)) {
            active = usable[i];
            return 0;
        }
    return -1;
}

const fnn_isa *fnn_isa_active(void)
{
    detect();
    return active;
}
