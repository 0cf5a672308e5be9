"""Networks: polyak's own for small pictures, and every timm model by name."""
