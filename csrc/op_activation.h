/* op_activation.h */
#ifndef FNN_OP_ACTIVATION_H
#define FNN_OP_ACTIVATION_H

#endif
