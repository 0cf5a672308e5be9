"""Snapshots of a plain PyTorch loop, selected and averaged with polyak.ensemble, on digits."""

import torch
from sklearn.datasets import load_digits
from torch import nn

from polyak.ensemble import CalibratedMean, Snapshots, refreshed, soup
from polyak.metrics import accuracy_and_nll
from polyak.optim import Average, Nesterov, schedules

images, labels = map(torch.tensor, load_digits(return_X_y=True))
train, val, test = torch.randperm(1797, generator=torch.manual_seed(0)).split([300, 600, 897])
images = images.float() / 16
network = nn.Sequential(nn.Linear(64, 64), nn.BatchNorm1d(64), nn.ReLU(), nn.Linear(64, 10))
average = Average(network, half_life=10)  # steps
optimizer = Nesterov(network.parameters(), lr=0.3, averages=[average])
snapshots, steps, inputs = Snapshots(schedules.cycle_ends(4)), 400, images[train].split(100)
for step in range(steps):
    optimizer.param_groups[0]["lr"] = 0.3 * schedules.sgdr(step / steps, cycles=4)
    rows = train[torch.randint(len(train), (30,))]
    optimizer.zero_grad()
    nn.functional.cross_entropy(network.train()(images[rows]), labels[rows]).backward()
    optimizer.step()
    if snapshots.due((step + 1) / steps):
        with average.swapped_in(network, inputs):  # with batch-norm statistics of its own
            snapshots.take(network.state_dict(), (step + 1) / steps)


def predict(state, rows):
    network.load_state_dict(state)
    return network.eval()(images[rows]).log_softmax(1).detach().numpy()


states = [one.state for one in snapshots.taken()]
members, mixed = [predict(s, test) for s in states], refreshed(network, soup(states), inputs)
mean = CalibratedMean.fit([predict(s, val) for s in states], labels[val].numpy())
found = {"last": members[-1], f"mean {mean.weights}": mean(members), "soup": predict(mixed, test)}
for name, log_probs in found.items():
    print("{}: {:.1%}, NLL {:.4f}".format(name, *accuracy_and_nll(log_probs, labels[test].numpy())))
