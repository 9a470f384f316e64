"""The method of AccessAdmin about the audit log: convert, call the core, render."""

from __future__ import annotations

from jobqueue.v1 import access_admin_pb2 as admin_pb

from ..chain import Call
from ..core.access.audit_log import AuditLog
from ..store.access.audit import AuditFilter, AuditRow
from . import checks, convert
from .access_admin import check_namespace
from .checks import Problems

MAX_ACTION_CHARS = MAX_OUTCOME_CHARS = 64
MAX_PRINCIPAL_CHARS = MAX_OBJECT_CHARS = 1024


class AuditServicer:
    """The audit log. The errors are those of the contract; they rise from checks and core."""

    def __init__(self, audit_log: AuditLog) -> None:
        self._audit_log = audit_log

    async def ListAudit(self, request: admin_pb.ListAuditRequest, call: Call) -> admin_pb.ListAuditResponse:
        """Reads a page of the audit log, newest first."""
        problems = Problems()
        checks.page_size(request.page_size, problems)
        checks.text(request.page_token, "page_token", checks.MAX_PAGE_TOKEN_CHARS, problems)
        check_namespace(request.namespace, problems)
        checks.text(request.action, "action", MAX_ACTION_CHARS, problems)
        checks.text(request.principal, "principal", MAX_PRINCIPAL_CHARS, problems)
        checks.text(request.object, "object", MAX_OBJECT_CHARS, problems)
        checks.text(request.outcome, "outcome", MAX_OUTCOME_CHARS, problems)
        since, until = (
            convert.moment(getattr(request, field))
            if request.HasField(field) and checks.timestamp(getattr(request, field), field, problems)
            else None
            for field in ("since", "until")
        )
        problems.raise_if_any()
        wanted = AuditFilter(
            action=request.action or None,
            principal=request.principal or None,
            object=request.object or None,
            outcome=request.outcome or None,
        )
        rows, token = await self._audit_log.list(
            call.scope, wanted, request.namespace, since, until, request.page_size, request.page_token
        )
        return admin_pb.ListAuditResponse(records=[audit_message(row) for row in rows], next_page_token=token)


def audit_message(row: AuditRow) -> admin_pb.AuditRecord:
    """A row of the audit log as it is answered."""
    message = admin_pb.AuditRecord(
        id=str(row.id),
        namespace=row.namespace or "",
        principal=row.principal,
        credential=row.credential,
        address=row.address,
        transport=row.transport,
        request_id=row.request_id,
        action=row.action,
        object=row.object,
        reason=row.reason,
        outcome=row.outcome,
        details=row.details,
        count=row.count,
    )
    convert.set_moment(message.occurred_at, row.occurred_at)
    return message
