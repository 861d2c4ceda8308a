"""Where metrics live in a server: Triton's registry."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from triton_backend_sdk.enums import MetricKind
from triton_backend_sdk.errors import UnsupportedError

if TYPE_CHECKING:
    from triton_backend_sdk._ffi.api import Api
    from triton_backend_sdk.metric_registry import MetricSpec, Series


class TritonStore:
    """Families and series over Triton's C API.

    :param series_type: the C type of ``_ffi/src/metric.c``, which owns the metric that it is given.
    """

    def __init__(self, api: Api, series_type: Any) -> None:
        self._api = api
        self._series_type = series_type

    def new_family(self, kind: MetricKind, name: str, description: str) -> Any:
        """See TRITONSERVER_MetricFamilyNew."""
        if kind is MetricKind.HISTOGRAM and not self._api.lib.tb_has(b"TRITONSERVER_MetricNewWithArgs"):
            raise UnsupportedError(f"metric '{name}': this Triton is too old for histograms")
        out = self._api.ffi.new("TRITONSERVER_MetricFamily **")
        self._api.check(
            self._api.lib.TRITONSERVER_MetricFamilyNew(
                out, int(kind), name.encode(), description.encode(errors="replace")
            )
        )
        return out[0]

    def delete_family(self, family: Any) -> None:
        """See TRITONSERVER_MetricFamilyDelete."""
        self._api.check(self._api.lib.TRITONSERVER_MetricFamilyDelete(family))

    def new_series(self, family: Any, spec: MetricSpec) -> Series:
        """See TRITONSERVER_MetricNew, TRITONSERVER_MetricNewWithArgs."""
        api, ffi, lib = self._api, self._api.ffi, self._api.lib
        texts = [
            (key.encode(), ffi.new("char[]", value.encode(errors="replace")))
            for key, value in spec.labels.items()
        ]
        kind = lib.TRITONSERVER_PARAMETER_STRING
        parameters = [lib.TRITONSERVER_ParameterNew(key, kind, text) for key, text in texts]
        args = ffi.NULL if spec.buckets is None else self._histogram_args(spec.buckets)
        out = ffi.new("TRITONSERVER_Metric **")
        given = ffi.new("TRITONSERVER_Parameter *[]", parameters)
        where = out, family, ffi.cast("const TRITONSERVER_Parameter **", given), len(parameters)
        try:
            # By its old name where it can be: an old Triton has no other.
            api.check(
                lib.TRITONSERVER_MetricNew(*where)
                if spec.buckets is None
                else lib.TRITONSERVER_MetricNewWithArgs(*where, args)
            )
        finally:
            for parameter in parameters:
                lib.TRITONSERVER_ParameterDelete(parameter)
            if args != ffi.NULL:
                api.check(lib.TRITONSERVER_MetricArgsDelete(args))
        series: Series = self._series_type(api.address(out[0]), str(spec))
        return series

    def _histogram_args(self, buckets: Sequence[float]) -> Any:
        api = self._api
        out = api.ffi.new("TRITONSERVER_MetricArgs **")
        api.check(api.lib.TRITONSERVER_MetricArgsNew(out))
        bounds = api.ffi.new("double[]", list(buckets))
        api.check(api.lib.TRITONSERVER_MetricArgsSetHistogram(out[0], bounds, len(buckets)))
        return out[0]
