// Package jobqueue enqueues jobs in a JobQueue server, reads and changes them, and runs them.
//
// A producer makes one [Client] and keeps it:
//
//	client, err := jobqueue.NewClient("127.0.0.1:50051", jobqueue.ClientOptions{})
//	job, err := client.Enqueue(ctx, jobqueue.NewJob{Kind: "hello", Payload: map[string]string{"name": "Ada"}})
//	job, err = client.Wait(ctx, job.ID)
//
// A [Worker] holds one stream to a server, is handed jobs over it, and runs a handler for each:
//
//	worker, err := jobqueue.NewWorker("127.0.0.1:50051", jobqueue.WorkerOptions{})
//	worker.Handle("hello", func(ctx context.Context, job *jobqueue.LeasedJob) (any, error) {
//		var who struct{ Name string }
//		if err := job.Decode(&who); err != nil {
//			return nil, jobqueue.Discard(err)
//		}
//		return "Hello " + who.Name, nil
//	})
//	err = worker.Run(ctx)
//
// A kind can be declared once, with the types of its payload and its output; producers, workers and readers share it:
//
//	var SendMail = jobqueue.DefineKind[Mail, Sent]("send-mail", jobqueue.Defaults(jobqueue.NewJob{MaxAttempts: 5}))
//	jobqueue.HandleKind(worker, SendMail, func(ctx context.Context, job *jobqueue.LeasedJob, mail Mail) (Sent, error) {
//	job, err := client.Enqueue(ctx, SendMail.New(Mail{To: "ada@example.org"}))
//	sent, err := SendMail.OutputOf(job)
//
// Payloads and outputs are JSON. A [encoding/json.RawMessage] goes in and comes out byte for byte; whatever else is
// given is marshalled. What a server refuses is an [*Error]; [errors.Is] with ErrJobNotFound and its like says what to
// do about it.
package jobqueue

// Version is that of this module.
const Version = "0.1.0"
