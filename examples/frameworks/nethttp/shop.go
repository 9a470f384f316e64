package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"time"

	"jobqueue.dev/go/jobqueue"
)

// patience is how long a caller waits for a server of jobs that is away, and not the 30 s of a call.
const patience = 5 * time.Second

// Order is the body of a request, and the payload of its job.
type Order struct {
	Number int    `json:"number"`
	Email  string `json:"email"`
}

// Receipt is the output of that job.
type Receipt struct {
	Text string `json:"text"`
}

// The kinds. What a type of Go does not say, such as a minimum, a JSON Schema does.
var (
	SendReceipt = jobqueue.DefineKind[Order, Receipt]("send-receipt",
		jobqueue.Defaults(jobqueue.NewJob{MaxAttempts: 5}),
		jobqueue.Schema(json.RawMessage(`{
			"type": "object",
			"required": ["number", "email"],
			"properties": {
				"number": {"type": "integer", "minimum": 1},
				"email": {"type": "string", "minLength": 3}
			}
		}`)))
	CountOrder = jobqueue.DefineKind[int, jobqueue.None]("count-order")
)

// Jobs is what the shop wants of a client.
type Jobs interface {
	jobqueue.Enqueuer
	Get(ctx context.Context, id string) (*jobqueue.Job, error)
}

// Shop has what its routes and handlers need: there is no other way to give it to them than to make them methods.
type Shop struct {
	Jobs    Jobs
	Log     *slog.Logger
	MailURL string
}

// Worker is the worker of the shop's kinds.
func (s *Shop) Worker() (*jobqueue.Worker, error) {
	worker, err := jobqueue.NewWorkerFromEnv(jobqueue.WorkerOptions{
		Logger: s.Log, ShutdownGrace: grace, SyncKinds: true, Middleware: []jobqueue.Middleware{KnowsJob},
	})
	if err != nil {
		return nil, err
	}
	jobqueue.HandleKind(worker, SendReceipt, s.Deliver)
	jobqueue.HandleKind(worker, CountOrder, s.Count)
	return worker, nil
}

// Deliver sends a receipt, and enqueues what counts the order. It may run twice: the key makes that one job.
func (s *Shop) Deliver(ctx context.Context, job *jobqueue.LeasedJob, order Order) (Receipt, error) {
	receipt := Receipt{fmt.Sprintf("order %d for %s", order.Number, order.Email)}
	if err := s.mail(ctx, receipt); err != nil {
		return Receipt{}, err
	}
	next := CountOrder.New(order.Number)
	next.IdempotencyKey = "count-" + job.ID
	counted, err := s.Jobs.Enqueue(ctx, next)
	if err != nil {
		return Receipt{}, err
	}
	s.Log.InfoContext(ctx, "receipt sent", "counted_by", counted.ID)
	return receipt, nil
}

// Count counts an order, in the log.
func (s *Shop) Count(ctx context.Context, _ *jobqueue.LeasedJob, number int) (jobqueue.None, error) {
	s.Log.InfoContext(ctx, "order counted", "number", number)
	return jobqueue.None{}, nil
}

func (s *Shop) mail(ctx context.Context, receipt Receipt) error {
	if s.MailURL == "" {
		return nil
	}
	text := strings.NewReader(url.Values{"text": {receipt.Text}}.Encode())
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, s.MailURL, text)
	if err != nil {
		return jobqueue.Discard(err)
	}
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer func() { _ = answer.Body.Close() }()
	if answer.StatusCode >= http.StatusBadRequest {
		return fmt.Errorf("the mail service answered %s", answer.Status)
	}
	return nil
}

// Routes are the pages of the shop, and the probes of its worker.
func (s *Shop) Routes(health http.Handler) http.Handler {
	routes := http.NewServeMux()
	routes.HandleFunc("POST /orders", s.place)
	routes.HandleFunc("GET /orders/{job}", s.look)
	routes.Handle("GET /livez", health)
	routes.Handle("GET /readyz", health)
	return routes
}

// place answers when the job is committed. The same Idempotency-Key again is the same job.
func (s *Shop) place(answer http.ResponseWriter, request *http.Request) {
	var order Order
	if err := json.NewDecoder(http.MaxBytesReader(answer, request.Body, 1<<20)).Decode(&order); err != nil {
		s.refuse(answer, request, err)
		return
	}
	ctx, late := context.WithTimeout(request.Context(), patience)
	defer late()
	job := SendReceipt.New(order)
	job.IdempotencyKey = request.Header.Get("Idempotency-Key")
	placed, err := s.Jobs.Enqueue(ctx, job)
	if err != nil {
		s.refuse(answer, request, err)
		return
	}
	s.Log.InfoContext(ctx, "order placed", "job_id", placed.ID)
	respond(answer, http.StatusAccepted, map[string]any{"job": placed.ID})
}

// look says how far it is.
func (s *Shop) look(answer http.ResponseWriter, request *http.Request) {
	ctx, late := context.WithTimeout(request.Context(), patience)
	defer late()
	job, err := s.Jobs.Get(ctx, request.PathValue("job"))
	if err == nil && job.Kind != SendReceipt.Name() { // any job of the namespace has an id
		err = jobqueue.ErrJobNotFound
	}
	if err != nil {
		s.refuse(answer, request, err)
		return
	}
	respond(answer, http.StatusOK, map[string]any{"status": job.Status, "receipt": job.Output})
}

// refuse answers what a caller can do about an error.
func (s *Shop) refuse(answer http.ResponseWriter, request *http.Request, err error) {
	status, fields := http.StatusInternalServerError, map[string]string{}
	var refused *jobqueue.Error
	var wrong *json.UnmarshalTypeError
	switch {
	case errors.As(err, &wrong):
		status, fields[wrong.Field] = http.StatusUnprocessableEntity, "is of the type "+wrong.Value
	case errors.Is(err, jobqueue.ErrJobNotFound):
		status = http.StatusNotFound
	case errors.Is(err, jobqueue.ErrIdempotencyKeyReused):
		status = http.StatusConflict
	case errors.Is(err, jobqueue.ErrKindUnknown): // a fault of the deployment, and not of the caller
		status = http.StatusInternalServerError
	case errors.Is(err, jobqueue.ErrUnavailable), errors.Is(err, jobqueue.ErrOverloaded), errors.Is(err, context.DeadlineExceeded):
		answer.Header().Set("Retry-After", "1")
		status = http.StatusServiceUnavailable
	case errors.Is(err, jobqueue.ErrInvalidRequest) && errors.As(err, &refused):
		status = http.StatusUnprocessableEntity
		for _, each := range refused.Violations {
			fields[strings.TrimPrefix(each.Field, "job.payload.")] = each.Description
		}
	case !errors.As(err, &refused): // no JSON, or too much of it
		status = http.StatusBadRequest
	}
	s.Log.WarnContext(request.Context(), "refused", "status", status, "error", err)
	respond(answer, status, map[string]any{"error": http.StatusText(status), "fields": fields})
}

func respond(answer http.ResponseWriter, status int, body any) {
	answer.Header().Set("Content-Type", "application/json")
	answer.WriteHeader(status)
	_ = json.NewEncoder(answer).Encode(body)
}
