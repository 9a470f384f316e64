"""The .proto files are the reference: everything in them says what it means."""

import grpc
from google.protobuf.descriptor_pb2 import FileDescriptorProto

from jobqueue_server import errors as server
from tools import comments


def test_everything_has_a_comment(files: list[FileDescriptorProto]) -> None:
    bare = [
        element.name for file in files for element in comments.elements(file) if not element.comment.strip()
    ]
    assert not bare


def test_a_comment_is_a_sentence(files: list[FileDescriptorProto]) -> None:
    for file in files:
        for element in comments.elements(file):
            assert element.comment.strip().endswith((".", ":")), element


def test_every_method_lists_its_errors(files: list[FileDescriptorProto]) -> None:
    for name, comment in comments.methods(files).items():
        lines = comment.partition("\n Errors:\n")[2].splitlines()
        listed = [line for line in lines if line.startswith(" - ")]
        assert listed, f"{name} has no Errors:"
        assert len(comments.errors(comment)) == len(listed), f"{name}: a line is not `- CODE, REASON: when`"


def test_the_errors_are_those_of_the_registry(files: list[FileDescriptorProto]) -> None:
    known = server.registry()
    for file in files:
        for element in comments.elements(file):
            for error in comments.errors(element.comment):
                assert error.code in grpc.StatusCode.__members__, (element.name, error)
                assert error.reason in known, (element.name, error)
                here = (error.code, error.http_status)
                there = (known[error.reason].code, known[error.reason].http_status)
                assert here == there, (element.name, error.reason)


def test_every_reason_of_the_registry_is_in_the_contract(files: list[FileDescriptorProto]) -> None:
    told = {
        error.reason
        for file in files
        for element in comments.elements(file)
        for error in comments.errors(element.comment)
    }
    assert set(server.registry()) - told == set()
