package jobqueue

import (
	"errors"
	"os"
)

// What the command `jobqueue` and the worker service read as well.
const (
	serverVariable = "JOBQUEUE_SERVER"
	tokenVariable  = "JOBQUEUE_TOKEN"
	rootsVariable  = "JOBQUEUE_TLS_ROOTS"
	certVariable   = "JOBQUEUE_TLS_CLIENT_CERT"
	keyVariable    = "JOBQUEUE_TLS_CLIENT_KEY"

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

// NewWorkerFromEnv makes a worker as [NewWorker] does, by the variables that [NewClientFromEnv] reads.
func NewWorkerFromEnv(options WorkerOptions) (*Worker, error) {
	target, err := options.fromEnv()
	if err != nil {
		return nil, err
	}
	return NewWorker(target, options)
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
