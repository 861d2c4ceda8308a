from triton_backend_sdk.attributes import read_settings
from triton_backend_sdk.tools.build import BATCHER, build_backend
from triton_backend_sdk.tools.compat import build_compat, compat_backend


def test_it_answers_triton_as_the_stock_backend_does(tmp_path):
    target = build_backend(compat_backend(), tmp_path)

    settings = read_settings(target)
    assert settings["parallel-instance-loading"] == "true"
    assert settings["preferred-instance-groups"] == '[{"kind": "gpu", "count": 1, "gpus": []}]'
    assert "execution-policy" not in settings
    assert not (target / BATCHER).exists()


def test_the_other_backends_of_a_server_are_beside_it(tmp_path):
    server, out = tmp_path / "server", tmp_path / "out"
    for name in ("onnxruntime", "python"):
        (server / name).mkdir(parents=True)
        (server / name / f"libtriton_{name}.so").write_text("the server's own")

    for _ in range(2):  # a second time changes nothing
        build_compat(out, server)

        assert sorted(path.name for path in out.iterdir()) == ["onnxruntime", "python", "python_inprocess"]
        assert (out / "onnxruntime" / "libtriton_onnxruntime.so").read_text() == "the server's own"
        assert not (out / "python").is_symlink()
        assert (out / "python" / "tbsdk.conf").is_file()
    assert (server / "python" / "libtriton_python.so").read_text() == "the server's own"
