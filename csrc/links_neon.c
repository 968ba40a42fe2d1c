/* The kernels of chains compiled for neon; the flags are in setup.py. */
#define FNN_ISA_NAME neon
#include "links.h"
