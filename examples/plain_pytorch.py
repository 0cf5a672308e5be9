"""polyak's optimizer, average and schedule in a plain PyTorch loop, on scikit-learn's digits."""

import torch
from sklearn.datasets import load_digits
from torch import nn

from polyak.optim import Average, Nesterov
from polyak.optim.schedules import one_cycle

images, labels = map(torch.tensor, load_digits(return_X_y=True))
images = images.float() / 16
order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(0))
train, test = order[360:], order[:360]

torch.manual_seed(0)
network = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
average = Average(network, half_life=50)  # steps
optimizer = Nesterov(network.parameters(), lr=0.1, max_norm=1.0, averages=[average])

epochs, batch = 15, 32
steps = epochs * (len(train) // batch)
for step in range(steps):
    optimizer.param_groups[0]["lr"] = 0.1 * one_cycle(step / steps)
    rows = train[torch.randint(len(train), (batch,))]
    loss = nn.functional.cross_entropy(network(images[rows]), labels[rows])
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()  # clips, steps and averages in one pass over memory


def accuracy():
    return (network(images[test]).argmax(1) == labels[test]).float().mean().item()


print(f"raw weights      {accuracy():.1%} of {len(test)}")
with average.swapped_in(network):
    print(f"averaged weights {accuracy():.1%}")
