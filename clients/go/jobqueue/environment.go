package jobqueue

import (
	"errors"
	"os"
	"strconv"
	"strings"
)

// What the command `jobqueue` and the worker service read as well.
const (
	serverVariable = "JOBQUEUE_SERVER"
	tokenVariable  = "JOBQUEUE_TOKEN"
	rootsVariable  = "JOBQUEUE_TLS_ROOTS"
	certVariable   = "JOBQUEUE_TLS_CLIENT_CERT"
	keyVariable    = "JOBQUEUE_TLS_CLIENT_KEY"

	queuesVariable      = "JOBQUEUE_QUEUES"
	concurrencyVariable = "WORKER_CONCURRENCY"
	nameVariable        = "JOBQUEUE_WORKER_NAME"

	defaultServer = "127.0.0.1:50051"
)

// NewClientFromEnv makes a client as [NewClient] does, by variables of the environment: JOBQUEUE_SERVER (unset:
// `127.0.0.1:50051`), JOBQUEUE_TOKEN, JOBQUEUE_TLS_ROOTS (a PEM file, or `public`), and JOBQUEUE_TLS_CLIENT_CERT with
// JOBQUEUE_TLS_CLIENT_KEY. What the options say wins: a token or TLS given there is taken, and that variable is not read.
func NewClientFromEnv(options ClientOptions) (*Client, error) {
	target, err := options.fromEnv()
	if err != nil {
		return nil, err
	}
	return NewClient(target, options)
}

// NewWorkerFromEnv makes a worker as [NewWorker] does, by the variables that [NewClientFromEnv] reads, and those of the worker
// service: JOBQUEUE_QUEUES, with commas between them, WORKER_CONCURRENCY and JOBQUEUE_WORKER_NAME. What the options say wins: the
// variable of an option that is set is not read.
//
// ErrInvalidRequest: WORKER_CONCURRENCY is no number of 1 to 10000.
func NewWorkerFromEnv(options WorkerOptions) (*Worker, error) {
	target, err := options.fromEnv()
	if err != nil {
		return nil, err
	}
	if err = options.ownFromEnv(); err != nil {
		return nil, err
	}
	return NewWorker(target, options)
}

// ownFromEnv sets queues, slots and name where they were not given.
func (o *WorkerOptions) ownFromEnv() error {
	if len(o.Queues) == 0 {
		var queues []string
		for each := range strings.SplitSeq(os.Getenv(queuesVariable), ",") {
			if queue := strings.TrimSpace(each); queue != "" {
				queues = append(queues, queue)
			}
		}
		o.Queues = queues
	}
	if concurrency := os.Getenv(concurrencyVariable); o.Concurrency == 0 && concurrency != "" {
		slots, err := strconv.Atoi(strings.TrimSpace(concurrency))
		// As an option, 0 is the default.
		if err != nil || slots < 1 || slots > 10_000 {
			return invalid(concurrencyVariable, "is %q; it is a number, 1 to 10000", concurrency)
		}
		o.Concurrency = slots
	}
	if o.Name == "" {
		o.Name = os.Getenv(nameVariable)
	}
	return nil
}

// fromEnv sets what was not given, and returns the server's address.
func (a *Access) fromEnv() (string, error) {
	if a.Token == "" && a.TokenSource == nil {
		a.Token = os.Getenv(tokenVariable)
	}
	if a.TLS == nil {
		roots, cert, key := os.Getenv(rootsVariable), os.Getenv(certVariable), os.Getenv(keyVariable)
		switch {
		case roots != "":
			var err error
			if a.TLS, err = TLSFromFiles(roots, cert, key); err != nil {
				return "", err
			}
		case cert != "" || key != "":
			return "", errors.New("jobqueue: " + certVariable + " and " + keyVariable + " need " + rootsVariable)
		}
	}
	a.serverFromEnv = true
	if target := os.Getenv(serverVariable); target != "" {
		return target, nil
	}
	return defaultServer, nil
}
