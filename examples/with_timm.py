"""polyak's augmentation and optimizer around timm's datasets and models.

python examples/with_timm.py FOLDER    (a folder with a folder of images a class)
"""

import sys

import timm
import torch
from timm.data import create_dataset
from timm.scheduler import CosineLRScheduler
from torch.nn import functional
from torch.utils.data import DataLoader

from polyak.augment import Policy
from polyak.optim import AdamW

policy = Policy.named("lecture")
data = create_dataset("", root=sys.argv[1])
data.transform = policy.transform((64, 64), mean=(0.5,) * 3, std=(0.5,) * 3, seed=0)

torch.manual_seed(0)
model = timm.create_model("resnet10t", num_classes=len(data.reader.class_to_idx))
optimizer = AdamW(model.parameters(), lr=1e-3, weight_decay=0.05)
scheduler = CosineLRScheduler(optimizer, t_initial=3)
loader = DataLoader(data, batch_size=16, shuffle=True, num_workers=0)
for epoch in range(3):
    data.transform.epoch = epoch  # pixels are a function of (seed, epoch, image)
    for images, labels in loader:
        loss = functional.cross_entropy(model(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    scheduler.step(epoch + 1)
    print(f"epoch {epoch + 1}: loss of the last batch {loss.item():.3f}")
