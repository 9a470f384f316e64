package jobqueuetest

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"sync"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"jobqueue.dev/go/internal/testhook"
	"jobqueue.dev/go/jobqueue"
	pb "jobqueue.dev/go/jobqueue/v1"
)

const payloadBytes = 1024 * 1024

var name = regexp.MustCompile(`^[a-z0-9][a-z0-9_.-]{0,127}$`)

// RecordingClient stands for a client in a unit test of code that enqueues, as a [jobqueue.Enqueuer]. The zero value is
// ready; it may be used by many goroutines at once.
//
// It checks names, ranges, JSON and payloads of typed kinds, answers a QUEUED job with a new id, and replays idempotency
// keys. A server checks more: schemas, permissions, limits, unique names.
type RecordingClient struct {
	// Middleware goes around enqueues, the outermost first.
	Middleware []jobqueue.Middleware

	mu     sync.Mutex
	jobs   []jobqueue.NewJob
	stored []*jobqueue.Job
	keyed  map[string]kept
}

// kept is a job with an idempotency key.
type kept struct {
	digest string
	job    *jobqueue.Job
}

var _ jobqueue.Enqueuer = (*RecordingClient)(nil)

// Jobs is what was enqueued, in order; a replay is no second one. Payloads are a json.RawMessage.
func (c *RecordingClient) Jobs() []jobqueue.NewJob {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.jobs)
}

// Stored is the same as it was answered, for the PayloadOf a typed kind.
func (c *RecordingClient) Stored() []*jobqueue.Job {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.stored)
}

// Enqueue is as [jobqueue.Client.Enqueue].
func (c *RecordingClient) Enqueue(ctx context.Context, job jobqueue.NewJob) (*jobqueue.Job, error) {
	answers, err := c.enqueue(ctx, []jobqueue.NewJob{job}, func(int) string { return "job" })
	if err != nil {
		return nil, err
	}
	return answers[0], nil
}

// EnqueueMany is as [jobqueue.Client.EnqueueMany], with all jobs in one batch: with an error none is kept.
func (c *RecordingClient) EnqueueMany(ctx context.Context, jobs []jobqueue.NewJob) ([]jobqueue.EnqueueResult, error) {
	answers, err := c.enqueue(ctx, jobs, func(i int) string { return fmt.Sprintf("jobs[%d]", i) })
	if err != nil {
		return nil, err
	}
	return resultsOf(answers), nil
}

func resultsOf(answers []*jobqueue.Job) []jobqueue.EnqueueResult {
	results := make([]jobqueue.EnqueueResult, len(answers))
	for i, each := range answers {
		results[i] = jobqueue.EnqueueResult{ID: each.ID, Replayed: each.Replayed}
	}
	return results
}

// enqueue keeps all jobs or none.
func (c *RecordingClient) enqueue(
	ctx context.Context, jobs []jobqueue.NewJob, path func(int) string,
) ([]*jobqueue.Job, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	messages := make([]*pb.NewJob, len(jobs))
	for i, each := range jobs {
		var err error
		if messages[i], err = checked(each, path(i)); err != nil {
			return nil, err
		}
	}
	if len(c.Middleware) == 0 || len(jobs) == 0 {
		return c.keepAll(messages)
	}
	var answers []*jobqueue.Job
	err := testhook.Through(ctx, c.Middleware, messages, func() (any, error) {
		var err error
		if answers, err = c.keepAll(messages); err != nil {
			return nil, err
		}
		return resultsOf(answers), nil
	})
	return answers, err
}

// keepAll keeps all or none.
func (c *RecordingClient) keepAll(messages []*pb.NewJob) ([]*jobqueue.Job, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	after := RecordingClient{jobs: c.jobs, stored: c.stored, keyed: maps.Clone(c.keyed)}
	if after.keyed == nil {
		after.keyed = map[string]kept{}
	}
	answers := make([]*jobqueue.Job, len(messages))
	for i, each := range messages {
		var err error
		if answers[i], err = after.keep(each); err != nil {
			return nil, err
		}
	}
	c.jobs, c.stored, c.keyed = after.jobs, after.stored, after.keyed
	return answers, nil
}

func (c *RecordingClient) keep(message *pb.NewJob) (*jobqueue.Job, error) {
	// Headers are not part of what makes two requests the same.
	said := proto.Clone(message).(*pb.NewJob)
	said.Headers = nil
	digest, err := proto.MarshalOptions{Deterministic: true}.Marshal(said)
	if err != nil {
		return nil, err
	}
	key := message.GetIdempotencyKey()
	if before, ok := c.keyed[key]; ok && key != "" {
		if before.digest != string(digest) {
			return nil, testhook.Refused(codes.AlreadyExists, "IDEMPOTENCY_KEY_REUSED", "", fmt.Sprintf(
				"the key was used for another request, whose job is %s; choose a new key for this one", before.job.ID,
			), map[string]string{"job_id": before.job.ID})
		}
		again := *before.job
		again.Replayed = true
		return &again, nil
	}
	job := storedOf(message)
	if key != "" {
		c.keyed[key] = kept{string(digest), job}
	}
	c.jobs = append(c.jobs, testhook.NewJob(message).(jobqueue.NewJob))
	c.stored = append(c.stored, job)
	return job, nil
}

// storedOf is the job as a server would answer it.
func storedOf(message *pb.NewJob) *jobqueue.Job {
	now := timestamppb.Now()
	runAt := now
	if message.GetRunAt() != nil {
		runAt = message.GetRunAt()
	} else if message.GetDelay() != nil {
		runAt = timestamppb.New(now.AsTime().Add(message.GetDelay().AsDuration()))
	}
	var hold *pb.Job_Hold
	if message.GetHold() {
		hold = pb.Job_HAND.Enum()
	}
	return testhook.Job(&pb.Job{
		Id:             rand.Text(),
		Kind:           message.GetKind(),
		Status:         pb.Job_QUEUED,
		Queue:          queueOf(message),
		Priority:       message.GetPriority(),
		MaxAttempts:    attemptsOf(message),
		Content:        &pb.Job_PayloadJson{PayloadJson: textOf(message)},
		Timeout:        message.GetTimeout(),
		RetryPolicy:    message.GetRetryPolicy(),
		Labels:         maps.Clone(message.GetLabels()),
		Headers:        maps.Clone(message.GetHeaders()),
		IdempotencyKey: message.GetIdempotencyKey(),
		Key:            message.GetKey(),
		UniqueKey:      message.GetUnique().GetKey(),
		Hold:           hold,
		CreatedAt:      now,
		UpdatedAt:      now,
		RunAt:          runAt,
	}).(*jobqueue.Job)
}

// What a server says where a job says nothing.

func textOf(message *pb.NewJob) []byte {
	if text := message.GetPayloadJson(); text != nil {
		return text
	}
	return []byte("null")
}

func queueOf(message *pb.NewJob) string { return cmp.Or(message.GetQueue(), "default") }

func attemptsOf(message *pb.NewJob) int32 { return cmp.Or(message.GetMaxAttempts(), 3) }

// checked is a job as a message. It is held to what a server refuses whatever it has been told of the kind.
func checked(job jobqueue.NewJob, path string) (*pb.NewJob, error) {
	message, err := testhook.Message(job, path)
	if err != nil {
		return nil, err
	}
	payload := textOf(message)
	const named = "must be 1 to 128 of a-z 0-9 _ . - and begin with a letter or digit"
	for _, each := range []struct {
		wrong        bool
		field, words string
	}{
		{!name.MatchString(message.GetKind()), ".kind", named},
		{!name.MatchString(queueOf(message)), ".queue", named},
		{message.Priority < -10 || message.Priority > 10, ".priority", "must be from -10 to 10"},
		{message.MaxAttempts < 0 || message.MaxAttempts > 1000, ".max_attempts", "must be 1 to 1000"},
		{len(payload) > payloadBytes, ".payload", fmt.Sprintf(
			"has %d bytes; at most %d are allowed", len(payload), payloadBytes)},
		{!json.Valid(payload), ".payload", "must be JSON"},
	} {
		if each.wrong {
			return nil, testhook.Refused(codes.InvalidArgument, "FIELD_INVALID", path+each.field, each.words, nil)
		}
	}
	return message, nil
}
