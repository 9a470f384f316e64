"""The REST bindings: complete, and changed only on purpose."""

import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorProto, MethodDescriptorProto

from tools import bindings


def methods(files: list[FileDescriptorProto]) -> list[MethodDescriptorProto]:
    return [method for file in files for service in file.service for method in service.method]


def test_no_row_was_removed_or_changed_and_none_is_missing() -> None:
    assert bindings.recorded() == bindings.rows()


def test_every_method_that_http_can_carry_has_a_binding(files: list[FileDescriptorProto]) -> None:
    for method in methods(files):
        bound = any(True for _ in bindings.rules(method))
        assert bound is not method.client_streaming, method.name


def test_lease_alone_streams_from_the_caller(files: list[FileDescriptorProto]) -> None:
    assert [method.name for method in methods(files) if method.client_streaming] == ["Lease"]


def test_no_two_methods_have_the_same_binding() -> None:
    addresses = [row.split("\t")[1:3] for row in bindings.rows()]
    assert len({tuple(address) for address in addresses}) == len(addresses)


@pytest.mark.cases(2)
@pytest.mark.parametrize(
    ("now", "before"),
    [("/v1/jobs:claim", "/v1/jobs:take"), ("\tjob\tjob", "\t*\tjob"), ("GetJob\t", "ReadJob\t")],
    ids=["path", "body", "name"],
)
@pytest.mark.parametrize("flags", [[], ["--check"]], ids=["write", "check"])
def test_a_lost_row_is_refused(now, before, flags, monkeypatch, tmp_path, capsys) -> None:
    (lost,) = [row.replace(now, before) for row in bindings.rows() if now in row]
    file = tmp_path / "bindings.txt"
    file.write_text("\n".join([*bindings.rows(), lost]))
    monkeypatch.setattr(bindings, "BINDINGS", file)
    monkeypatch.setattr("sys.argv", ["bindings.py", *flags])
    with pytest.raises(SystemExit, match="CHANGELOG"):
        bindings.main()
    assert lost in capsys.readouterr().out
    assert lost in file.read_text()


def test_a_new_row_is_asked_for_and_then_written(monkeypatch, tmp_path) -> None:
    file = tmp_path / "bindings.txt"
    file.write_text("\n".join(bindings.rows()[1:]))
    monkeypatch.setattr(bindings, "BINDINGS", file)
    monkeypatch.setattr("sys.argv", ["bindings.py", "--check"])
    with pytest.raises(SystemExit, match="make generate"):
        bindings.main()
    monkeypatch.setattr("sys.argv", ["bindings.py"])
    bindings.main()
    assert bindings.recorded() == bindings.rows()
