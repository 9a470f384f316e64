// Enqueues a job, waits for it, and prints what its handler answered.
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"time"

	"jobqueue.dev/go/jobqueue"
)

func main() {
	server := flag.String("server", "127.0.0.1:50051", "the server's address")
	flag.Parse()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()

	client, err := jobqueue.NewClient(*server, jobqueue.ClientOptions{})
	check(err)
	defer client.Close()
	_, err = client.PutKind(ctx, jobqueue.Kind{Name: "double"})
	check(err)
	job, err := client.Enqueue(ctx, jobqueue.NewJob{
		Kind: "double", Payload: map[string]int{"number": 21}, IdempotencyKey: jobqueue.NewIdempotencyKey(),
	})
	check(err)
	job, err = client.Wait(ctx, job.ID)
	check(err)
	fmt.Println(job.Status, string(job.Output))
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
