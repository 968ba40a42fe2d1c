/* op_movement.h */
#ifndef FNN_OP_MOVEMENT_H
#define FNN_OP_MOVEMENT_H

#endif
