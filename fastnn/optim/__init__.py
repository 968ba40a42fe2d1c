"""Optimizers and learning-rate schedules under PyTorch's names."""

from . import lr_scheduler
from .algorithms import SGD, Adagrad, Adam, AdamW, Lion, RMSprop
from .optimizer import Optimizer

__all__ = ["Adagrad", "Adam", "AdamW", "Lion", "Optimizer", "RMSprop", "SGD", "lr_scheduler"]
