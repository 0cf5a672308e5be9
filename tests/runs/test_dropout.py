"""A run says where its dropout went, or does not begin."""

import yaml


def test_a_run_says_how_many_places_were_found(tiny_folder, train, tmp_path):
    where = ("--dropout", "0.2", "--dropout-where", "layer[12].*", "--dropout-kind", "depth")
    deep = ("--model", "resnet18", "--size", "32", "--epochs", "0.1", "--name", "a")
    code, said, error = train(tiny_folder, *deep, *where)
    assert code == 0, error
    line = "dropout = 0.2  (in 3 places: layer1.0, layer1.1, layer2.1)"
    assert line in said and line in (tmp_path / "runs/a/log.txt").read_text()
    page = (tmp_path / "runs/a/config.yaml").read_text()
    assert "dropout: 0.2  # in 3 places: layer1.0, layer1.1, layer2.1\n" in page
    assert yaml.safe_load(page)["dropout"] == 0.2


def test_a_run_whose_dropout_would_do_nothing_does_not_begin(tiny_folder, train, tmp_path):
    for where in ("head", "blocks", "stages.*"):
        typed = ("--dropout", "0.2", "--dropout-kind", "depth", "--dropout-where", where)
        code, _, error = train(tiny_folder, *typed)
        assert code == 64 and error.startswith("polyak: no residual block: "), error
    assert not list((tmp_path / "runs").iterdir())
