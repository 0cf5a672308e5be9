"""What polyak's augmentation is measured against, as users of each library would write it.

Each function makes a contender: draw(files, epoch) decodes and augments JPEG bytes, one thread.
`whole` asks for the lecture's whole list, else random resized crop and flip. Decoders are each
library's own way: OpenCV (albumentations), Pillow (torchvision), simplejpeg (kornia, which has
none), libjpeg-turbo of its own with the crop in the decoder (DALI).
"""

import io

import numpy as np
import simplejpeg
import torch
from PIL import Image

MEAN, STD, SIZE = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225), (224, 224)


def albumentations(whole):
    import albumentations as A
    import cv2

    cv2.setNumThreads(0)
    steps = [A.RandomResizedCrop(SIZE, scale=(0.35, 1)), A.HorizontalFlip()]
    if whole:
        steps += [
            A.Affine(
                scale={"x": (0.93, 1.07), "y": (0.93, 1.07)},
                translate_percent=0.04,
                rotate=(-12, 12),
                shear=(-6, 6),
                border_mode=cv2.BORDER_REFLECT,
                p=1,
            ),
            A.OpticalDistortion(distort_limit=(-0.1, 0.2), p=1),
            A.ColorJitter(0.3, 0.3, 0.3, 0, p=1),
            A.FancyPCA(0.1, p=1),
        ]
    transform = A.Compose([*steps, A.Normalize(MEAN, STD)])

    def draw(files, epoch):
        for file in files:
            image = cv2.imdecode(np.frombuffer(file, np.uint8), cv2.IMREAD_COLOR)
            transform(image=cv2.cvtColor(image, cv2.COLOR_BGR2RGB))

    return draw


def _bend(image):
    """Lens and lighting, which torchvision lacks, as its users write them: grid_sample, a sum."""
    k1, noise = torch.empty(1).uniform_(-0.1, 0.2), 0.1 * torch.randn(3)
    axis = torch.linspace(-0.707, 0.707, SIZE[0])
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    grow = (1 + k1 * (x * x + y * y)) / 0.707
    grid = torch.stack([x * grow, y * grow], dim=-1)[None]
    sample = torch.nn.functional.grid_sample
    image = sample(image[None], grid, "bilinear", "reflection", align_corners=True)[0]
    components = torch.tensor(
        [[-0.5675, 0.7192, 0.4009], [-0.5808, -0.0045, -0.8140], [-0.5836, -0.6948, 0.4203]]
    )
    shift = components @ (noise * torch.tensor([0.2175, 0.0188, 0.0045]))
    return (image + shift[:, None, None]).clamp(0, 1)


def torchvision(whole, lens=True):
    from torchvision.transforms import v2

    mode = v2.InterpolationMode.BILINEAR
    steps = [v2.PILToTensor(), v2.RandomResizedCrop(SIZE, (0.35, 1)), v2.RandomHorizontalFlip()]
    if whole:
        steps += [
            v2.RandomAffine(12, (0.04, 0.04), (0.93, 1.07), (-6, 6, -6, 6), interpolation=mode),
            v2.ColorJitter(0.3, 0.3, 0.3),
        ]
    steps += [v2.ToDtype(torch.float32, True)]
    steps += [v2.Lambda(_bend)] if whole and lens else []
    transform = v2.Compose([*steps, v2.Normalize(MEAN, STD)])

    def draw(files, epoch):
        for file in files:
            transform(Image.open(io.BytesIO(file)).convert("RGB"))

    return draw


def kornia(whole):
    import kornia.augmentation as K

    steps = [K.RandomResizedCrop(SIZE, scale=(0.35, 1.0)), K.RandomHorizontalFlip()]
    if whole:
        steps += [
            K.RandomAffine(12, (0.04, 0.04), (0.93, 1.07), (-6, 6, -6, 6), p=1.0),
            K.ColorJitter(0.3, 0.3, 0.3, 0.0, p=1.0),
        ]
    transform = K.AugmentationSequential(
        *steps, K.Normalize(torch.tensor(MEAN), torch.tensor(STD)), data_keys=["input"]
    )

    def draw(files, epoch):
        for file in files:
            image = torch.from_numpy(simplejpeg.decode_jpeg(file)).permute(2, 0, 1)
            transform(image[None].float() / 255)

    return draw


def dali(whole, batch):
    """DALI on the CPU; it has no lens there."""
    from nvidia.dali import fn, pipeline_def, types

    def between(low, high, **shape):
        return fn.random.uniform(range=[low, high], **shape)

    @pipeline_def(
        batch_size=batch, num_threads=1, device_id=None, prefetch_queue_depth=1,
        exec_pipelined=False, exec_async=False,
    )  # fmt: skip
    def pipeline():
        files = fn.external_source(name="files", dtype=types.UINT8, ndim=1)
        crop = {"random_area": [0.35, 1.0], "random_aspect_ratio": [0.75, 1.3333]}
        image = fn.decoders.image_random_crop(files, **crop)
        image = fn.resize(image, size=SIZE, interp_type=types.INTERP_LINEAR, antialias=True)
        if whole:
            middle = [SIZE[1] / 2, SIZE[0] / 2]
            map = fn.transforms.rotation(angle=between(-12, 12), center=middle)
            map = fn.transforms.shear(map, angles=between(-6, 6, shape=[2]), center=middle)
            map = fn.transforms.scale(map, scale=between(0.93, 1.07, shape=[2]), center=middle)
            map = fn.transforms.translation(map, offset=between(-9, 9, shape=[2]))
            image = fn.warp_affine(image, matrix=map, fill_value=0)
            names = ("brightness", "contrast", "saturation")
            image = fn.color_twist(image, **{name: between(0.7, 1.3) for name in names})
        levels = {"mean": [255 * m for m in MEAN], "std": [255 * s for s in STD]}
        mirror = fn.random.coin_flip()
        return fn.crop_mirror_normalize(image, mirror=mirror, dtype=types.FLOAT, **levels)

    made = pipeline()
    made.build()

    def draw(files, epoch):
        made.run(files=[np.frombuffer(file, np.uint8) for file in files])

    return draw


def small_torchvision():
    from torchvision.transforms import v2

    steps = [v2.RandomCrop(32, 2, padding_mode="reflect"), v2.RandomHorizontalFlip()]
    transform = v2.Compose([*steps, v2.ToDtype(torch.float32, True), v2.Normalize(MEAN, STD)])

    def draw(images, epoch):
        for image in torch.from_numpy(images).permute(0, 3, 1, 2):
            transform(image)

    return draw
