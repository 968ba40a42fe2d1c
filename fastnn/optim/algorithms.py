"""The optimizers. Options and defaults are torch's; foreach, fused, capturable do nothing."""

from __future__ import annotations

from typing import Any

from ..ops import optim
from .fused import Block, FusedOptimizer
from .optimizer import Params

Group = dict[str, Any]


class SGD(FusedOptimizer):
    """Stochastic gradient descent with momentum.

    b = momentum b + (1 - dampening) g, at the first step b = g; p -= lr b, with nesterov
    p -= lr (g + momentum b). weight_decay adds weight_decay p to the gradient g.

    Errors: ValueError for negative options, or nesterov without momentum or with dampening.

    Source: Sutskever et al., On the importance of initialization and momentum, 2013.

    Example:
        >>> import fastnn
        >>> w = fastnn.tensor([1.0], requires_grad=True)
        >>> w.grad = fastnn.tensor([2.0])
        >>> fastnn.optim.SGD([w], lr=0.25).step()
        >>> w.tolist()
        [0.5]
    """

    op = optim.SGD
    counted = False

    def __init__(
        self, params: Params, lr: float = 1e-3, momentum: float = 0, dampening: float = 0,
        weight_decay: float = 0, nesterov: bool = False, *, maximize: bool = False,
        foreach: bool | None = None, differentiable: bool = False, fused: bool | None = None,
    ) -> None:
        super().__init__(params, {
            "lr": lr, "momentum": momentum, "dampening": dampening, "weight_decay": weight_decay,
            "nesterov": nesterov, "maximize": maximize, "foreach": foreach,
            "differentiable": differentiable, "fused": fused,
        })

    def _check_options(self, group: Group) -> None:
        super()._check_options(group)
        if group["nesterov"] and (group["momentum"] <= 0 or group["dampening"] != 0):
            raise ValueError(
                f"SGD: nesterov: got momentum {group['momentum']} and dampening "
                f"{group['dampening']}; need momentum and no dampening"
            )

    def _values(self, group: Group) -> tuple[float, ...]:
        return group["lr"], group["momentum"], group["dampening"], group["weight_decay"]

    def _flags(self, group: Group) -> int:
        return (
            optim.MAXIMIZE * bool(group["maximize"])
            | optim.NESTEROV * bool(group["nesterov"])
            | optim.MOMENTUM * (group["momentum"] != 0)
        )

    def _states(self, group: Group) -> tuple[str | None, ...]:
        return ("momentum_buffer" if group["momentum"] != 0 else None,)


class RMSprop(FusedOptimizer):
    """Gradients divided by the root of their running mean square.

    v = alpha v + (1 - alpha) g²; u = g / (sqrt(v) + eps); b = momentum b + u; p -= lr b, without
    momentum p -= lr u. centered: the running variance of g in place of v.

    Source: Tieleman and Hinton, lecture 6.5, 2012; centered: Graves, arXiv:1308.0850.

    Example:
        >>> import fastnn
        >>> w = fastnn.tensor([1.0], requires_grad=True)
        >>> w.grad = fastnn.tensor([2.0])
        >>> fastnn.optim.RMSprop([w], lr=0.05).step()
        >>> round(w.item(), 4)
        0.5
    """

    op = optim.RMSPROP

    def __init__(
        self, params: Params, lr: float = 1e-2, alpha: float = 0.99, eps: float = 1e-8,
        weight_decay: float = 0, momentum: float = 0, centered: bool = False,
        capturable: bool = False, foreach: bool | None = None, maximize: bool = False,
        differentiable: bool = False,
    ) -> None:
        super().__init__(params, {
            "lr": lr, "momentum": momentum, "alpha": alpha, "eps": eps, "centered": centered,
            "weight_decay": weight_decay, "capturable": capturable, "foreach": foreach,
            "maximize": maximize, "differentiable": differentiable,
        })

    def _values(self, group: Group) -> tuple[float, ...]:
        return group["lr"], group["alpha"], group["eps"], group["weight_decay"], group["momentum"]

    def _flags(self, group: Group) -> int:
        return (
            optim.MAXIMIZE * bool(group["maximize"])
            | optim.CENTERED * bool(group["centered"])
            | optim.MOMENTUM * (group["momentum"] > 0)
        )

    def _states(self, group: Group) -> tuple[str | None, ...]:
        return (
            "square_avg",
            "momentum_buffer" if group["momentum"] > 0 else None,
            "grad_avg" if group["centered"] else None,
        )


class Adagrad(FusedOptimizer):
    """Gradients divided by the root of the sum of all squares so far.

    v += g²; p -= lr / (1 + (t - 1) lr_decay) g / (sqrt(v) + eps), at step t. v starts from
    initial_accumulator_value.

    Source: Duchi et al., Adaptive subgradient methods, JMLR 2011.

    Example:
        >>> import fastnn
        >>> w = fastnn.tensor([1.0], requires_grad=True)
        >>> w.grad = fastnn.tensor([2.0])
        >>> fastnn.optim.Adagrad([w], lr=0.5).step()
        >>> w.tolist()
        [0.5]
    """

    op = optim.ADAGRAD

    def __init__(
        self, params: Params, lr: float = 1e-2, lr_decay: float = 0, weight_decay: float = 0,
        initial_accumulator_value: float = 0, eps: float = 1e-10, foreach: bool | None = None, *,
        maximize: bool = False, differentiable: bool = False, fused: bool | None = None,
    ) -> None:
        super().__init__(params, {
            "lr": lr, "lr_decay": lr_decay, "eps": eps, "weight_decay": weight_decay,
            "initial_accumulator_value": initial_accumulator_value, "foreach": foreach,
            "maximize": maximize, "differentiable": differentiable, "fused": fused,
        })

    def _add_group(self, group: Group) -> None:
        super()._add_group(group)
        self._blocks[-1].reserve(self._states(group), self._fill(group))

    def _values(self, group: Group) -> tuple[float, ...]:
        return group["lr"], group["lr_decay"], group["weight_decay"], group["eps"]

    def _flags(self, group: Group) -> int:
        return optim.MAXIMIZE * bool(group["maximize"])

    def _states(self, group: Group) -> tuple[str | None, ...]:
        return ("sum",)

    def _fill(self, group: Group) -> float:
        return float(group["initial_accumulator_value"])

    def _has_state(self, block: Block, i: int) -> bool:
        return True


class Adam(FusedOptimizer):
    """Adaptive steps from running means of the gradient and of its square.

    m = beta1 m + (1 - beta1) g; v = beta2 v + (1 - beta2) g²;
    p -= lr m / (1 - beta1ᵗ) / (sqrt(v / (1 - beta2ᵗ)) + eps), at step t. amsgrad: the largest v so
    far in place of v. weight_decay is added to the gradient, or decoupled as in AdamW.

    Errors: ValueError for negative options or betas outside [0, 1).

    Source: Kingma and Ba, arXiv:1412.6980; amsgrad: Reddi et al., ICLR 2018.

    Example:
        >>> import fastnn
        >>> w = fastnn.tensor([1.0], requires_grad=True)
        >>> w.grad = fastnn.tensor([2.0])
        >>> fastnn.optim.Adam([w], lr=0.5).step()
        >>> round(w.item(), 4)
        0.5
    """

    op = optim.ADAM

    def __init__(
        self, params: Params, lr: float = 1e-3, betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8, weight_decay: float = 0, amsgrad: bool = False, *,
        foreach: bool | None = None, maximize: bool = False, capturable: bool = False,
        differentiable: bool = False, fused: bool | None = None,
        decoupled_weight_decay: bool = False,
    ) -> None:
        super().__init__(params, {
            "lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay,
            "amsgrad": amsgrad, "maximize": maximize, "foreach": foreach, "capturable": capturable,
            "differentiable": differentiable, "fused": fused,
            "decoupled_weight_decay": decoupled_weight_decay,
        })

    def _values(self, group: Group) -> tuple[float, ...]:
        beta1, beta2 = group["betas"]
        return group["lr"], beta1, beta2, group["eps"], group["weight_decay"]

    def _flags(self, group: Group) -> int:
        return (
            optim.MAXIMIZE * bool(group["maximize"])
            | optim.AMSGRAD * bool(group["amsgrad"])
            | optim.DECOUPLED * bool(group["decoupled_weight_decay"])
        )

    def _states(self, group: Group) -> tuple[str | None, ...]:
        return "exp_avg", "exp_avg_sq", "max_exp_avg_sq" if group["amsgrad"] else None


class AdamW(Adam):
    """Adam with decoupled weight decay: p *= 1 - lr weight_decay before each step.

    Source: Loshchilov and Hutter, Decoupled weight decay regularization, arXiv:1711.05101.

    Example:
        >>> import fastnn
        >>> w = fastnn.tensor([1.0], requires_grad=True)
        >>> w.grad = fastnn.tensor([2.0])
        >>> fastnn.optim.AdamW([w], lr=0.5, weight_decay=0.5).step()
        >>> round(w.item(), 4)
        0.25
    """

    def __init__(
        self, params: Params, lr: float = 1e-3, betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8, weight_decay: float = 1e-2, amsgrad: bool = False, *,
        maximize: bool = False, foreach: bool | None = None, capturable: bool = False,
        differentiable: bool = False, fused: bool | None = None,
    ) -> None:
        super().__init__(
            params, lr, betas, eps, weight_decay, amsgrad, foreach=foreach, maximize=maximize,
            capturable=capturable, differentiable=differentiable, fused=fused,
            decoupled_weight_decay=True,
        )


class Lion(FusedOptimizer):
    """Steps of equal size along the sign of an interpolated momentum.

    p -= lr (sign(beta1 m + (1 - beta1) g) + weight_decay p); m = beta2 m + (1 - beta2) g. The
    authors advise a third to a tenth of AdamW's lr, and as much more weight_decay.

    Errors: ValueError for negative options or betas outside [0, 1).

    Source: Chen et al., Symbolic discovery of optimization algorithms, arXiv:2302.06675.

    Example:
        >>> import fastnn
        >>> w = fastnn.tensor([1.0], requires_grad=True)
        >>> w.grad = fastnn.tensor([2.0])
        >>> fastnn.optim.Lion([w], lr=0.25).step()
        >>> w.tolist()
        [0.75]
    """

    op = optim.LION

    def __init__(
        self, params: Params, lr: float = 1e-4, betas: tuple[float, float] = (0.9, 0.99),
        weight_decay: float = 0, *, maximize: bool = False, foreach: bool | None = None,
    ) -> None:
        super().__init__(params, {
            "lr": lr, "betas": betas, "weight_decay": weight_decay, "maximize": maximize,
            "foreach": foreach,
        })

    def _values(self, group: Group) -> tuple[float, ...]:
        beta1, beta2 = group["betas"]
        return group["lr"], beta1, beta2, group["weight_decay"]

    def _flags(self, group: Group) -> int:
        return optim.MAXIMIZE * bool(group["maximize"])

    def _states(self, group: Group) -> tuple[str | None, ...]:
        return ("exp_avg",)
