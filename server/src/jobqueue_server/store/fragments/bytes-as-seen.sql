-- The bytes that a job carries in an answer, measured without reading what is left out.
-- blanks: body
600
-- fields: bytes in every view
+ coalesce(octet_length(d.labels), 0) + coalesce(octet_length(d.idempotency_key), 0)
+ coalesce(octet_length(d.key), 0) + coalesce(octet_length(d.unique_name), 0)
-- end of fields
+ coalesce(octet_length(d.last_error), 0) + coalesce(octet_length(d.progress_message), 0)
+ case when :full then {body} + coalesce(h.bytes, 0) else 0 end
