package jobqueue

import (
	"context"
	"errors"
	"io"
	"iter"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"

	pb "jobqueue.dev/go/jobqueue/v1"
)

// The server answers every 10 s, also where nothing changes.
const watchSilence = 60 * time.Second

// WatchFilter chooses jobs to watch. What is set must all match.
type WatchFilter struct {
	// IDs: only these jobs, at most 1000. The watch then ends when all are over.
	IDs   []string
	Queue string
	Kind  string
	// Labels: only with all of these.
	Labels map[string]string
	// Full: with payloads, outputs, headers and failed attempts.
	Full bool
	// ResumeToken of another watch for the same jobs: continues after it.
	ResumeToken string
	// Patience is how long it tries where no server answers. 0: the client's Deadline.
	Patience time.Duration
}

// Watch tells jobs as they change. Made by [Client.Watch]; for one goroutine.
//
// A stream that breaks, because a server leaves or a connection is cut, is opened anew where it ended: no change is
// missed, and none is told again.
type Watch struct {
	client    *Client
	request   *pb.WatchJobsRequest
	patience  time.Duration
	token     string
	deleted   []string
	stream    grpc.ServerStreamingClient[pb.WatchJobsResponse]
	cancel    context.CancelFunc
	first     *pb.WatchJobsResponse
	over      bool
	awaySince time.Time
	waits     *backoff
}

// Watch begins to watch jobs; nothing is sent before the first Next, Begin or Jobs.
//
// Each change of a job is followed by the job as it then is, or as it is later: steps may be skipped, a terminal status
// is not, unless the job was retried or deleted meanwhile. With IDs each job is answered as it is, then
// whenever it changes; without, what changes from Begin on is told, for ever.
func (c *Client) Watch(filter WatchFilter) *Watch {
	patience := filter.Patience
	if patience == 0 {
		patience = c.options.Deadline
	}
	return &Watch{
		client: c,
		request: &pb.WatchJobsRequest{
			Ids:           filter.IDs,
			Queue:         filter.Queue,
			Kind:          filter.Kind,
			Labels:        labelFilter(filter.Labels),
			View:          viewOf(filter.Full),
			PayloadFormat: payloadJSON,
		},
		patience: patience,
		token:    filter.ResumeToken,
		waits:    newBackoff(50*time.Millisecond, 2*time.Second),
	}
}

// ResumeToken continues after the last answer, in another process or tomorrow's: give it to [Client.Watch].
func (w *Watch) ResumeToken() string { return w.token }

// Deleted are those of the ids that were asked for whose jobs were deleted meanwhile.
func (w *Watch) Deleted() []string { return w.deleted }

// Close ends the stream. A later Next goes on where it was.
func (w *Watch) Close() {
	if w.cancel != nil {
		w.cancel()
	}
	w.stream, w.cancel = nil, nil
}

// Begin waits until the watch has begun: whatever changes after it is told.
func (w *Watch) Begin(ctx context.Context) error {
	if w.first != nil || w.over {
		return nil
	}
	answer, err := w.answer(ctx)
	if err == nil {
		w.first = answer
	} else if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

// Jobs tells the changes to a loop, until all jobs that were asked for by their ids are over, or the context ends. An
// error is the last pair.
//
//	for job, err := range watch.Jobs(ctx) {
func (w *Watch) Jobs(ctx context.Context) iter.Seq2[*Job, error] {
	return func(yield func(*Job, error) bool) {
		defer w.Close()
		for {
			job, err := w.Next(ctx)
			if errors.Is(err, io.EOF) || !yield(job, err) || err != nil {
				return
			}
		}
	}
}

// Next is the next change. [io.EOF]: all jobs that were asked for by their ids are over.
func (w *Watch) Next(ctx context.Context) (*Job, error) {
	for {
		answer := w.first
		w.first = nil
		if answer == nil {
			var err error
			if answer, err = w.answer(ctx); err != nil {
				return nil, err
			}
		}
		w.token = answer.GetResumeToken()
		switch job := answer.GetJob(); {
		case job == nil:
		case job.GetKind() == "":
			w.deleted = append(w.deleted, job.GetId())
		default:
			return w.client.jobOf(ctx, job), nil
		}
	}
}

// answer is the next one, of a new stream where one broke.
func (w *Watch) answer(ctx context.Context) (*pb.WatchJobsResponse, error) {
	for !w.over {
		answer, err := w.read(ctx)
		if err == nil {
			w.awaySince = time.Time{}
			w.waits.reset()
			return answer, nil
		}
		w.Close()
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		if errors.Is(err, io.EOF) {
			w.over = true
			break
		}
		if err := w.pause(ctx, err); err != nil {
			return nil, err
		}
	}
	return nil, io.EOF
}

func (w *Watch) read(ctx context.Context) (*pb.WatchJobsResponse, error) {
	if w.stream == nil {
		outgoing, err := w.client.options.outgoing(context.WithoutCancel(ctx))
		if err != nil {
			return nil, err
		}
		outgoing, w.cancel = context.WithCancel(outgoing)
		// The first answer after a break comes after what was told last, whatever was read since.
		w.request.ResumeToken = w.token
		if w.stream, err = w.client.jobs.WatchJobs(outgoing, w.request); err != nil {
			return nil, err
		}
	}
	// The stream outlives the context of one Next; the end of that ends it too.
	defer context.AfterFunc(ctx, w.cancel)()
	silent := time.AfterFunc(watchSilence, w.cancel)
	defer silent.Stop()
	return w.stream.Recv()
}

// pause waits before another stream. An error: another one is of no use, or it took too long.
func (w *Watch) pause(ctx context.Context, err error) error {
	failure := fromRPC(err)
	if failure.Is(ErrWatchTokenExpired) && len(w.request.Ids) > 0 {
		// Each is told as it is now, so nothing that still holds is missed.
		w.token = ""
		return nil
	}
	if failure.Reason == "" {
		switch failure.Code {
		case codes.Canceled, codes.Internal, codes.Unknown:
			// Cut, and not by a JobQueue server that had something to say.
			failure.sentinels = sentinelsByCode[codes.Unavailable]
		}
	}
	wait, again := pauseAfter(failure, w.waits)
	if !again {
		w.client.firstUse.see(failure)
		return failure
	}
	if w.awaySince.IsZero() {
		w.awaySince = time.Now()
	}
	if time.Since(w.awaySince)+wait >= w.patience {
		failure.note = "tried again until the deadline of " + w.patience.String()
		w.client.firstUse.see(failure)
		return failure
	}
	return sleep(ctx, wait)
}
