// Calls a server with the client that oapi-codegen makes, and prints what came of it.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"

	"github.com/google/uuid"

	"jobqueue.dev/tests/openapi/generators/oapi_codegen/api"
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
	client, err := api.NewClientWithResponses(server)
	if err != nil {
		return nil, err
	}
	found := map[string]any{}

	health, err := client.HealthWithResponse(ctx, nil)
	if err != nil {
		return nil, err
	}
	found["health"] = health.JSON200.Status

	var schema any = true
	if _, err = client.PutKindWithResponse(ctx, "generated", nil, api.PutKindBody{Schema: &schema}); err != nil {
		return nil, err
	}
	kinds, err := client.ListKindsWithResponse(ctx, nil)
	if err != nil {
		return nil, err
	}
	for _, kind := range kinds.JSON200.Kinds {
		if kind.Name == "generated" {
			found["schema"] = kind.Schema
		}
	}

	key, labels, priority := "key", map[string]string{"by": "generated"}, int32(10)
	job := api.JobToEnqueue{
		Kind: "generated", Payload: map[string]any{"width": 100}, Labels: &labels, Priority: &priority,
	}
	enqueued, err := client.EnqueueJobWithResponse(ctx, &api.EnqueueJobParams{IdempotencyKey: &key}, job)
	if err != nil {
		return nil, err
	}
	made := enqueued.JSON201
	found["enqueued"] = []any{enqueued.StatusCode(), made.Status, made.Payload, made.Priority, made.Labels}
	again, err := client.EnqueueJobWithResponse(ctx, &api.EnqueueJobParams{IdempotencyKey: &key}, job)
	if err != nil {
		return nil, err
	}
	found["again"] = []any{again.StatusCode(), again.JSON200.Id == made.Id}
	batch, err := client.BatchEnqueueJobsWithResponse(ctx, nil, api.BatchEnqueueJobsRequest{
		Jobs: []api.JobToEnqueue{{Kind: "generated"}, {Kind: "generated"}},
	})
	if err != nil {
		return nil, err
	}
	found["batch"] = len(batch.JSON200.Results)

	worker, err := work(ctx, client)
	if err != nil {
		return nil, err
	}
	found["work"] = worker

	read, err := client.GetJobWithResponse(ctx, made.Id, nil)
	if err != nil {
		return nil, err
	}
	found["read"] = []any{read.StatusCode(), read.JSON200.Status, read.JSON200.Output}
	filter := []string{"by=generated"}
	listed, err := client.ListJobsWithResponse(ctx, &api.ListJobsParams{Labels: &filter})
	if err != nil {
		return nil, err
	}
	found["listed"] = []any{len(listed.JSON200.Jobs), listed.JSON200.Jobs[0].Id == made.Id}

	missing, err := client.GetJobWithResponse(ctx, uuid.New(), nil)
	if err != nil {
		return nil, err
	}
	found["missing"] = []any{missing.StatusCode(), *missing.JSON404.Details[0].Reason}
	priority = 11
	wrong, err := client.EnqueueJobWithResponse(ctx, nil, job)
	if err != nil {
		return nil, err
	}
	details := wrong.JSON400.Details
	found["wrong"] = []any{wrong.StatusCode(), *details[0].Reason, (*details[1].FieldViolations)[0].Field}
	return found, nil
}

// work does the first job as a worker by calls.
func work(ctx context.Context, client *api.ClientWithResponses) (any, error) {
	opened, err := client.OpenSessionWithResponse(ctx, nil, api.Hello{
		Worker: "generated", Subscriptions: []api.Subscription{{Kinds: []string{"generated"}}},
	})
	if err != nil {
		return nil, err
	}
	token := opened.JSON200.SessionToken
	claimed, err := client.ClaimJobsWithResponse(ctx, nil, api.ClaimJobsRequest{SessionToken: token})
	if err != nil {
		return nil, err
	}
	job := claimed.JSON200.Jobs[0]
	settled, err := client.SettleJobsWithResponse(ctx, nil, api.SettleJobsRequest{
		SessionToken: token,
		Outcomes: []api.Outcome{{
			JobId: &job.Id, Attempt: &job.Attempt, Success: &api.Success{Output: map[string]any{"done": true}},
		}},
	})
	if err != nil {
		return nil, err
	}
	if _, err = client.CloseSessionWithResponse(ctx, nil, api.CloseSessionRequest{SessionToken: token}); err != nil {
		return nil, err
	}
	return []any{job.Payload, settled.JSON200.Results[0].Status}, nil
}
