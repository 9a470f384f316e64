"""KEDA's service externalscaler.ExternalScaler: convert, call the core, render."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing

from ...chain import Call
from ...core.insight.scaling import Scaling
from ..checks import Problems
from . import externalscaler_pb2 as pb
from .metadata import Trigger, trigger

METRIC = "wanted_slots"


class ExternalScalerServicer:
    """Answers KEDA. Wrong metadata of a trigger is INVALID_ARGUMENT, FIELD_INVALID, and names the field."""

    def __init__(self, scaling: Scaling) -> None:
        self._scaling = scaling

    async def IsActive(self, request: pb.ScaledObjectRef, call: Call) -> pb.IsActiveResponse:
        """Whether at least one replica is wanted."""
        need = await self._scaling.need(call.scope, _trigger(request).target)
        return pb.IsActiveResponse(result=need.active)

    async def StreamIsActive(
        self, request: pb.ScaledObjectRef, call: Call
    ) -> AsyncGenerator[pb.IsActiveResponse, None]:
        """The same at once, and again whenever it changes."""
        async with aclosing(self._scaling.activity(call.scope, _trigger(request).target)) as changes:
            async for active in changes:
                yield pb.IsActiveResponse(result=active)

    async def GetMetricSpec(self, request: pb.ScaledObjectRef, call: Call) -> pb.GetMetricSpecResponse:
        """The metric, and how much of it one replica does."""
        return _spec(_trigger(request))

    async def StreamMetricSpec(
        self, request: pb.ScaledObjectRef, call: Call
    ) -> AsyncGenerator[pb.GetMetricSpecResponse, None]:
        """The same, which never changes: the stream stays open until KEDA or the server leaves."""
        spec = _spec(_trigger(request))
        with self._scaling.streaming(call.scope) as leaving:
            yield spec
            await leaving.wait()

    async def GetMetrics(self, request: pb.GetMetricsRequest, call: Call) -> pb.GetMetricsResponse:
        """How many slots are wanted."""
        problems = Problems()
        if request.metricName != METRIC:
            problems.add("metricName", f"must be {METRIC}, the one metric that there is")
        asked = trigger(request.scaledObjectRef.scalerMetadata, "scaledObjectRef.scalerMetadata.", problems)
        problems.raise_if_any()
        wanted = (await self._scaling.need(call.scope, asked.target)).wanted_slots
        value = pb.MetricValue(metricName=METRIC, metricValue=wanted, metricValueFloat=wanted)
        return pb.GetMetricsResponse(metricValues=[value])


def _trigger(request: pb.ScaledObjectRef) -> Trigger:
    problems = Problems()
    asked = trigger(request.scalerMetadata, "scalerMetadata.", problems)
    problems.raise_if_any()
    return asked


def _spec(asked: Trigger) -> pb.GetMetricSpecResponse:
    size = asked.slots_per_replica
    spec = pb.MetricSpec(metricName=METRIC, targetSize=size, targetSizeFloat=size)
    return pb.GetMetricSpecResponse(metricSpecs=[spec])
