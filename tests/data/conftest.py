import pytest

import samples


@pytest.fixture
def scene():
    return samples.scene


@pytest.fixture
def encoded():
    return samples.encoded


@pytest.fixture
def tree(tmp_path):
    """Write {"cat/1.jpg": bytes or (height, width, seed)} below a folder of its own."""

    def write(files, root="data"):
        for name, content in files.items():
            path = tmp_path / root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if isinstance(content, tuple):
                content = samples.encoded(samples.scene(*content), "JPEG")
            path.write_bytes(content)
        return tmp_path / root

    return write
