package jobqueue

import (
	"context"
	"sync"

	"google.golang.org/grpc"

	pb "jobqueue.dev/go/jobqueue/v1"
)

// stream is one open Lease stream, on a connection of its own: a worker that leaves a server must not come back to it
// over the connection that it left.
type stream struct {
	target     string
	connection *grpc.ClientConn
	call       grpc.BidiStreamingClient[pb.LeaseRequest, pb.LeaseResponse]
	end        context.CancelFunc
	wake       chan struct{}

	mu           sync.Mutex
	outgoing     []outgoing
	lastDelivery int64
	receipted    int64
}

// outgoing is a frame on its way. The channel, if there is one, is closed once gRPC has taken the frame.
type outgoing struct {
	frame *pb.LeaseRequest
	taken chan<- struct{}
}

// openStream begins a stream; its first frame is the caller's to send.
func openStream(ctx context.Context, target string, access *Access) (*stream, error) {
	connection, err := access.dial(target)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	fail := func(err error) (*stream, error) {
		cancel()
		_ = connection.Close()
		return nil, err
	}
	outgoing, err := access.outgoing(ctx)
	if err != nil {
		return fail(err)
	}
	call, err := pb.NewJobQueueClient(connection).Lease(outgoing)
	if err != nil {
		return fail(fromRPC(err))
	}
	opened := &stream{
		target: target, connection: connection, call: call, end: cancel, wake: make(chan struct{}, 1),
	}
	go opened.write()
	return opened, nil
}

// send queues a frame, with the receipt of what was delivered. It never blocks: a slow network must not hold up the
// session.
func (s *stream) send(frame *pb.LeaseRequest) { s.queue(frame, nil) }

func (s *stream) queue(frame *pb.LeaseRequest, taken chan<- struct{}) {
	s.mu.Lock()
	frame.LastDelivery = s.lastDelivery
	s.receipted = s.lastDelivery
	s.outgoing = append(s.outgoing, outgoing{frame, taken})
	s.mu.Unlock()
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// delivered notes a delivery that was seen.
func (s *stream) delivered(seq int64) {
	s.mu.Lock()
	s.lastDelivery = seq
	s.mu.Unlock()
}

// receipt sends a bare receipt, unless another frame has carried it.
func (s *stream) receipt() {
	s.mu.Lock()
	due := s.receipted < s.lastDelivery
	s.mu.Unlock()
	if due {
		s.send(&pb.LeaseRequest{})
	}
}

// receiptNow sends a bare receipt, and closes the channel once gRPC has taken it. A stream that ends leaves it open.
func (s *stream) receiptNow(taken chan<- struct{}) { s.queue(&pb.LeaseRequest{}, taken) }

// close ends the stream at once.
func (s *stream) close() {
	s.end()
	// It may wait for those who resolve and balance, and the session's lock may be held here.
	go func() { _ = s.connection.Close() }()
}

func (s *stream) write() {
	for {
		select {
		case <-s.wake:
		case <-s.call.Context().Done():
			return
		}
		s.mu.Lock()
		frames := s.outgoing
		s.outgoing = nil
		s.mu.Unlock()
		for _, each := range frames {
			if s.call.Send(each.frame) != nil {
				return // what ended the stream is told to its reader
			}
			if each.taken != nil {
				close(each.taken)
			}
		}
	}
}
