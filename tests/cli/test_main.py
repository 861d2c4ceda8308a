"""How ``main`` reports: exit status, one line on stderr, no traceback."""

import pytest

from triton_backend_sdk import cli
from triton_backend_sdk.tools.errors import HandledError


@pytest.fixture
def main(monkeypatch, capfd):
    """Give ``main(*argv)``: exit status, stdout, stderr."""

    def call(*argv):
        monkeypatch.setattr("sys.argv", ["tbsdk", *argv])
        return cli.main(), *capfd.readouterr()

    return call


@pytest.fixture
def failing(monkeypatch):
    """Make ``tbsdk server path`` raise the given error."""

    def install(error):
        def find_server(explicit):
            raise error

        monkeypatch.setattr("triton_backend_sdk.cli.server.find_server", find_server)

    return install


def test_an_error_is_one_line_evidence_and_the_next_step(main, failing):
    failing(HandledError("no [red]thing[/red] found", "type [this]", details=["line [1]"]))
    status, out, err = main("server", "path")
    assert (status, out) == (1, "")
    assert err == "error: no [red]thing[/red] found\n  line [1]\nnext: type [this]\n"


def test_a_long_error_stays_one_line(main, failing):
    failing(HandledError("x " * 300))
    assert main("server", "path")[2].count("\n") == 1


def test_an_oserror_is_the_users_too(main, failing):
    failing(PermissionError(13, "Permission denied", "/opt/x"))
    assert main("server", "path")[2] == "error: [Errno 13] Permission denied: '/opt/x'\n"


@pytest.mark.parametrize("how", ["option", "variable"])
def test_debug_shows_the_traceback(main, failing, monkeypatch, how):
    failing(HandledError("no"))
    if how == "variable":
        monkeypatch.setenv("TBSDK_DEBUG", "1")
    with pytest.raises(HandledError):
        main(*["--debug"] * (how == "option"), "server", "path")


def test_a_bug_keeps_its_traceback(main, failing):
    failing(ZeroDivisionError())
    with pytest.raises(ZeroDivisionError):
        main("server", "path")


def test_ctrl_c_is_quiet(main, failing):
    failing(KeyboardInterrupt())
    status, out, err = main("server", "path")
    assert (status, out, err.strip()) == (130, "", "")


def test_a_wrong_command_line_shows_the_usage(main):
    status, _, err = main("server", "frob")
    assert status == 2
    assert "No such command 'frob'" in err


def test_the_version(main):
    status, out, _ = main("--version")
    assert (status, out.split()[0]) == (0, "tbsdk,")
