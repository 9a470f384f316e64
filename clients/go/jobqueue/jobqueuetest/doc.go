// Package jobqueuetest tests handlers and code that enqueues, without a server and with a real one.
//
// [Perform] runs one attempt of a job by the code that a worker runs:
//
//	done, err := jobqueuetest.Perform(ctx, SendMail.Handler(Deliver), SendMail.New(Mail{To: "ada@example.org"}))
//	again, err := done.Again(ctx)
//
// A [RecordingClient] stands for a client, as a [jobqueue.Enqueuer], and keeps what is enqueued.
//
// Neither guesses what a server does. What only a server knows, such as schemas of untyped kinds, slots, permissions and
// limits, is tested with a real one: [NewScope] makes a namespace of its own for a test.
package jobqueuetest
