/*
 * op_activation.h: activation functions and softmax.
 *
 * Backward reads y alone wherever dx follows from it exactly, so that x need not be kept.
 */
#ifndef FNN_OP_ACTIVATION_H
#define FNN_OP_ACTIVATION_H

#include "elementwise.h"

/* ---- elementwise ---- x, y: (n).  dim: n.  f: the constants p, q. */

/* y = max(x, 0); the gradient at 0 is 0. */
UNARY(relu, vf_max(x, vf_zero()), y, vf_sel(vf_le(y, vf_zero()), vf_zero(), dy))

/* y = 1 / (1 + exp(-x)). */
UNARY(sigmoid, vf_sigmoid(x), y, vf_mul(dy, vf_mul(y, vf_sub(vf_set1(1.0f), y))))

/* y = tanh x. */
UNARY(tanh, vf_tanh(x), y, vf_mul(dy, vf_fnma(y, y, vf_set1(1.0f))))

#endif
