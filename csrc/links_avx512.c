/* The kernels of chains compiled for avx512; the flags are in setup.py. */
#define FNN_ISA_NAME avx512
#include "links.h"
