import os
import stat

import pytest

import {{ cookiecutter.__package }} as package
from {{ cookiecutter.__package }} import UserError, folder, read_json, write, write_json


def test_a_file_is_replaced_whole_and_readable_by_all(tmp_path):
    path = tmp_path / "new" / "a.txt"
    write(path, "old")
    write(path, "naïve")
    assert path.read_bytes() == "naïve".encode()
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    assert os.listdir(path.parent) == ["a.txt"]


def test_what_cannot_be_written_leaves_what_was_there(tmp_path):
    path = tmp_path / "a.json"
    write_json(path, {"a": 1})
    with pytest.raises(ValueError, match="Out of range float values"):
        write_json(path, {"a": float("nan")})
    with pytest.raises(UnicodeEncodeError):
        write(path, "\ud800")
    assert read_json(path) == {"a": 1}
    assert os.listdir(tmp_path) == ["a.json"]


def test_a_folder_takes_the_place_of_the_old_one(tmp_path):
    path = tmp_path / "out"
    for name in ("old", "new"):
        with folder(path) as scratch:
            (scratch / "inner").mkdir(mode=0o700)
            write(scratch / "inner" / name, name)
            (scratch / "inner" / name).chmod(0o600)
    assert [item.name for item in (path / "inner").iterdir()] == ["new"]
    modes = [stat.S_IMODE(item.stat().st_mode) for item in (path, path / "inner", path / "inner" / "new")]
    assert modes == [0o755, 0o755, 0o644]


def test_a_failing_block_leaves_the_old_folder_and_nothing_else(tmp_path):
    def fill(content):
        with folder(tmp_path / "out") as scratch:
            write(scratch / "a", content)
            write(scratch / "b", content)

    fill("old")
    with pytest.raises(UnicodeEncodeError):
        fill("\ud800")
    assert (tmp_path / "out" / "a").read_text() == "old"
    assert os.listdir(tmp_path) == ["out"]


def test_what_a_killed_run_left_does_not_come_along(tmp_path):
    left = tmp_path / ".out.new"
    left.mkdir()
    (left / "half").touch()
    with folder(tmp_path / "out") as scratch:
        assert not os.listdir(scratch)


def test_a_digest_follows_content_and_not_the_order_of_keys(tmp_path):
    write(tmp_path / "a", b"a")
    assert package.digest(tmp_path / "a") == package.digest(b"a")
    assert package.digest(b"a").startswith("ca978112ca1bbdca")
    one = package.digest_json({"a": 1, "b": [2]})
    assert one == package.digest_json({"b": [2], "a": 1})
    assert one != package.digest_json({"b": [2], "a": 3})


def test_a_file_that_dvc_keeps_and_that_is_not_here_is_named(tmp_path):
    for name in ("a.parquet", "a.parquet.dvc"):
        (tmp_path / name).touch()
    assert package.pulled(tmp_path) == tmp_path
    (tmp_path / "a.parquet").unlink()
    with pytest.raises(UserError, match=r"a\.parquet is kept by DVC and not here"):
        package.pulled(tmp_path)
