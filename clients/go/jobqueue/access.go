package jobqueue

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"time"

	"google.golang.org/grpc"
	grpcbackoff "google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/metadata"
)

// What batches and pages may measure (4 MiB) and room for the frame around them.
const messageBytes = 5 * 1024 * 1024

// Access is how to speak to a server. The zero value speaks plain text, without a token.
type Access struct {
	// TLS, as of [TLSFromFiles] or the standard library. nil: plain text.
	TLS *tls.Config
	// Token is sent as `authorization: Bearer <token>` with every call. Empty: none.
	Token string
	// TokenSource is asked for the token at every call and every connect, for tokens that are renewed. It wins over
	// Token.
	TokenSource func(ctx context.Context) (string, error)
	// Tracer makes spans of a worker's attempts, and says which trace a call belongs to. nil: there are no traces.
	Tracer Tracer
	// DialOptions come last, for interceptors and statistics.
	DialOptions []grpc.DialOption

	// serverFromEnv: the address is that of the environment, or the default for it.
	serverFromEnv bool
}

// TLSFromFiles makes a TLS configuration of PEM files.
//
// roots are the certificates that sign the server's; "public" stands for those of the public authorities. cert and key
// are what this side shows where the server wants a certificate; both may be empty.
func TLSFromFiles(roots, cert, key string) (*tls.Config, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if roots != "public" {
		text, err := os.ReadFile(roots)
		if err != nil {
			return nil, fmt.Errorf("jobqueue: roots can't be read: %w", err)
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(text) {
			return nil, fmt.Errorf("jobqueue: %s is no PEM file: it has no certificate in it", roots)
		}
	}
	if (cert == "") != (key == "") {
		return nil, errors.New("jobqueue: a client's certificate and its key go together; one of them is missing")
	}
	if cert != "" {
		pair, err := tls.LoadX509KeyPair(cert, key)
		if err != nil {
			return nil, fmt.Errorf("jobqueue: the client's certificate can't be used: %w", err)
		}
		config.Certificates = []tls.Certificate{pair}
	}
	return config, nil
}

// outgoing adds the trace and the token to the metadata of a call.
func (a *Access) outgoing(ctx context.Context) (context.Context, error) {
	if a.Tracer != nil {
		if traceparent := a.Tracer.Traceparent(ctx); traceparent != "" {
			ctx = metadata.AppendToOutgoingContext(ctx, traceparentHeader, traceparent)
		}
	}
	token := a.Token
	if a.TokenSource != nil {
		var err error
		if token, err = a.TokenSource(ctx); err != nil {
			return nil, fmt.Errorf("jobqueue: no token could be had: %w", err)
		}
	}
	if token == "" {
		return ctx, nil
	}
	return metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+token), nil
}

// dial makes a connection of its own; nothing is sent before the first call.
func (a *Access) dial(target string) (*grpc.ClientConn, error) {
	transport := insecure.NewCredentials()
	if a.TLS != nil {
		transport = credentials.NewTLS(a.TLS)
	}
	options := []grpc.DialOption{
		grpc.WithTransportCredentials(transport),
		// A dead connection is found 10 + 5 s after its last sign of life.
		grpc.WithKeepaliveParams(keepalive.ClientParameters{
			Time: 10 * time.Second, Timeout: 5 * time.Second, PermitWithoutStream: true,
		}),
		// gRPC's own reconnecting; by default its pause grows to two minutes.
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           grpcbackoff.Config{BaseDelay: 100 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: 5 * time.Second},
			MinConnectTimeout: 5 * time.Second,
		}),
		grpc.WithDefaultCallOptions(
			grpc.MaxCallSendMsgSize(messageBytes), grpc.MaxCallRecvMsgSize(messageBytes),
		),
		// Retries are made here, where it is known which calls do no harm twice.
		grpc.WithDisableRetry(),
	}
	connection, err := grpc.NewClient(target, append(options, a.DialOptions...)...)
	if err != nil {
		return nil, fmt.Errorf("jobqueue: %q is no address of a server: %w", target, err)
	}
	return connection, nil
}
