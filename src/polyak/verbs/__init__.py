"""The verbs of the command line, a file each: its options, and what it does with them."""

# verb: (what it takes, what it does)
VERBS = {
    "train": ("DATA", "train a classifier on a folder of images"),
    "plan": ("DATA", "measure which way of transfer learning pays on your images"),
    "evaluate": ("MODEL DATA", "measure a model on images with labels"),
    "predict": ("MODEL PATH...", "name the class of images"),
    "ensemble": ("RUN...", "join finished runs into one model file"),
    "export": ("MODEL", "write a model for other programs: ONNX, torch.export, timm"),
    "augment": ("DATA", "show what a policy makes of the images"),
    "report": ("RUN...", "draw the page of a run again, or compare several runs"),
    "clean": ("DATA", "list labels that are probably wrong, copies, odd images"),
    "doctor": ("[DATA]", "tell machine, threads and precision; scan data without training"),
    "race": ("[DATA]", "race optimizers: on your images, or on surfaces to play with"),
}
