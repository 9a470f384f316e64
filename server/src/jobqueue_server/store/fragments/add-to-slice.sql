-- What is there already of a slice is added to.
on conflict (width_s, at, lane_id, server_id) do update
set enqueued = s.enqueued + excluded.enqueued, started = s.started + excluded.started,
    succeeded = s.succeeded + excluded.succeeded,
    retried = s.retried + excluded.retried, failed = s.failed + excluded.failed, cancelled = s.cancelled + excluded.cancelled,
    lost = s.lost + excluded.lost, timed_out = s.timed_out + excluded.timed_out, released = s.released + excluded.released,
    wait_hist = hist_sum(s.wait_hist, excluded.wait_hist), run_hist = hist_sum(s.run_hist, excluded.run_hist)
