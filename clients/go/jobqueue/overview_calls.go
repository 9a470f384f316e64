package jobqueue

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"time"

	"google.golang.org/grpc/codes"

	pb "jobqueue.dev/go/jobqueue/v1"
)

// The server answers every 2 s.
const overviewSilence = 30 * time.Second

// Overview asks how the queues are doing: what happens, what waits, who works, what is wrong.
func (c *Client) Overview(ctx context.Context) (*Overview, error) {
	answer, err := call(ctx, c, true, c.insight.GetOverview, &pb.GetOverviewRequest{})
	if err != nil {
		return nil, err
	}
	return overviewOf(answer.GetOverview()), nil
}

// ListServers reads which servers run on the database, by name.
func (c *Client) ListServers(ctx context.Context) ([]ServerInfo, error) {
	answer, err := call(ctx, c, true, c.insight.ListServers, &pb.ListServersRequest{})
	if err != nil {
		return nil, err
	}
	return serversOf(answer.GetServers()), nil
}

// WatchOverview asks so every 2 s, until the loop or the context ends. A stream that breaks is opened again; patience is how
// long it tries while no server answers, 0: the client's Deadline. An error is the last pair.
//
//	for overview, err := range client.WatchOverview(ctx, 0) {
func (c *Client) WatchOverview(ctx context.Context, patience time.Duration) iter.Seq2[*Overview, error] {
	if patience == 0 {
		patience = c.options.Deadline
	}
	return func(yield func(*Overview, error) bool) {
		waits := newBackoff(50*time.Millisecond, 2*time.Second)
		var awaySince time.Time
		for {
			failure := c.overviews(ctx, func(overview *Overview) bool {
				awaySince = time.Time{}
				waits.reset()
				return yield(overview, nil)
			})
			if failure == nil {
				return
			}
			if ctx.Err() != nil {
				yield(nil, context.Cause(ctx))
				return
			}
			wait, again := pauseAfter(failure, waits)
			if awaySince.IsZero() {
				awaySince = time.Now()
			}
			if !again || time.Since(awaySince)+wait >= patience {
				c.firstUse.see(failure)
				yield(nil, failure)
				return
			}
			if err := sleep(ctx, wait); err != nil {
				yield(nil, context.Cause(ctx))
				return
			}
		}
	}
}

// overviews tells those of one stream, until it breaks. nil: no more are wanted.
func (c *Client) overviews(ctx context.Context, tell func(*Overview) bool) *Error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	outgoing, err := c.options.outgoing(ctx)
	if err != nil {
		return broken(err)
	}
	stream, err := c.insight.WatchOverview(outgoing, &pb.WatchOverviewRequest{})
	if err != nil {
		return broken(err)
	}
	for {
		silent := time.AfterFunc(overviewSilence, cancel)
		answer, err := stream.Recv()
		if !silent.Stop() {
			words := fmt.Sprintf("nothing was heard of the server for %s", overviewSilence)
			return newError(codes.Unavailable, words)
		}
		if err != nil {
			return broken(err)
		}
		c.firstUse.see(nil)
		if !tell(overviewOf(answer.GetOverview())) {
			return nil
		}
	}
}

// broken is why a stream has ended. One that was cut, and not by a JobQueue server that had something to say, may be opened
// again.
func broken(err error) *Error {
	if errors.Is(err, io.EOF) {
		return newError(codes.Unavailable, "the stream has ended")
	}
	failure := fromRPC(err)
	if failure.Reason == "" {
		switch failure.Code {
		case codes.Canceled, codes.Internal, codes.Unknown:
			failure.sentinels = sentinelsByCode[codes.Unavailable]
		}
	}
	return failure
}
