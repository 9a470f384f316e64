// Calls a server with the client in Go that openapi-generator makes, and prints what came of it.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"

	"jobqueue.dev/tests/openapi/generators/openapi_generator/api"
)

func main() {
	found, err := calls(context.Background(), os.Args[1])
	if err == nil {
		err = json.NewEncoder(os.Stdout).Encode(found)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func calls(ctx context.Context, server string) (map[string]any, error) {
	configuration := api.NewConfiguration()
	configuration.Servers = api.ServerConfigurations{{URL: server}}
	client := api.NewAPIClient(configuration)
	found := map[string]any{}

	health, _, err := client.OpsAPI.Health(ctx).Execute()
	if err != nil {
		return nil, err
	}
	found["health"] = health.Status

	kind := api.NewPutKindBody()
	kind.SetSchema(true)
	if _, _, err = client.QueueAdminAPI.PutKind(ctx, "generated").PutKindBody(*kind).Execute(); err != nil {
		return nil, err
	}
	kinds, _, err := client.QueueAdminAPI.ListKinds(ctx).Execute()
	if err != nil {
		return nil, err
	}
	for _, kind := range kinds.Kinds {
		if kind.Name == "generated" {
			found["schema"] = kind.Schema
		}
	}

	job := api.NewJobToEnqueue("generated")
	job.SetPayload(map[string]any{"width": 100})
	job.SetLabels(map[string]string{"by": "generated"})
	job.SetPriority(10)
	made, response, err := client.JobQueueAPI.EnqueueJob(ctx).IdempotencyKey("key").JobToEnqueue(*job).Execute()
	if err != nil {
		return nil, err
	}
	found["enqueued"] = []any{response.StatusCode, made.Status, made.Payload, made.Priority, made.Labels}
	again, response, err := client.JobQueueAPI.EnqueueJob(ctx).IdempotencyKey("key").JobToEnqueue(*job).Execute()
	if err != nil {
		return nil, err
	}
	found["again"] = []any{response.StatusCode, again.Id == made.Id}
	plain := *api.NewJobToEnqueue("generated")
	both := api.NewBatchEnqueueJobsRequest([]api.JobToEnqueue{plain, plain})
	batch, _, err := client.JobQueueAPI.BatchEnqueueJobs(ctx).BatchEnqueueJobsRequest(*both).Execute()
	if err != nil {
		return nil, err
	}
	found["batch"] = len(batch.Results)

	worker, err := work(ctx, client)
	if err != nil {
		return nil, err
	}
	found["work"] = worker

	read, response, err := client.JobQueueAPI.GetJob(ctx, made.Id).Execute()
	if err != nil {
		return nil, err
	}
	found["read"] = []any{response.StatusCode, read.Status, read.Output}
	listed, _, err := client.JobQueueAPI.ListJobs(ctx).Labels([]string{"by=generated"}).Execute()
	if err != nil {
		return nil, err
	}
	found["listed"] = []any{len(listed.Jobs), listed.Jobs[0].Id == made.Id}

	_, response, err = client.JobQueueAPI.GetJob(ctx, "01a20efd-381b-735f-9d7d-e9595eedb31f").Execute()
	missing, err := status(response, err)
	if err != nil {
		return nil, err
	}
	found["missing"] = []any{response.StatusCode, *missing.Details[0].Reason}
	job.SetPriority(11)
	_, response, err = client.JobQueueAPI.EnqueueJob(ctx).JobToEnqueue(*job).Execute()
	wrong, err := status(response, err)
	if err != nil {
		return nil, err
	}
	found["wrong"] = []any{
		response.StatusCode, *wrong.Details[0].Reason, wrong.Details[1].FieldViolations[0].Field,
	}
	return found, nil
}

// work does the first job as a worker by calls.
func work(ctx context.Context, client *api.APIClient) (any, error) {
	hello := api.NewHello("generated", []api.Subscription{*api.NewSubscription([]string{"generated"})})
	opened, _, err := client.SessionsAPI.OpenSession(ctx).Hello(*hello).Execute()
	if err != nil {
		return nil, err
	}
	token := opened.SessionToken
	claim := api.NewClaimJobsRequest(token)
	claimed, _, err := client.SessionsAPI.ClaimJobs(ctx).ClaimJobsRequest(*claim).Execute()
	if err != nil {
		return nil, err
	}
	job := claimed.Jobs[0]
	outcome, success := api.NewOutcome(), api.NewSuccess()
	success.SetOutput(map[string]any{"done": true})
	outcome.SetJobId(job.Id)
	outcome.SetAttempt(job.Attempt)
	outcome.SetSuccess(*success)
	settle := api.NewSettleJobsRequest(token, []api.Outcome{*outcome})
	settled, _, err := client.SessionsAPI.SettleJobs(ctx).SettleJobsRequest(*settle).Execute()
	if err != nil {
		return nil, err
	}
	end := api.NewCloseSessionRequest(token)
	if _, _, err = client.SessionsAPI.CloseSession(ctx).CloseSessionRequest(*end).Execute(); err != nil {
		return nil, err
	}
	return []any{job.Payload, settled.Results[0].Status}, nil
}

// status is what an error says, as the generated code has read it.
func status(response *http.Response, err error) (*api.Status, error) {
	var told *api.GenericOpenAPIError
	if !errors.As(err, &told) {
		return nil, fmt.Errorf("no error of the server: %v", err)
	}
	read, ok := told.Model().(api.Status)
	if !ok {
		return nil, fmt.Errorf("%s was read as %T", response.Status, told.Model())
	}
	return &read, nil
}
