package jobqueuetest

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"maps"
	"math/big"
	"reflect"
	"slices"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/durationpb"

	"cloud.google.com/go/longrunning/autogen/longrunningpb"

	"jobqueue.dev/go/internal/testhook"
	"jobqueue.dev/go/jobqueue"
	pb "jobqueue.dev/go/jobqueue/v1"
)

const (
	poll = 20 * time.Millisecond
	// So many jobs a failed assertion shows.
	shownJobs = 20
)

// live are the statuses of jobs that have not ended.
var live = []jobqueue.Status{jobqueue.StatusQueued, jobqueue.StatusRunning, jobqueue.StatusRetrying}

// T is the test that a scope is of. *testing.T, *testing.B, *testing.F and testing.TB are one. So is what another test
// library gives its tests, or a program of its own, if it has these methods.
type T interface {
	Helper()
	Context() context.Context
	Cleanup(do func())
	Fatal(arguments ...any)
	Fatalf(format string, arguments ...any)
	Logf(format string, arguments ...any)
}

// TestScope is a namespace of a real server, for one test: it sees its own jobs, kinds and queues alone. Made by [NewScope].
//
//	scope := jobqueuetest.NewScope(t)
//	_ = SignUp(t.Context(), scope.Client, "ada@example.org")
//	scope.AssertEnqueued(jobqueuetest.Want{Kind: "welcome", Payload: map[string]string{"to": "ada@example.org"}})
//	idle, err := scope.RunUntilIdle(worker)
//
// Where a method can't do its work, such as for a server that is gone, it ends the test.
type TestScope struct {
	// Target is the server's address, Namespace the name of the namespace, Key one that permits everything in it.
	Target, Namespace, Key string
	// Client is a client of it.
	Client *jobqueue.Client

	t T
}

// NewScope makes a namespace for a test, on the server that all tests of the process share ([StartServer] says how it is
// found). It ends with the test. Tests with scopes of their own may run in parallel.
func NewScope(t T) *TestScope {
	t.Helper()
	server, err := shared()
	if err != nil {
		t.Fatal(err)
	}
	return server.NewScope(t)
}

// NewScope makes a namespace for a test on this server.
func (s *TestServer) NewScope(t T) *TestScope {
	t.Helper()
	name := "t-" + strings.ToLower(rand.Text())
	admin := s.client(t)
	everything := &pb.Grant{
		Permissions: []pb.Access_Permission{pb.Access_ENQUEUE, pb.Access_WORK, pb.Access_READ, pb.Access_OPERATE},
		Queues:      []string{"*"},
		Payloads:    true,
	}
	administers := &pb.Grant{Permissions: []pb.Access_Permission{pb.Access_ADMIN}}
	var made *pb.CreateKeyResponse
	err := asked(t.Context(), admin, func(ctx context.Context, access pb.AccessAdminClient, options ...grpc.CallOption) error {
		_, err := access.CreateNamespace(ctx, &pb.CreateNamespaceRequest{Name: name}, options...)
		return err
	})
	if err == nil {
		err = asked(t.Context(), admin, func(ctx context.Context, access pb.AccessAdminClient, options ...grpc.CallOption) (err error) {
			grants := []*pb.Grant{everything, administers}
			request := &pb.CreateKeyRequest{Name: "tests", Grants: grants, Namespace: name}
			made, err = access.CreateKey(ctx, request, options...)
			return err
		})
	}
	if err != nil {
		_ = admin.Close()
		t.Fatalf("jobqueuetest: no namespace for the test: %v", err)
	}
	scope := &TestScope{Target: s.Target, Namespace: name, Key: made.GetSecret(), t: t}
	scope.Client, err = jobqueue.NewClient(s.Target, jobqueue.ClientOptions{Access: jobqueue.Access{Token: scope.Key}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = scope.Client.Close()
		// The test's context has ended by now.
		err := asked(context.Background(), admin,
			func(ctx context.Context, access pb.AccessAdminClient, options ...grpc.CallOption) error {
				_, err := access.DisableNamespace(ctx, &pb.DisableNamespaceRequest{Name: name}, options...)
				return err
			})
		if err != nil {
			t.Logf("jobqueuetest: the namespace %s is not disabled: %v", name, err)
		}
		_ = admin.Close()
	})
	return scope
}

func (s *TestServer) client(t T) *jobqueue.Client {
	t.Helper()
	client, err := jobqueue.NewClient(s.Target, jobqueue.ClientOptions{Access: jobqueue.Access{Token: s.Key}})
	if err != nil {
		t.Fatal(err)
	}
	return client
}

func asked(
	ctx context.Context, client *jobqueue.Client,
	call func(context.Context, pb.AccessAdminClient, ...grpc.CallOption) error,
) error {
	return testhook.Invoke(ctx, client,
		func(ctx context.Context, connection grpc.ClientConnInterface, options ...grpc.CallOption) error {
			return call(ctx, pb.NewAccessAdminClient(connection), options...)
		})
}

// Environment is what programs need that call NewClientFromEnv and NewWorkerFromEnv, and the command `jobqueue`.
func (s *TestScope) Environment() map[string]string {
	return map[string]string{"JOBQUEUE_SERVER": s.Target, "JOBQUEUE_TOKEN": s.Key}
}

// Worker makes a worker of the scope. Of the options its Token is the scope's.
func (s *TestScope) Worker(options jobqueue.WorkerOptions) *jobqueue.Worker {
	s.t.Helper()
	options.Token, options.TokenSource = s.Key, nil
	worker, err := jobqueue.NewWorker(s.Target, options)
	if err != nil {
		s.t.Fatal(err)
	}
	return worker
}

// Enqueued are the jobs of the scope, the oldest first, in full. An empty kind: of any. No status: those that have not
// ended.
func (s *TestScope) Enqueued(kind string, status ...jobqueue.Status) []*jobqueue.Job {
	s.t.Helper()
	if len(status) == 0 {
		status = live
	}
	found, err := s.jobs(s.t.Context(), kind, status)
	if err != nil {
		s.t.Fatal(err)
	}
	return found
}

// jobs are those of a kind, or of any, with one of these statuses, or with any.
func (s *TestScope) jobs(ctx context.Context, kind string, status []jobqueue.Status) ([]*jobqueue.Job, error) {
	var found []*jobqueue.Job
	for job, err := range s.Client.List(ctx, jobqueue.Filter{Kind: kind, Status: status, Full: true, PageSize: 1000}) {
		if err != nil {
			return nil, err
		}
		found = append(found, job)
	}
	slices.Reverse(found)
	return found, nil
}

// Want is what a job is to be. All that is set must hold; it is judged here, by decoded values.
type Want struct {
	// Kind is its kind. Empty: any.
	Kind string
	// Payload is its payload, equal as JSON; a value of a typed kind's type, or any other. nil: any; for null itself a
	// json.RawMessage.
	Payload any
	// Fields are fields of the payload with these values, among others.
	Fields map[string]any
	// Matching is a function of the job.
	Matching func(job *jobqueue.Job) bool
	// Queue is its queue, Key its key, Labels are labels that it has, among others.
	Queue, Key string
	Labels     map[string]string
	// DueIn is how long after its enqueue it may start, to a second.
	DueIn time.Duration
	// Count is how many such jobs there are. 0: at least one.
	Count int
	// Status is one of these. Empty: the job has not ended.
	Status []jobqueue.Status
	// Within is how long it may take until they are there, of code that enqueues later.
	Within time.Duration
}

// AssertEnqueued returns the jobs that are so. If there are none, or not so many, it ends the test, and shows what there is.
func (s *TestScope) AssertEnqueued(want Want) []*jobqueue.Job {
	s.t.Helper()
	ends := time.Now().Add(want.Within)
	for {
		all := s.Enqueued("", want.Status...)
		found := want.among(s.t, all)
		if len(found) > 0 && (want.Count == 0 || len(found) == want.Count) {
			return found
		}
		if !time.Now().Before(ends) {
			count := ""
			if want.Count > 0 {
				count = fmt.Sprintf(", not %d", want.Count)
			}
			s.t.Fatalf("%s of %v%s%s", []string{"no job", "1 job", fmt.Sprintf("%d jobs", len(found))}[min(len(found), 2)], want,
				count, shown(all))
		}
		time.Sleep(poll)
	}
}

// AssertNotEnqueued ends the test if a job is so. Count and Within are not looked at.
func (s *TestScope) AssertNotEnqueued(want Want) {
	s.t.Helper()
	all := s.Enqueued("", want.Status...)
	if found := want.among(s.t, all); len(found) > 0 {
		s.t.Fatalf("%d of %v, and there should be none%s", len(found), want, shown(found))
	}
}

// Recorded are the jobs that are enqueued while the function runs, the oldest first, whatever became of them.
func (s *TestScope) Recorded(during func()) []*jobqueue.Job {
	s.t.Helper()
	before := map[string]bool{}
	for _, each := range s.all() {
		before[each.ID] = true
	}
	during()
	return slices.DeleteFunc(s.all(), func(job *jobqueue.Job) bool { return before[job.ID] })
}

func (s *TestScope) all() []*jobqueue.Job {
	s.t.Helper()
	found, err := s.jobs(s.t.Context(), "", nil)
	if err != nil {
		s.t.Fatal(err)
	}
	return found
}

// MakeDue lets jobs start now that wait for their time or for their backoff: RunAt becomes now. It is the job that changes;
// time goes on as it does. If one of them does not wait, it ends the test.
func (s *TestScope) MakeDue(jobs ...*jobqueue.Job) {
	s.t.Helper()
	if len(jobs) == 0 {
		return // a filter without ids would be of all jobs
	}
	changed, err := s.makeDue(s.t.Context(), jobs)
	if err != nil {
		s.t.Fatal(err)
	}
	if changed != len(jobs) {
		s.t.Fatalf("%d of %d jobs waited", changed, len(jobs))
	}
}

func (s *TestScope) makeDue(ctx context.Context, jobs []*jobqueue.Job) (int, error) {
	request := &pb.UpdateJobsRequest{
		Filter: &pb.JobFilter{}, Force: true, Start: &pb.UpdateJobsRequest_Delay{Delay: durationpb.New(0)},
	}
	for _, each := range jobs {
		request.Filter.Ids = append(request.Filter.Ids, each.ID)
	}
	var operation *longrunningpb.Operation
	err := testhook.Invoke(ctx, s.Client,
		func(ctx context.Context, connection grpc.ClientConnInterface, options ...grpc.CallOption) error {
			answer, err := pb.NewBulkClient(connection).UpdateJobs(ctx, request, options...)
			operation = answer.GetOperation()
			return err
		})
	for err == nil && !operation.GetDone() {
		err = testhook.Invoke(ctx, s.Client,
			func(ctx context.Context, connection grpc.ClientConnInterface, options ...grpc.CallOption) (err error) {
				wait := &longrunningpb.WaitOperationRequest{Name: operation.GetName(), Timeout: durationpb.New(10 * time.Second)}
				operation, err = longrunningpb.NewOperationsClient(connection).WaitOperation(ctx, wait, options...)
				return err
			})
	}
	if err != nil {
		return 0, err
	}
	var done pb.BulkMetadata
	if err = operation.GetMetadata().UnmarshalTo(&done); err != nil {
		return 0, err
	}
	return int(done.GetChanged()), nil
}

// among are the jobs that are so.
func (w Want) among(t T, jobs []*jobqueue.Job) []*jobqueue.Job {
	t.Helper()
	var payload any
	fields := map[string]any{}
	if w.Payload != nil {
		payload = valueOf(t, w.Payload)
	}
	for name, value := range w.Fields {
		fields[name] = valueOf(t, value)
	}
	var found []*jobqueue.Job
	for _, job := range jobs {
		if (w.Kind == "" || w.Kind == job.Kind) && w.hasPayload(job, payload, fields) && (w.Matching == nil || w.Matching(job)) &&
			(w.Queue == "" || w.Queue == job.Queue) && (w.Key == "" || w.Key == job.Key) && contains(job.Labels, w.Labels) &&
			(w.DueIn == 0 || (dueIn(job)-w.DueIn).Abs() < time.Second) {
			found = append(found, job)
		}
	}
	return found
}

func (w Want) hasPayload(job *jobqueue.Job, payload any, fields map[string]any) bool {
	if w.Payload == nil && len(w.Fields) == 0 {
		return true
	}
	value := decoded(job.Payload)
	if w.Payload != nil && !reflect.DeepEqual(value, payload) {
		return false
	}
	object, ok := value.(map[string]any)
	for name, wanted := range fields {
		if got, there := object[name]; !ok || !there || !reflect.DeepEqual(got, wanted) {
			return false
		}
	}
	return true
}

// valueOf is a value as JSON has it.
func valueOf(t T, value any) any {
	t.Helper()
	message, err := testhook.Message(jobqueue.NewJob{Kind: performed, Payload: value}, "want")
	if err != nil {
		t.Fatal(err)
	}
	return decoded(textOf(message))
}

// decoded is what a text says. A number is its digits' value, whether it was written as 1 or 1.0; a whole one is exact.
func decoded(text []byte) any {
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber()
	var value any
	if decoder.Decode(&value) != nil {
		return string(text)
	}
	return plain(value)
}

func plain(value any) any {
	switch value := value.(type) {
	case json.Number:
		if whole, err := value.Int64(); err == nil {
			return whole
		}
		if exact, ok := new(big.Rat).SetString(value.String()); ok && exact.IsInt() {
			if exact.Num().IsInt64() {
				return exact.Num().Int64()
			}
			return json.Number(exact.Num().String())
		}
		number, err := value.Float64()
		if err != nil {
			return value
		}
		return number
	case []any:
		for i, each := range value {
			value[i] = plain(each)
		}
	case map[string]any:
		for name, each := range value {
			value[name] = plain(each)
		}
	}
	return value
}

func contains(labels, wanted map[string]string) bool {
	for name, value := range wanted {
		if got, ok := labels[name]; !ok || got != value {
			return false
		}
	}
	return true
}

func dueIn(job *jobqueue.Job) time.Duration { return job.RunAt.Sub(job.CreatedAt) }

// String is what it says of a job, for a failed assertion.
func (w Want) String() string {
	said := []string{"kind " + w.Kind}
	if w.Kind == "" {
		said[0] = "any kind"
	}
	if w.Payload != nil {
		if text, err := json.Marshal(w.Payload); err == nil {
			said = append(said, "payload "+string(text))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(w.Fields)) {
		text, _ := json.Marshal(w.Fields[name])
		said = append(said, fmt.Sprintf("field %s %s", name, text))
	}
	if w.Matching != nil {
		said = append(said, "matching a function")
	}
	if w.Queue != "" {
		said = append(said, "queue "+w.Queue)
	}
	if len(w.Labels) > 0 {
		said = append(said, fmt.Sprintf("labels %v", w.Labels))
	}
	if w.Key != "" {
		said = append(said, "key "+w.Key)
	}
	if w.DueIn != 0 {
		said = append(said, fmt.Sprintf("due in %v", w.DueIn))
	}
	return strings.Join(said, ", ")
}

func shown(jobs []*jobqueue.Job) string {
	if len(jobs) == 0 {
		return ". The scope has no job of this status"
	}
	var said strings.Builder
	said.WriteString(". There are:")
	for _, job := range jobs[:min(len(jobs), shownJobs)] {
		fmt.Fprintf(&said, "\n  %s %s queue %s", job.Kind, job.Payload, job.Queue)
		if len(job.Labels) > 0 {
			fmt.Fprintf(&said, " labels %v", job.Labels)
		}
		if job.Key != "" {
			fmt.Fprintf(&said, " key %s", job.Key)
		}
		if job.IsTerminal() {
			fmt.Fprintf(&said, ", %s", job.Status)
		}
		if due := dueIn(job); due > time.Second {
			fmt.Fprintf(&said, ", due in %v", due.Round(time.Second))
		}
	}
	if more := len(jobs) - shownJobs; more > 0 {
		fmt.Fprintf(&said, "\n  and %d more", more)
	}
	return said.String()
}
