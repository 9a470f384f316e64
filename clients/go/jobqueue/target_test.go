package jobqueue_test

import (
	"errors"
	"testing"

	"jobqueue.dev/go/jobqueue"
)

// made is what making a client and a worker says of an address, and a worker that has it as a further one.
func made(target string) []error {
	client, err := jobqueue.NewClient(target, jobqueue.ClientOptions{})
	if err == nil {
		_ = client.Close()
	}
	_, first := jobqueue.NewWorker(target, jobqueue.WorkerOptions{})
	_, further := jobqueue.NewWorker("127.0.0.1:1", jobqueue.WorkerOptions{Targets: []string{target}})
	return []error{err, first, further}
}

func TestWhatIsNoAddressOfAServerIsRefusedBeforeAnythingIsSent(t *testing.T) {
	const right = "InvalidArgument: target: must be HOST:PORT, such as 127.0.0.1:50051"
	for target, want := range map[string]string{
		"":                             right,
		"127.0.0.1":                    right,
		"jobs.internal":                right,
		"::1":                          right,
		"jobs.internal:":               right,
		"jobs.internal:grpc":           right,
		"jobs.internal:0":              right,
		"jobs.internal:65536":          right,
		"jobs.internal:-1":             right,
		"127.0.0.1:50051/":             right,
		"http://127.0.0.1:50051":       right + ", without http://",
		"HTTPS://jobs.internal:50051/": right + ", without http://",
	} {
		for _, err := range made(target) {
			if !errors.Is(err, jobqueue.ErrInvalidRequest) || err.Error() != want {
				t.Errorf("%q: %v", target, err)
			}
		}
	}
}

func TestAnAddressIsAHostAndAPortOrWhatAResolverOfGRPCReads(t *testing.T) {
	for _, target := range []string{
		"127.0.0.1:50051", "localhost:1", "jobs.internal:65535", "[::1]:50051", ":50051", "dns:///jobs.internal:50051",
		"dns:jobs.internal:50051", "unix:/run/jobqueue.sock", "unix:///run/jobqueue.sock", "passthrough:///scripted",
	} {
		for _, err := range made(target) {
			if err != nil {
				t.Errorf("%q: %v", target, err)
			}
		}
	}
}
