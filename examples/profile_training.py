"""Where does a training step spend its time, and how fast could this machine be?"""

import fastnn
from fastnn import nn, optim
from fastnn.nn import functional as F

STEPS = 50


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.hidden = nn.Sequential(nn.Linear(784, 512), nn.ReLU(), nn.Linear(512, 256), nn.GELU())
        self.drop = nn.Dropout(0.2)
        self.out = nn.Linear(256, 10)

    def forward(self, x):
        return self.out(self.drop(self.hidden(x)))


fastnn.manual_seed(0)
net = Net()
optimizer = optim.AdamW(net.parameters(), lr=1e-3)
x, y = fastnn.randn(128, 784), fastnn.randint(0, 10, (128,))


def step(x, y):
    optimizer.zero_grad()
    loss = F.cross_entropy(net(x), y)
    loss.backward()
    optimizer.step()
    return loss


def profiled(step):
    for _ in range(10):                     # until memory, threads and the recording are there
        step(x, y)
    with fastnn.profile() as prof:
        for _ in range(STEPS):
            step(x, y)
    return prof


prof = profiled(step)
print(prof.table(sort_by="time"))           # ops: how near to the machine's roof is each?
print()
print(prof.by_module())                     # modules: where in the network?
prof.export_chrome_trace("trace.json")      # every record: open it at https://ui.perfetto.dev
prof.roofline("roofline.png")
print()

replayed = profiled(fastnn.compile(step))   # the same step without Python between the kernels
for name, p in (("eager", prof), ("compiled", replayed)):
    rows = p.by_op()
    wall, outside = (1e6 * t / STEPS for t in (rows.wall, rows.wall - rows.busy))
    print(f"{name}: {wall:.0f} µs a step, {outside:.0f} µs of them outside kernels")
