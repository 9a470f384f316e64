package jobqueue

import (
	"context"
	"errors"
	"fmt"
	"time"

	"cloud.google.com/go/longrunning/autogen/longrunningpb"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/durationpb"
)

// GetOperation reads an operation. ErrOperationNotFound: there is none of this name.
func (c *Client) GetOperation(ctx context.Context, name string) (*Operation, error) {
	answer, err := call(ctx, c, true, c.operations().GetOperation, &longrunningpb.GetOperationRequest{Name: name})
	if err != nil {
		return nil, err
	}
	return operationOf(answer), nil
}

// ListOperations reads the operations that are kept, newest first: your own, or with ADMIN those of the namespace.
func (c *Client) ListOperations(ctx context.Context) ([]*Operation, error) {
	var operations []*Operation
	// One may name 1000 jobs, and so have 40 KB.
	request := &longrunningpb.ListOperationsRequest{Name: "operations", PageSize: 50}
	for {
		answer, err := call(ctx, c, true, c.operations().ListOperations, request)
		if err != nil {
			return nil, err
		}
		for _, each := range answer.GetOperations() {
			operations = append(operations, operationOf(each))
		}
		if request.PageToken = answer.GetNextPageToken(); request.PageToken == "" {
			return operations, nil
		}
	}
}

// WaitOperation waits until an operation is done, for as long as the context lasts.
//
// When the context ends first, the error is [context.DeadlineExceeded] or [context.Canceled], and the operation is as it was
// last read, or nil; it goes on. ErrOperationNotFound: there is none of this name.
func (c *Client) WaitOperation(ctx context.Context, name string) (*Operation, error) {
	var seen *Operation
	for {
		wait := oneWait
		ends, bounded := ctx.Deadline()
		if bounded {
			wait = max(0, min(wait, time.Until(ends)))
		}
		request := &longrunningpb.WaitOperationRequest{Name: name, Timeout: durationpb.New(wait)}
		// Time for the answer to come back, after the server has waited; and a restart of it costs a retry, not the wait.
		trying, cancel := context.WithTimeout(context.WithoutCancel(ctx), wait+c.options.Deadline)
		stop := context.AfterFunc(ctx, func() {
			if ctx.Err() == context.Canceled {
				cancel()
			}
		})
		answer, err := call(trying, c, true, c.operations().WaitOperation, request)
		stop()
		cancel()
		if err != nil {
			if ctx.Err() == context.Canceled && errors.Is(err, context.Canceled) {
				return seen, ctx.Err()
			}
			return seen, err
		}
		if seen = operationOf(answer); seen.Done {
			return seen, nil
		}
		if ctx.Err() != nil || (bounded && time.Until(ends) <= 0) {
			return seen, newError(codes.DeadlineExceeded, fmt.Sprintf("%s is %s and not done in time", name, seen.State))
		}
	}
}

// CancelOperation asks an operation to stop after the step that it is in. What it has done stays done.
// ErrOperationNotFound: there is none of this name.
func (c *Client) CancelOperation(ctx context.Context, name string) error {
	_, err := call(ctx, c, true, c.operations().CancelOperation, &longrunningpb.CancelOperationRequest{Name: name})
	return err
}

// DeleteOperation deletes an operation that is done. ErrOperationNotDone: it is not. ErrOperationNotFound: there is none of
// this name.
func (c *Client) DeleteOperation(ctx context.Context, name string) error {
	// To delete one again is refused, and done.
	_, err := call(ctx, c, false, c.operations().DeleteOperation, &longrunningpb.DeleteOperationRequest{Name: name})
	return err
}

func (c *Client) operations() longrunningpb.OperationsClient {
	return longrunningpb.NewOperationsClient(c.connection)
}
