/* The kernels compiled for avx512; the flags are in setup.py. */
#define FNN_ISA_NAME avx512
#include "kernels.h"
