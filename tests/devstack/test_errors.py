from pathlib import Path

from devstack.errors import way_out


def test_the_way_out_names_the_directory_it_is_about(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert way_out("--reset", Path(".rowcast")) == "`rowcast dev --reset`"
    assert way_out("--reset", tmp_path / ".rowcast") == "`rowcast dev --reset`"
    assert way_out("--stop", Path("/other/.rowcast")) == "`rowcast dev --data-dir /other/.rowcast --stop`"
    assert way_out("--stop", Path("/my data")) == "`rowcast dev --data-dir '/my data' --stop`"
