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


@pytest.mark.parametrize(
    "recorded",
    [
        [*bindings.recorded(), "jobqueue.v1.JobQueue.Gone\tGET\t/v1/gone\t\t"],
        [row.replace("/v1/jobs:claim", "/v1/jobs:take") for row in bindings.recorded()],
        [row.replace("\tjob\tjob", "\t*\tjob") for row in bindings.recorded()],
    ],
    ids=["removed", "path changed", "body changed"],
)
@pytest.mark.parametrize("flags", [[], ["--check"]], ids=["write", "check"])
def test_a_lost_row_is_refused(recorded, flags, monkeypatch, capsys) -> None:
    monkeypatch.setattr(bindings, "recorded", lambda: recorded)
    monkeypatch.setattr("sys.argv", ["bindings.py", *flags])
    with pytest.raises(SystemExit, match="CHANGELOG"):
        bindings.main()
    (lost,) = set(recorded) - set(bindings.rows())
    assert lost in capsys.readouterr().out


def test_a_new_row_is_asked_for_by_the_check(monkeypatch) -> None:
    monkeypatch.setattr(bindings, "recorded", lambda: bindings.rows()[1:])
    monkeypatch.setattr("sys.argv", ["bindings.py", "--check"])
    with pytest.raises(SystemExit, match="make generate"):
        bindings.main()
