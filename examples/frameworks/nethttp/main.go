// Program nethttp is a shop: requests enqueue typed jobs, and a worker beside the server runs them.
//
//	go run .
//
// JOBQUEUE_SERVER and JOBQUEUE_TOKEN say where the server of jobs is, ADDRESS where this program serves (127.0.0.1:8000),
// and MAIL_URL where receipts are posted to; without it they are only logged.
package main

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"jobqueue.dev/go/jobqueue"
)

// grace is how long requests and handlers may go on when the program ends. A container's grace must be longer.
const grace = 30 * time.Second

func main() {
	log := slog.New(JobLog{slog.NewJSONHandler(os.Stdout, nil)})
	slog.SetDefault(log)
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	if err := run(ctx, log); err != nil {
		log.Error("the shop ends by an error", "error", err)
		os.Exit(1)
	}
	log.Info("the shop has ended")
}

// run serves and works until the context ends, or until one of the two can't go on.
func run(ctx context.Context, log *slog.Logger) error {
	client, err := jobqueue.NewClientFromEnv(jobqueue.ClientOptions{})
	if err != nil {
		return err
	}
	defer func() { _ = client.Close() }() // the last thing: handlers enqueue until the worker has left
	shop := &Shop{Jobs: client, Log: log, MailURL: os.Getenv("MAIL_URL")}
	worker, err := shop.Worker()
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", cmp.Or(os.Getenv("ADDRESS"), "127.0.0.1:8000"))
	if err != nil {
		return err
	}
	server := &http.Server{Handler: shop.Routes(worker.HealthHandler()), ReadTimeout: 10 * time.Second}
	log.Info("the shop is open", "address", listener.Addr().String())
	return together(ctx, worker.Run, func(ctx context.Context) error { return serve(ctx, server, listener, grace) })
}

// together runs functions and waits for all of them. The first that returns ends the context of the others.
func together(ctx context.Context, functions ...func(context.Context) error) error {
	ctx, leave := context.WithCancel(ctx)
	defer leave()
	ended := make(chan error)
	for _, each := range functions {
		go func() { ended <- each(ctx) }()
	}
	var all error
	for range functions {
		all = errors.Join(all, <-ended)
		leave()
	}
	return all
}

// serve serves until the context ends, then answers the requests that are open. After the grace it cuts off the others.
func serve(ctx context.Context, server *http.Server, listener net.Listener, grace time.Duration) error {
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(listener) }()
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
		// The worker drains meanwhile. This context has ended: what is open gets one of its own.
		slog.Info("the shop closes")
		open, late := context.WithTimeout(context.WithoutCancel(ctx), grace)
		defer late()
		if err := server.Shutdown(open); !errors.Is(err, context.DeadlineExceeded) {
			return err
		}
		return server.Close()
	}
}
