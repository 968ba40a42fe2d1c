/* op_loss.h */
#ifndef FNN_OP_LOSS_H
#define FNN_OP_LOSS_H

#endif
