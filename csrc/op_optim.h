/* op_optim.h */
#ifndef FNN_OP_OPTIM_H
#define FNN_OP_OPTIM_H

#endif
