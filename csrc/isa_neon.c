/* The kernels compiled for neon; the flags are in setup.py. */
#define FNN_ISA_NAME neon
#include "kernels.h"
