"""polyak's optimizer, schedule and average in a Lightning module, on scikit-learn's digits."""

import lightning
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from polyak.optim import Adam, Average, Scheduled
from polyak.optim.schedules import cosine


class Digits(lightning.LightningModule):
    """Two layers, trained by polyak's Adam; the average is tested."""

    def __init__(self):
        super().__init__()
        self.network = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
        self.average = Average(self.network, half_life=50)  # steps

    def training_step(self, batch, number):
        return nn.functional.cross_entropy(self.network(batch[0]), batch[1])

    def configure_optimizers(self):
        optimizer = Adam(self.network.parameters(), lr=1e-3, averages=[self.average])
        steps = int(self.trainer.estimated_stepping_batches)
        return [optimizer], [{"scheduler": Scheduled(optimizer, cosine, steps), "interval": "step"}]


images, labels = map(torch.tensor, load_digits(return_X_y=True))
data = TensorDataset(images.float() / 16, labels)
model = Digits()
quiet = {"enable_progress_bar": False, "logger": False, "enable_checkpointing": False}
trainer = lightning.Trainer(max_epochs=10, accelerator="cpu", **quiet)
trainer.fit(model, DataLoader(data, batch_size=32, shuffle=True))
with model.average.swapped_in(model.network) as network:
    right = network(data.tensors[0]).argmax(1) == labels
    print(f"averaged weights: {right.float().mean():.1%} of the training images")
