"""The numbers that the core is tuned by, each with its reason. No setting changes them; tests pass their own."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta


@dataclass(frozen=True, slots=True)
class Tuning:
    """Counts are of jobs and floats are seconds, unless the name says otherwise."""

    # ---- claims

    #: The most that one claim takes.
    most_claimed: int = 1000
    #: What is being settled brings credit in a moment: a claim of fewer than this waits for it, since two cost twice
    #: one (16 streams of one slot: 0.29 commits a job instead of 0.45).
    few_claimed: int = 100
    #: How many deliveries may be under way while the next claim is made.
    deliveries: int = 2
    #: How long an insert waits at most for the claims and settlements that go first while there is a backlog, and a
    #: claim of a few for a settlement.
    admission_patience: float = 0.05
    #: Where producers outrun the server: of what has ended an insert brings that part anew, so that a backlog drains.
    drained_part: float = 0.8
    #: An insert may always have so many.
    least_inserted: int = 100
    #: After an error of the database.
    claim_again_after: float = 0.25
    #: How often the head of each line is read, and how often from its beginning.
    sweep_every: float = 1.0
    sweep_all_every: float = 60.0
    #: How many lines one statement of a sweep reads.
    sweep_lines: int = 2000

    # ---- limits by key

    #: How often every server looks for keys that may let one in, and for jobs whose time has come: what a crash left
    #: waits no longer.
    keys_sweep_every: float = 0.25
    #: The same where no queue limits its keys, so that only jobs from before are found.
    keys_sweep_unlimited: float = 1.0
    #: How many keys, and how many jobs, one promote lets in: each takes its turn.
    keys_called: int = 1000
    keys_admitted: int = 1000
    #: So many settlements of limited keys commit at once while jobs wait for their keys. A third one made batches
    #: smaller: 35,000 jobs a second of 1,000 keys instead of 36,700 (one: 29,400).
    keyed_settlement_lines: int = 2
    #: A job that was locked by a cancel is let in so much later.
    keys_again_after: float = 0.02
    #: How often how many semaphores are compared with what they count, and how many rows are counted for each.
    keys_audit_every: float = 2.0
    keys_audited: int = 500
    keys_rows_counted: int = 1000

    # ---- inserts

    #: How many jobs, and how many bytes of their payloads, share an insert.
    most_inserted: int = 1000
    most_inserted_bytes: int = 8 << 20
    #: While calls are dense an insert waits so long for more of them.
    linger: float = 0.002
    #: While the loop is saturated an insert waits until so many turns of the loop brought no call, and no longer than
    #: this.
    quiet_turns: int = 20
    most_linger: float = 0.012
    #: With so many jobs in line it does not wait.
    enough_waiting: int = 200
    #: An insert that takes longer most likely waits for a lock: others go beside it, as many at once on a server. Each
    #: takes one of the connections that claims and settlements need too.
    slow_insert: float = 0.025
    inserts_beside: int = 2
    #: A statement of an insert waits so long for a lock. Then its batches are tried in halves, which wait so long each,
    #: until so many tries met a lock; what wants a locked row is stored apart, in so many inserts at once: principals
    #: take turns, and the last place is for one that has none.
    lock_patience: timedelta = timedelta(milliseconds=250)
    lock_patience_apart: timedelta = timedelta(milliseconds=20)
    locked_tries: int = 16
    slow_inserts: int = 3
    #: How often a job is stored again whose idempotency key was taken and is free when it is looked up.
    key_tries: int = 5
    #: So many batches with keys at once: each has a connection for all of its transaction, and may wait there for keys
    #: of others. The other connections are for claims and settlements. Principals take turns, and the last place is for
    #: one that has none.
    keyed_batches: int = 3

    # ---- sessions

    #: How long a worker whose key has expired has for connecting anew with the key's successor.
    renew_within: float = 30.0
    #: How often the sessions of expired keys are looked at, and how soon an end that failed is tried again.
    credentials_every: float = 1.0
    #: How long refused calls gather before they are written into the audit log.
    denials_every: float = 5.0
    #: A connection counts as lost when nothing was heard for so many heartbeat intervals.
    silent_after_intervals: int = 3
    #: A worker that is heard, and sends no receipt for so many heartbeat intervals, does not read: what it has not seen
    #: goes back.
    unseen_intervals: int = 3
    #: What has no receipt when a stream breaks goes back so long after the last frame (lock_sessions.sql has the same).
    unseen_after: timedelta = timedelta(seconds=15)
    #: A transaction gives back what so many sessions, or so many leases of them, hold unseen.
    unseen_sessions: int = 200
    unseen_leases: int = 1000
    #: How often streams are checked, and how long breaks gather before they are written.
    streams_every: float = 0.5
    breaks_gather: float = 0.05
    #: A worker is asked to connect elsewhere when its stream is so old, in parts of the age that a connection may have.
    leave_from: float = 0.8
    leave_until: float = 0.9
    #: One that is still there so long after it was asked found nowhere to go.
    stays_after: float = 10.0
    #: How often cancels of other servers are searched.
    cancels_every: float = 1.0
    #: A cancel may overtake the delivery of its lease; it is kept for that long.
    cancels_kept: float = 10.0
    #: How often deadlines and lost sessions are searched, and how many at once.
    reap_every: float = 0.25
    reap_most: int = 1000
    #: Thousands that are lost at once, as with a host, have two seconds; a session that holds much goes by itself.
    reaped_at_once: int = 200
    #: How often leases are compared with the database.
    audit_every: float = 10.0
    #: A lease younger than this may be under way between the database and this server's memory.
    audit_age: float = 10.0

    # ---- notices between servers

    #: News gather for so long.
    notices_gather: float = 0.025
    #: After the connection for them is lost.
    notices_again_after: float = 1.0
    #: A half-open connection is never noticed, and a pooler may swallow what is notified: so each server listens for
    #: itself.
    notices_echo_every: float = 5.0
    #: More news than these are not kept: the polling finds them.
    notices_kept: int = 10_000

    # ---- how a server leaves

    #: How long what is on its way to workers may take to arrive.
    drain_quiet: float = 2.0
    #: Workers that are sent elsewhere come there one after the other: so long for each, and all within so long.
    drain_each: float = 0.005
    drain_all: float = 2.0
    #: How long a worker that holds nothing may take to connect elsewhere.
    drain_move: float = 0.5
    #: How often it is checked whether all have left.
    drain_every: float = 0.05
    #: With a database that hangs, a batch of outcomes takes as long to be given up: twice the statement timeout.
    drain_outcomes: float = 12.0
